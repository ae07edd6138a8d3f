# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import independent_reader as other
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_world import AGENCY_KEY, DEVICE_KEY, OTHER_KEY

from storage import seal as seal_module
from storage.errors import (
    BadMagicError,
    BadRecipientError,
    EnvelopeDamagedError,
    NotARecipientError,
    StorageError,
    TooLargeError,
    UnsupportedVersionError,
    WrongKeyError,
)
from storage.seal import MAX_RECIPIENTS, open_sealed, recipient_ids, seal
from storage.types import MAX_PEM_BYTES, Recipient

INFO, AAD = b"wayside/hit/1", b"hit-1"
BOTH = [Recipient.of(AGENCY_KEY.public_key()), Recipient.of(OTHER_KEY.public_key())]
BLOB = seal(BOTH, b"a hit", info=INFO, aad=AAD)


@pytest.mark.parametrize("key", [AGENCY_KEY, OTHER_KEY])
def test_each_recipient_opens_it(key) -> None:
    assert open_sealed(BLOB, key, info=INFO, aad=AAD) == b"a hit"
    assert other.open_envelope(BLOB, key, INFO, AAD) == b"a hit"


def test_it_names_its_recipients_and_nobody_else_opens_it() -> None:
    assert recipient_ids(BLOB) == [recipient.key_id for recipient in BOTH]
    with pytest.raises(NotARecipientError):
        open_sealed(BLOB, DEVICE_KEY, info=INFO, aad=AAD)


@pytest.mark.parametrize(("info", "aad"), [(b"other", AAD), (INFO, b"hit-2"), (INFO + AAD, b"")])
def test_it_opens_only_for_its_purpose(info, aad) -> None:
    with pytest.raises(WrongKeyError):
        open_sealed(BLOB, AGENCY_KEY, info=info, aad=aad)


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (b"", BadMagicError),
        (b"WAYSENV\n", EnvelopeDamagedError),
        (BLOB[:9] + b"\2" + BLOB[10:], UnsupportedVersionError),
        (BLOB[:10] + b"\0" + BLOB[11:], EnvelopeDamagedError),
        (BLOB[:10] + b"\x11" + BLOB[11:], EnvelopeDamagedError),
        (BLOB[:100], EnvelopeDamagedError),
        (BLOB[:-1], EnvelopeDamagedError),
        (BLOB + b"x", EnvelopeDamagedError),
    ],
)
def test_damage_is_told(blob, error) -> None:
    with pytest.raises(error):
        open_sealed(blob, AGENCY_KEY, info=INFO, aad=AAD)


@settings(max_examples=50)
@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at, change) -> None:
    blob = BLOB[:at] + bytes([BLOB[at] ^ change]) + BLOB[at + 1 :]
    with pytest.raises(StorageError):
        open_sealed(blob, AGENCY_KEY, info=INFO, aad=AAD)


def test_bounds(monkeypatch) -> None:
    with pytest.raises(BadRecipientError):
        seal([], b"", info=INFO)
    with pytest.raises(BadRecipientError):
        seal(BOTH * MAX_RECIPIENTS, b"", info=INFO)
    monkeypatch.setattr(seal_module, "MAX_ENVELOPE_BYTES", 300)
    with pytest.raises(TooLargeError):
        seal(BOTH, bytes(151), info=INFO)
    with pytest.raises(TooLargeError):
        open_sealed(bytes(301), AGENCY_KEY, info=INFO)


def pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_recipients_are_p256_keys() -> None:
    assert Recipient.from_pem(pem(AGENCY_KEY)) == Recipient.of(AGENCY_KEY.public_key())
    bad = [
        b"no pem",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        b"\n" * (MAX_PEM_BYTES + 1),
    ]
    for data in bad:
        with pytest.raises(BadRecipientError):
            Recipient.from_pem(data)
