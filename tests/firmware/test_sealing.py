# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable

import pytest

from firmware.sealing import Vault
from storage.believed_time import TimeEvidence
from storage.errors import DiskFullError, LowSpaceError, WriteFailedError
from storage.types import SealedRecordRef, SegmentKind
from sync.schema import ImageKind, ImageRecord

from .test_matching import make_read


class ScriptedStore:
    """A store whose commits fail as a test says."""

    def __init__(self) -> None:
        self.failures: list[WriteFailedError] = []
        self.index = 0
        self.gone: set[str] = set()

    def append(self, kind: SegmentKind, payload: bytes, *, at_us: int) -> SealedRecordRef:
        self.index += 1
        return SealedRecordRef(kind.value, self.index)

    def commit(self) -> None:
        if self.failures:
            failure = self.failures.pop(0)
            self.gone |= set(failure.segments)
            raise failure

    def broken(self, segments: Iterable[str]) -> frozenset[str]:
        return frozenset(segments) & self.gone

    def roll(self, now_us: int) -> None:
        """Nothing to close."""

    def close(self) -> None:
        """Nothing to close."""


class Nothing:
    """A spool that knows every id already, and no retention."""

    def put(self, item_id: str, body: bytes, *, kind: str) -> bool:
        return False

    def run(self, now: TimeEvidence) -> list[object]:
        return []


def _vault() -> tuple[Vault, ScriptedStore]:
    store = ScriptedStore()
    return Vault(store, Nothing(), Nothing(), []), store


def _image() -> ImageRecord:
    return ImageRecord(read_id="r1", kind=ImageKind.CROP, media_type="image/jpeg", data=b"x")


def test_what_the_disk_broke_is_never_acknowledged() -> None:
    vault, store = _vault()
    vault.keep_images([_image()], 1)
    vault.keep_read(make_read())
    broken = WriteFailedError("bad sector")
    broken.segments = ("images",)
    store.failures = [broken]
    with pytest.raises(WriteFailedError):
        vault.commit()
    assert [record.kind for record in vault.commit()] == ["reads"]
    assert vault.lost == 1


def test_a_full_disk_keeps_what_waits() -> None:
    vault, store = _vault()
    vault.keep_read(make_read())
    store.failures = [DiskFullError("full")]
    with pytest.raises(DiskFullError):
        vault.commit()
    assert len(vault.commit()) == 1
    assert vault.lost == 0


def test_on_a_nearly_full_disk_pictures_give_way_and_reads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    vault, store = _vault()
    append = store.append

    def low(kind: SegmentKind, payload: bytes, *, at_us: int) -> SealedRecordRef:
        if kind is SegmentKind.IMAGES:
            raise LowSpaceError("little space left")
        return append(kind, payload, at_us=at_us)

    monkeypatch.setattr(store, "append", low)
    assert vault.keep_images([_image()], 1) == {}
    vault.keep_read(make_read())
    assert [record.kind for record in vault.commit()] == ["reads"]
    assert vault.images_given_up == 1
