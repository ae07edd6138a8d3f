# SPDX-License-Identifier: Apache-2.0
"""The root of trust as a device is configured: who opens the keyring, and `wayside trust`."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from firmware import cli, services
from firmware.config import DeviceConfig, StorageConfig
from firmware.enrolled import LIST_BOX, open_keyring, root_of_trust
from firmware.errors import ExitCode
from firmware.status import StatusServer, socket_path
from firmware.trust_watch import PART
from firmware.wiring import EyeParts
from provisioning.handover import forget_agency
from provisioning.identity import Identity
from storage.audit import AuditLog
from storage.errors import KeyringElsewhereError, KeyringRolledBackError, RootOfTrustError
from storage.keyring import MAKING_FILE, Keyring
from storage.layout import KEYRING_FILE, DataLayout
from storage.root_of_trust import FileRootOfTrust
from storage.store_lock import is_written, lock_store
from storage.types import epoch_of
from sync.hotlists.store import ListStore
from tests.provisioning.conftest import FakeAgency
from tests.swtpm import Tpm, powered

HOUR = epoch_of(1_800_000_000_000_000)
UNITS = Path(__file__).parents[2] / "firmware" / "systemd"


class Unit:
    """A device's configuration file and data folder."""

    def __init__(self, folder: Path, tcti: str) -> None:
        self.path = folder / "wayside.toml"
        self.layout = DataLayout(folder / "data")
        self.tcti = tcti
        self.use("file")

    def use(self, root: str) -> StorageConfig:
        self.path.write_text(
            f'data_dir = "data"\n[storage]\nroot_of_trust = "{root}"\ntpm_tcti = "{self.tcti}"\n'
        )
        self.config = DeviceConfig(
            data_dir=self.layout.root, storage=StorageConfig(root_of_trust=root, tpm_tcti=self.tcti)
        )
        return self.config.storage

    def keyring(self, *, read_only: bool = False):
        return open_keyring(self.config.storage, self.layout, read_only=read_only)

    def run(self, *arguments: str) -> int:
        return cli.main(["trust", "--config", str(self.path), *arguments])

    def audited(self) -> list[str]:
        return re.findall(r'"event":"(keyring_\w+)"', self.layout.audit.read_text())


@pytest.fixture
def unit(tmp_path: Path, tpm: Tpm) -> Unit:
    return Unit(tmp_path, tpm.tcti)


@pytest.fixture
def chipless(tmp_path: Path) -> Unit:
    return Unit(tmp_path, "device:/dev/no-such-tpm")


@pytest.mark.parametrize("root", ["file", "tpm2"])
def test_the_configuration_says_where_the_key_is(unit, root) -> None:
    unit.use(root)
    share = unit.keyring().share(HOUR)
    reader = unit.keyring(read_only=True)
    assert (reader.peek(HOUR), reader.root.name) == (share, root)
    assert any(unit.layout.root.rglob("*.slot")) == (root == "file")


def test_a_move_there_and_back(unit, capsys) -> None:
    share = unit.keyring().share(HOUR)
    unit.use("tpm2")
    assert unit.run() == ExitCode.PROBLEM
    assert "wayside trust --move" in capsys.readouterr().err
    assert unit.run("--move") == ExitCode.OK
    assert unit.keyring().peek(HOUR) == share
    assert list(unit.layout.root.rglob("*.slot")) == []
    assert unit.run() == ExitCode.OK
    assert "root of trust: tpm2 (destroyed is gone)" in capsys.readouterr().out
    unit.use("file")
    with pytest.raises(KeyringElsewhereError):
        unit.keyring()
    assert unit.run("--move") == ExitCode.OK
    assert unit.keyring().peek(HOUR) == share
    assert root_of_trust(unit.config.storage, unit.layout, "tpm2").handles() == []
    assert unit.run() == ExitCode.OK
    assert "best effort" in capsys.readouterr().out
    assert unit.audited() == ["keyring_moved", "keyring_moved"]


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_move_that_left_keys_in_files_is_ended(unit, capsys, by_hand) -> None:
    share = unit.keyring().share(HOUR)
    unit.use("tpm2")
    assert unit.run("--move") == ExitCode.OK
    FileRootOfTrust(unit.layout.trust).store(b"the old key")  # as if cut before it was destroyed
    (unit.layout.keyring / MAKING_FILE).write_text("tpm2 file")
    assert unit.run() == ExitCode.OK
    assert "old keys are left in 'file'" in capsys.readouterr().out
    if by_hand:
        assert unit.run("--move") == ExitCode.OK
    else:
        unit.keyring()
    assert list(unit.layout.root.rglob("*.slot")) == []
    assert not (unit.layout.keyring / MAKING_FILE).exists()
    assert unit.keyring().peek(HOUR) == share


