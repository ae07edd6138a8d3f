# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import independent_reader as other
import pytest
import vector_maker
from cryptography.hazmat.primitives.asymmetric import ec

from storage.errors import (
    BadMagicError,
    HeaderDamagedError,
    NotARecipientError,
    SignatureInvalidError,
    UnsupportedVersionError,
    WrongShareError,
)
from storage.reader import read_segment

REFUSALS = {
    "magic": BadMagicError,
    "version": UnsupportedVersionError,
    "header": HeaderDamagedError,
    "signature": SignatureInvalidError,
    "share": WrongShareError,
    "recipient": NotARecipientError,
}
FILES = sorted(vector_maker.FOLDER.glob("*.txt"))


def test_the_vectors_are_what_their_maker_makes() -> None:
    made = {name: vector_maker.encode(*vector) for name, vector in vector_maker.vectors().items()}
    assert {path.stem: path.read_text() for path in FILES} == made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_readers_agree_on_each_vector(path) -> None:
    meta, data = vector_maker.decode(path.read_text())
    share = bytes.fromhex(meta["share"])
    private = ec.derive_private_key(int(meta["private_key"], 16), ec.SECP256R1())
    device = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(meta["device_key"]))
    if meta["expect"] in REFUSALS:
        with pytest.raises(REFUSALS[meta["expect"]]):
            read_segment(data, share=share, private_key=private, verify_key=device)
        with pytest.raises(other.Refused, match=meta["expect"]):
            other.open_segment(data, share, private, device)
        return
    content = read_segment(data, share=share, private_key=private, verify_key=device)
    theirs = other.open_segment(data, share, private, device)
    assert content.records == theirs.records == vector_maker.PAYLOADS[: int(meta["records"])]
    assert content.complete == theirs.complete == (meta["expect"] != "damaged")
    if content.complete:  # after damage the second reader stops, and cannot know
        assert content.closed == theirs.closed == (meta["expect"] == "good")
    assert bool(content.problems) == (meta["expect"] == "damaged")
