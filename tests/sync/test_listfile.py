# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.certificates import key_id
from sync.errors import BadList, BadSignature, DeltaMismatch, ListError, ListExpired, RollbackRefused
from sync.hotlists.delta import apply_delta, make_delta
from sync.hotlists.entry import ListEntry
from sync.hotlists.envelope import MAX_HEAD_BYTES, open_envelope, sign_envelope
from sync.hotlists.listfile import (
    ListDocument,
    Mode,
    manifest_item,
    sign_list,
    sign_manifest,
    verify_list,
    verify_manifest,
)
from sync.limits import ListLimits
from sync.schema import ListManifest
from tests.sync.factories import HOUR_US, NOW_US, document, entry

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
KEYS = (KEY.public_key(),)


def verify(data: bytes, **changes: Any) -> ListDocument:
    options: dict[str, Any] = {"floor_version": 0, "now_us": NOW_US} | changes
    return verify_list(data, options.pop("keys", KEYS), **options).document


def resigned(data: bytes, edit: dict[str, Any]) -> bytes:
    body = json.loads(data.split(b"\n", 2)[2]) | edit
    return sign_envelope("list", json.dumps(body).encode(), KEY)


def test_a_signed_list_comes_back_as_it_was() -> None:
    original = document([entry("ZZ2"), entry("ZZ1")], categories={"scofflaw": "silent"})
    found = verify_list(sign_list(original, KEY), KEYS, floor_version=3, now_us=NOW_US)
    assert [item.plate for item in found.entries] == ["ZZ1", "ZZ2"]  # sorted by id
    assert dataclasses.replace(found.document, entries=()) == dataclasses.replace(original, entries=())
    assert found.document.categories["scofflaw"] is Mode.SILENT  # type: ignore[index]
    assert found.key_id == key_id(KEY.public_key())


def test_any_of_several_keys_may_sign() -> None:
    assert verify(sign_list(document(), KEY), keys=(OTHER.public_key(), *KEYS))


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        pytest.param(b"x" * 11, {"limits": ListLimits(max_list_bytes=10)}, BadList, id="1-too-large"),
        pytest.param(sign_envelope("manifest", b"{}", KEY), {}, BadList, id="2-another-kind"),
        pytest.param(
            b"wayside-signed/1 list\n" + b"a" * MAX_HEAD_BYTES, {}, BadList, id="2-no-signature-line"
        ),
        pytest.param(sign_list(document(), OTHER), {}, BadSignature, id="3-unknown-key"),
        pytest.param(sign_list(document(), KEY) + b" ", {}, BadSignature, id="3-altered"),
        pytest.param(sign_list(document(), KEY)[:-1], {}, BadSignature, id="3-cut"),
        pytest.param(sign_envelope("list", b"[" * 5000, KEY), {}, BadList, id="4-not-a-document"),
        pytest.param(resigned(sign_list(document(), KEY), {"extra": 1}), {}, BadList, id="4-extra-field"),
        pytest.param(
            resigned(sign_list(document(), KEY), {"version": "3"}), {}, BadList, id="4-text-for-number"
        ),
        pytest.param(sign_list(document(), KEY), {"list_id": "other"}, BadList, id="5-another-list"),
        pytest.param(
            sign_list(document(), KEY), {"limits": ListLimits(max_entries=0)}, BadList, id="6-too-many"
        ),
        pytest.param(
            sign_list(document([entry("ZZ1*")]), KEY),
            {"limits": ListLimits(max_star_entries=0)},
            BadList,
            id="6-too-many-stars",
        ),
        pytest.param(sign_list(document(), KEY), {"floor_version": 4}, RollbackRefused, id="7-rollback"),
        pytest.param(
            sign_list(document(), KEY), {"now_us": NOW_US + 48 * HOUR_US}, ListExpired, id="8-expired"
        ),
    ],
)
def test_each_rule_refuses(data: bytes, options: dict[str, Any], error: type[ListError]) -> None:
    with pytest.raises(error):
        verify(data, **options)


def test_an_office_cannot_sign_what_devices_refuse() -> None:
    with pytest.raises(BadList, match="twice"):
        sign_list(document([entry("ZZ1"), entry("ZZ1")]), KEY)
    with pytest.raises(BadList, match="too wide"):
        sign_list(document([entry("Z*")]), KEY)


