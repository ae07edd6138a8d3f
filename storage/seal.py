# SPDX-License-Identifier: Apache-2.0
"""Envelopes: one message sealed to one or more agency keys, that the sealer cannot open again."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import (
    BadMagicError,
    BadRecipientError,
    EnvelopeDamagedError,
    NotARecipientError,
    TooLargeError,
    UnsupportedVersionError,
)
from storage.primitives import (
    SECRET_BYTES,
    TAG_BYTES,
    WRAPPED_BYTES,
    derive,
    framed,
    key_id_of,
    label,
    unwrap,
    wrap,
)
from storage.types import Recipient

MAGIC = b"WAYSENV\n"
VERSION = 1
MAX_ENVELOPE_BYTES = 64 << 20
MAX_RECIPIENTS = 16

_PREFIX = len(MAGIC) + 2 + 1  # magic, version, number of recipients
_SLOT = 8 + WRAPPED_BYTES  # key id, wrapped secret
_COMMITMENT = 32
_NONCE = bytes(12)  # each envelope has a key of its own


def seal(recipients: Sequence[Recipient], plaintext: bytes, *, info: bytes, aad: bytes = b"") -> bytes:
    """Envelope that any one recipient opens; `info` names the purpose, `aad` is bound and not carried."""
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise BadRecipientError(f"an envelope has 1 to {MAX_RECIPIENTS} recipients: enrol the agency's keys")
    if len(plaintext) > MAX_ENVELOPE_BYTES // 2:
        raise TooLargeError(f"plaintext is over {MAX_ENVELOPE_BYTES // 2} bytes: split it")
    secret = secrets.token_bytes(SECRET_BYTES)
    context = framed(info, aad)
    head = MAGIC + VERSION.to_bytes(2, "big") + bytes([len(recipients)])
    for recipient in recipients:
        wrapped = wrap(recipient.public_key, secret, label("envelope-secret") + context)
        head += bytes.fromhex(recipient.key_id) + wrapped
    key, commitment = derive(secret, b"", label("envelope-key") + context)
    head += commitment
    return head + AESGCM(key).encrypt(_NONCE, plaintext, head)


def open_sealed(blob: bytes, private_key: EllipticCurvePrivateKey, *, info: bytes, aad: bytes = b"") -> bytes:
    """Plaintext of an envelope; raises FormatError kinds, NotARecipientError or WrongKeyError."""
    body_at, wrapped = _find_slot(blob, key_id_of(private_key.public_key()))
    context = framed(info, aad)
    secret = unwrap(private_key, wrapped, label("envelope-secret") + context)
    key, commitment = derive(secret, b"", label("envelope-key") + context)
    head, body = blob[:body_at], memoryview(blob)[body_at:]
    if not hmac.compare_digest(commitment, head[-_COMMITMENT:]):
        raise EnvelopeDamagedError("the envelope's key commitment differs: it was altered")
    try:
        return AESGCM(key).decrypt(_NONCE, body, head)
    except InvalidTag as error:
        raise EnvelopeDamagedError("the envelope does not authenticate: it was altered or cut") from error


def recipient_ids(blob: bytes) -> list[str]:
    """Key ids that an envelope is sealed to; raises FormatError kinds."""
    count = _check_prefix(blob)
    return [blob[_PREFIX + i * _SLOT :][:8].hex() for i in range(count)]


def _check_prefix(blob: bytes) -> int:
    if len(blob) > MAX_ENVELOPE_BYTES:
        raise TooLargeError(f"envelope is over {MAX_ENVELOPE_BYTES} bytes: refuse its sender")
    if blob[: len(MAGIC)] != MAGIC:
        raise BadMagicError("not a sealed envelope: check what was given")
    if len(blob) < _PREFIX:
        raise EnvelopeDamagedError("the envelope is cut in its head: ask for it again")
    version = int.from_bytes(blob[8:10], "big")
    if version != VERSION:
        raise UnsupportedVersionError(f"envelope version {version}, this software reads {VERSION}: update it")
    count = blob[10]
    if not 1 <= count <= MAX_RECIPIENTS:
        raise EnvelopeDamagedError(f"the envelope names {count} recipients: it was altered")
    if len(blob) < _PREFIX + count * _SLOT + _COMMITMENT + TAG_BYTES:
        raise EnvelopeDamagedError("the envelope is cut: ask for it again")
    return count


def _find_slot(blob: bytes, key_id: str) -> tuple[int, bytes]:
    """Offset of the body and the wrapped secret for `key_id`."""
    ids = recipient_ids(blob)
    if key_id not in ids:
        raise NotARecipientError(f"sealed to {', '.join(ids)}, not to {key_id}: use one of those keys")
    at = _PREFIX + ids.index(key_id) * _SLOT + 8
    return _PREFIX + len(ids) * _SLOT + _COMMITMENT, blob[at : at + WRAPPED_BYTES]
