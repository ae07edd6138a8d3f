# SPDX-License-Identifier: Apache-2.0
"""The office's private keys on disk: PEM, 0600, encrypted where a passphrase is set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backoffice.ca import Authority, new_key
from backoffice.errors import KeyLocked, NotInitialised
from backoffice.layout import OfficeLayout
from storage.atomic import write_atomic
from sync.certificates import key_id, public_pem

PASSPHRASE_VARIABLE = "WAYSIDE_OFFICE_PASSPHRASE"  # noqa: S105 - a variable's name
READS = "reads"
HITS = "hits"
LISTS = "lists"
AUDIT = "audit"
# what the server itself must open without anybody present stays readable to the service's user alone
UNENCRYPTED = frozenset({AUDIT})


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key as `keys list` shows it."""

    purpose: str
    key_id: str
    public_pem: str
    encrypted: bool


def passphrase() -> bytes | None:
    """The passphrase of the environment, if one is set."""
    value = os.environ.get(PASSPHRASE_VARIABLE, "")
    return value.encode() or None


def write_private(path: Path, key: ec.EllipticCurvePrivateKey, secret: bytes | None) -> None:
    """Write a private key, PKCS #8, mode 0600, encrypted when `secret` is given."""
    how: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    write_atomic(path, pem, mode=0o600)


def read_private(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key; KeyLocked when it is encrypted and the passphrase is missing or wrong."""
    secret = secret_for(path)
    pem = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(pem, secret)
    except ValueError as error:
        raise KeyLocked(f"{path.name} does not open with this {PASSPHRASE_VARIABLE}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyLocked(f"{path.name} is not an ECDSA P-256 key: restore it from the backup")
    return key


def secret_for(path: Path) -> bytes | None:
    """The passphrase that a key file needs, None when it needs none; KeyLocked when it is not set."""
    if not path.exists():
        raise NotInitialised(f"{path} is missing: run `wayside-office init` first")
    if not is_encrypted(path.read_bytes()):
        return None
    secret = passphrase()
    if secret is None:
        raise KeyLocked(f"{path.name} is encrypted: set {PASSPHRASE_VARIABLE}")
    return secret


def is_encrypted(pem: bytes) -> bool:
    """True for an encrypted PKCS #8 file."""
    return b"ENCRYPTED PRIVATE KEY" in pem


def create_purpose_keys(layout: OfficeLayout, secret: bytes | None) -> None:
    """Make the reads, hits, lists and audit keys, each with its public half beside it."""
    for purpose in (READS, HITS, LISTS, AUDIT):
        key = new_key()
        write_private(layout.keys / f"{purpose}.key", key, None if purpose in UNENCRYPTED else secret)
        write_atomic(layout.keys / f"{purpose}.pub", public_pem(key.public_key()).encode(), mode=0o644)


def load_purpose_key(layout: OfficeLayout, purpose: str) -> ec.EllipticCurvePrivateKey:
    """The private key of one purpose."""
    return read_private(layout.keys / f"{purpose}.key")


def load_purpose_public(layout: OfficeLayout, purpose: str) -> ec.EllipticCurvePublicKey:
    """The public key of one purpose; needs no passphrase."""
    try:
        key = serialization.load_pem_public_key((layout.keys / f"{purpose}.pub").read_bytes())
    except FileNotFoundError as error:
        raise NotInitialised(f"{layout.root} holds no office: run `wayside-office init` first") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise NotInitialised(f"{purpose}.pub is not an ECDSA key: restore it from the backup")
    return key


def load_authority(layout: OfficeLayout) -> Authority:
    """The agency CA with its key."""
    key = read_private(layout.pki / "ca.key")
    return Authority(x509.load_pem_x509_certificate((layout.pki / "ca.pem").read_bytes()), key)


def list_keys(layout: OfficeLayout) -> list[KeyInfo]:
    """All purpose keys: id, public half, whether the private half is encrypted."""
    found = []
    for purpose in (READS, HITS, LISTS, AUDIT):
        public = load_purpose_public(layout, purpose)
        private = layout.keys / f"{purpose}.key"
        encrypted = private.exists() and is_encrypted(private.read_bytes())
        found.append(KeyInfo(purpose, key_id(public), public_pem(public), encrypted))
    return found
