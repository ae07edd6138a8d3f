# SPDX-License-Identifier: Apache-2.0
"""The real eye at work, under the environment of its unit: what it sealed is no longer in its memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backoffice.office import Office
from backoffice.opening import Opener
from storage.types import SegmentKind
from sync.schema import ImageRecord
from tests.firmware.test_memory_left import UNITS, environment_of, memory_of

from .conftest import WAYSIDE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUN_S = 150  # at most; it is ended when enough was read
READS = 4  # vehicles that have passed when the memory is looked into
SEALED_S = 4.0  # after its last frame a read is under seal within this time, also on a busy machine
PART = 64  # bytes from the middle of a record: no other one has them


def eye_of(folder: Path) -> int:
    """The process id of the eye that works in this folder."""
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit() and (proc / "cmdline").exists():
            words = (proc / "cmdline").read_bytes().split(b"\0")
            if b"eye" in words and b"service" in words and str(folder).encode() in b" ".join(words):
                return int(proc.name)
    raise AssertionError("no eye runs")


def wait_for(ready: Callable[[], bool], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_what_the_eye_sealed_is_not_in_its_memory(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [WAYSIDE, "demo", "--run-dir", str(folder), "--duration", str(RUN_S)]
    environment = {**os.environ, **environment_of(UNITS[0]), "PYTHONUNBUFFERED": "1"}
    out = tmp_path / "out.txt"
    with out.open("wb") as to, subprocess.Popen(command, stdout=to, stderr=to, env=environment) as demo:
        wait_for(lambda: out.read_text().count("  read  ") >= READS, RUN_S - 30)
        read_us = time.time_ns() // 1000
        time.sleep(SEALED_S)
        memory = list(memory_of(eye_of(folder)))
        demo.send_signal(signal.SIGINT)
    assert demo.returncode == 0, out.read_text()
    started = next(json.loads(line) for line in (folder / "logs" / "eye.log").read_text().splitlines())
    assert (started["event"], started["wiped"]) == ("memory_closed", True)
    reads, pictures = sealed_before(folder / "office", read_us)
    assert len(reads) >= READS
    assert len(pictures) >= len(reads)
    for payload in [*reads, *pictures]:
        middle = payload[len(payload) // 2 :][:PART]
        assert not any(middle in part for part in memory)


def sealed_before(root: Path, at_us: int) -> tuple[list[bytes], list[bytes]]:
    """Reads of before a time, and their pictures, as the office opens them."""
    office = Office.open(root)
    try:
        records = list(Opener(office, lambda problem: None).records())
    finally:
        office.close()
    reads = {
        r.read().read_id: r.payload
        for r in records
        if r.kind is SegmentKind.READS and r.read().captured_us < at_us
    }
    images = [ImageRecord.decode(r.payload) for r in records if r.kind is SegmentKind.IMAGES]
    return list(reads.values()), [image.data for image in images if image.read_id in reads]
