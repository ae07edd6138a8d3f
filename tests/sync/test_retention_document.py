# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from storage.retention_schedule import MAX_RETENTION_S, MIN_RETENTION_S, RetentionPolicy
from sync.errors import BadList, BadSignature
from sync.hotlists.envelope import sign_envelope
from sync.retention_document import KIND, PolicyOffer, RetentionDocument, open_retention, sign_retention

KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
KEYS = [KEY.public_key()]


def document(number: int = 3, days: float = 30, **changed: Any) -> RetentionDocument:
    fields = {"version": "illinois-30", "issued_us": 1, "by": "clerk", "reason": "Rule 438.4"}
    return RetentionDocument(**{"number": number, "seconds": int(days * 86_400), **fields, **changed})


def test_a_policy_is_signed_and_opened() -> None:
    opened = open_retention(sign_retention(document(), KEY), KEYS)
    assert opened == document()
    assert opened.policy == RetentionPolicy(30 * 86_400, "illinois-30", 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", 0),
        ("seconds", MIN_RETENTION_S - 1),
        ("seconds", MAX_RETENTION_S + 1),
        ("version", "30 days"),
        ("version", ""),
        ("by", ""),
        ("reason", ""),
        ("reason", "x" * 501),
    ],
)
def test_what_is_out_of_bounds_is_refused(field, value) -> None:
    raw = document().model_dump() | {field: value}
    signed = sign_envelope(KIND, RetentionDocument.model_construct(**raw).encode(), KEY)
    with pytest.raises(BadList):
        open_retention(signed, KEYS)


def test_strangers_and_other_kinds_sign_no_policy() -> None:
    with pytest.raises(BadSignature):
        open_retention(sign_retention(document(), OTHER), KEYS)
    with pytest.raises(BadList):
        open_retention(sign_envelope("list", document().encode(), KEY), KEYS)
    with pytest.raises(BadList):
        open_retention(sign_retention(document(), KEY) + b" " * 9000, KEYS)
    relabelled = sign_envelope("list", document().encode(), KEY).replace(b" list\n", b" retention\n", 1)
    with pytest.raises(BadSignature):
        open_retention(relabelled, KEYS)


def offer(folder: Path, first: int = 0) -> PolicyOffer:
    return PolicyOffer(folder / "offer", KEYS, first)


def test_only_newer_policies_are_handed_on(tmp_path) -> None:
    assert offer(tmp_path).newest() is None
    offer(tmp_path).put(sign_retention(document(3), KEY))
    offer(tmp_path).put(sign_retention(document(3), KEY))  # another signature under the same words
    for refused in (document(2), document(3, 60)):
        with pytest.raises(BadList, match="refused"):
            offer(tmp_path).put(sign_retention(refused, KEY))
    with pytest.raises(BadSignature):
        offer(tmp_path).put(sign_retention(document(9), OTHER))
    offer(tmp_path).put(sign_retention(document(4, 60), KEY))
    assert offer(tmp_path).newest() == document(4, 60)


def test_the_bundles_number_is_a_floor(tmp_path) -> None:
    with pytest.raises(BadList):
        offer(tmp_path, first=5).put(sign_retention(document(4), KEY))
    offer(tmp_path, first=5).put(sign_retention(document(5), KEY))


def test_a_damaged_offer_is_taken_anew(tmp_path) -> None:
    (tmp_path / "offer").write_bytes(b"rubbish")
    offer(tmp_path).put(sign_retention(document(3), KEY))
    assert offer(tmp_path).newest() == document(3)
