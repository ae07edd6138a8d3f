# SPDX-License-Identifier: Apache-2.0
"""The device's identity: a key that is made here and never leaves, and the agency that it works for.

Files in the identity folder, in the order in which they are written; each is replaced atomically:

| file | what | a crash before it leaves |
|---|---|---|
| `device.key` | P-256 private key, mode 0600 | no identity; the next start makes one |
| `self.pem` | self-signed certificate; its CN is the device id | the key; the next start completes it |
| `enrolment.json` | the signed bundle: **the only commit point of an enrolment** | the old enrolment, whole |
| `device.crt`, `ca.crt` | copies out of the bundle, for TLS libraries | old copies, corrected at the next load |

The pinned agency CA is that of the installed bundle, so pin and bundle cannot disagree. Only `reset` unpins.
"""

from __future__ import annotations

import hashlib
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.errors import IdentityError, InstallRefused
from provisioning.types import TlsFiles
from storage.atomic import make_folder, write_atomic
from storage.files import OS_FILES
from sync.certificates import OU_DEVICE, fingerprint, is_device_id, load_certificate, subject_of
from sync.enrolment import LIMITS, EnrolmentBundle, EnrolmentError, verify_bundle

KEY_FILE = "device.key"
SELF_FILE = "self.pem"
BUNDLE_FILE = "enrolment.json"
CERTIFICATE_FILE = "device.crt"
CA_FILE = "ca.crt"
DEVICE_ID_LABEL = b"wayside/device-id/1\0"
MAX_KEY_BYTES = 4096  # PEM
SERIAL_FILES = (  # where boards show their serial number
    Path("/sys/firmware/devicetree/base/serial-number"),
    Path("/proc/device-tree/serial-number"),
)
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)  # before any clock that was never set
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5: no good expiration date


def default_device_id(serial_files: Iterable[Path] = SERIAL_FILES) -> str:
    """`wayside-` and 10 hex characters: from the board's serial number where it has one, else random."""
    for path in serial_files:
        try:
            serial = path.read_bytes()[:256].strip(b"\0 \n")
        except OSError:
            continue
        if serial:
            return f"wayside-{hashlib.sha256(DEVICE_ID_LABEL + serial).hexdigest()[:10]}"
    return f"wayside-{secrets.token_hex(5)}"


