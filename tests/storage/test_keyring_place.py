# SPDX-License-Identifier: Apache-2.0
"""A keyring and its root of trust: another one, a move, a lost one, an older copy, somebody else's keys."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from storage_world import HOUR, T0, Killed, Scripted, World

from storage import keyring as keyring_module
from storage.errors import (
    ForeignSlotsError,
    KeyringDamagedError,
    KeyringElsewhereError,
    KeyringError,
    KeyringMissingError,
    KeyringOpensError,
    KeyringReadOnlyError,
    KeyringRolledBackError,
    RootOfTrustError,
    StorageError,
)
from storage.keyring import MAKING_FILE, Keyring
from storage.keyring_afresh import start_afresh
from storage.keyring_check import read_packed, verify_keyring
from storage.keyring_file import fresh_content, pack
from storage.root_of_trust import FileRootOfTrust
from storage.root_tpm2 import TpmRootOfTrust
from storage.types import SegmentKind


class Elsewhere(FileRootOfTrust):
    """A second root of trust, which fails at the same script of calls as the first."""

    name = "elsewhere"


class Places:
    """One keyring, two roots of trust, one way to cut them all."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.root / "keyring"
        self.path = self.folder / "keyring.wkr"

    def there(self, files: Scripted | None = None) -> Elsewhere:
        return Elsewhere(self.world.root / "there", **({"files": files} if files else {}))

    def keyring(self, files: Scripted | None = None) -> Keyring:
        return Keyring.open(self.folder, self.there(files), **({"files": files} if files else {}))


@pytest.fixture
def places(world, monkeypatch) -> Places:
    monkeypatch.setattr(keyring_module, "RETRY_WAIT_S", 0.0)
    return Places(world)


def test_another_root_than_the_keyrings_is_told_and_changes_nothing(places) -> None:
    share = places.world.keyring().share(HOUR)
    places.there().store(b"of somebody else")
    for read_only in (True, False):
        with pytest.raises(KeyringElsewhereError, match=r"'file'.*'elsewhere'.*wayside trust --move"):
            Keyring.open(places.folder, places.there(), read_only=read_only)
    assert len(places.there().handles()) == 1
    assert places.world.keyring().peek(HOUR) == share


def test_a_move_keeps_the_content_under_a_fresh_key_and_empties_the_old_root(places) -> None:
    ring = places.world.keyring()
    share, blob = ring.share(HOUR), ring.box("lists").seal(b"text", b"")
    (old_key,) = [ring.root.load(handle) for handle in ring.root.handles()]
    old_file = places.path.read_bytes()
    moved = ring.move_to(places.there())
    assert (moved.peek(HOUR), moved.box("lists").open(blob, b"")) == (share, b"text")
    assert places.world.trust().handles() == []
    assert (moved.left, (places.folder / MAKING_FILE).exists()) == ("", False)
    (handle,) = moved.root.handles()
    assert moved.root.load(handle) != old_key
    packed = read_packed(places.folder)
    assert packed is not None
    assert packed.root == "elsewhere"
    assert packed.generation == 3
    assert places.keyring().share(HOUR) == share
    places.path.write_bytes(old_file)  # the file of before the move: its key is gone
    with pytest.raises(KeyringDamagedError):
        places.world.keyring()


def move_calls(places: Places) -> int:
    copy = Places(World(Path(shutil.copytree(places.world.root, f"{places.world.root}-tried"))))
    files = Scripted()
    copy.world.keyring(files).move_to(copy.there(files))
    return len(files.calls)


def test_a_move_cut_at_each_call_is_ended_by_the_next_try(places) -> None:
    share = places.world.keyring().share(HOUR)
    whole = shutil.copytree(places.world.root, f"{places.world.root}-whole")
    calls = move_calls(places)
    assert calls > 20
    moved_before = 0
    for at in range(calls):
        shutil.rmtree(places.world.root)
        shutil.copytree(whole, places.world.root)
        files = Scripted({at: "kill"})
        with pytest.raises(Killed):
            places.world.keyring(files).move_to(places.there(files))
        packed = read_packed(places.folder)
        assert packed is not None
        if packed.root == "file":
            ring = places.world.keyring()
            assert ring.peek(HOUR) == share
            ring = ring.move_to(places.there())
        else:
            moved_before += 1
            ring = places.keyring()
            ring.finish_move(places.world.trust())
        assert ring.peek(HOUR) == share
        assert len(places.there().handles()) == 1
        assert places.world.trust().handles() == []
        assert not (places.folder / MAKING_FILE).exists()
    assert 0 < moved_before < calls


