# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_world import HOUR, Killed, Scripted, World

from storage import keyring as keyring_module
from storage import keyring_file
from storage.errors import (
    BadMagicError,
    BadShareError,
    EnvelopeDamagedError,
    KeyringBusyError,
    KeyringDamagedError,
    KeyringError,
    KeyringMissingError,
    KeyringReadOnlyError,
    RootOfTrustError,
    SlotMissingError,
    StorageError,
    UnsupportedVersionError,
)
from storage.files import OS_FILES
from storage.keyring_file import fresh_content, pack, unpack
from storage.root_of_trust import MAX_SLOT_BYTES, FileRootOfTrust


def ring_path(world: World) -> Path:
    return world.root / "keyring" / "keyring.wkr"


def test_a_share_is_drawn_once_and_kept(world) -> None:
    share = world.keyring().share(HOUR)
    assert len(share) == 32
    assert world.keyring().share(HOUR) == share
    assert world.keyring(read_only=True).peek(HOUR) == share
    assert world.keyring().share(HOUR + 1) != share
    assert world.keyring().epochs() == [HOUR, HOUR + 1]
    assert world.keyring().peek(HOUR + 2) is None


def test_scopes_are_apart(world) -> None:
    ring = world.keyring()
    ring.share(HOUR)
    ring.import_share("pole-8", HOUR, b"8" * 32)
    ring.destroy([HOUR])
    assert ring.peek(HOUR) is None
    assert ring.peek(HOUR, "pole-8") == b"8" * 32
    assert ring.scopes() == ["pole-8"]
    ring.destroy([HOUR], scope="pole-8")
    assert world.keyring().epochs("pole-8") == []


@pytest.mark.parametrize(("scope", "share"), [("pole-8", b"short"), ("../x", bytes(32)), ("", bytes(32))])
def test_bad_shares_are_refused(world, scope, share) -> None:
    with pytest.raises(BadShareError):
        world.keyring().import_share(scope, HOUR, share)


def test_destroying_needs_a_fresh_key_whose_predecessor_is_gone(world) -> None:
    ring = world.keyring()
    ring.share(HOUR)
    ring.share(HOUR + 1)
    kept = ring.share(HOUR + 2)
    old_file, old_slots = ring_path(world).read_bytes(), ring.root.handles()
    ring.destroy([HOUR, HOUR + 1])
    assert world.keyring().epochs() == [HOUR + 2]
    assert world.keyring().peek(HOUR + 2) == kept
    assert len(old_slots) == 1
    assert not set(old_slots) & set(ring.root.handles())
    for handle in ring.root.handles():  # the old file opens under no key that is left
        with pytest.raises(KeyringDamagedError):
            unpack(old_file).open(ring.root.load(handle))
    ring_path(world).write_bytes(old_file)
    with pytest.raises(KeyringDamagedError, match="old copy"):
        world.keyring(read_only=True)


def steps_of_destroy(tmp_path: Path) -> list[str]:
    world = World(tmp_path)
    world.keyring().share(HOUR)
    files = Scripted()
    ring = world.keyring(files)
    before = len(files.calls)
    ring.destroy([HOUR])
    return files.calls[before:]


DESTROY_STEPS = [
    *("fsync_dir", "create", "write", "fsync", "replace", "fsync_dir"),  # the new key's slot
    *("create", "write", "fsync", "replace", "fsync_dir"),  # the keyring; its replace is the commit point
    *("write", "fsync", "unlink", "fsync_dir"),  # the old key's slot
]
COMMIT_STEP = 10  # killed before the keyring's replace or earlier: nothing happened


def test_the_steps_of_destroy_are_these(tmp_path) -> None:
    assert steps_of_destroy(tmp_path) == DESTROY_STEPS


