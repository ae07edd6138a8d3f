# SPDX-License-Identifier: Apache-2.0
"""Which policy an epoch dies by, and that it outlives crash, damage and loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_world import DEVICE_KEY, HOUR, T0, Killed, Scripted, SmallDisk, World

from storage.audit import AuditLog
from storage.errors import PolicyInvalidError, PolicyRolledBackError, StateDamagedError
from storage.files import OS_FILES, Files
from storage.retention import Retention
from storage.retention_policies import (
    MAX_STEPS,
    PolicyBook,
    SignedPolicy,
    encode_schedule,
    load_schedule,
    verify_policies,
)
from storage.retention_schedule import RetentionPolicy, RetentionSchedule, Step
from storage.types import EPOCH_US, SegmentKind, TimeEvidence

DAY = 86_400


def policy(days: float, number: int) -> RetentionPolicy:
    return RetentionPolicy(int(days * DAY), f"{days}d", number)


FIRST = RetentionSchedule.of(policy(30, 0))


def test_shortened_at_once_lengthened_for_new_epochs_only() -> None:
    longer = FIRST.with_policy(policy(60, 1), 100)
    assert [longer.seconds_for(epoch) // DAY for epoch in (1, 99, 100)] == [30, 30, 60]
    shorter = longer.with_policy(policy(3, 2), 200)
    assert [shorter.seconds_for(epoch) // DAY for epoch in (1, 100, 200)] == [3, 3, 3]
    again = shorter.with_policy(policy(60, 3), 200)
    assert [again.seconds_for(epoch) // DAY for epoch in (1, 199, 200)] == [3, 3, 60]
    assert [again.version_for(epoch) for epoch in (199, 200)] == ["3d", "60d"]
    assert again.newest == policy(60, 3)


def test_epochs_that_had_begun_are_named_where_the_clock_may_be_wrong() -> None:
    schedule = FIRST.with_policy(policy(60, 1), begun={7, 9_000_000})
    assert [schedule.seconds_for(epoch) // DAY for epoch in (7, 8, 9_000_000)] == [30, 60, 30]
    shorter = schedule.with_policy(policy(45, 2), begun={7, 8, 9_000_000})
    assert [shorter.seconds_for(epoch) // DAY for epoch in (7, 8, 9)] == [30, 45, 45]


CHANGES = st.lists(
    st.tuples(st.integers(1, 90), st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12))), max_size=6
)


@given(CHANGES)
def test_the_schedule_is_the_least_of_the_policy_at_the_beginning_and_every_later_one(changes) -> None:
    """Against the rule told epoch by epoch; what is forgotten for epochs that died changes nothing for the others."""
    schedule, held, least = FIRST, set(), {}
    for number, (days, new, dead) in enumerate(changes, 1):
        for epoch in new - held:
            least[epoch] = schedule.newest.seconds
        held = (held | new) - dead
        schedule = schedule.only_for(held).with_policy(policy(days, number), begun=held)
        for epoch in held:
            least[epoch] = min(least[epoch], days * DAY)
            assert schedule.seconds_for(epoch) == least[epoch]
            assert schedule.only_for(held).seconds_for(epoch) == least[epoch]
        assert schedule.seconds_for(99) == days * DAY


def book(path: Path, days: float = 30, held: set[int] | None = None, files: Files = OS_FILES) -> PolicyBook:
    return PolicyBook.open(path, [SignedPolicy(policy(days, 0))], held or set(), files=files)


def test_the_book_outlives_a_restart(tmp_path) -> None:
    path = tmp_path / "policies.json"
    first = book(path)
    assert not first.lost
    assert first.take(SignedPolicy(policy(60, 4), b"signed"), {1, 2, 5})
    assert not first.take(SignedPolicy(policy(60, 4), b"signed"), {1, 2, 5, 6})
    again = book(path, days=90)
    assert again.schedule == first.schedule == load_schedule(path)
    assert [again.schedule.seconds_for(epoch) // DAY for epoch in (1, 5, 6)] == [30, 30, 60]
    assert again.schedule.steps[-1].signed == b"signed"


@pytest.mark.parametrize(
    ("what", "offered", "refused"),
    [
        ("an older one", SignedPolicy(policy(90, 3), b"x"), True),
        ("another under its number", SignedPolicy(policy(90, 4), b"x"), True),
        ("an older bundle", SignedPolicy(policy(90, 0)), True),
        ("a newer bundle", SignedPolicy(policy(90, 5)), False),
        ("a newer one", SignedPolicy(policy(90, 5), b"x"), False),
    ],
)
def test_the_number_only_grows(tmp_path, what, offered, refused) -> None:
    kept = book(tmp_path / "policies.json")
    kept.take(SignedPolicy(policy(60, 4), b"x"), set())
    if refused:
        with pytest.raises(PolicyRolledBackError):
            kept.take(offered, set())
        assert kept.schedule.newest.number == 4, what
    else:
        assert kept.take(offered, set()), what


def test_a_new_bundle_of_an_agency_without_documents_lengthens_no_old_epoch(tmp_path) -> None:
    kept = book(tmp_path / "policies.json")
    assert kept.take(SignedPolicy(policy(60, 0)), {1})
    assert [kept.schedule.seconds_for(epoch) // DAY for epoch in (1, 2)] == [30, 60]


def damage(data: bytes) -> list[bytes]:
    return [b"", b"[]", data[:-9], data.replace(b"259200", b"999200"), b'{"v":1,"steps":[],"sha256":""}']


@pytest.mark.parametrize("number", range(5))
def test_a_damaged_book_falls_back_to_the_shortest_policy_at_hand(tmp_path, number) -> None:
    path = tmp_path / "policies.json"
    kept = book(path)
    kept.take(SignedPolicy(policy(3, 1), b"x"), {1})
    kept.take(SignedPolicy(policy(60, 2), b"y"), {1})
    path.write_bytes(damage(path.read_bytes())[number])
    with pytest.raises(StateDamagedError):
        load_schedule(path)
    assert "damaged" in verify_policies(path, lambda _: None)[0]
    at_hand = [SignedPolicy(policy(30, 0)), SignedPolicy(policy(60, 2), b"y")]
    again = PolicyBook.open(path, at_hand, {1, 7})
    assert again.lost
    assert [again.schedule.seconds_for(epoch) // DAY for epoch in (1, 7, 8)] == [30, 30, 60]
    assert again.schedule.newest.number == 2
    assert not book(path).lost  # told once


def test_a_lost_book_is_told_where_epochs_are_held(tmp_path) -> None:
    assert book(tmp_path / "a.json", held={1}).lost
    assert not book(tmp_path / "b.json").lost


@pytest.mark.parametrize("damaged", [False, True])
def test_a_book_that_a_full_disk_does_not_take_holds_in_memory_and_is_written_later(
    tmp_path, damaged
) -> None:
    path = tmp_path / "policies.json"
    if damaged:
        path.write_bytes(b"spoilt")
    files = SmallDisk(tmp_path)
    files.fill()
    kept = book(path, held={1}, files=files)
    assert kept.lost
    assert kept.schedule.seconds_for(1) == 30 * DAY
    for _ in range(2):
        with pytest.raises(OSError, match="ENOSPC"):
            kept.keep()
    files.capacity = 1 << 30
    kept.keep()
    assert load_schedule(path) == kept.schedule
    assert path.with_name("policies.json.damaged").exists() is damaged
    path.unlink()
    kept.keep()  # written once
    assert not path.exists()


def test_lengthenings_are_bounded_and_a_shorter_policy_ends_them(tmp_path) -> None:
    kept = book(tmp_path / "policies.json", days=1)
    for number in range(1, MAX_STEPS):
        assert kept.take(SignedPolicy(policy(number + 1, number), b"x"), set(range(number)))
    with pytest.raises(PolicyInvalidError, match="too many"):
        kept.take(SignedPolicy(policy(90, 80), b"x"), set(range(80)))
    assert len(load_schedule(tmp_path / "policies.json").steps) == MAX_STEPS
    assert kept.take(SignedPolicy(policy(1, 900), b"x"), set(range(70)))
    assert len(load_schedule(tmp_path / "policies.json").steps) == 1


def test_documents_are_verified_again(tmp_path) -> None:
    path = tmp_path / "policies.json"
    assert verify_policies(path, lambda _: None) == ()
    book(path).take(SignedPolicy(policy(60, 1), b"signed"), {1})
    assert verify_policies(path, lambda _: policy(60, 1)) == ()
    assert "not what the agency signed" in verify_policies(path, lambda _: None)[0]
    assert "not what the agency signed" in verify_policies(path, lambda _: policy(61, 1))[0]


@given(st.lists(st.sets(st.integers(0, 9_999_999), max_size=20), max_size=4))
def test_what_is_written_is_what_is_read(tmp_path_factory, begun) -> None:
    path = tmp_path_factory.mktemp("book") / "policies.json"
    steps = tuple(
        Step(policy(number + 1, number), number, frozenset(epochs), bytes([number]))
        for number, epochs in enumerate(begun)
    )
    path.write_bytes(encode_schedule(RetentionSchedule(steps or FIRST.steps)))
    assert load_schedule(path).steps == (steps or FIRST.steps)


def test_killed_at_each_step_the_old_or_the_new_policy_holds(tmp_path) -> None:
    for step in range(100):
        path = tmp_path / f"{step}.json"
        book(path)
        files = Scripted()
        kept = book(path, files=files)
        files.plan = {len(files.calls) + step: "kill"}
        try:
            kept.take(SignedPolicy(policy(60, 1), b"x"), {1})
        except Killed:
            number = book(path).schedule.newest.number
            assert number == (1 if "replace" in files.calls[:-1] else 0)
            continue
        assert step > 3
        return
    pytest.fail("it never ended")


def test_a_policy_holds_from_the_next_run_on_and_the_receipt_says_which(tmp_path) -> None:
    world = World(tmp_path)
    store = world.store()
    for hour in range(3):
        store.append(SegmentKind.READS, b"x", at_us=T0 + hour * EPOCH_US)
    store.close()
    keeper = Retention(
        world.store_root,
        tmp_path / "retention",
        keyring=world.keyring(),
        policy=policy(30, 0),
        signer=DEVICE_KEY,
        device_id="pole-7",
        audit=AuditLog.open(tmp_path / "audit.jsonl", DEVICE_KEY),
        ballast_bytes=0,
    )
    now = TimeEvidence(T0 + 10 * EPOCH_US, 0, ("gnss", "office"))
    assert keeper.run(now) == []
    held = {HOUR, HOUR + 1, HOUR + 2}
    keeper.obey(keeper.schedule.with_policy(RetentionPolicy(8 * 3600, "8h", 1), begun=held))
    bodies = [receipt.body for receipt in keeper.run(now)]
    assert [(body.epoch, body.policy_seconds, body.policy_version) for body in bodies] == [
        (HOUR, 8 * 3600, "8h"),
        (HOUR + 1, 8 * 3600, "8h"),
    ]
    keeper.obey(keeper.schedule.with_policy(policy(60, 2), begun=held))  # lengthened: they die all the same
    later = TimeEvidence(now.now_us + 2 * EPOCH_US, 0, now.sources)
    assert [receipt.body.policy_version for receipt in keeper.run(later)] == ["8h"]
