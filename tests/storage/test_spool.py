# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from storage_world import Killed, Scripted
from unsafe_disk import UnsafeDisk

from storage.errors import (
    BadIdError,
    DiskFullError,
    ItemDamagedError,
    ItemMissingError,
    SpoolFullError,
    TooLargeError,
    WriteFailedError,
)
from storage.files import OS_FILES, Files
from storage.spool import Spool, SpoolLimits


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool.open(tmp_path)


def test_put_read_ack(spool, tmp_path) -> None:
    assert spool.put("hit-1", b"one", kind="hit")
    assert not spool.put("hit-1", b"again", kind="hit")
    assert Spool.open(tmp_path).read("hit-1") == b"one"
    (item,) = spool.pending()
    assert (item.id, item.kind, item.size, item.attempts) == ("hit-1", "hit", 3, 0)
    spool.ack("hit-1")
    spool.ack("hit-1")
    assert spool.pending() == []
    assert spool.count() == 0
    assert not spool.put("hit-1", b"one", kind="hit")
    with pytest.raises(ItemMissingError):
        spool.read("hit-1")
    with pytest.raises(ItemMissingError):
        spool.failed("hit-1", "late")


def test_the_oldest_come_first(spool) -> None:
    for name in ("c", "a", "b"):
        spool.put(name, b"", kind="hit")
        time.sleep(0.01)
    assert [item.id for item in spool.pending()] == ["c", "a", "b"]
    assert [item.id for item in spool.pending(2)] == ["c", "a"]


def test_failures_are_counted_and_refusals_kept(spool) -> None:
    spool.put("a", b"body", kind="hit")
    spool.failed("a", "no link")
    spool.failed("a", "no link")
    assert spool.pending()[0].attempts == 2
    spool.failed("a", "refused: 422", permanent=True)
    assert spool.pending() == []
    assert [(item.id, item.reason) for item in spool.quarantined()] == [("a", "refused: 422")]
    assert not spool.put("a", b"body", kind="hit")
    spool.requeue("a")
    assert spool.read("a") == b"body"
    with pytest.raises(ItemMissingError):
        spool.requeue("a")


def test_a_requeued_item_starts_afresh(spool) -> None:
    spool.put("a", b"body", kind="hit")
    spool.failed("a", "refused", permanent=True)
    assert spool.quarantined_count() == 1
    spool.requeue("a")
    assert spool.quarantined_count() == 0
    assert spool.pending()[0].attempts == 0


def clocked(tmp_path, now: list[int]) -> Spool:
    return Spool.open(tmp_path, now_us=lambda: now[0])


YEAR_2026_US = 1_767_225_600_000_000


def test_what_is_past_retention_goes_wherever_it_lies(tmp_path) -> None:
    now = [YEAR_2026_US + 10]
    spool = clocked(tmp_path, now)
    for name in ("b", "a"):
        spool.put(name, b"old", kind="hit")
    spool.failed("a", "refused", permanent=True)
    now[0] += 10
    spool.put("new", b"new", kind="hit")
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 10) == []
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 11) == ["a", "b"]
    assert [item.id for item in spool.pending()] == ["new"]
    assert spool.quarantined() == []
    assert not list((tmp_path / "attempts").iterdir())
    assert not spool.put("a", b"old", kind="hit")  # and does not come back
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 11) == []


def test_a_damaged_item_expires_by_the_age_of_its_file(tmp_path) -> None:
    spool = clocked(tmp_path, [YEAR_2026_US])
    spool.put("a", b"body", kind="hit")
    path = tmp_path / "pending" / "a"
    path.write_bytes(b"rubbish")
    os.utime(path, ns=(0, (YEAR_2026_US + 5) * 1000))
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 5) == []
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 6) == ["a"]


def test_what_was_queued_by_a_clock_that_was_never_set_gets_a_whole_retention(tmp_path) -> None:
    now = [1_000_000]
    spool = clocked(tmp_path, now)
    spool.put("a", b"body", kind="hit")
    os.utime(tmp_path / "pending" / "a", ns=(0, now[0] * 1000))
    now[0] = YEAR_2026_US + 100
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US) == []
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 100) == []
    assert spool.expire(lambda at_us: at_us < YEAR_2026_US + 101) == ["a"]


def test_killed_while_expiring_the_next_call_finishes(tmp_path) -> None:
    for step in range(8):
        files = Scripted()
        folder = tmp_path / str(step)
        spool = Spool.open(folder, now_us=lambda: YEAR_2026_US, files=files)
        spool.put("a", b"body", kind="hit")
        files.plan = {len(files.calls) + step: "kill"}
        try:
            spool.expire(lambda at_us: at_us < YEAR_2026_US + 1)
        except Killed:
            again = clocked(folder, [YEAR_2026_US])
            again.expire(lambda at_us: at_us < YEAR_2026_US + 1)
        assert not list((folder / "pending").iterdir())
        assert not Spool.open(folder).put("a", b"body", kind="hit")


