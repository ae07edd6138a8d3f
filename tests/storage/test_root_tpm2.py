# SPDX-License-Identifier: Apache-2.0
"""The TPM as root of trust: what is special to it, cut at each call, and what it says when it does not work."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from storage_world import HOUR, Killed

from storage import root_tpm2
from storage.errors import RootOfTrustBusyError, RootOfTrustError, SlotMissingError
from storage.keyring import Keyring
from storage.root_tpm2 import DEFAULT_NV_BASE, OWNER_LAST, SLOT_COUNT, TpmRootOfTrust
from tests.swtpm import powered

BASE = f"{DEFAULT_NV_BASE:#x}"
OURS = ("-C", "o", "-a", "authread|authwrite|no_da")


class Cut(TpmRootOfTrust):
    """Killed before the call number `at` of a tool, and for ever after."""

    def __init__(self, tcti: str, at: int) -> None:
        super().__init__(tcti)
        self.at = at
        self.calls: list[str] = []

    def _run_once(self, command: Sequence[str], given: bytes, timeout_s: float) -> bytes:
        if len(self.calls) >= self.at:
            raise Killed
        self.calls.append(command[0])
        return super()._run_once(command, given, timeout_s)


STORE_CALLS = ["tpm2_getcap", "tpm2_nvdefine", "tpm2_nvwrite"]
DESTROY_CALLS = ["tpm2_nvread", "tpm2_nvwrite", "tpm2_nvundefine"]


def test_the_calls_of_store_and_destroy_are_these(tpm) -> None:
    root = Cut(tpm.tcti, 99)
    handle = root.store(b"secret")
    assert root.calls == STORE_CALLS
    root.calls.clear()
    root.load(handle)
    assert root.calls == ["tpm2_nvread"]  # one call: a reader's reload costs one
    root.calls.clear()
    root.destroy(handle)
    assert root.calls == DESTROY_CALLS


@pytest.mark.parametrize("at", range(len(STORE_CALLS)))
def test_store_cut_before_each_call_leaves_nothing_after_recovery(tpm, at) -> None:
    kept = tpm.root().store(b"kept")
    with pytest.raises(Killed):
        Cut(tpm.tcti, at).store(b"cut")
    root = tpm.root()
    assert root.handles() == [kept]
    root.recover()
    assert root.load(kept) == b"kept"
    assert _defined(tpm) == [DEFAULT_NV_BASE]


@pytest.mark.parametrize("at", range(len(DESTROY_CALLS)))
def test_destroy_cut_before_each_call_is_finished_by_the_next(tpm, at) -> None:
    handle = tpm.root().store(b"secret")
    with pytest.raises(Killed):
        Cut(tpm.tcti, at).destroy(handle)
    root = tpm.root()
    (left,) = root.handles()
    if at == len(DESTROY_CALLS) - 1:  # overwritten already
        assert left != handle
        for one in (handle, left):
            with pytest.raises(SlotMissingError):
                root.load(one)
    root.destroy(left)
    assert _defined(tpm) == []


DELETION_CALLS = [
    *("tpm2_getcap", "tpm2_nvread", "tpm2_nvread", "tpm2_getcap", "tpm2_nvread"),  # opening
    *STORE_CALLS,
    *("tpm2_getcap", "tpm2_nvread", "tpm2_nvread"),  # which slots there are
    *DESTROY_CALLS,
]


def a_deletion(tpm, folder: Path, at: int) -> tuple[list[str], bytes, list[str]]:
    """The calls until the cut, the share that stays, the slots before."""
    ring = Keyring.open(folder, tpm.root())
    kept, _ = ring.share(HOUR + 1), ring.share(HOUR)
    before, root = ring.root.handles(), Cut(tpm.tcti, at)
    with contextlib.suppress(Killed):
        Keyring.open(folder, root).destroy([HOUR])
    return root.calls, kept, before


def test_the_calls_of_a_deletion_are_these(tpm, tmp_path) -> None:
    assert a_deletion(tpm, tmp_path / "keyring", 99)[0] == DELETION_CALLS


@pytest.mark.parametrize("at", range(len(DELETION_CALLS) + 1))
def test_a_deletion_cut_before_each_call_opens_and_keeps_no_old_key(tpm, tmp_path, at) -> None:
    _, kept, before = a_deletion(tpm, tmp_path / "keyring", at)
    again = Keyring.open(tmp_path / "keyring", tpm.root())
    after = again.root.handles()
    assert again.peek(HOUR + 1) == kept
    assert len(after) == 1
    assert (again.peek(HOUR) is None) == (after != before) == (at >= len(DELETION_CALLS) - 6)


def test_a_reader_asks_the_tpm_once_a_change_and_not_once_a_look(tpm, tmp_path) -> None:
    ring = Keyring.open(tmp_path / "keyring", tpm.root())
    root = Cut(tpm.tcti, 99)
    reader = Keyring.open(tmp_path / "keyring", root, read_only=True)
    for _ in range(100):
        reader.peek(HOUR)
    assert root.calls == ["tpm2_nvread"]
    share = ring.share(HOUR)
    assert {reader.peek(HOUR) for _ in range(100)} == {share}
    assert root.calls == ["tpm2_nvread"] * 2


@pytest.mark.usefixtures("one_tpm")  # skips where there is none
def test_a_power_cut_keeps_what_was_stored_and_brings_nothing_back() -> None:
    with tempfile.TemporaryDirectory(prefix="swtpm-") as name:
        with powered(Path(name)) as tpm:
            gone, kept = tpm.root().store(b"gone"), tpm.root().store(b"kept")
            tpm.root().destroy(gone)
        with powered(Path(name)) as tpm:
            assert tpm.root().handles() == [kept]
            assert tpm.root().load(kept) == b"kept"
            with pytest.raises(SlotMissingError):
                tpm.root().load(gone)


def _defined(tpm) -> list[int]:
    return [int(text, 16) for text in re.findall(rb"0x\w+", tpm.tool("tpm2_getcap", "handles-nv-index"))]


def test_what_is_destroyed_is_overwritten_before_it_goes(tpm) -> None:
    handle = tpm.root().store(b"secret of the keyring")
    with pytest.raises(Killed):
        Cut(tpm.tcti, 2).destroy(handle)
    assert b"secret" not in tpm.tool("tpm2_nvread", BASE, "-C", BASE)


def test_no_secret_is_in_an_argument_or_a_file(tpm, monkeypatch) -> None:
    seen: list[object] = []
    run = root_tpm2.subprocess.run

    def watch(command, **more):
        seen.append((command, more["env"]))
        return run(command, **more)

    monkeypatch.setattr(root_tpm2.subprocess, "run", watch)
    secret = b"abcdefgh" * 4
    root = tpm.root()
    handle = root.store(secret)
    assert root.load(handle) == secret
    root.destroy(handle)
    for text in (secret.decode(), secret.hex()):
        assert text not in repr(seen)


def test_an_index_of_somebody_else_in_the_range_is_left_alone(tpm) -> None:
    read_free, closed, empty = (f"{DEFAULT_NV_BASE + n:#x}" for n in range(3))
    tpm.tool("tpm2_nvdefine", read_free, "-s", "32", *OURS)
    tpm.tool("tpm2_nvwrite", read_free, "-C", read_free, "-i", "-", given=b"of another program".ljust(32))
    tpm.tool("tpm2_nvdefine", closed, "-s", "64", *OURS, "-p", "its password")
    tpm.tool("tpm2_nvwrite", closed, "-C", closed, "-P", "its password", "-i", "-", given=bytes(64))
    tpm.tool("tpm2_nvdefine", empty, "-s", "64", "-C", "o", "-a", "ownerread|ownerwrite")
    root = tpm.root()
    root.recover()
    handle = root.store(b"ours")
    assert root.handles() == [handle]
    root.destroy(handle)
    assert _defined(tpm) == [DEFAULT_NV_BASE + n for n in range(3)]


def test_two_keyrings_in_one_tpm_keep_to_their_ranges(tpm) -> None:
    one, two = tpm.root(), tpm.root(DEFAULT_NV_BASE + SLOT_COUNT)
    first, second = one.store(b"one"), two.store(b"two")
    assert (one.handles(), two.handles()) == ([first], [second])
    with pytest.raises(SlotMissingError, match="tpm_nv_base"):
        two.load(first)
    two.destroy(first)
    assert one.load(first) == b"one"


def test_a_range_that_is_full_says_so(tpm) -> None:
    root = tpm.root()
    for _ in range(SLOT_COUNT):
        root.store(b"x")
    with pytest.raises(RootOfTrustError, match="tpm_nv_base"):
        root.store(b"x")


class Late(TpmRootOfTrust):
    """While `late`, the TPM does what it is told by this call, and answers none after it in time."""

    late = ""

    def _run(self, tool: str, *arguments: str, given: bytes = b"") -> bytes:
        if self.late == "after":
            raise RootOfTrustBusyError("the TPM did not answer")
        told = super()._run(tool, *arguments, given=given)
        if tool == self.late:
            self.late = "after"
            raise RootOfTrustBusyError("the TPM did not answer")
        return told


@pytest.mark.parametrize("call", ["tpm2_nvdefine", "tpm2_nvwrite"])
def test_a_tpm_that_is_late_again_and_again_is_not_filled_up(tpm, tmp_path, call) -> None:
    """What a call that was not answered left in the TPM goes before the next key is stored there."""
    root = Late(tpm.tcti)
    ring = Keyring.open(tmp_path / "keyring", root)
    for hour in range(SLOT_COUNT + 2):
        ring.share(HOUR + hour)
    for hour in range(SLOT_COUNT + 1):
        root.late = call
        with contextlib.suppress(RootOfTrustError):
            ring.destroy([HOUR + hour])
        assert root.late == "after"
        root.late = ""
    ring.destroy([*range(HOUR, HOUR + SLOT_COUNT + 1)])
    assert ring.epochs() == [HOUR + SLOT_COUNT + 1]
    assert len(_defined(tpm)) == 1


def test_a_tpm_that_is_full_says_what_to_do(tpm) -> None:
    indices = iter(range(OWNER_LAST, OWNER_LAST - 500, -1))
    for size in ("2048", "512"):
        with contextlib.suppress(subprocess.CalledProcessError):
            for index in indices:
                tpm.tool("tpm2_nvdefine", f"{index:#x}", "-s", size, *OURS)
    with pytest.raises(RootOfTrustError, match="no room for another index: remove") as told:
        tpm.root().store(bytes(1024))
    assert told.value.permanent


def test_an_owners_password_is_told(tpm) -> None:
    tpm.tool("tpm2_changeauth", "-c", "owner", "a password")
    with pytest.raises(RootOfTrustError, match="password of its owner"):
        tpm.root().store(b"x")


def test_a_tpm_in_lockout_still_serves(tpm) -> None:
    """Wrong passwords for other things in the TPM do not keep a device from deleting."""
    tpm.tool("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "10000", "-l", "10000")
    index = f"{DEFAULT_NV_BASE + 100:#x}"
    tpm.tool("tpm2_nvdefine", index, "-s", "8", "-C", "o", "-a", "authread|authwrite", "-p", "right")
    tpm.tool("tpm2_nvwrite", index, "-C", index, "-P", "right", "-i", "-", given=bytes(8))
    with contextlib.suppress(subprocess.CalledProcessError):
        tpm.tool("tpm2_nvread", index, "-C", index, "-P", "wrong")
    told = tpm.tool("tpm2_getcap", "properties-variable").decode()
    assert re.search(r"inLockout:\s+1", told), told
    root = tpm.root()
    root.destroy(root.store(b"x"))
    assert root.handles() == []


@pytest.mark.parametrize("tcti", ["swtpm:path=/nowhere/at-all", "nonsense", "device:/dev/null"])
def test_no_tpm_behind_the_configured_way(tpm, tcti) -> None:
    with pytest.raises(RootOfTrustError, match=r"storage\.tpm_tcti|check it with"):
        TpmRootOfTrust(tcti).handles()


def test_no_device_says_what_else_could_be_done(tmp_path) -> None:
    with pytest.raises(RootOfTrustError, match=r"no TPM at .*root_of_trust to file"):
        TpmRootOfTrust(f"device:{tmp_path / 'tpmrm0'}").handles()


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_device_that_may_not_be_used_names_the_group() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        device = Path(name) / "tpmrm0"
        device.touch(mode=0o000)
        with _as_nobody(), pytest.raises(RootOfTrustError, match="group tss"):
            TpmRootOfTrust(f"device:{device}").handles()


def test_without_the_tools_the_package_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RootOfTrustError, match="apt-get install tpm2-tools"):
        TpmRootOfTrust("swtpm").handles()


def test_a_tpm_that_does_not_answer_is_given_up_in_time(monkeypatch, tmp_path) -> None:
    slow = tmp_path / "tpm2_getcap"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(root_tpm2, "TOOL_TIMEOUT_S", 0.2)
    with pytest.raises(RootOfTrustBusyError, match="did not answer tpm2_getcap") as told:
        TpmRootOfTrust("swtpm").handles()
    assert not told.value.permanent


def test_the_tools_know_of_our_environment_only_what_they_need(monkeypatch, tmp_path) -> None:
    tool, told = tmp_path / "tpm2_getcap", tmp_path / "told"
    tool.write_text(f"#!/bin/sh\n/usr/bin/env > {told}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=165")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("TPM2TOOLS_ERRATA", "x")
    assert TpmRootOfTrust("swtpm").handles() == []
    names = {line.partition("=")[0] for line in told.read_text().splitlines()} - {
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert names == {"PATH", "GLIBC_TUNABLES", "LC_ALL", "TPM2TOOLS_TCTI", "TSS2_LOG"}


def test_a_busy_tpm_is_asked_again(monkeypatch, tmp_path) -> None:
    count = tmp_path / "count"
    busy = tmp_path / "tpm2_getcap"
    busy.write_text(
        f"#!/bin/sh\necho x >> {count}\n[ $(/bin/grep -c x {count}) -gt 2 ] && exit 0\n"
        "echo 'ERROR: Esys_GetCapability(0x922) - tpm:warn(2.0): retry' >&2\nexit 1\n"
    )
    busy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert TpmRootOfTrust("swtpm").handles() == []
    assert count.read_text().count("x") == 3
    count.write_text("")
    monkeypatch.setattr(root_tpm2, "TOOL_TIMEOUT_S", 0.0)
    with pytest.raises(RootOfTrustBusyError):
        TpmRootOfTrust("swtpm").handles()


@pytest.mark.parametrize("base", [0, 0x01000000, OWNER_LAST, 0x81000000])
def test_only_the_owners_indices_may_be_used(base) -> None:
    with pytest.raises(RootOfTrustError, match="tpm_nv_base"):
        TpmRootOfTrust("swtpm", base)