def test_a_move_needs_a_root_that_holds_nobody_elses_key(places) -> None:
    share = places.world.keyring().share(HOUR)
    other = places.there().store(b"the key of another keyring")
    with pytest.raises(ForeignSlotsError, match="not at"):
        places.world.keyring().move_to(places.there())
    assert places.there().load(other) == b"the key of another keyring"
    assert places.world.keyring().peek(HOUR) == share
    with pytest.raises(KeyringReadOnlyError):
        places.world.keyring(read_only=True).move_to(places.there())


def test_a_data_folder_that_is_not_mounted_costs_no_key(places) -> None:
    """The root of trust is a chip, the folder an empty mount point: a new keyring would destroy the key of the old."""
    share = places.world.keyring().share(HOUR)
    away = places.folder.rename(places.world.root / "not mounted")
    with pytest.raises(ForeignSlotsError, match=r"mount its disk.*--start-afresh"):
        places.world.keyring()
    shutil.rmtree(places.folder)
    away.rename(places.folder)
    assert places.world.keyring().peek(HOUR) == share


def test_a_lost_slot_is_told_and_a_person_can_start_afresh(places) -> None:
    world = places.world
    world.keyring().share(HOUR)
    (handle,) = world.trust().handles()
    world.trust().destroy(handle)
    for read_only in (True, False):
        with pytest.raises(KeyringDamagedError, match="--start-afresh"):
            world.keyring(read_only=read_only)
    before = places.path.read_bytes()
    aside = start_afresh(places.folder, world.trust())
    assert aside is not None
    assert aside.read_bytes() == before
    ring = world.keyring()
    assert ring.epochs() == []
    assert ring.share(HOUR) == world.keyring().peek(HOUR)
    assert len(world.trust().handles()) == 1
    assert not (places.folder / MAKING_FILE).exists()


def test_starting_afresh_is_refused_while_the_keyring_opens(places) -> None:
    share = places.world.keyring().share(HOUR)
    with pytest.raises(KeyringOpensError):
        start_afresh(places.folder, places.world.trust())
    assert places.world.keyring().peek(HOUR) == share


def test_a_root_of_trust_that_fails_is_no_reason_to_start_afresh(places) -> None:
    places.world.keyring()
    before = places.path.read_bytes()
    with pytest.raises(RootOfTrustError):
        start_afresh(places.folder, TpmRootOfTrust("device:/nowhere"))
    assert places.path.read_bytes() == before


@pytest.mark.parametrize("lost", ["slot", "file", "folder", "header"])
def test_starting_afresh_cut_at_each_call_is_ended_by_the_next_try(places, lost) -> None:
    world = places.world
    world.keyring().share(HOUR)
    if lost == "slot":
        world.trust().destroy(world.trust().handles()[0])
    elif lost == "header":
        places.path.write_bytes(b"WAYKEYR\n" + bytes(30))
    else:
        shutil.rmtree(places.folder) if lost == "folder" else places.path.unlink()
    whole = shutil.copytree(world.root, f"{world.root}-whole")
    at, cut = 0, True
    while cut:
        shutil.rmtree(world.root)
        shutil.copytree(whole, world.root)
        files = Scripted({at: "kill"})
        try:
            start_afresh(places.folder, world.trust(files), files=files)
            cut = False
        except Killed:
            at += 1
        try:
            ring = world.keyring()
        except StorageError:
            start_afresh(places.folder, world.trust())
            ring = world.keyring()
        assert ring.epochs() == []
        ring.share(HOUR)
        assert len(world.trust().handles()) == 1
        assert not (places.folder / MAKING_FILE).exists()
    assert at > 20


