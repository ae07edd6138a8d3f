# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from storage.spool import Spool
from sync.budget import BudgetLimits, DailyBudget, MeteredTransport, Purpose
from sync.errors import AuthRejected, OverBudget, ReplyTooLarge
from sync.office_sim import OfficeSim
from sync.uploader import Uploader, UploadSettings
from sync.wire import Response
from tests.sync.factories import NOW_US
from tests.sync.links import Clock, spool

KEY = ec.generate_private_key(ec.SECP256R1())
DAY_US = 86_400_000_000


def office(faults: str = "") -> OfficeSim:
    return OfficeSim(KEY, now_us=NOW_US, faults=faults)


def uploader(sim: OfficeSim, waiting: Spool, clock: Clock | None = None) -> Uploader:
    return Uploader(sim, waiting, rng=random.Random(1), monotonic=clock or Clock())


def test_hits_arrive_oldest_first_and_leave_the_spool(tmp_path: Path) -> None:
    sim, waiting = office(), spool(tmp_path, b"a", b"b", b"c")
    report = uploader(sim, waiting).step()
    assert (report.acknowledged, report.failed, report.wait_s) == (3, 0, 0)
    assert sim.hits == {"h0": b"a", "h1": b"b", "h2": b"c"}
    assert sim.deliveries == ["h0", "h1", "h2"]
    assert waiting.pending() == []


@pytest.mark.parametrize(
    ("faults", "kept", "set_aside", "office_has"),
    [
        ("r", 1, 0, 0),
        ("t", 1, 0, 0),
        ("l", 1, 0, 1),
        ("5", 1, 0, 0),
        ("b", 1, 0, 0),
        ("4", 1, 0, 0),
        ("g", 0, 1, 0),
        (".", 0, 0, 1),
    ],
)
def test_only_an_acknowledgement_empties_the_spool(
    tmp_path: Path, faults: str, kept: int, set_aside: int, office_has: int
) -> None:
    sim, waiting, clock = office(faults), spool(tmp_path, b"a"), Clock()
    sender = uploader(sim, waiting, clock)
    report = sender.step()
    assert len(waiting.pending()) == kept
    assert len(waiting.quarantined()) == set_aside == report.set_aside
    assert len(sim.hits) == office_has
    if kept:
        assert report.wait_s > 0
        assert sender.step().acknowledged == 0  # not before the wait is over
        clock.now_s += report.wait_s
        assert sender.step().acknowledged == 1
        assert waiting.pending() == []
        assert sim.hits == {"h0": b"a"}  # however often it was sent, the office has it once


@pytest.mark.parametrize("fault", ["a", "f"])
def test_a_refused_device_stops_and_keeps_everything(tmp_path: Path, fault: str) -> None:
    sim, waiting = office(fault), spool(tmp_path, b"a", b"b")
    with pytest.raises(AuthRejected):
        uploader(sim, waiting).step()
    assert len(waiting.pending()) == 2
    assert len(sim.requests) == 1


def test_waits_double_with_jitter_and_have_a_ceiling(tmp_path: Path) -> None:
    sim, waiting, clock = office("r" * 40), spool(tmp_path, b"a"), Clock()
    sender = uploader(sim, waiting, clock)
    waits = []
    for _ in range(15):
        waits.append(sender.step().wait_s)
        clock.now_s += waits[-1]
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits[:8]))
    assert max(waits) <= UploadSettings().max_wait_s
    assert len({round(wait, 6) for wait in waits}) == len(waits)


def test_the_office_can_ask_for_a_longer_wait(tmp_path: Path) -> None:
    sim, waiting = office("bb"), spool(tmp_path, b"a", b"b")
    assert uploader(sim, waiting).step().wait_s >= 7


def test_an_item_that_the_office_chokes_on_does_not_hold_up_the_others(tmp_path: Path) -> None:
    sim, waiting = office("5.."), spool(tmp_path, b"a", b"b", b"c")
    report = uploader(sim, waiting).step()
    assert (report.acknowledged, report.failed) == (2, 1)
    assert [item.id for item in waiting.pending()] == ["h0"]


def test_what_the_office_cannot_take_is_tried_for_a_while_and_then_set_aside(tmp_path: Path) -> None:
    sim, waiting, clock = office("4" * 30), spool(tmp_path, b"a"), Clock()
    sender = uploader(sim, waiting, clock)
    started, steps = clock.now_s, 0
    while waiting.pending():
        report = sender.step()
        clock.now_s += max(report.wait_s, 0.25)
        steps += 1
        assert steps < 20_000
    assert waiting.quarantined_count() == 1
    assert len(sim.requests) == UploadSettings().doubtful_attempts
    assert clock.now_s - started > 1800  # time enough for an office to be put right


def test_an_item_in_doubt_does_not_slow_the_others(tmp_path: Path) -> None:
    sim, waiting, clock = office("4"), spool(tmp_path, b"a", b"b"), Clock()
    sender = uploader(sim, waiting, clock)
    report = sender.step()
    assert (report.acknowledged, report.failed, report.wait_s) == (1, 1, 0)
    waiting.put("h9", b"c", kind="hit")
    assert sender.step().acknowledged == 1
    assert [item.id for item in waiting.pending()] == ["h0"]
    clock.now_s += 2
    assert sender.step().acknowledged == 1