def test_a_reset_destroys_the_key_in_the_tpm(unit) -> None:
    unit.use("tpm2")
    keyring = unit.keyring()
    keyring.share(HOUR)
    (before,) = keyring.root.handles()
    lists = ListStore(unit.layout.lists, keyring.box(LIST_BOX))
    forget_agency(unit.layout, keyring, lists, AuditLog.open(unit.layout.audit))
    assert keyring.root.handles() != [before]
    assert unit.keyring().epochs() == []


def test_without_a_keyring_there_is_nothing_to_move(chipless, capsys) -> None:
    assert chipless.run("--move") == ExitCode.PROBLEM
    assert chipless.run() == ExitCode.PROBLEM
    assert "no keyring" in capsys.readouterr().err


def test_a_lost_key_is_told_by_the_service_and_ended_by_a_person(chipless, capsys) -> None:
    keyring = chipless.keyring()
    keyring.share(HOUR)
    lists = ListStore(chipless.layout.lists, keyring.box(LIST_BOX))
    lists.bind([])
    for slot in chipless.layout.root.rglob("*.slot"):
        slot.unlink()
    assert chipless.run() == ExitCode.PROBLEM
    assert "--start-afresh" in capsys.readouterr().err
    assert chipless.run("--start-afresh") == ExitCode.PROBLEM
    assert "--yes" in capsys.readouterr().err
    assert chipless.run("--start-afresh", "--yes") == ExitCode.OK
    assert "keyring.wkr.lost-" in capsys.readouterr().out
    again = chipless.keyring()
    assert again.epochs() == []
    assert ListStore(chipless.layout.lists, again.box(LIST_BOX)).load([], 0) == []
    assert chipless.audited() == ["keyring_started_afresh"]
    assert chipless.run("--start-afresh", "--yes") == ExitCode.PROBLEM
    assert "nothing to start afresh" in capsys.readouterr().err


def test_starting_afresh_is_refused_while_a_move_would_lose_nothing(unit, capsys) -> None:
    share = unit.keyring().share(HOUR)
    unit.use("tpm2")
    assert unit.run("--start-afresh", "--yes") == ExitCode.PROBLEM
    assert "opens in 'file'" in capsys.readouterr().err
    assert unit.run("--move") == ExitCode.OK
    assert unit.keyring().peek(HOUR) == share


@pytest.mark.parametrize("service", ["eye", "provision", ""])
@pytest.mark.parametrize("arguments", [["--move"], ["--start-afresh", "--yes"]])
def test_nothing_is_changed_while_a_service_runs(chipless, capsys, service, arguments) -> None:
    """Without a socket (a disk that was read-only at its start) the eye is known by the lock of its store."""
    chipless.keyring().share(HOUR)
    before = (chipless.layout.keyring / KEYRING_FILE).read_bytes()
    with contextlib.ExitStack() as running:
        if service:
            server = StatusServer(socket_path(chipless.layout.root, service), dict)
            running.callback(server.close)
        else:
            chipless.layout.store.mkdir()
            running.callback(os.close, lock_store(chipless.layout.store))
        assert chipless.run(*arguments) == ExitCode.PROBLEM
        assert re.search(
            rf"{service or 'a writer of the store'} runs: stop the services", capsys.readouterr().err
        )
        assert chipless.run() == ExitCode.OK
    assert (chipless.layout.keyring / KEYRING_FILE).read_bytes() == before


def test_no_eye_begins_to_write_while_the_keyring_moves(unit, monkeypatch) -> None:
    unit.keyring().share(HOUR)
    unit.layout.store.mkdir()
    unit.use("tpm2")
    seen, move = [], Keyring.move_to
    monkeypatch.setattr(
        Keyring, "move_to", lambda *given: [seen.append(is_written(unit.layout.store)), move(*given)]
    )
    assert unit.run("--move") == ExitCode.OK
    assert seen == [True]


def test_a_chip_that_died_leaves_files_as_the_way_on(unit, tpm, capsys) -> None:
    unit.use("tpm2")
    unit.keyring().share(HOUR)
    tpm.clear()
    unit.use("file")
    assert unit.run() == ExitCode.PROBLEM
    assert unit.run("--move") == ExitCode.PROBLEM
    assert "--start-afresh" in capsys.readouterr().err
    assert unit.run("--start-afresh", "--yes") == ExitCode.OK
    assert unit.keyring().epochs() == []


