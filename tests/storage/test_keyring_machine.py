# SPDX-License-Identifier: Apache-2.0
"""The keyring against a plain dictionary: two writers, readers, moves, kills, power cuts, older copies put back.

Promises, after every step: what was acknowledged is there; what was destroyed opens under nothing that any root of
trust still holds, not even from copies of the keyring's file that were made before; there is one key, in one root.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import independent_reader as other
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from lossy import BOUNDED, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run
from storage_world import Killed
from unsafe_disk import UnsafeDisk

from storage import keyring as keyring_module
from storage.atomic import write_atomic
from storage.errors import KeyringDamagedError, KeyringElsewhereError, KeyringError
from storage.keyring import MAKING_FILE, SELF, Keyring
from storage.keyring_check import read_packed, verify_keyring
from storage.root_of_trust import FileRootOfTrust, RootOfTrust
from storage.root_tpm2 import TpmRootOfTrust
from tests.swtpm import Tpm

COPIES_KEPT = 6
CHIP_CHANGES = {"tpm2_nvdefine", "tpm2_nvwrite", "tpm2_nvundefine"}
EPOCHS = st.integers(0, 3)
SCOPES = st.sampled_from(["pole-7", "pole-8"])
Shares = Mapping[tuple[str, int], bytes | None]  # None: a share that the keyring draws itself


@dataclass(frozen=True)
class Copy:
    """The keyring's file as a thief or a backup may have it, and what it held."""

    data: bytes
    held: dict[tuple[str, int], bytes]
    home: str
    generation: int


class Elsewhere(FileRootOfTrust):
    """A second root of trust."""

    name = "elsewhere"


