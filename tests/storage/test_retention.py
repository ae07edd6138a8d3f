# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from retention_world import (
    DAY,
    NOW,
    PUBLIC,
    READS,
    TWO,
    evidence,
    fill,
    receipts_of,
    retention,
)
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, T0, Killed, Scripted, World

from storage.audit import read_entries, verify_audit
from storage.errors import (
    PolicyInvalidError,
    ReceiptInvalidError,
    StorageError,
    WrongShareError,
)
from storage.fsck import verify_store
from storage.reader import read_segment
from storage.receipts import MAX_RECEIPT_BYTES, Receipt, sign_receipt, verify_receipts
from storage.retention import MAX_RETENTION_S, MIN_RETENTION_S, RetentionPolicy
from storage.types import EPOCH_US, TimeEvidence


def test_expired_epochs_die_with_receipts(world) -> None:
    fill(world)
    saved = {info.segment_id: (info.epoch, info.path.read_bytes()) for info in world.store().segments()}
    world.close()
    delivered: list[Receipt] = []
    receipts = retention(world, deliver=delivered.append).run(evidence())
    assert [receipt.body.epoch for receipt in receipts] == [HOUR, HOUR + 1]
    assert receipts == delivered == receipts_of(world)
    body = receipts[0].body
    assert sorted((s.kind, s.records, s.closed) for s in body.segments) == [
        ("images", 1, True),
        ("reads", 3, True),
    ]
    assert (body.policy_seconds, body.policy_version, body.root_of_trust) == (30 * DAY, "30d-1", "file")
    assert body.best_effort
    assert body.time_sources == TWO
    kept = {info.epoch for info in world.store().segments()}
    assert kept == {NOW // EPOCH_US} == set(world.keyring().epochs())
    for epoch, data in saved.values():  # a copy of the files, with the agency's key and all that is left here
        if epoch in kept:
            continue
        for share in (bytes(32), *(world.keyring().peek(other) for other in world.keyring().epochs())):
            with pytest.raises(WrongShareError):
                read_segment(data, share=share, private_key=AGENCY_KEY, verify_key=None)
    log = world.root / "audit.jsonl"
    assert [entry.fields["epoch"] for entry in read_entries(log) if entry.event == "epoch_erased"] == [
        HOUR,
        HOUR + 1,
    ]
    assert verify_audit(log, PUBLIC).ok
    assert retention(world).run(evidence()) == []


def test_a_receipt_explains_a_missing_segment(world) -> None:
    fill(world)
    for info in world.store().segments():
        if info.epoch == HOUR + 1:
            info.path.unlink()
    assert [p.what for p in verify_store(world.store_root).problems] != []
    world.close()
    gone = [s.segment_id for r in retention(world).run(evidence()) for s in r.body.segments]
    assert verify_store(world.store_root, erased=gone).ok


@pytest.mark.parametrize(
    ("what", "first", "then"),
    [
        ("one source jumps a year", evidence(T0 + DAY), evidence(NOW + 365 * DAY * 1_000_000, ("gnss",))),
        ("no source at all", evidence(T0 + DAY), evidence(NOW, ())),
        ("the clock is set back", evidence(T0 + DAY), evidence(0)),
        ("one source from the start", evidence(NOW, ("gnss",)), evidence(NOW, ("gnss",))),
        ("unsure by a year", evidence(T0), TimeEvidence(NOW, 365 * DAY * 1_000_000, TWO)),
    ],
)
def test_never_early(world, what, first, then) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.close()
    keeper = retention(world)
    assert keeper.run(first) == [], what
    assert keeper.run(then) == [], what
    assert retention(world).run(then) == [], what  # nor after a restart
    assert retention(world).run(evidence())[0].body.epoch == HOUR


def test_never_late_because_the_clock_stands_still(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.close()
    clock = [0]
    keeper = retention(world, monotonic_ns=lambda: clock[0])
    still = T0 + 2 * EPOCH_US
    assert keeper.run(evidence(still)) == []
    clock[0] = 32 * DAY * 10**9
    assert [r.body.epoch for r in keeper.run(evidence(still, ()))] == [HOUR]


def test_the_believed_time_outlives_a_restart(world) -> None:
    keeper = retention(world)
    keeper.run(evidence())
    assert retention(world).believed == keeper.believed
    assert keeper.believed is not None
    assert keeper.believed.bound_us == NOW - 1000


def test_open_segments_of_an_expired_epoch_are_closed_first(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    receipts = retention(world, store=store).run(evidence())
    assert receipts[0].body.segments[0].records == 1
    assert store.segments() == []


def test_unclosed_and_damaged_files_die_too(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.commit()
    world.close()
    (world.store_root / "reads" / f"{HOUR}-reads-x-0.wseg").write_bytes(b"rubbish")
    (body,) = (receipt.body for receipt in retention(world).run(evidence()))
    assert sorted((s.records is None, s.closed) for s in body.segments) == [(False, False), (True, False)]
    assert list((world.store_root / "reads").glob("*.wseg")) == []


def test_two_sources_behind_the_bound_set_it_back(world) -> None:
    keeper = retention(world)
    keeper.run(evidence(NOW + 400 * DAY * 1_000_000))  # a bound that was won by a clock far ahead
    store = world.store()
    store.append(READS, b"x", at_us=NOW)
    store.close()
    assert keeper.run(evidence(NOW)) == keeper.run(evidence(NOW)) == []
    entries = read_entries(world.root / "audit.jsonl")
    assert [(entry.event, entry.fields["by_s"]) for entry in entries] == [("time_set_back", 400 * DAY)]
    assert keeper.run(evidence(NOW + EPOCH_US, ("gnss",))) == []  # nor when one of them falls silent
    assert len(keeper.run(evidence(NOW + 31 * DAY * 1_000_000))) == 1


def test_a_fresh_device_follows_no_single_source(world) -> None:
    keeper = retention(world)
    assert keeper.run(evidence(NOW + 4000 * DAY * 1_000_000, ("system",))) == []
    assert keeper.believed is None
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.close()
    assert keeper.run(evidence(T0 + EPOCH_US)) == []
    assert keeper.believed is not None
    assert keeper.believed.bound_us == T0 + EPOCH_US - 1000


def test_what_waits_past_retention_is_expired_and_counted(world) -> None:
    asked: list[list[int]] = []
    last = (
        NOW - 1000 - 30 * DAY * 1_000_000
    ) // EPOCH_US * EPOCH_US - 1  # the last µs of an hour that has expired

    def expire(is_past: Callable[[int], bool]) -> list[str]:
        asked.append([at_us - last for at_us in (last, last + 1) if is_past(at_us)])
        return ["h1", "h2"] if len(asked) == 1 else []

    clock = [0]
    keeper = retention(world, expire=expire, monotonic_ns=lambda: clock[0])
    keeper.run(evidence(NOW, ("system",)))
    assert asked == []  # not before the time is known
    keeper.run(evidence())
    assert asked == [[0]]
    keeper.run(evidence())
    assert len(asked) == 1  # not at every turn
    keeper.run(evidence(NOW + 3_600_000_000))
    assert asked[1:] == [[0, 1]]
    assert keeper.expired_items == 2
    entries = read_entries(world.root / "audit.jsonl")
    assert [(entry.event, dict(entry.fields)) for entry in entries] == [("outbox_expired", {"items": 2})]


def copied(template: World, root: Path) -> World:
    shutil.copytree(template.root, root)
    return World(root)


def count_steps(world: World) -> int:
    files = Scripted()
    keeper = retention(world, files)
    before = len(files.calls)
    keeper.run(evidence())
    return len(files.calls) - before


def test_killed_at_each_step_the_next_run_finishes(tmp_path) -> None:
    template = World(tmp_path / "template")
    fill(template)
    template.close()
    steps = count_steps(copied(template, tmp_path / "dry"))
    assert steps > 30
    for step in range(steps):
        world = copied(template, tmp_path / str(step))
        files = Scripted()
        keeper = retention(world, files)
        files.plan = {len(files.calls) + step: "kill"}
        with pytest.raises(Killed):
            keeper.run(evidence())
        delivered: list[Receipt] = []
        retention(world, deliver=delivered.append).run(evidence())
        chain = receipts_of(world)
        report = verify_receipts(chain, PUBLIC)
        assert report.ok
        assert report.epochs == (HOUR, HOUR + 1)
        assert all(len(receipt.body.segments) == 2 for receipt in chain)
        assert world.keyring().epochs() == [NOW // EPOCH_US]
        assert {info.epoch for info in world.store().segments()} == {NOW // EPOCH_US}
        assert verify_audit(world.root / "audit.jsonl", PUBLIC).ok
        events = [
            e.fields["receipt"] for e in read_entries(world.root / "audit.jsonl") if e.event == "epoch_erased"
        ]
        assert set(events) == {0, 1}
        assert delivered == chain or step == steps - 1  # the last step comes after delivery
        world.close()


@pytest.mark.parametrize("number", [5, 28])
def test_a_disk_error_stops_it_and_the_next_run_finishes(world, number) -> None:
    fill(world)
    world.close()
    files = Scripted()
    keeper = retention(world, files)
    for step in range(3, 30, 4):
        files.plan = {len(files.calls) + step: number}
        try:
            keeper.run(evidence())
        except StorageError:
            continue
        break
    files.plan = {}
    keeper.run(evidence())
    assert verify_receipts(receipts_of(world), PUBLIC).epochs == (HOUR, HOUR + 1)


@pytest.mark.parametrize("seconds", [MIN_RETENTION_S - 1, MAX_RETENTION_S + 1, 0])
def test_a_policy_is_three_minutes_to_five_years(seconds) -> None:
    with pytest.raises(PolicyInvalidError):
        RetentionPolicy(seconds, "x")
    RetentionPolicy(MIN_RETENTION_S, "x")
    RetentionPolicy(MAX_RETENTION_S, "x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"believed_us":"x","plan":[]}',
        b'{"believed_us":1,"plan":[{}]}',
        b'{"believed_us":null,"plan":[],"settled":[],"undated":[[1,900000,5]]}',
        b'{"believed_us":null,"plan":[],"settled":[[2,1,5]],"undated":[]}',
        b'{"believed_us":null,"plan":[],"settled":[[2,2]],"undated":[]}',
    ],
)
def test_a_damaged_state_is_set_aside_and_deletion_goes_on(world, raw) -> None:
    fill(world)
    world.close()
    retention(world)
    (world.root / "retention" / "retention.json").write_bytes(raw)
    keeper = retention(world)
    assert (world.root / "retention" / "retention.json.damaged").read_bytes() == raw
    assert [entry.event for entry in read_entries(world.root / "audit.jsonl")] == [
        "retention_state_set_aside"
    ]
    assert len(keeper.run(evidence())) == 2
    assert len(retention(world).run(evidence())) == 0


def chain(world: World) -> list[Receipt]:
    fill(world)
    world.close()
    retention(world).run(evidence())
    retention(world).run(evidence(NOW + 40 * DAY * 1_000_000))
    return receipts_of(world)


def test_a_chain_of_receipts_is_checked(world) -> None:
    receipts = chain(world)
    report = verify_receipts(receipts, PUBLIC)
    assert report.ok
    assert (report.receipts, report.next_n) == (3, 3)
    assert [Receipt.decode(receipt.encode()) for receipt in receipts] == receipts
    assert verify_receipts(receipts[1:], PUBLIC, first_n=1).ok
    a, b, c = receipts
    forged = sign_receipt(replace(b.body, epoch=1), OTHER_KEY)
    replaced = sign_receipt(replace(b.body, epoch=1), DEVICE_KEY)
    assert verify_receipts([a, c], PUBLIC).problems == ("receipts 1 to 1 are missing",)
    assert "not signed" in verify_receipts([a, forged, c], PUBLIC).problems[0]
    assert "replaced" in verify_receipts([a, replaced, c], PUBLIC).problems[0]
    assert "out of order" in verify_receipts([a, b, b, c], PUBLIC).problems[0]
    assert verify_receipts([b, c], PUBLIC).problems == ("receipts 0 to 0 are missing",)
    assert len(verify_receipts(receipts, OTHER_KEY.public_key()).problems) == 3


def test_what_is_no_receipt_is_refused(world) -> None:
    raw = chain(world)[0].encode()
    for bad in (
        b"",
        b"[]",
        b"[" * 9000,
        raw[:-1],
        raw + b" ",
        raw.replace(b'"n":0', b'"n":"0"'),
        raw.replace(b'"closed":true', b'"open":true'),
        bytes(MAX_RECEIPT_BYTES + 1),
    ):
        with pytest.raises(ReceiptInvalidError):
            Receipt.decode(bad)