def test_an_older_copy_put_back_under_a_running_process_is_told(places) -> None:
    world = places.world
    ring, reader = world.keyring(), world.keyring(read_only=True)
    first = ring.share(HOUR)
    older = places.path.read_bytes()
    second = ring.share(HOUR + 1)
    assert reader.peek(HOUR + 1) == second
    places.path.write_bytes(older)
    for process in (ring, reader):
        with pytest.raises(KeyringRolledBackError, match="older copy"):
            process.peek(HOUR + 1)
    with pytest.raises(KeyringRolledBackError):
        ring.share(HOUR + 2)
    again = world.keyring()  # a service that starts again goes on with what there is
    assert (again.peek(HOUR), again.peek(HOUR + 1)) == (first, None)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 0},
        {"generation": -1},
        {"generation": True},
        {"generation": 1 << 60},
        {"slot": ""},
        {"slot": "../x"},
        {"root": "A root"},
        {"root": ""},
    ],
)
def test_a_header_that_no_writer_makes_is_refused(places, change) -> None:
    places.folder.mkdir(parents=True)
    fields = {"generation": 1, "slot": "a", "root": "file", **change}
    places.path.write_bytes(pack(fresh_content(), kek=bytes(32), **fields))
    with pytest.raises(KeyringDamagedError):
        read_packed(places.folder)


@pytest.mark.parametrize("mark", [b"", b"\xff" * 5000, b"file", b"file file", b"tpm2 elsewhere third", b" "])
def test_no_mark_keeps_a_keyring_from_opening(places, mark) -> None:
    share = places.world.keyring().share(HOUR)
    (places.folder / MAKING_FILE).write_bytes(mark)
    ring = places.world.keyring()
    for root in (places.there(), places.world.trust()):
        ring.finish_move(root)
    assert ring.peek(HOUR) == share
    assert places.world.keyring().peek(HOUR) == share


def test_a_mark_that_cannot_be_read_is_told(places) -> None:
    places.world.keyring()
    (places.folder / MAKING_FILE).mkdir()
    with pytest.raises(KeyringError, match="check its mode"):
        places.world.keyring()


# --- The check that `wayside verify` does --------------------------------------------------------------------


def test_a_sound_keyring_has_no_problems(places) -> None:
    places.world.keyring().share(HOUR)
    assert verify_keyring(places.folder) == ()
    assert verify_keyring(places.folder, places.world.trust(), [HOUR]) == ()
    assert verify_keyring(places.world.root / "nothing") == ()


def test_the_check_names_each_problem_and_what_to_do(places) -> None:
    world = places.world
    world.keyring().share(HOUR)
    assert "2 hours have segments and no share" in str(
        verify_keyring(places.folder, world.trust(), [HOUR, HOUR + 1, HOUR + 2])
    )
    world.trust().store(b"old")
    assert "1 keys of before" in str(verify_keyring(places.folder, world.trust()))
    assert "--move" in str(verify_keyring(places.folder, places.there()))
    (places.folder / ".keyring.wkr.ab.tmp").touch()
    (places.folder / MAKING_FILE).touch()
    assert len(verify_keyring(places.folder)) == 2
    for slot in world.trust().handles():
        world.trust().destroy(slot)
    assert "does not open here" in str(verify_keyring(places.folder, world.trust()))
    for data in (b"", b"WAYKEYR\n", b"WAYKEYR\n\0\1" + bytes(100), b"x" * 100):
        places.path.write_bytes(data)
        (problem,) = verify_keyring(places.folder, world.trust(), [HOUR])
        assert "--start-afresh" in problem
    places.path.unlink()
    assert "no keyring" in str(verify_keyring(places.folder, world.trust(), [HOUR]))
    places.path.mkdir()
    assert "cannot be read" in str(verify_keyring(places.folder, world.trust()))


def test_the_check_changes_nothing(places) -> None:
    world = places.world
    store = world.store()
    store.append(SegmentKind.READS, b"x", at_us=T0)
    store.commit()
    before = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    verify_keyring(places.folder, world.trust(), [HOUR])
    verify_keyring(places.folder, places.there(), [HOUR])
    assert {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()} == before


def test_a_missing_keyring_is_still_waited_for(places) -> None:
    with pytest.raises(KeyringMissingError):
        places.world.keyring(read_only=True)