class KeyringMachine(LossyMachine):
    """Two processes that write, over two roots of trust."""

    def begin(self) -> None:
        self.home = "file"
        self.held: dict[tuple[str, int], bytes] = {}
        self.maybe: Shares | None = None  # what an operation that was cut may have left
        self.gone: set[bytes] = set()
        self.copies: list[Copy] = []
        self.rings: list[Keyring] = []

    @property
    def folder(self) -> Path:
        return self.disk.root / "keyring"

    def roots(self) -> dict[str, RootOfTrust]:
        return {
            "file": FileRootOfTrust(self.disk.root / "trust", files=self.disk),
            "elsewhere": Elsewhere(self.disk.root / "there", files=self.disk),
        }

    def opened(self) -> None:
        packed = read_packed(self.folder)
        self.home = packed.root if packed is not None else self.home
        roots = self.roots()
        self.rings = [self.open() for _ in range(2)]
        for root in roots.values():
            self.rings[0].finish_move(root)
        if (
            self.folder / MAKING_FILE
        ).exists():  # a move was cut before its commit point: it is asked for again
            self.moved(0)
        found = contents(self.rings[0])
        assert fits(found, self.held) or (self.maybe is not None and fits(found, self.maybe))
        self.settle(found)
        self.keep_copy()

    def open(self, *, read_only: bool = False) -> Keyring:
        return Keyring.open(self.folder, self.roots()[self.home], read_only=read_only, files=self.disk)

    def settle(self, found: dict[tuple[str, int], bytes]) -> None:
        self.gone |= {share for at, share in self.held.items() if at not in found}
        self.held, self.maybe = found, None

    def attempt(self, after: Shares, work: Callable[[], object]) -> bool:
        """Do something that leads to `after`; whether it was acknowledged."""
        self.maybe = after
        if not self.returned(work):
            return False
        found = contents(self.rings[0])
        assert fits(found, after)
        self.settle(found)
        self.keep_copy()
        return True

    def keep_copy(self) -> None:
        data = (self.folder / "keyring.wkr").read_bytes()
        packed = read_packed(self.folder)
        assert packed is not None
        if not self.copies or self.copies[-1].data != data:
            self.copies.append(Copy(data, dict(self.held), packed.root, packed.generation))
            del self.copies[:-COPIES_KEPT]

    @alive
    @rule(writer=st.integers(0, 1), epoch=EPOCHS)
    def share(self, writer: int, epoch: int) -> None:
        at = (SELF, epoch)
        self.attempt({**self.held, at: self.held.get(at)}, lambda: self.rings[writer].share(epoch))

    @alive
    @rule(writer=st.integers(0, 1), scope=SCOPES, epochs=st.sets(EPOCHS, min_size=1))
    def import_shares(self, writer: int, scope: str, epochs: set[int]) -> None:
        added = {epoch: secrets.token_bytes(32) for epoch in epochs}
        after = {**self.held, **{(scope, epoch): share for epoch, share in added.items()}}
        self.attempt(after, lambda: self.rings[writer].import_shares(scope, added))

    @alive
    @rule(writer=st.integers(0, 1), scope=st.just(SELF) | SCOPES, epochs=st.sets(EPOCHS, min_size=1))
    def destroy(self, writer: int, scope: str, epochs: set[int]) -> None:
        doomed = {(scope, epoch) for epoch in epochs}
        after = {at: share for at, share in self.held.items() if at not in doomed}
        if self.attempt(after, lambda: self.rings[writer].destroy(epochs, scope)):
            assert not doomed & contents(self.rings[1 - writer]).keys()

    @alive
    @rule(writer=st.integers(0, 1))
    def move(self, writer: int) -> None:
        self.attempt(self.held, lambda: self.moved(writer))

    def moved(self, writer: int) -> None:
        (there,) = (name for name in self.roots() if name != self.home)
        self.rings[writer].move_to(self.roots()[there])
        self.home = there
        self.rings = [self.open() for _ in range(2)]

    @alive
    @rule(pick=st.integers(0, COPIES_KEPT - 1), stays=st.booleans())
    def put_an_older_copy_back(self, pick: int, stays: bool) -> None:
        self.disk.plan = {}  # a person does this; nobody kills the machine meanwhile
        copy = self.copies[pick % len(self.copies)]
        current = self.copies[-1]
        write_atomic(self.folder / "keyring.wkr", copy.data, files=self.disk)
        for ring in self.rings:
            if copy.generation < current.generation or copy.home != self.home:
                with pytest.raises(KeyringError):
                    ring.peek(0)
        try:
            found = contents(Keyring.open(self.folder, self.roots()[copy.home], read_only=True))
        except (KeyringDamagedError, KeyringElsewhereError):
            stays = False
        else:
            assert fits(found, copy.held)
            assert not set(found.values()) & self.gone
        if stays:
            self.held = dict(copy.held)  # younger shares are lost, not destroyed: they may come back
            self.copies.append(copy)
        else:
            write_atomic(self.folder / "keyring.wkr", current.data, files=self.disk)
        self.opened()

    @alive
    @invariant()
    def a_reader_finds_what_was_acknowledged(self) -> None:
        if self.rings:
            assert contents(self.open(read_only=True)) == self.held
            for ring in self.rings:
                assert contents(ring) == self.held
            assert verify_keyring(self.folder, self.roots()[self.home]) == ()

    @alive
    @invariant()
    def there_is_one_key_in_one_root(self) -> None:
        if self.rings:
            assert {name: len(root.handles()) for name, root in self.roots().items() if root.handles()} == {
                self.home: 1
            }
            assert not (self.folder / MAKING_FILE).exists()

    @invariant()
    def what_is_gone_opens_under_nothing_that_is_left(self) -> None:
        for data in {copy.data for copy in self.copies} if self.gone else ():
            for kek in self.keys_left():
                try:
                    _, scopes = other.open_keyring(data, kek)
                except other.Refused:
                    continue
                assert not {share for shares in scopes.values() for share in shares.values()} & self.gone

    def keys_left(self) -> Sequence[bytes]:
        return [path.read_bytes() for path in self.disk.root.rglob("*.slot")]


