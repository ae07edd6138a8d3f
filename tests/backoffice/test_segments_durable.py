# SPDX-License-Identifier: Apache-2.0
"""What the office told a device, or itself, of a segment holds after a power cut: pushed and pulled pieces."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "storage"))

from hypothesis import strategies as st
from hypothesis.stateful import rule
from lossy import LONG, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run
from office_world import Clock, MadeDevice, make_hit, seal_hit
from storage_world import Killed
from unsafe_disk import UnsafeDisk

from backoffice import keys, retention, segments
from backoffice.db import open_database
from backoffice.hits import HitStore
from backoffice.office import Office
from backoffice.segments import ContentRange, SegmentFolder
from storage.files import Files

PIECE = 700
PUSHED = bytes(range(256)) * 8
PULLED = bytes(reversed(range(256))) * 8


class OfficeMachine(LossyMachine):
    """One segment is pushed and one pulled, piece by piece, over kills and power cuts."""

    def begin(self) -> None:
        self.acknowledged = False
        self.fetched = False

    def opened(self) -> None:
        self.folder = SegmentFolder(self.disk.root / "segments", files=self.disk)
        if self.acknowledged:
            assert self.pushed_path.read_bytes() == PUSHED
        if self.fetched:
            assert self.pulled_path.read_bytes() == PULLED

    @property
    def pushed_path(self) -> Path:
        return self.folder.path("pole-1", "pushed")

    @property
    def pulled_path(self) -> Path:
        return self.folder.path("pole-2", "pulled")

    @alive
    @rule(size=st.integers(1, PIECE))
    def push(self, size: int) -> None:
        self.returned(lambda: self.pushed(size))

    def pushed(self, size: int) -> None:
        """As a device does it: it asks what is here, and sends what follows."""
        state = self.folder.accept("pole-1", "pushed", ContentRange(0, -1, len(PUSHED)), b"")
        if not state.complete:
            data = PUSHED[state.held : state.held + size]
            piece = ContentRange(state.held, state.held + len(data) - 1, len(PUSHED))
            state = self.folder.accept("pole-1", "pushed", piece, data)
            assert state.taken
        self.acknowledged = self.acknowledged or state.complete

    @alive
    @rule(pieces=st.integers(1, 4))
    def pull(self, pieces: int) -> None:
        self.returned(lambda: self.pulled(pieces))

    def pulled(self, pieces: int) -> None:
        """As `backoffice.pull` does it."""
        held = self.folder.size("pole-2", "pulled")
        for _ in range(pieces):
            if held == len(PULLED):
                break
            piece = PULLED[held : held + PIECE]
            self.folder.append(self.pulled_path, held, piece)
            held += len(piece)
        self.folder.settle(self.pulled_path)
        self.fetched = self.fetched or held == len(PULLED)

    def teardown(self) -> None:
        assert self.disk.unknown() == set()
        super().teardown()


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch) -> None:
    class Limits:
        chunk_bytes = PIECE
        segment_bytes = 1 << 20

    monkeypatch.setattr(segments, "LIMITS", Limits)


def test_what_is_here_for_sure_stays() -> None:
    run(OfficeMachine)


@pytest.mark.slow
def test_what_is_here_for_sure_stays_in_many_runs() -> None:
    run(OfficeMachine, LONG)


@pytest.mark.parametrize("disk", [NoSync, NoNames])
def test_the_machine_finds_a_missing_sync(disk: type[UnsafeDisk]) -> None:
    finds_a_fault(OfficeMachine, disk)


def test_a_push_killed_at_each_call_goes_on(tmp_path) -> None:
    for step in range(60):
        root = tmp_path / str(step)
        root.mkdir()
        disk = UnsafeDisk(root)
        disk.kill_in(step)
        try:
            pushed(SegmentFolder(root / "segments", files=disk))
        except Killed:
            disk.restart()
            pushed(SegmentFolder(root / "segments", files=disk))
            assert (root / "segments" / "pole-1" / "pushed.wseg").read_bytes() == PUSHED
            assert [path.name for path in (root / "segments" / "pole-1").iterdir()] == ["pushed.wseg"]
        else:
            return
    raise AssertionError("a push has fewer calls than that")


def pushed(folder: SegmentFolder) -> None:
    state = folder.accept("pole-1", "pushed", ContentRange(0, -1, len(PUSHED)), b"")
    while not state.complete:
        first = state.held
        data = PUSHED[first : first + PIECE]
        piece = ContentRange(first, first + len(data) - 1, len(PUSHED))
        state = folder.accept("pole-1", "pushed", piece, data)


def test_the_database_syncs_each_commit(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    engine = open_database(tmp_path / "office.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()


DAY_US = 86_400_000_000


def test_a_body_that_a_power_cut_brings_back_is_removed_again(
    office: Office, device: MadeDevice, clock: Clock
) -> None:
    old = clock() - 31 * DAY_US
    hit = make_hit(read_id="old", at_us=old)
    HitStore(office, keys.load_purpose_key(office.layout, keys.HITS)).put(
        hit.hit_id, "pole-1", sealed := seal_hit(office, hit)
    )
    clock.now_us += 40 * DAY_US
    (body,) = office.layout.blobs.iterdir()
    retention.delete(office, retention.plan(office), "system")
    assert not body.exists()
    body.write_bytes(sealed)
    os.utime(body, (old / 1e6, old / 1e6))
    assert retention.plan(office).strays == [body]


def test_a_hit_is_marked_deleted_only_once_its_body_is_gone_for_good(
    office: Office, device: MadeDevice, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit = make_hit(read_id="old", at_us=clock())
    HitStore(office, keys.load_purpose_key(office.layout, keys.HITS)).put(
        hit.hit_id, "pole-1", seal_hit(office, hit)
    )
    clock.now_us += 40 * DAY_US
    synced: list[bool] = []

    def fsync_dir(_files: Files, folder: Path) -> None:
        if folder == office.layout.blobs:
            synced.append(HitStore(office, None).get(hit.hit_id).deleted_us is None)

    monkeypatch.setattr(Files, "fsync_dir", fsync_dir)
    retention.delete(office, retention.plan(office), "system")
    assert synced == [True]
    assert HitStore(office, None).get(hit.hit_id).deleted_us is not None


def test_a_row_of_a_killed_server_is_durable_before_it_counts_as_known(tmp_path, monkeypatch) -> None:
    """Killed between the write of a commit and its sync, the row shows after a restart; a repeat is answered by it."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    path = tmp_path / "office.db"
    script = (
        "import os, sys; from pathlib import Path\n"
        "from backoffice.db import insert_once, open_database, users\n"
        "engine = open_database(Path(sys.argv[1]))\n"
        "row = dict(name='a', role='officer', password='x', one_time=False, trained_on='2026-01-01', created_us=1)\n"
        "insert_once(engine, users, row)\n"
        "os._exit(0)  # as a kill: nothing is closed\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert in_the_file_itself(path) == []
    engine = open_database(path)
    assert in_the_file_itself(path) == ["a"]
    engine.dispose()


def in_the_file_itself(path: Path) -> list[str]:
    """The users in the database's file, without its write-ahead log: that was synced before it was copied there."""
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        return [str(name) for (name,) in connection.execute("SELECT name FROM users")]
    except sqlite3.OperationalError:  # not even the table
        return []
    finally:
        connection.close()