def test_items_that_are_refused_do_not_fill_the_batch(tmp_path: Path) -> None:
    clock, settings = Clock(), UploadSettings(batch=2)
    sim, waiting = office("4444"), spool(tmp_path, *[b"x"] * 5)
    sender = Uploader(sim, waiting, settings=settings, rng=random.Random(1), monotonic=clock)
    for _ in range(2):
        clock.now_s += sender.step().wait_s
    assert sender.step().acknowledged >= 1


def test_fresh_items_pass_a_batch_of_tired_ones(tmp_path: Path) -> None:
    settings = UploadSettings(batch=2)
    sim, waiting = office(), spool(tmp_path, b"a", b"b", b"c")
    for name in ("h0", "h1"):
        for _ in range(settings.tired_attempts):
            waiting.failed(name, "office error")
    Uploader(sim, waiting, settings=settings, rng=random.Random(1), monotonic=Clock()).step()
    assert sim.deliveries[0] == "h2"


def test_an_answer_that_is_too_large_says_nothing_about_the_item(tmp_path: Path) -> None:
    class Flooding(_Answers):
        def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
            raise ReplyTooLarge("the answer has more than 1 bytes")

    waiting = spool(tmp_path, b"a")
    Uploader(Flooding(Response(200)), waiting, monotonic=Clock()).step()
    assert (len(waiting.pending()), waiting.quarantined_count()) == (1, 0)


def test_a_contact_ends_a_wait_but_not_one_that_the_office_asked_for(tmp_path: Path) -> None:
    sim, waiting, clock = office("rr"), spool(tmp_path, b"a"), Clock()
    sender = uploader(sim, waiting, clock)
    sender.step()
    sender.backoff.wake()
    assert sender.step().wait_s > 0  # tried again at once, and failed
    sender.backoff.wake()
    assert sender.step().acknowledged == 1
    sim.faults = "bb"
    waiting.put("h8", b"x", kind="hit")
    waiting.put("h9", b"x", kind="hit")
    sender.step()
    sender.backoff.wake()
    assert sender.step().wait_s >= 7


def test_a_tired_item_goes_behind_fresh_ones(tmp_path: Path) -> None:
    sim, waiting = office(), spool(tmp_path, b"a", b"b")
    for _ in range(UploadSettings().tired_attempts):
        waiting.failed("h0", "office error")
    uploader(sim, waiting).step()
    assert sim.deliveries == ["h1", "h0"]


class _Answers:
    """A transport with one fixed answer."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        return self.response

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        return self.response

    put = post


@pytest.mark.parametrize(
    ("response", "waits", "quarantined"),
    [
        (Response(409, {"x-wayside-id": "h0"}), 0, 0),  # already there
        (Response(409, {}), 0, 1),  # another content under this id
        (Response(200, {"x-wayside-id": "h9"}), 1, 0),  # an answer to something else
        (Response(204), 1, 0),
        (Response(302), 1, 0),
        (Response(404), 1, 0),  # a missing route is the office's state, not the item's fault
        (Response(413), 0, 1),
        (Response(200), 0, 0),
    ],
)
def test_what_counts_as_acknowledged(
    tmp_path: Path, response: Response, waits: int, quarantined: int
) -> None:
    waiting = spool(tmp_path, b"a")
    Uploader(_Answers(response), waiting, monotonic=Clock()).step()
    assert (len(waiting.pending()), len(waiting.quarantined())) == (waits, quarantined)


def test_hits_go_whatever_was_spent_and_segments_stop_first(tmp_path: Path) -> None:
    budget = DailyBudget(BudgetLimits(day_bytes=10_000))
    budget.spend(6_500, NOW_US)
    allowed = {purpose: budget.allows(purpose, 100, NOW_US) for purpose in Purpose}
    assert allowed == {purpose: purpose is not Purpose.SEGMENTS for purpose in Purpose}
    budget.spend(10_000, NOW_US)
    assert [purpose for purpose in Purpose if budget.allows(purpose, 100, NOW_US)] == [Purpose.HITS]
    assert all(budget.allows(purpose, 100, NOW_US + DAY_US) for purpose in Purpose)
    assert budget.spent(NOW_US + DAY_US) == 0
    assert budget.spent(NOW_US) == 0  # a clock that steps back does not bring the old day back


def test_the_meter_counts_both_ways_and_refuses() -> None:
    budget = DailyBudget(BudgetLimits(day_bytes=5_000))
    link = MeteredTransport(_Answers(Response(200, {}, b"x" * 1000)), budget, Purpose.LISTS, lambda: NOW_US)
    link.get("/")
    assert 1_000 < budget.spent(NOW_US) < 2_000
    link.post("/", b"y" * 1000)
    assert 4_000 < budget.spent(NOW_US) < 5_000
    with pytest.raises(OverBudget):
        link.put("/", b"y" * 2_000)


def test_the_count_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    budget = DailyBudget(BudgetLimits(), path)
    budget.spend(300_000, NOW_US)
    assert DailyBudget(BudgetLimits(), path).spent(NOW_US) == 300_000
    path.write_bytes(b"[")
    assert DailyBudget(BudgetLimits(), path).spent(NOW_US) == 0