def test_a_temp_file_that_vanished_is_a_failed_write(tmp_path) -> None:
    class Vanishing(Files):
        def link(self, source: Path, target: Path) -> None:
            source.unlink()
            super().link(source, target)

    with pytest.raises(WriteFailedError):
        Spool.open(tmp_path, files=Vanishing()).put("a", b"", kind="hit")


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-1],
        lambda d: b"",
        lambda d: d[:-1] + b"X",
        lambda d: d.replace(b'"a"', b'"b"'),
        lambda d: d[:20],
    ],
)
def test_a_damaged_item_is_set_aside_and_not_lost(spool, tmp_path, damage) -> None:
    spool.put("a", b"body", kind="hit")
    path = tmp_path / "pending" / "a"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ItemDamagedError):
        spool.read("a")
    assert [item.id for item in spool.quarantined()] == ["a"]
    assert (tmp_path / "quarantine" / "a").exists()


def test_pending_goes_on_past_a_damaged_item(spool, tmp_path) -> None:
    spool.put("a", b"", kind="hit")
    (tmp_path / "pending" / "a").write_bytes(b"rubbish")
    spool.put("b", b"", kind="hit")
    assert [item.id for item in spool.pending()] == ["b"]


@pytest.mark.parametrize("bad", ["", "A", "../x", "a" * 65, "a.b"])
def test_ids_are_plain(spool, bad) -> None:
    for call in (
        lambda: spool.put(bad, b"", kind="hit"),
        lambda: spool.put("a", b"", kind=bad),
        lambda: spool.read(bad),
        lambda: spool.ack(bad),
    ):
        with pytest.raises(BadIdError):
            call()


def test_limits(tmp_path) -> None:
    spool = Spool.open(tmp_path, SpoolLimits(max_item_bytes=10, max_items=2, max_reason_chars=4))
    with pytest.raises(TooLargeError):
        spool.put("a", bytes(11), kind="hit")
    spool.put("a", bytes(10), kind="hit")
    spool.put("b", b"", kind="hit")
    with pytest.raises(SpoolFullError):
        spool.put("c", b"", kind="hit")
    spool.failed("a", "a long reason", permanent=True)
    assert spool.quarantined()[0].reason == "a lo"
    assert spool.put("c", b"", kind="hit")


def test_old_markers_and_temp_files_go(tmp_path) -> None:
    spool = Spool.open(tmp_path)
    spool.put("a", b"", kind="hit")
    spool.ack("a")
    (tmp_path / "tmp" / "stray").write_bytes(b"")
    Spool.open(tmp_path)
    assert (tmp_path / "tmp" / "stray").exists()
    later = time.time_ns() // 1000 + 8 * 86_400_000_000
    spool = Spool.open(tmp_path, now_us=lambda: later)
    assert not (tmp_path / "tmp" / "stray").exists()
    assert spool.put("a", b"", kind="hit")


PUT_STEPS = ["create", "write", "fsync", "link", "unlink", "fsync_dir"]
ACK_STEPS = ["create", "fsync_dir", "unlink", "unlink", "fsync_dir"]


@pytest.mark.parametrize("step", range(len(PUT_STEPS)))
def test_put_killed_at_each_step(tmp_path, step) -> None:
    files = Scripted()
    spool = Spool.open(tmp_path, files=files)
    files.kill_in(step)
    before = len(files.calls)
    with pytest.raises(Killed):
        spool.put("a", b"body", kind="hit")
    assert files.calls[before:] == PUT_STEPS[: step + 1]
    again = Spool.open(tmp_path)
    there = [item.id for item in again.pending()]
    assert there == (["a"] if step > PUT_STEPS.index("link") else [])
    assert again.put("a", b"body", kind="hit") == (not there)
    assert again.read("a") == b"body"


@pytest.mark.parametrize("step", range(len(ACK_STEPS)))
def test_ack_killed_at_each_step(tmp_path, step) -> None:
    Spool.open(tmp_path).put("a", b"body", kind="hit")
    files = Scripted()
    spool = Spool.open(tmp_path, files=files)
    files.kill_in(step)
    before = len(files.calls)
    with pytest.raises(Killed):
        spool.ack("a")
    assert files.calls[before:] == ACK_STEPS[: step + 1]
    again = Spool.open(tmp_path)
    assert [item.id for item in again.pending()] == (["a"] if step == 0 else [])
    again.ack("a")
    assert not again.put("a", b"body", kind="hit")
    assert list((tmp_path / "pending").iterdir()) == []


@pytest.mark.parametrize("step", range(8))
def test_setting_aside_killed_at_each_step_keeps_the_item(tmp_path, step) -> None:
    files = Scripted()
    spool = Spool.open(tmp_path, files=files)
    spool.put("a", b"body", kind="hit")
    files.kill_in(step)
    with pytest.raises(Killed):
        spool.failed("a", "no", permanent=True)
    again = Spool.open(tmp_path)
    assert len(again.pending()) + len(again.quarantined()) == 1


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, DiskFullError), (errno.EIO, WriteFailedError), (errno.EROFS, WriteFailedError)],
)
def test_disk_errors_are_told_and_leave_nothing(tmp_path, number, error) -> None:
    for step in range(3):
        files = Scripted()
        spool = Spool.open(tmp_path, files=files)
        files.plan = {len(files.calls) + step: number}
        with pytest.raises(error):
            spool.put("a", b"body", kind="hit")
        assert not error.permanent
        assert spool.pending() == []
        assert list((tmp_path / "tmp").iterdir()) == []


