# SPDX-License-Identifier: Apache-2.0
"""`wayside verify --repair` mends what is safe while nothing runs; random damage is found, a repair harms nothing."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware.cli import main
from firmware.errors import FirmwareError
from firmware.repair import repair
from firmware.status import StatusServer
from firmware.verify import verify_device
from provisioning.identity import Identity
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.store_lock import is_written
from storage.types import Recipient

from .disk_rig import TroubledFiles
from .verify_rig import AGENCY, device, opened, segment, sound

__all__ = ["device", "sound"]


def test_a_repair_mends_what_is_safe_and_then_all_is_well(device: Path) -> None:
    before = opened(device)
    growing = next(
        p for p in sorted((device / "store" / "reads").glob("*.wseg")) if b"WAYSEND" not in p.read_bytes()
    )
    with growing.open("ab") as file:
        file.write(b"R\0\0\0\x20" + bytes(10))
    (device / "store" / "reads" / ".x.tmp").touch(mode=0o600)
    (device / "identity" / ".x.tmp").touch(mode=0o600)
    (device / "spool" / "hits" / "tmp" / "0011223344556677").write_bytes(b"half")
    segment(device).chmod(0o666)
    (device / "trust").chmod(0o755)
    assert not verify_device(device).ok
    done = repair(device)
    assert len(done) == 6
    report = verify_device(device)
    assert report.problems == ()
    assert stat.S_IMODE(segment(device).stat().st_mode) == 0o600
    assert opened(device) == before
    assert repair(device) == []


def test_no_repair_while_a_service_runs(device: Path) -> None:
    layout = DataLayout(device)
    ring = Keyring.open(layout.keyring, FileRootOfTrust(layout.trust))
    key = Identity.load(layout.identity).key
    recipients = [Recipient.of(AGENCY.public_key())]
    store = Store.open(
        layout.store, keyring=ring, recipients=recipients, signer=key, device_id="dev-1", boot_id="b"
    )
    (device / ".x.tmp").touch(mode=0o600)
    assert is_written(layout.store)
    with pytest.raises(FirmwareError, match="stop the services first"):
        repair(device)
    assert (device / ".x.tmp").exists()
    (device / "store" / "reads" / ".y.tmp").touch(mode=0o600)
    report = verify_device(device)
    assert report.figures["eye"] == "writes here now"
    assert report.ok  # what is a moment old is on its way to its place
    os.utime(device / ".x.tmp", (1, 1))
    assert {p.path.name for p in verify_device(device).problems} == {".x.tmp"}
    store.close()
    assert not is_written(layout.store)
    with Answering(layout.run / "sync.sock"), pytest.raises(FirmwareError, match="sync runs"):
        repair(device)


class Answering:
    """A service that answers on its socket."""

    def __init__(self, path: Path) -> None:
        self._server = StatusServer(path, lambda: {"service": "sync"})

    def __enter__(self) -> None:
        """It listens already."""

    def __exit__(self, *_: object) -> None:
        self._server.close()


def test_nothing_is_mended_in_a_folder_that_is_no_devices(tmp_path: Path) -> None:
    """A person's own folder, with a folder that happens to be named as ours: nothing in it is touched."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "store").mkdir()
    (home / "bin" / "tool").write_text("#!/bin/sh")
    (home / "bin" / "tool").chmod(0o755)
    (home / ".draft.tmp").write_text("my work")
    before = {path: path.lstat().st_mode for path in home.rglob("*")}
    for marks in ((), ("store/reads", "store/images")):
        for mark in marks:
            (home / mark).mkdir(mode=0o755)
            before[home / mark] = (home / mark).stat().st_mode
        with pytest.raises(FirmwareError):
            repair(home / "bin" / "..")
        assert {path: path.lstat().st_mode for path in home.rglob("*")} == before


