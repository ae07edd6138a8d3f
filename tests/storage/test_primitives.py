# SPDX-License-Identifier: Apache-2.0
"""HPKE as RFC 9180 has it: the second implementation reproduces the RFC's vector and opens what the product seals."""

from __future__ import annotations

import independent_reader as other
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from storage_world import AGENCY_KEY, OTHER_KEY

from storage.errors import WrongKeyError
from storage.primitives import WRAPPED_BYTES, canonical_json, derive, framed, key_id_of, unwrap, wrap


def test_the_second_implementation_reproduces_rfc_9180_a_3() -> None:
    """Base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, first message."""
    private = ec.derive_private_key(
        int("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2", 16), ec.SECP256R1()
    )
    enc = bytes.fromhex(
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be"
        "863c403ce65c9bfcb9382657222d18c4"
    )
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    dh = private.exchange(ec.ECDH(), ephemeral)
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    key, nonce = other.hpke_key(dh, enc, private.public_key(), info, 0x0001, 16)
    sealed = AESGCM(key).encrypt(nonce, b"Beauty is truth, truth beauty", b"Count-0")
    assert sealed.hex() == (
        "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434"
    )


def test_wrapped_secrets_open_in_both_implementations() -> None:
    wrapped = wrap(AGENCY_KEY.public_key(), bytes(32), b"info")
    assert len(wrapped) == WRAPPED_BYTES
    assert other.hpke_open(wrapped, AGENCY_KEY, b"info") == bytes(32)
    theirs = other.hpke_seal(b"s" * 32, AGENCY_KEY.public_key(), b"info", OTHER_KEY)
    assert unwrap(AGENCY_KEY, theirs, b"info") == b"s" * 32


@pytest.mark.parametrize("change", ["key", "info", "bytes", "length", "point"])
def test_a_wrapped_secret_opens_only_as_it_was_wrapped(change) -> None:
    wrapped = wrap(AGENCY_KEY.public_key(), bytes(32), b"info")
    key = OTHER_KEY if change == "key" else AGENCY_KEY
    info = b"other" if change == "info" else b"info"
    if change == "bytes":
        wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    if change == "length":
        wrapped = wrapped[:20]
    if change == "point":
        wrapped = bytes(65) + wrapped[65:]
    with pytest.raises(WrongKeyError):
        unwrap(key, wrapped, info)


def test_small_parts_agree_with_the_second_implementation() -> None:
    assert derive(b"s" * 32, b"", b"i") == other.derive(b"s" * 32, b"", b"i")
    assert derive(b"s" * 32, b"salt", b"i") == other.derive(b"s" * 32, b"salt", b"i")
    assert key_id_of(AGENCY_KEY.public_key()) == other.key_id(AGENCY_KEY.public_key())
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


@given(st.lists(st.binary(max_size=3), max_size=3), st.lists(st.binary(max_size=3), max_size=3))
def test_framed_parts_are_never_mixed_up(one, two) -> None:
    assert (framed(*one) == framed(*two)) == (one == two)
