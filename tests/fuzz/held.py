# SPDX-License-Identifier: Apache-2.0
"""Files in memory, keys and certificates that are the same in every run."""

from __future__ import annotations

import atexit
import datetime as dt
import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

NOW_US = 1_790_000_000_000_000


class HeldFile:
    """What the readers use of a Path, over bytes."""

    name, suffix, stem = "held.json", ".json", "held"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.parent = self

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, _name: str) -> HeldFile:
        return self

    def exists(self) -> bool:
        return True

    is_file = exists

    def read_bytes(self) -> bytes:
        return self.data

    def open(self, _mode: str = "rb") -> io.BytesIO:
        return io.BytesIO(self.data)

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(self.data))

    def replace(self, _target: object) -> None:
        """Set aside."""

    def with_suffix(self, _suffix: str) -> HeldFile:
        return self


def held(data: bytes) -> Path:
    """The bytes as a file that can be read."""
    return cast("Path", HeldFile(data))


def of_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of bytes from one that reads a file."""
    return lambda data: read(held(data))


def memory_folder() -> Path:
    """A folder for parsers that need a real file, removed at the end; in memory where the machine has such a place."""
    shm = Path("/dev/shm")  # noqa: S108 -- a fresh folder in it
    folder = tempfile.mkdtemp(prefix="wayside-fuzz-", dir=shm if shm.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def fixed_key(name: str) -> ec.EllipticCurvePrivateKey:
    """The same P-256 key for a name in every run."""
    return ec.derive_private_key(
        int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1, ec.SECP256R1()
    )


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """SubjectPublicKeyInfo in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def subject(name: str, unit: str) -> x509.Name:
    """CN and OU."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def certificate(name: str, unit: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> bytes:
    """A PEM certificate of the fixed agency."""
    made = (
        x509.CertificateBuilder()
        .subject_name(subject(name, unit))
        .issuer_name(subject("agency", "ca"))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2045, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(AGENCY, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


class AnySignature:
    """A public key whose every signature is good, so that inputs reach what lies behind the check."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def public_bytes(self, *arguments: Any) -> bytes:
        return self._key.public_bytes(*arguments)

    def verify(self, *_arguments: Any) -> None:
        """Well signed."""


AGENCY, DEVICE = fixed_key("agency"), fixed_key("device")
ANY_SIGNATURE = cast("ec.EllipticCurvePublicKey", AnySignature(AGENCY.public_key()))