def contents(ring: Keyring) -> dict[tuple[str, int], bytes]:
    found = {
        (scope, epoch): ring.peek(epoch, scope) for scope in ring.scopes() for epoch in ring.epochs(scope)
    }
    return {at: share for at, share in found.items() if share is not None}


def fits(found: Mapping[tuple[str, int], bytes], wanted: Shares) -> bool:
    return found.keys() == wanted.keys() and all(share in (None, found[at]) for at, share in wanted.items())


class TpmMachine(KeyringMachine):
    """The same with a TPM; the changes that its tools make are steps at which the process may be killed."""

    tpm: Tpm

    def begin(self) -> None:
        super().begin()
        self.tpm.clear()
        self.home = "tpm2"

    def roots(self) -> dict[str, RootOfTrust]:
        disk = self.disk

        class Chip(TpmRootOfTrust):
            def _run_once(self, command: Sequence[str], given: bytes, timeout_s: float) -> bytes:
                if command[0] in CHIP_CHANGES:
                    disk._step(command[0])
                return super()._run_once(command, given, timeout_s)

        return {"tpm2": Chip(self.tpm.tcti), "file": FileRootOfTrust(self.disk.root / "trust", files=disk)}

    def keys_left(self) -> Sequence[bytes]:
        chip = self.tpm.root()
        return [*super().keys_left(), *(chip.load(handle) for handle in chip.handles() if any(handle[9:]))]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch) -> None:
    monkeypatch.setattr(keyring_module, "RETRY_WAIT_S", 0.0)


def test_the_keyring_keeps_its_promises() -> None:
    run(KeyringMachine, settings(BOUNDED, max_examples=40))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_keyring_keeps_its_promises_for_long() -> None:
    run(KeyringMachine, settings(BOUNDED, max_examples=400, stateful_step_count=40))


def test_the_keyring_keeps_its_promises_over_a_tpm(tpm) -> None:
    run(
        type("OverTpm", (TpmMachine,), {"tpm": tpm}), settings(BOUNDED, max_examples=3, stateful_step_count=8)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_keyring_keeps_its_promises_over_a_tpm_for_long(tpm) -> None:
    run(type("OverTpm", (TpmMachine,), {"tpm": tpm}), settings(BOUNDED, max_examples=20))


class NoFreshKey(UnsafeDisk):
    """A mutant: slots are never removed."""

    def unlink(self, path: Path) -> None:
        if path.suffix != ".slot":
            super().unlink(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return super().write(fd, data) if any(data) else len(data)


@pytest.mark.parametrize("mutant", [NoSync, NoNames, NoFreshKey])
def test_the_machine_finds_what_a_careless_disk_does(mutant) -> None:
    finds_a_fault(KeyringMachine, mutant)


def nothing_survives(strategy: st.SearchStrategy[object]) -> object:
    return False if repr(strategy) == "booleans()" else "lost"


@pytest.mark.parametrize("steps", range(24))
def test_after_a_kill_and_a_restart_a_power_cut_finds_no_keyring_whose_key_is_gone(tmp_path, steps) -> None:
    """What the started process builds on must be durable first, where the killed one had not come to syncing it."""
    (tmp_path / "before").mkdir()

    def opened(disk: UnsafeDisk) -> Keyring:
        return Keyring.open(
            disk.root / "keyring", FileRootOfTrust(disk.root / "trust", files=disk), files=disk
        )

    disk = UnsafeDisk(tmp_path / "before")
    ring = opened(disk)
    kept, _ = ring.share(1), ring.share(0)
    disk.kill_in(steps)
    with contextlib.suppress(Killed):
        ring.destroy([0])
    disk.restart()
    found = contents(opened(disk))
    after = opened(disk.crash(nothing_survives, tmp_path / "after"))
    assert contents(after) == found
    assert after.peek(1) == kept