def test_a_signature_for_one_kind_is_none_for_another() -> None:
    signed = sign_list(document(), KEY)
    moved = signed.replace(b"wayside-signed/1 list", b"wayside-signed/1 manifest", 1)
    with pytest.raises(BadSignature):
        open_envelope("manifest", moved, KEYS, max_bytes=10_000)


def test_manifest_rules() -> None:
    item = manifest_item(verify_list(sign_list(document(), KEY), KEYS, floor_version=0, now_us=NOW_US))
    manifest = ListManifest(version=5, issued_us=NOW_US, expires_us=NOW_US + HOUR_US, lists=(item,))
    signed = sign_manifest(manifest, KEY)
    assert verify_manifest(signed, KEYS, floor_version=5, now_us=NOW_US) == manifest
    with pytest.raises(RollbackRefused):
        verify_manifest(signed, KEYS, floor_version=6, now_us=NOW_US)
    with pytest.raises(ListExpired):
        verify_manifest(signed, KEYS, floor_version=5, now_us=NOW_US + HOUR_US)
    with pytest.raises(BadSignature):
        verify_manifest(signed, (OTHER.public_key(),), floor_version=5, now_us=NOW_US)
    with pytest.raises(BadList):
        verify_manifest(sign_envelope("manifest", b"{}", KEY), KEYS, floor_version=5, now_us=NOW_US)


def plates(*names: str) -> list[ListEntry]:
    return [entry(name) for name in names]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (plates("ZZ1", "ZZ2"), plates("ZZ2", "ZZ3")),
        (plates(), plates("ZZ1")),
        (plates("ZZ1"), plates()),
        ([entry("ZZ1", reason="old")], [entry("ZZ1", reason="new ñ")]),
    ],
)
def test_a_delta_ends_in_the_signed_bytes_of_the_next_version(
    before: list[ListEntry], after: list[ListEntry]
) -> None:
    old, new = sign_list(document(before), KEY), sign_list(document(after, version=4), KEY)
    result = apply_delta(old, make_delta(old, new))
    assert result == new
    assert verify(result, floor_version=4)


def test_a_delta_is_small() -> None:
    many = plates(*(f"ZZ{at:05d}" for at in range(500)))
    old, new = sign_list(document(many), KEY), sign_list(document(many[1:], version=4), KEY)
    assert len(make_delta(old, new)) < len(new) / 20


def test_a_delta_that_does_not_fit_is_refused() -> None:
    old, new = sign_list(document(plates("ZZ1")), KEY), sign_list(document(plates("ZZ2"), version=4), KEY)
    third = sign_list(document(plates("ZZ3"), version=5), KEY)
    delta = make_delta(old, new)
    with pytest.raises(DeltaMismatch, match="another file"):
        apply_delta(third, delta)
    with pytest.raises(DeltaMismatch, match="lead to"):
        apply_delta(old, delta.replace(b"ZZ2", b"ZZ9"))
    with pytest.raises(BadList, match="at most"):
        apply_delta(old, delta, ListLimits(max_delta_bytes=10))
    with pytest.raises(BadList):
        apply_delta(old, delta.replace(b'"remove"', b'"removes"'))
    with pytest.raises(DeltaMismatch, match="different lists"):
        make_delta(old, sign_list(document(list_id="other"), KEY))


def test_a_forged_delta_cannot_bring_an_entry_in() -> None:
    old, new = sign_list(document(plates("ZZ1")), KEY), sign_list(document(plates("ZZ2"), version=4), OTHER)
    with pytest.raises(BadSignature):
        verify(apply_delta(old, make_delta(old, new)))


SIGNED = sign_list(document(), KEY)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400), st.integers(0, len(SIGNED)), st.booleans())
def test_no_bytes_raise_anything_but_list_errors(noise: bytes, at: int, sign: bool) -> None:
    altered = SIGNED[:at] + noise + SIGNED[at + 1 :]
    for data in (noise, altered, sign_envelope("list", noise, KEY) if sign else b""):
        if data == SIGNED:
            continue
        with pytest.raises(ListError):
            verify(data)
        with pytest.raises(ListError):
            apply_delta(SIGNED, data)
        with pytest.raises(ListError):
            apply_delta(data, make_delta(SIGNED, SIGNED))
