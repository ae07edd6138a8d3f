# SPDX-License-Identifier: Apache-2.0
"""Signed documents: a label line, a line with key id and signature, the body. Nothing unsigned is parsed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sync.certificates import key_id
from sync.errors import BadList, BadSignature

MAX_HEAD_BYTES = 512  # bytes, both head lines together
_LABEL = re.compile(r"^[a-z0-9-]{1,32}$")


def sign_envelope(what: str, body: bytes, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign a body: ECDSA P-256 SHA-256 over `wayside/<what>/1` NUL body."""
    signature = private_key.sign(_message(what, body), ec.ECDSA(hashes.SHA256()))
    head = f"{key_id(private_key.public_key())} {base64.b64encode(signature).decode('ascii')}"
    return join_envelope(what, head, body)


def join_envelope(what: str, signature_line: str, body: bytes) -> bytes:
    """Put an envelope together from its parts."""
    return f"wayside-signed/1 {what}\n{signature_line}\n".encode() + body


def split_envelope(what: str, data: bytes) -> tuple[str, bytes]:
    """(signature line, body); raises BadList when the head is not of this kind. Verifies nothing."""
    label = f"wayside-signed/1 {what}\n".encode()
    if not _LABEL.match(what) or not data.startswith(label):
        raise BadList(f"not a signed {what}")
    end = data.find(b"\n", len(label), MAX_HEAD_BYTES)
    if end < 0:
        raise BadList(f"the signature line of the {what} is missing or too long")
    try:
        return data[len(label) : end].decode("ascii"), data[end + 1 :]
    except UnicodeDecodeError:
        raise BadList(f"the signature line of the {what} is not ASCII") from None


def open_envelope(
    what: str, data: bytes, public_keys: Sequence[ec.EllipticCurvePublicKey], *, max_bytes: int
) -> tuple[bytes, str]:
    """(body, key id) when one of the keys signed it; raises BadList or BadSignature."""
    if len(data) > max_bytes:
        raise BadList(f"the {what} has {len(data)} bytes, at most {max_bytes} allowed")
    line, body = split_envelope(what, data)
    signer, _, encoded = line.partition(" ")
    key = {key_id(key): key for key in public_keys}.get(signer)
    if key is None:
        raise BadSignature(f"the {what} is signed by a key that is not trusted here")
    try:
        key.verify(base64.b64decode(encoded, validate=True), _message(what, body), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise BadSignature(f"the signature of the {what} does not fit; it was altered or cut") from None
    return body, signer


def _message(what: str, body: bytes) -> bytes:
    return b"wayside/" + what.encode() + b"/1\0" + body
