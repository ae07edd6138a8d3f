# SPDX-License-Identifier: Apache-2.0
"""Targets in sync: certificates, certificate requests, keys, and the enrolment bundle."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from storage.primitives import canonical_json
from sync.certificates import (
    CertificateError,
    certificate_key,
    load_certificate,
    load_public_key,
    read_csr,
    subject_of,
)
from sync.enrolment import (
    BUNDLE_LABEL,
    Agency,
    EnrolmentBundle,
    EnrolmentError,
    RecipientKey,
    Retention,
    sign_bundle,
    verify_bundle,
)
from tests.fuzz.engine import Target
from tests.fuzz.held import AGENCY, DEVICE, NOW_US, certificate, public_pem, subject
from tests.fuzz.sources import Source, either, exactly, json_like, mutated, wrapped

DEVICE_PEM, _CA_PEM = certificate("dev-1", "device", DEVICE), certificate("agency", "ca", AGENCY, ca=True)


def csr_of(unit: str) -> bytes:
    """A certificate request of dev-1 in a role."""
    named = x509.CertificateSigningRequestBuilder().subject_name(subject("dev-1", unit))
    return named.sign(DEVICE, hashes.SHA256()).public_bytes(Encoding.PEM)


_CSR = csr_of("device")
_BUNDLE = EnrolmentBundle(
    bundle_id="bundle-1",
    issued_us=NOW_US,
    expires_us=NOW_US + 1000,
    device_id="dev-1",
    device_cert_pem=DEVICE_PEM.decode(),
    ca_pem=_CA_PEM.decode(),
    office_url="https://127.0.0.1:8443",
    recipients=(RecipientKey.of("reads", AGENCY.public_key()), RecipientKey.of("hits", AGENCY.public_key())),
    list_keys=(public_pem(AGENCY).decode(),),
    retention=Retention(seconds=2_592_000, version="30d.1"),
    agency=Agency(name="Joliet Police Department"),
)
BUNDLE_SIGNED = sign_bundle(_BUNDLE, AGENCY)
_BUNDLE_BODY = canonical_json(json.loads(BUNDLE_SIGNED)["bundle"])
_KEY_ID = json.loads(BUNDLE_SIGNED)["key_id"]
_DER_WORDS = (
    b"\x30\x82",
    b"\x02\x01\x00",
    b"\xa3",
    b"\x06\x03U\x1d\x13",
    b"\x0c\x05",
    b"\x13",
    b"\x1e",
    b"\x05\x00",
    b"\x30\x00",
)


def _pem(der: bytes, what: str = "CERTIFICATE") -> bytes:
    lines = base64.encodebytes(der)
    return f"-----BEGIN {what}-----\n".encode() + lines + f"-----END {what}-----\n".encode()


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def _signed_again(body: bytes) -> bytes:
    """A bundle that was changed, and signed for that by its CA."""
    try:
        value = json.loads(body)
        signature = AGENCY.sign(BUNDLE_LABEL + canonical_json(value), ec.ECDSA(hashes.SHA256()))
        return canonical_json(
            {"bundle": value, "key_id": _KEY_ID, "signature": base64.b64encode(signature).decode()}
        )
    except (ValueError, RecursionError):
        return body


def _with_certificate(field: str) -> Callable[[bytes], bytes]:
    body = json.loads(_BUNDLE_BODY)
    return lambda der: _signed_again(canonical_json(body | {field: _pem(der).decode()}))


def _bundle(data: bytes) -> object:
    return verify_bundle(data, now_us=NOW_US)


def _certificate(data: bytes) -> bool:
    found = load_certificate(data.decode("latin-1"))
    certificate_key(found)
    subject_of(found.subject)
    return True


def certificates(pem: bytes, what: str) -> Source:
    return either(
        mutated(pem, tokens=(b"-----", b"\n")),
        wrapped(mutated(_der(pem), tokens=_DER_WORDS), lambda der: _pem(der, what)),
    )


TARGETS = (
    Target("certificate", _certificate, certificates(DEVICE_PEM, "CERTIFICATE"), (ValueError,)),
    Target(
        "csr",
        read_csr,
        either(certificates(_CSR, "CERTIFICATE REQUEST"), exactly(_CSR)),
        (CertificateError,),
    ),
    Target(
        "public-key",
        lambda data: load_public_key(data.decode("latin-1")),
        either(certificates(public_pem(AGENCY), "PUBLIC KEY"), exactly(public_pem(AGENCY))),
        (ValueError,),
    ),
    Target(
        "enrolment",
        _bundle,
        either(
            wrapped(json_like(_BUNDLE_BODY, words=('"reads"', '"mobile"', '"N"')), _signed_again),
            wrapped(mutated(_der(_CA_PEM), tokens=_DER_WORDS), _with_certificate("ca_pem")),
            wrapped(mutated(_der(DEVICE_PEM), tokens=_DER_WORDS), _with_certificate("device_cert_pem")),
            mutated(BUNDLE_SIGNED),
        ),
        (EnrolmentError,),
    ),
)
