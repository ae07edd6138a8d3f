# SPDX-License-Identifier: Apache-2.0
"""A bad sector in one segment of a device: the pull tells of it and fetches all the others."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest
from test_pull_open import NOW, Pole, pole

from backoffice import pull
from backoffice.office import Office
from storage.types import EPOCH_US
from sync import pull as device_side

__all__ = ["pole"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("after", [0, 100])
def test_one_unreadable_segment_stops_no_other(
    office: Office, pole: Pole, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    for hour in range(3):
        pole.write(f"AB{hour}", NOW - hour * EPOCH_US)
    pole.store.close()
    bad = sorted(info.segment_id for info in pole.store.segments())[1]
    read = device_side._Handler._read

    def bad_sector(file: BinaryIO, size: int) -> bytes:
        if bad not in str(file.name):
            return read(file, size)
        if file.tell() < after:
            return read(file, min(size, after))
        with Path("/proc/self/mem").open("rb") as broken:  # its first page cannot be read: EIO
            return read(broken, size)

    monkeypatch.setattr(device_side._Handler, "_read", staticmethod(bad_sector))
    report = pull.pull(office, "pole-1", pole.url())
    assert report.segments == 6
    assert report.fetched == 5
    assert len(report.problems) == 1
    assert bad in report.problems[0]
