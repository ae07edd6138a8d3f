# SPDX-License-Identifier: Apache-2.0
"""What sync is wired to in the tests: a box, a clock that the test moves, and real spools."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import EnvelopeDamagedError
from storage.spool import Spool


class TestBox:
    """AES-256-GCM under one key, as the keyring's boxes are."""

    __test__ = False

    def __init__(self, key: bytes = b"k" * 32) -> None:
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._aead.encrypt(nonce, plaintext, aad)

    def open(self, blob: bytes, aad: bytes) -> bytes:
        try:
            return self._aead.decrypt(blob[:12], blob[12:], aad)
        except (InvalidTag, ValueError) as error:
            raise EnvelopeDamagedError("does not open") from error


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def spool(folder: Path, *bodies: bytes) -> Spool:
    """A spool with one item a body: h0, h1, ..."""
    found = Spool.open(folder)
    for at, body in enumerate(bodies):
        found.put(f"h{at}", body, kind="hit")
    return found
