# SPDX-License-Identifier: Apache-2.0
"""A read whose pictures gave way on the device's full disk: the office finds it, opens it, and says what is missing."""

from __future__ import annotations

import json

import pytest
from test_pull_open import NOW, Pole, pole, run

from backoffice import pull
from backoffice.office import Office
from storage.types import SegmentKind
from sync.schema import ReadImages, ReadRecord, RecordRef

__all__ = ["pole"]
WHY = ("--purpose", "stolen-vehicle", "--reason", "dispatch asked", "--case", "25-1")


def write_with_picture(pole: Pole, text: str) -> str:
    """A read that names its picture; the segment of that."""
    pole.write(text)
    (segment,) = {info.segment_id for info in pole.store.segments() if info.kind is SegmentKind.IMAGES}
    read = ReadRecord.decode(pole.written[-2])
    named = read.model_copy(
        update={"read_id": "r-9", "images": ReadImages(crop_ref=RecordRef(segment=segment, index=0))}
    )
    pole.store.append(SegmentKind.READS, named.encode(), at_us=NOW)
    pole.store.close()
    return segment


@pytest.mark.parametrize("gave_way", [True, False])
def test_the_word_for_pictures_that_are_not_here(
    office: Office,
    pole: Pole,
    capsys: pytest.CaptureFixture[str],
    gave_way: bool,
) -> None:
    segment = write_with_picture(pole, "AB1234")
    if gave_way:
        next(info.path for info in pole.store.segments() if info.segment_id == segment).unlink()
    assert pull.pull(office, "pole-1", pole.url()).problems == []
    assert run(office, "search", "--plate", "AB1234", *WHY) == 0
    said = capsys.readouterr().out
    assert said.count("gave way on its full disk") == gave_way
    assert "2 reads" in said
    assert run(office, "search", "--plate", "AB1234", *WHY, "--json") == 0
    elsewhere = [json.loads(line)["pictures_not_here"] for line in capsys.readouterr().out.splitlines()]
    assert elsewhere == [[], [f"pole-1/{segment}"] if gave_way else []]
    assert run(office, "open", *WHY) == 0
