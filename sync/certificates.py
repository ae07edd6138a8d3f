# SPDX-License-Identifier: Apache-2.0
"""Names, keys and certificates of the agency's small PKI.

Every key is P-256. The role of a certificate is its subject's OU, the name its CN.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sync.errors import SyncError

OU_DEVICE = "device"
OU_OFFICE = "office"
OU_TECHNICIAN = "technician"
DEVICE_ID_PATTERN = r"^[a-z0-9-]{1,64}$"
MAX_CSR_BYTES = 8 * 1024  # PEM
MAX_CERTIFICATE_BYTES = 8 * 1024  # PEM, each


class CertificateError(SyncError, ValueError):
    """A key, certificate or request was refused; the message says what to do."""


class InvalidCsrError(CertificateError):
    """The certificate request is malformed or does not name a device: read it from the device again."""


def fingerprint(public_key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, 64 hex characters: what a device pins and a person compares."""
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def key_id(public_key: ec.EllipticCurvePublicKey) -> str:
    """The first 16 hex characters of `fingerprint`."""
    return fingerprint(public_key)[:16]


def spoken(hex_fingerprint: str) -> str:
    """A fingerprint in groups of four, for eyes and voices."""
    return " ".join(hex_fingerprint[at : at + 4] for at in range(0, len(hex_fingerprint), 4))


def load_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from PEM; raises ValueError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise CertificateError("not a P-256 public key") from error
    return _p256(key)


def load_certificate(pem: str) -> x509.Certificate:
    """Exactly one X.509 certificate with a P-256 key from PEM; raises ValueError."""
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise CertificateError(f"certificate is larger than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        # Read lazily, each of these would be refused only where it is first used.
        lazy = [(one.subject, one.issuer, one.extensions, one.not_valid_after_utc) for one in certificates]
    except (
        TypeError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise CertificateError("the certificate is malformed") from error
    if len(lazy) != 1:
        raise CertificateError("expected exactly one certificate")
    certificate_key(certificates[0])
    return certificates[0]


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise CertificateError("not a P-256 public key")


def certificate_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The certificate's P-256 key; raises ValueError."""
    try:
        return _p256(certificate.public_key())
    except UnsupportedAlgorithm as error:
        raise CertificateError("not a P-256 public key") from error


def subject_of(name: x509.Name) -> tuple[str, str]:
    """(CN, OU) of a subject, empty where absent or repeated."""

    def only(oid: x509.ObjectIdentifier) -> str:
        values = name.get_attributes_for_oid(oid)
        return str(values[0].value) if len(values) == 1 else ""

    return only(NameOID.COMMON_NAME), only(NameOID.ORGANIZATIONAL_UNIT_NAME)


def public_pem(public_key: ec.EllipticCurvePublicKey) -> str:
    """PEM (SubjectPublicKeyInfo) of a public key."""
    return public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What a verified certificate request asks for."""

    device_id: str
    public_key: ec.EllipticCurvePublicKey


def read_csr(pem: bytes) -> DeviceRequest:
    """A device's certificate request, its own signature and subject checked; raises InvalidCsrError."""
    if len(pem) > MAX_CSR_BYTES:
        raise InvalidCsrError(f"the request is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        public_key = _p256(request.public_key())
        genuine = request.is_signature_valid
        device_id, unit = subject_of(request.subject)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidCsrError("not a PEM certificate request with a P-256 key") from error
    if not genuine:
        raise InvalidCsrError("the request's signature does not verify; read it from the device again")
    if unit != OU_DEVICE or not is_device_id(device_id):
        raise InvalidCsrError("the request must have CN = device id ([a-z0-9-], 1 to 64) and OU = device")
    return DeviceRequest(device_id, public_key)


def is_device_id(text: str) -> bool:
    """Whether the text may name a device."""
    return re.fullmatch(r"[a-z0-9-]{1,64}", text) is not None
