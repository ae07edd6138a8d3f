# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from sync.certificates import InvalidCsrError, fingerprint, key_id, public_pem, read_csr, spoken
from sync.enrolment import (
    BUNDLE_LABEL,
    LIMITS,
    Agency,
    CategoryPolicy,
    EnrolmentBundle,
    ExpiredBundleError,
    InvalidBundleError,
    RecipientKey,
    Retention,
    UntrustedBundleError,
    canonical,
    sign_bundle,
    verify_bundle,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
DAY_US = 86_400_000_000


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(cn: str, ou: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, cn),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou),
        ]
    )


def issue(
    subject: x509.Name,
    public_key: Any,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
    days: int = 365,
) -> str:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    def __init__(self, *, is_ca: bool = True) -> None:
        self.key = new_key()
        self.name = name("Test agency CA", "ca")
        self.pem = issue(self.name, self.key.public_key(), self.name, self.key, is_ca=is_ca)

    def fields(self, device: Any = None, **changes: Any) -> dict[str, Any]:
        device = device or new_key().public_key()
        unit, cn = changes.pop("ou", "device"), changes.pop("cn", "pole-7")
        return {
            "bundle_id": "b-1",
            "issued_us": NOW_US,
            "expires_us": NOW_US + 7 * DAY_US,
            "device_id": "pole-7",
            "device_cert_pem": issue(name(cn, unit), device, self.name, self.key),
            "ca_pem": self.pem,
            "office_url": "https://127.0.0.1:8443",
            "recipients": (
                RecipientKey.of("reads", new_key().public_key()),
                RecipientKey.of("hits", new_key().public_key()),
            ),
            "list_keys": (public_pem(new_key().public_key()),),
            "retention": Retention(seconds=2_592_000, version="joliet-30d.1"),
            "agency": Agency(name="Joliet Police Department"),
        } | changes

    def bundle(self, device: Any = None, **changes: Any) -> EnrolmentBundle:
        return EnrolmentBundle(**self.fields(device, **changes))

    def signed(self, device: Any = None, **changes: Any) -> bytes:
        return sign_bundle(self.bundle(device, **changes), self.key)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def document(authority: Authority) -> bytes:
    return authority.signed()


def resigned(authority: Authority, data: bytes, **changes: Any) -> bytes:
    """The document with fields of the bundle changed and a correct signature again."""
    whole = json.loads(data)
    whole["bundle"] |= changes
    signature = authority.key.sign(BUNDLE_LABEL + canonical(whole["bundle"]), ec.ECDSA(hashes.SHA256()))
    whole["signature"] = base64.b64encode(signature).decode()
    return canonical(whole)


def test_a_signed_bundle_verifies_and_is_equal(authority: Authority) -> None:
    bundle = authority.bundle()
    data = sign_bundle(bundle, authority.key)
    assert verify_bundle(data) == bundle
    assert verify_bundle(data + b"\n", pinned=bundle.ca_fingerprint, now_us=NOW_US) == bundle


def test_the_bundle_names_its_keys(authority: Authority) -> None:
    device = new_key().public_key()
    bundle = authority.bundle(device)
    assert fingerprint(bundle.device_key) == fingerprint(device)
    assert bundle.ca_fingerprint == fingerprint(authority.key.public_key())
    assert key_id(device) == fingerprint(device)[:16]
    assert [r.purpose for r in bundle.recipients_for("hits")] == ["hits"]
    assert len(spoken(bundle.ca_fingerprint).split(" ")) == 16


def test_another_agency_is_refused_once_pinned(authority: Authority) -> None:
    other = Authority()
    pinned = authority.bundle().ca_fingerprint
    assert verify_bundle(other.signed()).agency.name
    with pytest.raises(UntrustedBundleError, match="another agency"):
        verify_bundle(other.signed(), pinned=pinned)


def test_a_copied_ca_certificate_does_not_help_another_signer(authority: Authority, document: bytes) -> None:
    with pytest.raises(InvalidBundleError, match="signature"):
        verify_bundle(resigned(Authority(), document, bundle_id="b-2"))


@pytest.mark.parametrize("at", range(0, 4000, 97))
def test_any_changed_byte_is_refused(document: bytes, at: int) -> None:
    at %= len(document)
    altered = bytearray(document)
    altered[at] ^= 1
    with pytest.raises(InvalidBundleError):
        verify_bundle(bytes(altered))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"[" * 50_000, b'{"a":"\\ud800"}', b'{"a":NaN}', b"\xff\xfe", b"1" * 5000],
    ids=["empty", "half", "list", "null", "deep", "surrogate", "nan", "bytes", "number"],
)
def test_what_is_not_a_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidBundleError):
        verify_bundle(data)


def test_the_size_is_bounded(document: bytes) -> None:
    with pytest.raises(InvalidBundleError, match=str(LIMITS.bundle_bytes)):
        verify_bundle(document + b" " * LIMITS.bundle_bytes)


