# SPDX-License-Identifier: Apache-2.0
"""The rows of the crash table (docs/security/crash-table.md): what each operation does, and what is found afterwards.

`shows` is the call from which on the new state is seen by a process
that starts anew; what a power cut takes back of that is the matter of the `test_lossy_*` machines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage_world import DEVICE_KEY, HOUR, T0, World

from storage.atomic import make_folder, remove_stray_temps, write_atomic
from storage.audit import AuditLog, read_entries, verify_audit
from storage.ballast import Ballast
from storage.files import OS_FILES, Files
from storage.keyring import Keyring
from storage.receipt_file import ReceiptFile, read_receipts
from storage.receipts import GENESIS, ReceiptBody, verify_receipts
from storage.retention import Retention, RetentionPolicy
from storage.root_of_trust import FileRootOfTrust
from storage.spool import EARLIEST_US, Spool
from storage.state import open_state
from storage.types import EPOCH_US, SegmentKind, TimeEvidence

PUBLIC = DEVICE_KEY.public_key()
HOURS_LATER_US = EARLIEST_US + 7_200_000_000  # by then the outbox clears what a dead process left in tmp/
ITEM = "hit-1"


@dataclass(frozen=True)
class Row:
    """One operation: what is there before, what it does, what a reopened store then holds."""

    name: str
    setup: Callable[[Path], object]
    act: Callable[[Path, Files], object]
    held: Callable[[Path], object]
    old: object
    new: object
    shows: str  # the last call of this name; all before it leave the old state
    adds: bool = False  # a second run adds once more what the first one added; otherwise it changes nothing


def nothing(_root: Path) -> None:
    """No setup."""


# -- single files


def replace_file(root: Path, files: Files) -> None:
    write_atomic(root / "f", b"new", files=files)


def file_held(root: Path) -> bytes:
    remove_stray_temps(root)
    return (root / "f").read_bytes()


def set_state(root: Path, files: Files) -> None:
    with open_state(root / "state.json", files=files) as state:
        state.insert({"n": 2})


def state_held(root: Path) -> list[dict[str, Any]]:
    remove_stray_temps(root)
    with open_state(root / "state.json") as state:
        return [dict(row) for row in state.all()]


def old_state(root: Path) -> None:
    with open_state(root / "state.json") as state:
        state.insert({"n": 1})


# -- the outbox


def spool(root: Path, files: Files = OS_FILES, now_us: int = EARLIEST_US) -> Spool:
    return Spool.open(root, now_us=lambda: now_us, files=files)


def queued(root: Path) -> None:
    spool(root).put(ITEM, b"body", kind="hit")


def refused(root: Path) -> None:
    queued(root)
    spool(root).failed(ITEM, "refused", permanent=True)


def put(root: Path, files: Files) -> None:
    spool(root, files).put(ITEM, b"body", kind="hit")


def ack(root: Path, files: Files) -> None:
    spool(root, files).ack(ITEM)


def refuse(root: Path, files: Files) -> None:
    box = spool(root, files)
    if box.pending():
        box.failed(ITEM, "refused", permanent=True)


def fail(root: Path, files: Files) -> None:
    spool(root, files).failed(ITEM, "no link")


def requeue(root: Path, files: Files) -> None:
    box = spool(root, files)
    if box.quarantined():
        box.requeue(ITEM)


def expire(root: Path, files: Files) -> None:
    spool(root, files).expire(lambda queued_us: queued_us <= EARLIEST_US)


def spool_held(root: Path) -> tuple[str, ...]:
    """States of the item; no temp file of a dead process is left an hour later."""
    box = spool(root, now_us=HOURS_LATER_US)
    remove_stray = [path for path in (root / "tmp").iterdir() if path.stat().st_mtime > EARLIEST_US / 1e6]
    for path in remove_stray:  # files here are young: their age is the real clock's
        path.unlink()
    waiting = [item.id for item in box.pending() if box.read(item.id) == b"body"]
    states = {
        "pending": ITEM in waiting,
        "aside": bool(box.quarantined()),
        "done": (root / "done" / ITEM).exists(),
    }
    return tuple(state for state, holds in states.items() if holds)


# -- the audit chain


def audit(root: Path, files: Files = OS_FILES) -> AuditLog:
    return AuditLog.open(root / "audit.jsonl", DEVICE_KEY, files=files)


def one_entry(root: Path) -> None:
    audit(root).append("first", {})


def enter(root: Path, files: Files) -> None:
    audit(root, files).append("second", {})


def sign(root: Path, files: Files) -> None:
    audit(root, files).checkpoint()


def audit_held(root: Path) -> list[str]:
    assert verify_audit(root / "audit.jsonl", PUBLIC).ok
    return [entry.event for entry in read_entries(root / "audit.jsonl")]


# -- receipts


def body(n: int, prev: str) -> ReceiptBody:
    return ReceiptBody("pole-7", n, prev, HOUR + n, T0, ("gnss",), 3600, "1h-1", "file", True, ())


FIRST = body(0, GENESIS)
PLAN = (body(1, FIRST.hash),)


def one_receipt(root: Path) -> None:
    ReceiptFile(root / "receipts.jsonl", DEVICE_KEY).write((FIRST,))


def write_receipts(root: Path, files: Files) -> None:
    ReceiptFile(root / "receipts.jsonl", DEVICE_KEY, files=files).write(PLAN)


def receipts_held(root: Path) -> int:
    receipts = read_receipts(root / "receipts.jsonl")
    assert verify_receipts(receipts, PUBLIC).ok
    return len(receipts)


# -- root of trust and keyring


def store_slot(root: Path, files: Files) -> None:
    trust = FileRootOfTrust(root / "trust", files=files)
    if not trust.handles():
        trust.store(b"secret")


def destroy_slots(root: Path, files: Files) -> None:
    trust = FileRootOfTrust(root / "trust", files=files)
    for handle in trust.handles():
        trust.destroy(handle)


def slots_held(root: Path) -> list[bytes]:
    """What the slots hold; an overwritten one holds zeros and is destroyed by the next writer."""
    trust = FileRootOfTrust(root / "trust")
    trust.recover()
    assert not any(b"secret" in path.read_bytes() for path in (root / "trust").glob(".*"))
    return [secret for secret in map(trust.load, trust.handles()) if any(secret)]


def one_slot(root: Path) -> None:
    FileRootOfTrust(root / "trust").store(b"secret")


def keyring(root: Path, files: Files = OS_FILES) -> Keyring:
    return World(root).keyring(files)


def draw_share(root: Path, files: Files) -> None:
    keyring(root, files).share(HOUR)


def import_shares(root: Path, files: Files) -> None:
    keyring(root, files).import_shares("pole-7", {HOUR: bytes(32), HOUR + 1: bytes(32)})


def destroy_share(root: Path, files: Files) -> None:
    keyring(root, files).destroy([HOUR])


def two_shares(root: Path) -> None:
    keyring(root).share(HOUR)
    keyring(root).share(HOUR + 1)


def keyring_held(root: Path) -> list[list[int]]:
    """Epochs of the device's own shares and of a device's; one slot, no temp file, no mark of a making."""
    ring = keyring(root)
    assert len(World(root).trust().handles()) == 1
    assert sorted(path.name for path in (root / "keyring").iterdir()) == ["keyring.wkr", "lock"]
    return [sorted(ring.epochs()), sorted(ring.epochs(scope="pole-7"))]


# -- segments


def append_records(world: World, files: Files, count: int = 2) -> Any:
    store = world.store(files=files)
    for number in range(count):
        store.append(SegmentKind.READS, b"read %d" % number, at_us=T0)
    return store


def committed(root: Path) -> None:
    keyring(root)
    for kind in SegmentKind:
        make_folder(root / "store" / kind.value)


def commit(root: Path, files: Files) -> None:
    world = World(root)
    try:
        append_records(world, files).commit()
    finally:
        world.close()


def close(root: Path, files: Files) -> None:
    world = World(root)
    try:
        append_records(world, files).close()
    finally:
        world.close()


def torn(root: Path) -> None:
    commit(root, OS_FILES)
    (path,) = (root / "store").rglob("*.wseg")
    path.write_bytes(path.read_bytes()[:-5])


def recover(root: Path, files: Files) -> None:
    world = World(root)
    try:
        world.store(files=files)
    finally:
        world.close()


def segments_held(root: Path) -> list[tuple[list[bytes], bool]]:
    world = World(root)
    store = world.store()
    contents = [world.open(info) for info in store.segments()]
    world.close()
    assert all(content.complete for content in contents)
    names = [path.name for path in (root / "store").rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".tmp")]
    return sorted(([bytes(r) for r in c.records], c.closed) for c in contents if c.records)


RECORDS = [b"read 0", b"read 1"]


# -- a whole deletion


def expired(root: Path) -> None:
    close(root, OS_FILES)


def delete(root: Path, files: Files) -> None:
    Retention(
        root / "store",
        root / "retention",
        keyring=keyring(root, files),
        policy=RetentionPolicy(3600, "1h-1"),
        signer=DEVICE_KEY,
        device_id="pole-7",
        audit=audit(root, files),
        deliver=lambda r: spool(root / "out", files).put(f"receipt-{r.body.n}", r.encode(), kind="receipt"),
        files=files,
        ballast_bytes=4096,
    ).run(TimeEvidence(T0 + 3 * EPOCH_US, 0, ("gnss", "office")))


def deletion_held(root: Path) -> tuple[str, ...]:
    """What is left of the hour. A receipt is there only when share and files are gone."""
    left = {
        "share": bool(keyring(root).epochs()),
        "files": bool(list((root / "store").rglob("*.wseg"))),
        "receipt": bool(read_receipts(root / "retention" / "receipts.jsonl")),
        "delivered": bool(spool(root / "out").pending()),
    }
    found = tuple(what for what, there in left.items() if there)
    order = [("share", "files"), ("files",), (), ("receipt",), ("receipt", "delivered")]
    assert found in order
    if (root / "audit.jsonl").exists() and (root / "audit.jsonl").stat().st_size:
        assert verify_audit(root / "audit.jsonl", PUBLIC).ok
    return found[:1] if "share" in found else ("gone",)


# -- room for the day the disk is full


def hold(root: Path, files: Files) -> None:
    assert Ballast(root / "ballast", 4096, files=files).hold()


def ballast_held(root: Path) -> bool:
    """Whole after the next start, whatever a crash left."""
    return Ballast(root / "ballast", 4096).hold()


def old_file(root: Path) -> None:
    (root / "f").write_bytes(b"old")


ROWS = (
    Row("atomic replace", old_file, replace_file, file_held, b"old", b"new", "replace"),
    Row("state write", old_state, set_state, state_held, [{"n": 1}], [{"n": 1}, {"n": 2}], "replace", True),
    Row("outbox put", nothing, put, spool_held, (), ("pending",), "link"),
    Row("outbox ack", queued, ack, spool_held, ("pending",), ("done",), "create"),
    Row("outbox failed", queued, fail, spool_held, ("pending",), ("pending",), "replace"),
    Row("outbox refused", queued, refuse, spool_held, ("pending",), ("aside",), "replace"),
    Row("outbox requeue", refused, requeue, spool_held, ("aside",), ("pending",), "replace"),
    Row("outbox expire", queued, expire, spool_held, ("pending",), ("done",), "create"),
    Row("audit append", one_entry, enter, audit_held, ["first"], ["first", "second"], "write",
        True),
    Row("audit checkpoint", one_entry, sign, audit_held, ["first"], ["first", "checkpoint"], "write",
        True),
    Row("receipts append", one_receipt, write_receipts, receipts_held, 1, 2, "write"),
    Row("slot store", nothing, store_slot, slots_held, [], [b"secret"], "replace"),
    Row("slot destroy", one_slot, destroy_slots, slots_held, [b"secret"], [], "write"),
    Row("keyring create", nothing, keyring, keyring_held, [[], []], [[], []],
        "replace"),
    Row("keyring share", keyring, draw_share, keyring_held, [[], []], [[HOUR], []], "replace"),
    Row("keyring import", keyring, import_shares, keyring_held, [[], []], [[], [HOUR, HOUR + 1]], "replace"),
    Row("keyring destroy", two_shares, destroy_share, keyring_held, [[HOUR, HOUR + 1], []], [[HOUR + 1], []],
        "replace"),
    Row("segment commit", committed, commit, segments_held, [], [(RECORDS, False)], "write",
        True),
    Row("segment close", committed, close, segments_held, [], [(RECORDS, True)], "", True),
    Row("segment recovery", torn, recover, segments_held, [([b"read 0"], False)], [([b"read 0"], False)],
        "truncate"),
    Row("retention run", expired, delete, deletion_held, ("share",), ("gone",), ""),
    Row("ballast", nothing, hold, ballast_held, True, True, "allocate"),
)  # fmt: skip
