# SPDX-License-Identifier: Apache-2.0
"""The eye starts over a data folder of the software before, on a disk that takes nothing: full, or read-only."""

from __future__ import annotations

import gc
import shutil
import subprocess
from pathlib import Path

import pytest

from storage.layout import DataLayout
from storage.types import SegmentKind, TimeEvidence

from .disk_rig import T0_US
from .test_bad_disk import mounted, remount
from .test_start import _start, models_once, sound

__all__ = ["models_once", "sound"]


def fill(folder: Path) -> Path:
    """Nothing can be written there any more until the file that comes back is gone."""
    path = folder / "fill"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_the_first_start_after_an_update_needs_no_room(sound: Path, tmp_path: Path, how: str) -> None:
    disk = tmp_path / "disk"
    mounted(disk, "size=60m,mode=700")
    try:
        layout = DataLayout(disk / "device")
        shutil.copytree(sound, layout.root)
        before = _start(layout.root)  # with an hour that is held
        before.vault._store.append(SegmentKind.READS, b"x", at_us=T0_US)
        before.close()
        before.vault.close()
        layout.policies.unlink()
        del before
        gc.collect()
        filling = fill(disk) if how == "full" else remount(disk, "ro")
        parts = _start(layout.root)
        assert parts.policies.schedule.newest.seconds > 0
        parts._tend()
        if filling is None:
            remount(disk, "rw")
        else:
            filling.unlink()
        parts.retention.obey(parts.policies.poll())
        parts.vault.tend(TimeEvidence(T0_US, 1000, ("gnss", "office")))
        assert layout.policies.exists()
        assert "retention_policies_lost" in layout.audit.read_text()
        parts.close()
        parts.vault.close()
        del parts
        gc.collect()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
