# SPDX-License-Identifier: Apache-2.0
"""The thread for the disk: nobody waits for it, hits go first, what waits is bounded."""

from __future__ import annotations

import threading
import time

import pytest

from firmware.keeper import MAX_WAITING_BYTES, READS_RESERVE_BYTES, Keeper, NotNow, Rank, at_once


def _nothing() -> None:
    """A job that writes nothing."""


def test_jobs_are_done_in_their_order_and_hits_before_all() -> None:
    keeper, done = Keeper(), list[str]()
    for name, rank in (
        ("a", Rank.PICTURES),
        ("b", Rank.READ),
        ("hit 1", Rank.URGENT),
        ("hit 2", Rank.URGENT),
    ):
        assert keeper(lambda name=name: done.append(name), rank, 10)  # type: ignore[misc]
    assert keeper.waiting_bytes == 40
    keeper.work()
    assert done == ["hit 1", "hit 2", "a", "b"]
    assert (keeper.waiting_bytes, keeper.waiting_s) == (0, 0.0)


def test_beyond_the_bound_pictures_then_reads_are_refused_and_hits_never() -> None:
    keeper = Keeper()
    assert keeper(_nothing, Rank.PICTURES, MAX_WAITING_BYTES)
    assert not keeper(_nothing, Rank.PICTURES, 1)
    assert keeper(_nothing, Rank.READ, READS_RESERVE_BYTES)
    assert not keeper(_nothing, Rank.READ, 1)
    assert keeper(_nothing, Rank.URGENT, 1000)
    keeper.work()
    assert keeper(_nothing, Rank.PICTURES, MAX_WAITING_BYTES)


@pytest.mark.timeout(20)
def test_who_brings_a_job_does_not_wait_for_a_disk_that_hangs() -> None:
    keeper, hangs, advanced = Keeper(), threading.Event(), list[float]()

    def hang() -> None:
        hangs.wait(10)

    thread = threading.Thread(target=keeper.run, args=(lambda: advanced.append(time.monotonic()),))
    thread.start()
    keeper(hang, Rank.PICTURES)
    begun = time.monotonic()
    for _ in range(1000):
        assert keeper(_nothing, Rank.READ, 200)
    assert time.monotonic() - begun < 1.0
    time.sleep(0.1)
    assert keeper.waiting_s >= 0.1
    assert not advanced
    hangs.set()
    keeper.close()
    thread.join()
    assert len(advanced) == 1001
    assert keeper.waiting_bytes == 0


def test_a_job_that_fails_leaves_the_count_right() -> None:
    keeper = Keeper()

    def fail() -> None:
        raise ZeroDivisionError

    keeper(fail, Rank.READ, 10)
    with pytest.raises(ZeroDivisionError):
        keeper.work()
    assert keeper.waiting_bytes == 0


def test_at_once() -> None:
    done = list[int]()
    assert at_once(lambda: done.append(1))
    assert done == [1]


def _put_off(tries: list[str], until: int, lost: list[str]) -> None:
    tries.append("read")
    if len(tries) < until:
        raise NotNow(lambda: lost.append("read"))


def test_what_is_put_off_waits_in_its_order_and_keeps_no_hit_from_its_turn() -> None:
    keeper, tries, lost, done = Keeper(), list[str](), list[str](), list[str]()
    keeper(lambda: _put_off(tries, 3, lost), Rank.READ, 10)
    keeper(lambda: done.append("behind"), Rank.READ, 10)
    keeper.work()
    assert (tries, done, keeper.waiting_bytes, keeper.waiting_reads) == (["read"], [], 20, 2)
    keeper(lambda: done.append("hit"))
    keeper.work()
    assert (len(tries), done) == (2, ["hit"])
    keeper.work()
    assert (len(tries), done, lost) == (3, ["hit", "behind"], [])
    assert keeper.waiting_bytes == keeper.waiting_reads == 0


@pytest.mark.timeout(20)
def test_what_is_put_off_is_tried_now_and_then_and_at_the_end_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("firmware.keeper.AGAIN_S", 0.05)
    monkeypatch.setattr("firmware.keeper.POLL_S", 0.02)
    keeper, tries, lost, done = Keeper(), list[str](), list[str](), list[str]()
    thread = threading.Thread(target=keeper.run, args=(lambda: None,))
    thread.start()
    keeper(lambda: _put_off(tries, 1000, lost), Rank.READ, 10)
    keeper(lambda: done.append("behind"), Rank.READ, 10)
    time.sleep(0.6)
    assert 3 < len(tries) < 15
    assert keeper.waiting_s < 0.4  # it is not the disk that it waits for
    assert lost == []
    keeper.close()
    thread.join()
    assert (lost, done, keeper.waiting_bytes) == (["read"], ["behind"], 0)


def test_at_once_gives_up_what_is_put_off() -> None:
    lost: list[str] = []
    assert at_once(lambda: _put_off([], 2, lost))
    assert lost == ["read"]