@dataclass(frozen=True, slots=True)
class Identity:
    """One device's identity as its folder holds it; `bundle` is None before enrolment."""

    folder: Path
    device_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    self_pem: str = field(repr=False)
    bundle: EnrolmentBundle | None = field(default=None, repr=False)

    @classmethod
    def create(cls, folder: Path, device_id: str | None = None) -> Identity:
        """Makes key and name, or completes a creation that was cut; raises IdentityError if one exists."""
        if (folder / SELF_FILE).exists():
            raise IdentityError(f"{folder} holds an identity already; reset it first")
        device_id = device_id or default_device_id()
        if not is_device_id(device_id):
            raise IdentityError("a device id is 1 to 64 of a-z, 0-9 and -")
        make_folder(folder)
        if not (folder / KEY_FILE).exists():
            write_atomic(folder / KEY_FILE, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        certificate = _self_signed(device_id, _load_key(folder / KEY_FILE))
        write_atomic(folder / SELF_FILE, certificate.encode(), mode=0o644)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Identity:
        """Reads and checks the folder; raises IdentityError. Writes nothing."""
        key = _load_key(folder / KEY_FILE)
        self_pem = _read(folder / SELF_FILE, LIMITS.bundle_bytes).decode("ascii", "replace")
        try:
            certificate = load_certificate(self_pem)
        except ValueError as error:
            raise IdentityError(f"{folder / SELF_FILE} is damaged; reset the device") from error
        device_id, unit = subject_of(certificate.subject)
        if _spki(certificate.public_key()) != fingerprint(key.public_key()) or unit != OU_DEVICE:
            raise IdentityError(f"{folder / SELF_FILE} is not of {KEY_FILE}; reset the device")
        identity = cls(folder, device_id, key, self_pem)
        return identity._with(_load_bundle(folder, identity))

    @classmethod
    def open(cls, folder: Path, device_id: str | None = None) -> Identity:
        """Loads the identity, or creates it where there is none."""
        exists = (folder / SELF_FILE).exists()
        return cls.load(folder) if exists else cls.create(folder, device_id)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the device's public key, 64 hex characters; the same before and after enrolment."""
        return fingerprint(self.key.public_key())

    @property
    def enrolled(self) -> bool:
        """Whether an agency's bundle is installed."""
        return self.bundle is not None

    @property
    def certificate_pem(self) -> str:
        """The agency's certificate for this device, or the self-signed one before enrolment."""
        return self.bundle.device_cert_pem if self.bundle else self.self_pem

    def csr(self) -> bytes:
        """A certificate request in PEM: CN = device id, OU = device."""
        request = x509.CertificateSigningRequestBuilder().subject_name(_subject(self.device_id))
        return request.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def check(
        self, data: bytes, *, now_us: int | None = None, confirmed_ca: str | None = None
    ) -> EnrolmentBundle:
        """The bundle if it may be installed here; raises EnrolmentError or InstallRefused.

        On first use `confirmed_ca` must be the fingerprint that the technician was shown; afterwards only the
        installed bundle's CA is accepted, and nothing older than that bundle.
        """
        pinned = self.bundle.ca_fingerprint if self.bundle else None
        bundle = verify_bundle(data, pinned=pinned, now_us=now_us)
        if bundle.device_id != self.device_id or fingerprint(bundle.device_key) != self.fingerprint:
            raise InstallRefused("the bundle is for another device; use the one issued for this request")
        if self.bundle and bundle.issued_us < self.bundle.issued_us:
            raise InstallRefused("the bundle is older than the installed one; use the newest")
        if pinned is None and confirmed_ca != bundle.ca_fingerprint:
            raise InstallRefused("first enrolment: confirm the fingerprint of the agency CA")
        return bundle

    def install(self, data: bytes, *, now_us: int | None = None, confirmed_ca: str | None = None) -> Identity:
        """Checks and installs a bundle; returns the identity with it. See `check` for the errors."""
        bundle = self.check(data, now_us=now_us, confirmed_ca=confirmed_ca)
        write_atomic(self.folder / BUNDLE_FILE, data, mode=0o600)
        identity = self._with(bundle)
        identity.tls_files()
        return identity

    def tls_files(self) -> TlsFiles:
        """The PEM files of the enrolled device, written again where they differ from the bundle."""
        if self.bundle is None:
            raise IdentityError("the device is not enrolled yet; enrol it with wayside-tech")
        files = TlsFiles(self.folder / CERTIFICATE_FILE, self.folder / KEY_FILE, self.folder / CA_FILE)
        for path, pem in ((files.certificate, self.bundle.device_cert_pem), (files.ca, self.bundle.ca_pem)):
            if not path.exists() or path.read_bytes() != pem.encode():
                write_atomic(path, pem.encode(), mode=0o644)
        return files

    def self_files(self) -> TlsFiles:
        """The self-signed certificate and key, before enrolment; it is its own CA."""
        return TlsFiles(self.folder / SELF_FILE, self.folder / KEY_FILE, self.folder / SELF_FILE)

    def _with(self, bundle: EnrolmentBundle | None) -> Identity:
        return Identity(self.folder, self.device_id, self.key, self.self_pem, bundle)


def reset(folder: Path) -> None:
    """Forgets agency, name and key; the next `Identity.open` is a new device.

    The bundle goes first, and each step is durable before the next: a cut reset can be repeated.
    """
    for name in (BUNDLE_FILE, SELF_FILE, KEY_FILE, CERTIFICATE_FILE, CA_FILE):
        OS_FILES.unlink(folder / name)
        if folder.is_dir():
            OS_FILES.fsync_dir(folder)


def install_bundle(folder: Path, data: bytes, *, confirmed_ca: str, now_us: int | None = None) -> Identity:
    """Installs a bundle into a folder, as on a workbench without the serial link."""
    return Identity.load(folder).install(data, now_us=now_us, confirmed_ca=confirmed_ca)


def _load_bundle(folder: Path, identity: Identity) -> EnrolmentBundle | None:
    if not (folder / BUNDLE_FILE).exists():
        return None
    data = _read(folder / BUNDLE_FILE, LIMITS.bundle_bytes)
    try:
        bundle = verify_bundle(data)
    except EnrolmentError as error:
        raise IdentityError(f"{folder / BUNDLE_FILE} is damaged; enrol the device again") from error
    if bundle.device_id != identity.device_id or fingerprint(bundle.device_key) != identity.fingerprint:
        raise IdentityError(f"{folder / BUNDLE_FILE} belongs to another device; enrol this one again")
    return bundle


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise IdentityError(f"{path} cannot be read ({error.strerror})") from error
    if len(data) > limit:
        raise IdentityError(f"{path} is larger than {limit} bytes; reset the device")
    return data


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    data = _read(path, MAX_KEY_BYTES)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise IdentityError(f"{path} may be read by others; chmod 600 it, or reset the device")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise IdentityError(f"{path} is damaged; reset the device") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityError(f"{path} is not a P-256 key; reset the device")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _spki(key: object) -> str:
    return fingerprint(key) if isinstance(key, ec.EllipticCurvePublicKey) else ""


def _subject(device_id: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, device_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, OU_DEVICE),
        ]
    )


def _self_signed(device_id: str, key: ec.EllipticCurvePrivateKey) -> str:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(device_id))
        .issuer_name(_subject(device_id))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
