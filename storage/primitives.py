# SPDX-License-Identifier: Apache-2.0
"""The few cryptographic operations that everything here is made of, and how bytes are bound to a purpose.

HPKE is RFC 9180 base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; what the RFC calls aad is
always empty here, context is bound through `info`. A wrapped value is `enc || ct` (65 bytes, then text + 16).
"""

from __future__ import annotations

import hashlib
import json

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.errors import WrongKeyError

SECRET_BYTES = 32
TAG_BYTES = 16
KEY_ID_HEX = 16
WRAPPED_BYTES = 65 + SECRET_BYTES + TAG_BYTES  # HPKE: encapsulated P-256 point, secret, tag

_SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def label(what: str) -> bytes:
    """Domain label of a purpose: `wayside/<what>/1` and a zero byte."""
    return b"wayside/" + what.encode("ascii") + b"/1\0"


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8; raises ValueError or TypeError for what JSON lacks."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def framed(*parts: bytes) -> bytes:
    """Parts joined so that no two lists of parts give the same bytes: each after its 4-byte length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def key_id_of(public_key: ec.EllipticCurvePublicKey) -> str:
    """First 16 hex of the SHA-256 of the SubjectPublicKeyInfo in DER."""
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:KEY_ID_HEX]


def wrap(public_key: ec.EllipticCurvePublicKey, secret: bytes, info: bytes) -> bytes:
    """HPKE-seal a secret to a key; 113 bytes for a 32-byte secret."""
    return _SUITE.encrypt(secret, public_key, info=info)


def unwrap(private_key: ec.EllipticCurvePrivateKey, wrapped: bytes, info: bytes) -> bytes:
    """Open what `wrap` made; raises WrongKeyError when key, bytes or info differ."""
    try:
        return _SUITE.decrypt(wrapped, private_key, info=info)
    except (InvalidTag, ValueError) as error:
        raise WrongKeyError("the wrapped secret does not open with this key: it was altered") from error


def derive(secret: bytes, salt: bytes, info: bytes) -> tuple[bytes, bytes]:
    """HKDF-SHA256 to (AES-256 key, 32-byte commitment to that key)."""
    okm = HKDF(hashes.SHA256(), 64, salt, info).derive(secret)
    return okm[:32], okm[32:]


def sign(private_key: ec.EllipticCurvePrivateKey, what: str, message: bytes) -> bytes:
    """ECDSA P-256 SHA-256 in DER over the label of `what`, then the message."""
    return private_key.sign(label(what) + message, ec.ECDSA(hashes.SHA256()))


def signature_ok(public_key: ec.EllipticCurvePublicKey, what: str, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is of this key over this message for this purpose."""
    try:
        public_key.verify(signature, label(what) + message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