def test_one_document_has_one_spelling(document: bytes) -> None:
    with pytest.raises(InvalidBundleError, match="canonical"):
        verify_bundle(json.dumps(json.loads(document), indent=1).encode())
    duplicated = document.replace(b'{"bundle":', b'{"bundle":{},"bundle":', 1)
    with pytest.raises(InvalidBundleError, match="canonical"):
        verify_bundle(duplicated)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("surprise", 1),
        ("v", 2),
        ("device_id", "Pole 7"),
        ("office_url", "http://127.0.0.1"),
        ("office_url", "https://user@host"),
        ("office_url", "https://" + "h" * 300),
        ("list_keys", []),
        ("list_keys", ["not a key"]),
        ("recipients", []),
        ("ca_pem", "not a certificate"),
        ("ca_pem", "x" * 20_000),
        ("retention", {"seconds": 179, "version": "1"}),
        ("retention", {"seconds": 400 * 366 * 86400, "version": "1"}),
        ("expires_us", 0),
        ("issued_us", -1),
        ("agency", {"name": ""}),
        ("categories", {"enabled": ["N"], "silent": [], "blocked": ["N"]}),
        ("categories", {"enabled": [f"c{i}" for i in range(65)], "silent": [], "blocked": []}),
    ],
)
def test_the_schema_is_closed_and_bounded(
    authority: Authority, document: bytes, field: str, value: object
) -> None:
    with pytest.raises(InvalidBundleError, match="schema"):
        verify_bundle(resigned(authority, document, **{field: value}))


def test_keys_must_be_p256_and_named_by_their_id() -> None:
    pem = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(ValidationError, match="P-256"):
        RecipientKey(purpose="reads", key_id="0" * 16, public_pem=pem)
    with pytest.raises(ValidationError, match="does not name"):
        RecipientKey(purpose="reads", key_id="0" * 16, public_pem=public_pem(new_key().public_key()))


def test_reads_and_hits_each_need_a_recipient(authority: Authority) -> None:
    with pytest.raises(ValidationError, match="one for hits"):
        authority.bundle(recipients=(RecipientKey.of("reads", new_key().public_key()),))


@pytest.mark.parametrize("changes", [{"cn": "pole-8"}, {"ou": "office"}, {"device_id": "pole-8"}])
def test_the_certificate_must_name_this_device_as_a_device(
    authority: Authority, changes: dict[str, str]
) -> None:
    with pytest.raises(InvalidBundleError, match="role device"):
        authority.signed(**changes)


def test_the_certificate_must_be_issued_by_the_ca(authority: Authority) -> None:
    other = Authority()
    stranger = other.bundle().device_cert_pem
    with pytest.raises(InvalidBundleError, match="not issued"):
        authority.signed(device_cert_pem=stranger)


def test_the_ca_must_be_a_ca() -> None:
    leaf = Authority(is_ca=False)
    with pytest.raises(InvalidBundleError, match="of a CA"):
        leaf.signed()


def test_only_the_cas_key_signs(authority: Authority) -> None:
    with pytest.raises(InvalidBundleError, match="sign with"):
        sign_bundle(authority.bundle(), new_key())


def test_time_is_checked_only_when_known(authority: Authority, document: bytes) -> None:
    assert verify_bundle(document, now_us=NOW_US + 6 * DAY_US)
    assert verify_bundle(document, now_us=0)  # a clock that is behind must not block enrolment
    with pytest.raises(ExpiredBundleError, match="bundle has run out"):
        verify_bundle(document, now_us=NOW_US + 8 * DAY_US)
    long = authority.signed(expires_us=NOW_US + 800 * DAY_US)
    with pytest.raises(ExpiredBundleError, match="certificate has run out"):
        verify_bundle(long, now_us=NOW_US + 700 * DAY_US)


def test_category_n_is_blocked_unless_said_otherwise() -> None:
    assert CategoryPolicy().blocked == ("N",)


@pytest.mark.parametrize("name", ["N", "immigration_violator", "Immigration violator", "ICE"])
def test_silence_does_not_open_what_ships_blocked(name: str) -> None:
    with pytest.raises(ValidationError, match="ships blocked"):
        CategoryPolicy(silent=(name,), blocked=())
    CategoryPolicy(silent=("V", "no such category"), blocked=())


def csr(key: Any, cn: str = "pole-7", ou: str = "device") -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(name(cn, ou)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def test_a_request_says_who_asks() -> None:
    key = new_key()
    request = read_csr(csr(key))
    assert request.device_id == "pole-7"
    assert fingerprint(request.public_key) == fingerprint(key.public_key())


def test_bad_requests_are_refused() -> None:
    key = new_key()
    for pem in (b"", b"x" * 9000, csr(ec.generate_private_key(ec.SECP384R1()))):
        with pytest.raises(InvalidCsrError):
            read_csr(pem)
    for cn, ou in (("Pole 7", "device"), ("pole-7", "office"), ("pole\n", "device")):
        with pytest.raises(InvalidCsrError, match="CN = device id"):
            read_csr(csr(key, cn, ou))
    der = bytearray(base64.b64decode(b"".join(csr(key).splitlines()[1:-1])))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(InvalidCsrError):
        read_csr(pem)