# The first step may fail: what matters of it is tried again.
@pytest.mark.parametrize("step", range(1, len(DESTROY_STEPS)))
@pytest.mark.parametrize("how", ["kill", 5, 28])  # EIO, ENOSPC
def test_destroy_stopped_at_each_step_leaves_it_openable(world, step, how) -> None:
    ring = world.keyring()
    kept = ring.share(HOUR + 1)
    ring.share(HOUR)
    files = Scripted()
    ring = world.keyring(files)
    files.plan = {len(files.calls) + step: how}
    with pytest.raises((Killed, StorageError)):
        ring.destroy([HOUR])
    again = world.keyring()
    assert again.peek(HOUR + 1) == kept
    assert (again.peek(HOUR) is None) == (step >= COMMIT_STEP)
    assert len(again.root.handles()) == 1
    again.destroy([HOUR])
    assert world.keyring().epochs() == [HOUR + 1]


MAKING_STEPS = [
    *("fsync_dir", "fsync_dir", "fsync_dir"),  # the folder, and what a killed predecessor left in it
    *(
        "create",
        "write",
        "fsync",
        "replace",
        "fsync_dir",
    ),  # the mark that the root of trust gets its first key
    *("fsync_dir", "fsync_dir", "create", "write", "fsync", "replace", "fsync_dir"),  # the key's slot
    *("create", "write", "fsync", "replace", "fsync_dir"),  # the keyring; its replace is the commit point
    "unlink",  # the mark
]


def test_the_steps_of_making_are_these(world) -> None:
    files = Scripted()
    world.keyring(files)
    assert files.calls == MAKING_STEPS
    assert not (world.root / "keyring" / "making").exists()


@pytest.mark.parametrize("step", range(len(MAKING_STEPS)))
def test_making_stopped_at_each_step_leaves_it_openable(world, step) -> None:
    with pytest.raises(Killed):
        world.keyring(Scripted({step: "kill"})).share(HOUR)
    ring = world.keyring()
    share = ring.share(HOUR)
    assert world.keyring().peek(HOUR) == share
    assert len(ring.root.handles()) == 1
    assert [path.name for path in (world.root / "keyring").iterdir() if path.suffix == ".tmp"] == []


def test_a_reader_follows_the_writer(world) -> None:
    ring = world.keyring()
    reader = world.keyring(read_only=True)
    assert reader.epochs() == []
    share = ring.share(HOUR)
    assert reader.peek(HOUR) == share
    ring.destroy([HOUR])
    assert reader.peek(HOUR) is None


def test_a_reader_never_fails_while_the_writer_rewrites(world) -> None:
    ring = world.keyring()
    kept = ring.share(HOUR)
    stop, found = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            found.append(world.keyring(read_only=True).peek(HOUR))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for epoch in range(HOUR + 1, HOUR + 12):
            ring.share(epoch)
            ring.destroy([epoch])
    finally:
        stop.set()
        thread.join()
    assert found
    assert set(found) == {kept}


def test_a_reader_between_the_rewrite_and_the_end_of_the_old_key_tries_again(world, monkeypatch) -> None:
    ring = world.keyring()
    kept = ring.share(HOUR)
    load, replaced = FileRootOfTrust.load, []

    def load_late(root: FileRootOfTrust, handle: str) -> bytes:
        if not replaced:  # the writer comes in between, and has just overwritten the old key
            replaced.append(handle)
            ring.destroy([HOUR + 1])
            return bytes(32)
        return load(root, handle)

    monkeypatch.setattr(FileRootOfTrust, "load", load_late)
    assert world.keyring(read_only=True).peek(HOUR) == kept


def test_two_writers_lose_nothing(world) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from storage.keyring import Keyring; from storage.root_of_trust import FileRootOfTrust\n"
        "root = Path(sys.argv[1])\n"
        "ring = Keyring.open(root / 'keyring', FileRootOfTrust(root / 'trust'))\n"
        "[ring.import_share('pole-8', e, bytes(32)) for e in range(20)]\n"
    )
    ring = world.keyring()
    child = subprocess.Popen([sys.executable, "-c", script, str(world.root)])
    for epoch in range(20):
        ring.share(HOUR + epoch)
        if epoch % 5 == 4:
            ring.destroy([HOUR + epoch])
    assert child.wait(60) == 0
    assert ring.epochs("pole-8") == list(range(20))
    assert len(ring.epochs()) == 16