PUTTER = """
import sys; from pathlib import Path
from storage.spool import Spool
spool = Spool.open(Path(sys.argv[1]))
for n in range(int(sys.argv[2]), 100000):
    spool.put(f"hit-{n}", b"body %d" % n, kind="hit"); print("put", n, flush=True)
"""
SENDER = """
import sys; from pathlib import Path
from storage.spool import Spool
spool = Spool.open(Path(sys.argv[1]))
while True:
    for item in spool.pending(5):
        body = spool.read(item.id); print("sent", item.id.removeprefix("hit-"), flush=True)
        spool.ack(item.id); print("acked", item.id.removeprefix("hit-"), flush=True)
"""


def spawn(script: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *args], stdout=subprocess.PIPE, text=True)


def killed_output(child: subprocess.Popen[str]) -> list[tuple[str, int]]:
    child.send_signal(signal.SIGKILL)
    assert child.stdout is not None
    lines = child.stdout.read().split("\n")[:-1]
    child.stdout.close()
    child.wait()
    return [(what, int(n)) for what, n in (line.split() for line in lines)]


def test_two_processes_killed_lose_and_repeat_nothing(tmp_path) -> None:
    """What was put waits or was acknowledged; what was acknowledged is never seen again."""
    chance, start = random.Random(3), 0
    put: set[int] = set()
    acked: set[int] = set()
    sent: list[int] = []
    for _ in range(4):
        putter, sender = spawn(PUTTER, str(tmp_path), str(start)), spawn(SENDER, str(tmp_path))
        time.sleep(0.4 + chance.uniform(0, 0.3))
        first, second = (putter, sender) if chance.random() < 0.5 else (sender, putter)
        lines = killed_output(first) + killed_output(second)
        put |= {n for what, n in lines if what == "put"}
        round_sent = [n for what, n in lines if what == "sent"]
        assert not acked & set(round_sent)
        acked |= {n for what, n in lines if what == "acked"}
        sent += round_sent
        start = max(put, default=-1) + 1
    waiting = {int(item.id.removeprefix("hit-")) for item in Spool.open(tmp_path).pending(100_000)}
    assert put
    assert acked
    assert put <= waiting | set(sent)
    assert not waiting & acked
    again = [n for n in set(sent) if sent.count(n) > 1]
    assert len(again) <= 4  # only the one that was on its way when the sender was killed
    assert not any(Spool.open(tmp_path).put(f"hit-{n}", b"", kind="hit") for n in list(acked)[:20])


class SpoolMachine(RuleBasedStateMachine):
    """The outbox against a model: ids and what became of them, with reopenings in between."""

    ids = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["SPOOL_MACHINE"]) / str(time.monotonic_ns())
        self.spool = Spool.open(self.folder)
        self.waiting: dict[str, bytes] = {}
        self.known: set[str] = set()

    @rule(name=ids, body=st.binary(max_size=5))
    def put(self, name: str, body: bytes) -> None:
        assert self.spool.put(name, body, kind="hit") == (name not in self.known)
        if name not in self.known:
            self.waiting[name] = body
            self.known.add(name)

    @rule(name=ids)
    def ack(self, name: str) -> None:
        if name in self.waiting:
            self.spool.ack(name)
            del self.waiting[name]

    @rule(name=ids, permanent=st.booleans())
    def failed(self, name: str, permanent: bool) -> None:
        if name not in self.waiting:
            with pytest.raises(ItemMissingError):
                self.spool.failed(name, "no", permanent=permanent)
            return
        self.spool.failed(name, "no", permanent=permanent)
        if permanent:
            del self.waiting[name]

    @rule()
    def reopen(self) -> None:
        self.spool = Spool.open(self.folder, files=OS_FILES)

    @invariant()
    def what_waits_is_there(self) -> None:
        assert {item.id: self.spool.read(item.id) for item in self.spool.pending()} == self.waiting


def test_spool_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SPOOL_MACHINE", str(tmp_path))
    case = SpoolMachine.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
    case("runTest").runTest()


def test_a_marker_is_durable_before_a_start_removes_its_item(tmp_path) -> None:
    """Acknowledged, killed before the sync, started again, and then the power goes."""
    root = tmp_path / "disk"
    root.mkdir()
    disk = UnsafeDisk(root)
    spool = Spool.open(root / "hits", files=disk)
    spool.put("a", b"body", kind="hit")
    disk.kill_in(2)  # the marker is made and closed, its folder not synced
    with pytest.raises(Killed):
        spool.ack("a")
    disk.restart()
    assert Spool.open(root / "hits", files=disk).count() == 0
    disk.crash(lambda _strategy: False, tmp_path / "after")
    assert not Spool.open(tmp_path / "after" / "hits").put("a", b"body", kind="hit")