def test_what_does_not_belong_to_the_device_stays_as_it_is(device: Path) -> None:
    strange = [device / "backup" / ".work.tmp", device / "backup" / "tool", device / "notes.txt"]
    (device / "backup").mkdir(mode=0o755)
    for path in strange:
        path.touch(mode=0o644)
        path.chmod(0o755)
    (device / "running").mkdir(mode=0o755)  # not `run`
    modes = {path: path.stat().st_mode for path in device.rglob("*")}
    problems = verify_device(device).problems
    told = {problem.path for problem in problems if problem.what == "does not belong here"}
    assert told >= {*strange, device / "running"}
    assert repair(device) == []
    assert {path: path.stat().st_mode for path in device.rglob("*")} == modes
    assert all("--repair" not in problem.do for problem in verify_device(device).problems)


def test_a_disk_that_refuses_the_repair_is_told(device: Path) -> None:
    (device / ".x.tmp").touch()
    files = TroubledFiles()
    files.refuse = 30
    with pytest.raises(FirmwareError, match="refused"):
        repair(device, files=files)


def test_repair_by_command(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (device / ".x.tmp").touch(mode=0o600)
    assert main(["verify", str(device)]) == 1
    assert main(["verify", str(device), "--repair"]) == 0
    assert "repaired: removed" in capsys.readouterr().out


# --- random damage ---

MATTERS = ("audit.jsonl", "receipts.jsonl", "keyring.wkr", ".wseg", ".slot")


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)


@st.composite
def harm(draw: st.DrawFn) -> tuple[str, float, float, int]:
    what = draw(st.sampled_from(["flip", "cut", "remove", "garbage", "stretch", "folder", "mode"]))
    return what, draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999)), draw(st.integers(1, 255))


def strike(root: Path, blow: tuple[str, float, float, int]) -> tuple[Path, bool]:
    """Harms one file; which, and whether a check has to find it."""
    what, which, where, value = blow
    found = files_of(root)
    path = found[int(which * len(found))]
    matters = path.name.endswith(MATTERS)
    data = path.read_bytes()
    at = int(where * len(data))
    if what == "flip":
        path.write_bytes(data[:at] + bytes([data[at] ^ value]) + data[at + 1 :])
    elif what == "cut":
        path.write_bytes(data[:at])
        matters = matters and not path.name.endswith(
            (".wseg", ".jsonl")
        )  # a cut at a record's end leaves no trace
    elif what == "remove":
        path.unlink()
        matters = path.name in {"audit.jsonl", "receipts.jsonl", "keyring.wkr"} or path.suffix == ".slot"
    elif what == "stretch":
        path.write_bytes(data + os.urandom(value))
    elif what == "garbage":
        path = path.with_name(f"g{value}-" + path.name)
        path.write_bytes(os.urandom(1 + at % 5000))
        path.chmod(0o600)
        matters = path.suffix == ".wseg"
    elif what == "folder":
        path.unlink()
        path.mkdir(mode=0o700)
    else:
        path.chmod(0o604)
        matters = not path.match("identity/*") and path.parent.name != "run"
    return path, matters


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blows=st.lists(harm(), min_size=1, max_size=3))
def test_random_damage_is_found_and_a_repair_harms_nothing(
    sound: Path, scratch: Path, blows: list[tuple[str, float, float, int]]
) -> None:
    device = scratch / "device"
    shutil.rmtree(device, ignore_errors=True)
    shutil.copytree(sound, device)
    struck = [strike(device, blow) for blow in blows]
    report = verify_device(device)
    assert len(report.lines()) > 3
    if len(struck) == 1 and struck[0][1]:
        assert not report.ok, struck
    try:
        before = opened(device)
    except StorageError:
        before = set()
    listed = {path for path in device.rglob("*") if not path.name.endswith(".tmp")}
    repair(device)
    again = verify_device(device)
    assert len(again.problems) <= len(report.problems)
    assert listed <= set(device.rglob("*"))
    if before:
        assert before <= opened(device)
