# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import schema
from sync.errors import BadRecord, SyncError
from sync.limits import MAX_DOCUMENT_BYTES, MAX_IMAGE_HEADER_BYTES, MAX_RECORD_BYTES, MAX_SHARE_EPOCHS
from tests.sync.factories import NOW_US, hit_record, read_record

DOCUMENTS = [
    read_record(),
    read_record(
        position=schema.Position(lat=40.1, lon=-88.2, source="surveyed"),
        state="IL",
        state_confidence=0.8,
        chars=tuple(schema.CharReading(c=c, p=0.9, alt=(("8", 0.05),)) for c in "AB12345"),
        images=schema.ReadImages(crop_ref=schema.RecordRef(segment="seg-1", index=3)),
    ),
    hit_record(),
    hit_record(probability=None),
    schema.Heartbeat(device_id="dev-1", boot_id="b1", sent_us=NOW_US, health={"cpu_c": 61.5, "ok": True}),
    schema.HeartbeatReply(
        server_time_us=NOW_US,
        pull_requests=("seg-1",),
        documents=(schema.SignedDocument(kind="config", signed=b"x"),),
    ),
    schema.ListManifest(version=1, issued_us=1, expires_us=2),
    schema.ShareRequest(epochs=(1, 2)),
    schema.ShareReply(device_id="dev-1", shares={5: b"s" * 32}, missing=(6,)),
    schema.ImageRecord(read_id="r-1", kind=schema.ImageKind.CROP, media_type="image/jpeg", data=b"\xff\xd8"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: type(d).__name__)
def test_a_document_survives_encoding(document: schema.Record) -> None:
    data = document.encode()
    assert type(document).decode(data) == document
    assert type(document).decode(data).encode() == data


def test_json_is_canonical() -> None:
    data = read_record().encode()
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()


def test_a_hit_shows_its_crop_as_plain_base64() -> None:
    assert json.loads(hit_record(crop_jpeg=b"\xff\xfb\xef").encode())["crop_jpeg"] == "//vv"


def test_every_hit_says_verify_and_nothing_else() -> None:
    fields = json.loads(hit_record().encode())
    assert fields["advice"] == "verify before acting"
    fields["advice"] = "confirmed"
    with pytest.raises(BadRecord):
        schema.HitRecord.decode(json.dumps(fields).encode())


def test_unknown_fields_are_refused() -> None:
    fields = json.loads(read_record().encode()) | {"extra": 1}
    with pytest.raises(BadRecord, match="extra"):
        schema.ReadRecord.decode(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "A" * 13),
        ("text", "ab12345"),
        ("confidence", 1.5),
        ("confidence", float("nan")),
        ("read_id", "../etc"),
        ("captured_us", -1),
        ("v", 2),
        ("corners", [[0, 0]]),
        ("chars", [{"c": "Z", "p": 0.5, "alt": []}]),
        ("captured_us", "17"),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: object) -> None:
    fields = json.loads(read_record().encode()) | {field: value}
    with pytest.raises(BadRecord, match=r"ReadRecord refused"):
        schema.ReadRecord.decode(json.dumps(fields).encode())


def test_a_refusal_never_shows_the_plate() -> None:
    fields = json.loads(read_record("ZZ99999").encode()) | {"confidence": "ZZ99999", "chars": []}
    with pytest.raises(BadRecord) as caught:
        schema.ReadRecord.decode(json.dumps(fields).encode())
    assert "ZZ99999" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_sizes_are_bounded() -> None:
    with pytest.raises(BadRecord, match=str(MAX_RECORD_BYTES)):
        schema.ReadRecord.decode(b" " * (MAX_RECORD_BYTES + 1))
    with pytest.raises(BadRecord, match=str(MAX_DOCUMENT_BYTES)):
        schema.Heartbeat.decode(b" " * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(BadRecord):
        schema.ImageRecord.decode((MAX_IMAGE_HEADER_BYTES + 1).to_bytes(4, "big") + b"x" * 5000)
    with pytest.raises(ValueError, match="too_long"):
        schema.ShareRequest(epochs=tuple(range(MAX_SHARE_EPOCHS + 1)))


def test_a_manifest_names_each_list_once() -> None:
    item = schema.ManifestItem(list_id="a", version=1, size=1, sha256="0" * 64)
    with pytest.raises(ValueError, match="twice"):
        schema.ListManifest(version=1, issued_us=1, expires_us=2, lists=(item, item))


def test_hit_ids_depend_on_every_part() -> None:
    base = schema.hit_id("d", "r", "l", "e")
    assert base == schema.hit_id("d", "r", "l", "e")
    assert len({base, schema.hit_id("d", "r", "l", "x"), schema.hit_id("dr", "", "l", "e")}) == 3
    assert len(base) == 32


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_decoding_anything_raises_only_our_errors(data: bytes) -> None:
    for kind in (schema.ReadRecord, schema.ImageRecord, schema.HitRecord, schema.HeartbeatReply):
        with pytest.raises(SyncError):
            kind.decode(data)
