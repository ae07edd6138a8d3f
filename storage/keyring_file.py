# SPDX-License-Identifier: Apache-2.0
"""The keyring's bytes: pure packing and opening, no files."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import BadMagicError, KeyringDamagedError, UnsupportedVersionError
from storage.primitives import SECRET_BYTES, canonical_json
from storage.types import EpochId, is_id

MAGIC = b"WAYKEYR\n"
VERSION = 1
MAX_KEYRING_BYTES = 256 << 20  # five years of hourly shares of some forty devices
MAX_HEADER_BYTES = 1024
MAX_GENERATION = 1 << 53  # writes
_HEADER_AT = len(MAGIC) + 2 + 4
_NONCE_BYTES = 12

Shares = Mapping[str, Mapping[EpochId, bytes]]


@dataclass(frozen=True, slots=True)
class KeyringContent:
    """What a keyring holds: shares by scope and epoch, and the key that boxes derive from."""

    box_key: bytes = field(repr=False)
    shares: Shares = field(repr=False)

    def with_shares(self, scope: str, added: Mapping[EpochId, bytes]) -> KeyringContent:
        """The same with shares added to a scope."""
        merged = {**self.shares.get(scope, {}), **added}
        return KeyringContent(self.box_key, {**self.shares, scope: merged})

    def without(self, scope: str, epochs: frozenset[EpochId]) -> KeyringContent:
        """The same less some epochs of a scope."""
        left = {epoch: share for epoch, share in self.shares.get(scope, {}).items() if epoch not in epochs}
        return KeyringContent(self.box_key, {**self.shares, scope: left})


def fresh_content() -> KeyringContent:
    """An empty keyring with a new box key."""
    return KeyringContent(secrets.token_bytes(SECRET_BYTES), {})


def pack(content: KeyringContent, *, kek: bytes, slot: str, root: str, generation: int) -> bytes:
    """Keyring file under a key-encryption key that the root of trust holds in `slot`."""
    header = canonical_json({"generation": generation, "root": root, "slot": slot})
    prefix = MAGIC + VERSION.to_bytes(2, "big") + len(header).to_bytes(4, "big") + header
    shares = {
        scope: {str(epoch): share.hex() for epoch, share in by_epoch.items()}
        for scope, by_epoch in content.shares.items()
    }
    body = canonical_json({"box": content.box_key.hex(), "shares": shares})
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return prefix + nonce + AESGCM(kek).encrypt(nonce, body, prefix)


@dataclass(frozen=True, slots=True)
class PackedKeyring:
    """A keyring file taken apart, still closed."""

    root: str
    slot: str
    generation: int
    prefix: bytes = field(repr=False)
    sealed: bytes = field(repr=False)

    def open(self, kek: bytes) -> KeyringContent:
        """The content; raises KeyringDamagedError when the key does not fit or the bytes were altered."""
        try:
            nonce = self.sealed[:_NONCE_BYTES]
            body = AESGCM(kek).decrypt(nonce, self.sealed[_NONCE_BYTES:], self.prefix)
            return _content(json.loads(body))
        except (InvalidTag, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KeyringDamagedError(
                "the keyring does not open under its key: set it aside, its shares are lost"
            ) from error


def unpack(data: bytes) -> PackedKeyring:
    """Take a keyring file apart; raises BadMagicError, UnsupportedVersionError or KeyringDamagedError."""
    if data[: len(MAGIC)] != MAGIC:
        raise BadMagicError("not a keyring file: check the folder")
    version = int.from_bytes(data[8:10], "big")
    if version != VERSION:
        raise UnsupportedVersionError(f"keyring version {version}, this software reads {VERSION}: update it")
    size = int.from_bytes(data[10:_HEADER_AT], "big")
    end = _HEADER_AT + size
    if size > MAX_HEADER_BYTES or len(data) < end + _NONCE_BYTES:
        raise KeyringDamagedError("the keyring file is cut: set it aside, its shares are lost")
    return PackedKeyring(*_header(data[_HEADER_AT:end]), data[:end], data[end:])


def _header(raw: bytes) -> tuple[str, str, int]:
    """Root of trust, slot, generation."""
    try:
        header = json.loads(raw)
        root, slot, generation = header["root"], header["slot"], header["generation"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyringDamagedError("the keyring's header is no JSON: set the file aside") from error
    if not all(isinstance(name, str) and is_id(name) for name in (root, slot)):
        raise KeyringDamagedError("the keyring's header names no root of trust or slot: set the file aside")
    if type(generation) is not int or not 1 <= generation <= MAX_GENERATION:
        raise KeyringDamagedError("the keyring's header counts no writes: set the file aside")
    return root, slot, generation


def _content(body: dict[str, object]) -> KeyringContent:
    box, shares = body["box"], body["shares"]
    if not isinstance(box, str) or not isinstance(shares, dict):
        raise TypeError("box is hex, shares an object")
    parsed = {
        str(scope): {int(epoch): _secret(share) for epoch, share in by_epoch.items()}
        for scope, by_epoch in shares.items()
    }
    return KeyringContent(_secret(box), parsed)


def _secret(text: str) -> bytes:
    secret = bytes.fromhex(text)
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")
    return secret
