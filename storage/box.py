# SPDX-License-Identifier: Apache-2.0
"""Small things sealed at rest under a key of the keyring."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import BadMagicError, EnvelopeDamagedError

_BOX_MAGIC = b"WBX1"
_NONCE_BYTES = 12


class Box:
    """AES-256-GCM under a key of one label, for small things at rest."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Sealed bytes: magic, nonce, ciphertext; 32 bytes longer than the text."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _BOX_MAGIC + nonce + self._aead.encrypt(nonce, plaintext, aad)

    def open(self, blob: bytes, aad: bytes) -> bytes:
        """Plaintext; raises BadMagicError, or EnvelopeDamagedError when key, bytes or aad differ."""
        if blob[: len(_BOX_MAGIC)] != _BOX_MAGIC:
            raise BadMagicError("not a boxed file: check what was given")
        sealed = blob[len(_BOX_MAGIC) :]
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
        except (InvalidTag, ValueError) as error:
            raise EnvelopeDamagedError("the boxed file does not open here: fetch it again") from error