def test_a_tpm_that_is_not_there_says_what_to_do(chipless, capsys) -> None:
    chipless.keyring()
    chipless.use("tpm2")
    for arguments in ((), ("--move",), ("--start-afresh", "--yes")):
        assert chipless.run(*arguments) == ExitCode.PROBLEM
        assert re.search(r"no TPM at /dev/no-such-tpm|--move", capsys.readouterr().err)
    chipless.use("file")
    assert chipless.run() == ExitCode.OK


def test_each_service_can_reach_the_tpm_with_the_drop_in() -> None:
    added = (UNITS / "tpm2.conf").read_text()
    assert "\nSupplementaryGroups=tss\n" in added
    assert "\nDeviceAllow=/dev/tpmrm0 rw\n" in added
    for unit in UNITS.glob("wayside-*.service"):
        for keeps_tools_from_running in ("NoExecPaths=", "SystemCallFilter=", "MemoryDenyWriteExecute="):
            assert keeps_tools_from_running not in unit.read_text()


def test_a_service_tells_why_its_keyring_does_not_open(chipless) -> None:
    """The reason says what to do; of other storage errors only kind and place are logged."""
    chipless.use("tpm2")
    with capture_logs() as logs:
        assert services._guarded(lambda: chipless.keyring() and 0) == services.FAILURE_CODE
    (told,) = logs
    assert (told["event"], told["kind"]) == ("service_failed", "RootOfTrustError")
    assert "no TPM at /dev/no-such-tpm" in told["reason"]


def an_eye(unit: Unit) -> EyeParts:
    unit.layout.run.mkdir(parents=True)
    agency, identity = FakeAgency(), Identity.create(unit.layout.identity, "dev-1")
    identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)
    camera = {"name": "sim", "options": {"width": 320, "height": 240}}
    return EyeParts(DeviceConfig.model_validate({**unit.config.model_dump(), "camera": camera}), None)


def test_an_eye_keeps_its_key_in_the_tpm(unit) -> None:
    unit.use("tpm2")
    parts = an_eye(unit)
    try:
        share = parts.keyring.share(HOUR)
        assert parts.status()["root_of_trust"] == "tpm2"
        assert unit.keyring(read_only=True).peek(HOUR) == share
        assert list(unit.layout.root.rglob("*.slot")) == []
    finally:
        parts.close()


def moved(unit: Unit, _parts: EyeParts) -> None:
    """By hand, past the refusal."""
    keyring = unit.keyring()
    keyring.move_to(root_of_trust(unit.use("tpm2"), unit.layout))


def put_back(unit: Unit, parts: EyeParts) -> None:
    path = unit.layout.keyring / KEYRING_FILE
    older = path.read_bytes()
    parts.keyring.share(HOUR + 1)
    path.write_bytes(older)


@pytest.mark.parametrize(
    ("change", "error"), [(moved, KeyringElsewhereError), (put_back, KeyringRolledBackError)]
)
def test_an_eye_whose_keyring_was_changed_ends_and_goes_on_when_started_again(unit, change, error) -> None:
    parts = an_eye(unit)
    share = parts.keyring.share(HOUR)
    stop = threading.Event()
    with contextlib.ExitStack() as ends:
        ends.callback(parts.close)
        giving_up = threading.Timer(10.0, stop.set)
        ends.callback(giving_up.cancel)
        giving_up.start()
        threading.Timer(1.0, change, (unit, parts)).start()
        with pytest.raises(error):
            parts.run(stop)
    assert unit.keyring().peek(HOUR) == share


def health_of(parts: EyeParts) -> dict[str, str]:
    parts._look_around()
    (found,) = [part for part in parts.health.snapshot() if part["part"] == PART]
    return {name: str(found[name]) for name in ("condition", "code", "advice")}


@pytest.mark.usefixtures("tpm")  # skips where there is none
def test_a_chip_that_goes_away_is_in_the_health_until_it_is_back(tmp_path) -> None:
    with tempfile.TemporaryDirectory(prefix="swtpm-") as name, contextlib.ExitStack() as later:
        with powered(Path(name)) as chip:
            unit = Unit(tmp_path, chip.tcti)
            unit.use("tpm2")
            parts = an_eye(unit)
            later.callback(parts.close)
            kept = parts.keyring.share(HOUR)
            assert health_of(parts)["condition"] == "ok"
        with pytest.raises(RootOfTrustError):
            parts.keyring.share(HOUR + 1)
        told = health_of(parts)
        assert (told["condition"], told["code"]) == ("failed", "refused")
        assert "check storage.tpm_tcti" in told["advice"]
        assert parts.keyring.share(HOUR) == kept  # the hour that runs goes on
        with powered(Path(name)):
            parts.keyring.share(HOUR + 1)
            assert health_of(parts)["condition"] == "ok"
