# SPDX-License-Identifier: Apache-2.0
"""What every root of trust does, over each that there is."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from storage.errors import RootOfTrustError, SlotMissingError
from storage.keyring import Keyring
from storage.root_of_trust import MAX_SLOT_BYTES, FileRootOfTrust, RootOfTrust

HOUR = 500_000
OTHER_PROCESS = """
import sys
from pathlib import Path
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.root_tpm2 import TpmRootOfTrust
folder, where, name = sys.argv[1:]
root = TpmRootOfTrust(where) if name == "tpm2" else FileRootOfTrust(Path(where))
ring = Keyring.open(Path(folder), root)
for epoch in range(10):
    ring.import_share("pole-8", epoch, bytes(32))
    ring.destroy([epoch - 1], "pole-8")
"""


@pytest.fixture(params=["file", "tpm2"])
def root(request, tmp_path) -> RootOfTrust:
    if request.param == "file":
        return FileRootOfTrust(tmp_path / "trust")
    return request.getfixturevalue("tpm").root()


@pytest.mark.parametrize("secret", [b"s", bytes(32), os.urandom(32), b"\xff" * MAX_SLOT_BYTES])
def test_a_secret_is_kept_until_it_is_destroyed(root, secret) -> None:
    handle = root.store(secret)
    assert root.load(handle) == secret
    assert root.handles() == [handle]
    root.recover()
    assert root.load(handle) == secret
    root.destroy(handle)
    assert root.handles() == []
    with pytest.raises(SlotMissingError):
        root.load(handle)
    root.destroy(handle)  # an absent one is fine


def test_each_secret_has_a_handle_of_its_own(root) -> None:
    kept = {root.store(text): text for text in (b"one", b"two", b"two")}
    assert sorted(root.handles()) == sorted(kept)
    assert {handle: root.load(handle) for handle in root.handles()} == kept
    first, *others = kept
    root.destroy(first)
    assert sorted(root.handles()) == sorted(others)


def test_a_handle_of_before_never_names_what_was_stored_after(root) -> None:
    before = root.store(b"before")
    root.destroy(before)
    after = root.store(b"after")
    with pytest.raises(SlotMissingError):
        root.load(before)
    root.destroy(before)
    assert root.load(after) == b"after"


@pytest.mark.parametrize("size", [0, MAX_SLOT_BYTES + 1])
def test_a_secret_has_its_bounds(root, size) -> None:
    with pytest.raises(RootOfTrustError, match="1 to 1024"):
        root.store(bytes(size))
    assert root.handles() == []


@pytest.mark.parametrize("handle", ["", "x", "../x", "0" * 64, "01c10000-" + "0" * 32, "a" * 65])
def test_a_handle_of_somewhere_else_is_missing(root, handle) -> None:
    with pytest.raises(SlotMissingError):
        root.load(handle)


def test_a_keyring_lives_in_it(root, tmp_path) -> None:
    ring = Keyring.open(tmp_path / "keyring", root)
    gone, kept = ring.share(HOUR), ring.share(HOUR + 1)
    (before,) = root.handles()
    ring.destroy([HOUR])
    (after,) = root.handles()
    assert before != after
    again = Keyring.open(tmp_path / "keyring", root, read_only=True)
    assert (again.peek(HOUR), again.peek(HOUR + 1)) == (None, kept)
    assert gone != kept


def test_several_processes_share_it(root, tmp_path) -> None:
    """Another process deletes hour after hour while this one reads and draws shares: nothing is lost, no error."""
    ring = Keyring.open(tmp_path / "keyring", root)
    kept = ring.share(HOUR)
    where = (root._tcti, "tpm2") if root.name == "tpm2" else (str(tmp_path / "trust"), "file")
    child = subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "keyring"), *where])
    mine = []
    while child.poll() is None:
        assert Keyring.open(tmp_path / "keyring", root, read_only=True).peek(HOUR) == kept
        mine.append(HOUR + 100 + len(mine))
        ring.share(mine[-1])
        time.sleep(0.02)
    assert child.returncode == 0
    assert ring.epochs("pole-8") == [9]
    assert ring.epochs() == [HOUR, *mine]
    assert len(root.handles()) == 1