def test_a_reader_may_not_change_it(world) -> None:
    with pytest.raises(KeyringMissingError):
        world.keyring(read_only=True)
    world.keyring()
    reader = world.keyring(read_only=True)
    for change in (lambda: reader.share(HOUR), lambda: reader.destroy([HOUR])):
        with pytest.raises(KeyringReadOnlyError):
            change()


def test_a_busy_keyring_is_told(world, monkeypatch) -> None:
    ring = world.keyring()
    monkeypatch.setattr(keyring_module, "LOCK_TIMEOUT_S", 0.02)
    with ring._exclusive(), pytest.raises(KeyringBusyError):
        world.keyring()


def test_boxes(world) -> None:
    box = world.keyring().box("hot-lists")
    blob = box.seal(b"a list", b"list-1")
    assert world.keyring(read_only=True).box("hot-lists").open(blob, b"list-1") == b"a list"
    assert b"a list" not in blob
    ring = world.keyring()
    ring.share(HOUR)
    ring.destroy([HOUR])
    assert world.keyring().box("hot-lists").open(blob, b"list-1") == b"a list"
    for wrong in (
        lambda: world.keyring().box("other").open(blob, b"list-1"),
        lambda: box.open(blob, b"list-2"),
        lambda: box.open(blob[:-1], b"list-1"),
        lambda: box.open(blob[:6], b"list-1"),
    ):
        with pytest.raises(EnvelopeDamagedError):
            wrong()
    with pytest.raises(BadMagicError):
        box.open(b"", b"")


def test_another_machine_cannot_open_it(world, tmp_path) -> None:
    world.keyring().share(HOUR)
    clone = World(tmp_path / "clone")
    shutil.copytree(world.root / "keyring", clone.root / "keyring")
    with pytest.raises(KeyringError):
        clone.keyring(read_only=True)


def test_nothing_secret_is_in_the_file(world) -> None:
    share = world.keyring().share(HOUR)
    data = ring_path(world).read_bytes()
    assert share not in data
    assert share.hex().encode() not in data
    assert "b'" not in repr(world.keyring()._content)


GOOD = pack(fresh_content(), kek=bytes(32), slot="a", root="file", generation=1)


@settings(max_examples=50)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.booleans())
def test_no_byte_of_the_file_can_be_changed(at, change, cut) -> None:
    data = GOOD[:at] if cut else GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :]
    with pytest.raises((KeyringError, BadMagicError, UnsupportedVersionError)):
        unpack(data).open(bytes(32))


def test_a_header_over_its_bound_is_refused() -> None:
    size = (keyring_file.MAX_HEADER_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(KeyringDamagedError):
        unpack(GOOD[:10] + size + bytes(5000))


def test_file_root_of_trust(tmp_path) -> None:
    root = FileRootOfTrust(tmp_path / "trust")
    handle = root.store(b"secret")
    assert root.load(handle) == b"secret"
    assert root.handles() == [handle]
    assert root.best_effort
    root.destroy(handle)
    root.destroy(handle)
    assert root.handles() == []
    for bad in (handle, "../x"):
        with pytest.raises(SlotMissingError):
            root.load(bad)
    with pytest.raises(RootOfTrustError):
        root.store(bytes(MAX_SLOT_BYTES + 1))
    with pytest.raises(RootOfTrustError):
        FileRootOfTrust(tmp_path / "trust", files=Scripted({1: 28})).store(b"x")


def test_a_half_made_slot_does_not_outlive_the_next_start(world) -> None:
    world.keyring()
    stray = world.root / "trust" / ".abc.slot.0123.tmp"
    stray.write_bytes(b"a key in clear")
    world.keyring()
    assert not stray.exists()


def test_a_destroyed_slot_is_overwritten_before_it_goes(tmp_path) -> None:
    class Watching(Scripted):
        seen = b"?"

        def unlink(self, path: Path) -> None:
            self.seen = path.read_bytes()
            OS_FILES.unlink(path)

    files = Watching()
    root = FileRootOfTrust(tmp_path, files=files)
    root.destroy(root.store(b"secret"))
    assert files.seen == bytes(6)
