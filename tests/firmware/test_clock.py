# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import EARLIEST_US, KernelTime
from firmware.clock import (
    AGREEMENT_US,
    UNSET_UNCERTAINTY_US,
    UNSTEERED_UNCERTAINTY_US,
    WALK_US,
    DeviceClock,
    Grade,
    TimeOffer,
    read_offer,
    write_offer,
)
from firmware.time_offer import DRIFT_PPM

START_US = 1_800_000_000_000_000
YEAR_US = 365 * 86_400 * 1_000_000


class Fake:
    """A system clock, what the kernel says of it, and a monotonic clock, that a test sets."""

    def __init__(self) -> None:
        self.system_us = START_US
        self.mono_ns = 5_000_000_000
        self.kernel: KernelTime | None = None

    def clock(self, path: Path) -> DeviceClock:
        return DeviceClock(
            path,
            system_us=lambda: self.system_us,
            monotonic_ns=lambda: self.mono_ns,
            kernel=lambda: self.kernel,
        )

    def says(self, source: str, at_us: int, uncertainty_us: int = 500_000) -> TimeOffer:
        """What a source says now."""
        return TimeOffer(source, at_us, self.mono_ns, uncertainty_us)

    def pass_s(self, seconds: float) -> None:
        self.system_us += round(seconds * 1e6)
        self.mono_ns += round(seconds * 1e9)


@pytest.fixture
def fake() -> Fake:
    return Fake()


def test_time_goes_on_when_the_system_clock_is_set_back(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    before = clock.now_us()
    fake.system_us -= 3600 * 1_000_000
    fake.mono_ns += 2_000_000_000
    assert clock.now_us() == before + 2_000_000
    assert clock.evidence().sources == ()  # the system clock no longer agrees, and says nothing


def test_an_unset_clock_starts_from_the_last_known_time(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.persist()
    fake.system_us = 12  # 1970
    again = fake.clock(tmp_path / "clock.json")
    assert again.now_us() >= START_US
    assert again.evidence().uncertainty_us == UNSET_UNCERTAINTY_US


def test_a_damaged_floor_is_no_floor(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text('{"floor_us": "soon"')
    fake.system_us = 12
    assert fake.clock(tmp_path / "clock.json").now_us() >= EARLIEST_US


def test_a_second_source_counts_only_while_it_agrees(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(TimeOffer("office", START_US, fake.mono_ns, 500_000))
    assert clock.evidence().sources == ("office", "system")
    clock.offer(TimeOffer("office", START_US + 2 * AGREEMENT_US, fake.mono_ns, 500_000))
    assert clock.evidence().sources == ("system",)


def test_an_old_offer_is_forgotten(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(TimeOffer("office", START_US, fake.mono_ns, 500_000))
    fake.pass_s(3601)
    assert clock.evidence().sources == ("system",)


def test_a_frame_gets_the_time_of_its_exposure(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    exposed_ns = fake.mono_ns
    fake.pass_s(0.25)
    assert clock.to_wall_us(exposed_ns) == START_US


def test_offers_travel_by_file(tmp_path: Path) -> None:
    path = tmp_path / "time.json"
    assert read_offer(path) is None
    offer = TimeOffer("office", START_US, 77, 500_000)
    write_offer(path, offer)
    assert read_offer(path) == offer
    path.write_bytes(path.read_bytes()[:-5])
    assert read_offer(path) is None


def test_a_forward_jump_is_followed_only_when_an_offer_agrees(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(TimeOffer("office", START_US, fake.mono_ns, 500_000))
    fake.system_us += YEAR_US
    fake.mono_ns += 1_000_000_000
    assert clock.now_us() == START_US + 1_000_000
    clock.offer(TimeOffer("office", fake.system_us, fake.mono_ns, 500_000))
    assert clock.now_us() == fake.system_us


def test_an_unconfirmed_time_is_corrected_by_an_offer_even_backwards(fake: Fake, tmp_path: Path) -> None:
    true_us = fake.system_us
    fake.system_us += 10 * YEAR_US  # a bad RTC at boot
    clock = fake.clock(tmp_path / "clock.json")
    assert clock.now_us() > true_us
    clock.offer(TimeOffer("office", true_us, fake.mono_ns, 500_000))
    assert clock.now_us() == true_us
    assert clock.evidence().sources == ("office",)


def test_a_bad_clock_leaves_no_trace_over_a_restart(fake: Fake, tmp_path: Path) -> None:
    true_us = fake.system_us
    fake.system_us += 10 * YEAR_US
    fake.clock(tmp_path / "clock.json").persist()
    fake.system_us = true_us
    assert fake.clock(tmp_path / "clock.json").now_us() == true_us


def test_a_confirmed_time_is_a_floor_over_a_restart(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(TimeOffer("office", START_US, fake.mono_ns, 500_000))
    clock.persist()
    fake.system_us -= YEAR_US
    assert fake.clock(tmp_path / "clock.json").now_us() >= START_US


def test_an_offer_of_another_boot_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "time.json"
    write_offer(path, TimeOffer("office", START_US, 77, 500_000))
    monkeypatch.setattr("firmware.time_offer.boot_id", lambda: "another")
    assert read_offer(path) is None


@dataclass(frozen=True)
class Case:
    """What the system clock and the others say (seconds from the truth), and what must come of it.

    `known_s`: a device that confirmed its time so long before the truth, and restarted. `later`: what is said after a
    minute. `time_s`: seconds from the truth, None where nobody can know it.
    """

    system_s: float | None
    offers: dict[str, float] = field(default_factory=dict)
    known_s: float | None = None
    later: dict[str, float] = field(default_factory=dict)
    system_later_s: float | None = None
    time_s: float | None = 0.0
    grade: Grade = Grade.CONFIRMED
    sources: tuple[str, ...] = ()
    contradicting: tuple[str, ...] = ()


YEAR_S = 365 * 86_400.0
CASES = {
    "dead battery clock, alone": Case(None, known_s=3600, time_s=-3600, grade=Grade.UNSET),
    "dead battery clock, GNSS": Case(
        None, {"gnss": 0}, known_s=3600, grade=Grade.CLAIMED, sources=("gnss",), contradicting=()
    ),
    "dead battery clock, GNSS and office": Case(None, {"gnss": 0, "office": 0.2}, sources=("gnss", "office")),
    "clock from 1970, never on before": Case(None, time_s=None, grade=Grade.UNSET),
    "dead battery clock, GNSS that finds its mistake": Case(
        None, {"gnss": YEAR_S}, later={"gnss": 0}, grade=Grade.CLAIMED, sources=("gnss",)
    ),
    "dead battery clock, the office says less than was confirmed before": Case(
        None, {"office": 0}, known_s=-3600, time_s=3600, grade=Grade.UNSET, contradicting=("office",)
    ),
    "a sound battery clock, alone": Case(0, grade=Grade.UNCONFIRMED, sources=("system",)),
    "a sound battery clock and the office": Case(0, {"office": 0.1}, sources=("office", "system")),
    "set back an hour while it was off": Case(
        -3600, known_s=60, time_s=-60, grade=Grade.UNSET, contradicting=("system",)
    ),
    "set back an hour while it runs": Case(
        0, {"office": 0}, system_later_s=-3600, sources=("office",), contradicting=("system",)
    ),
    "set forward a year while it was off, alone": Case(
        YEAR_S, time_s=YEAR_S, grade=Grade.UNCONFIRMED, sources=("system",)
    ),
    "set forward a year while it was off, the office": Case(
        YEAR_S, {"office": 0}, grade=Grade.CLAIMED, sources=("office",), contradicting=("system",)
    ),
    "set forward a year while it runs": Case(
        0, {"office": 0}, system_later_s=YEAR_S, sources=("office",), contradicting=("system",)
    ),
    "set forward a year, and a forged GNSS says the same": Case(
        0,
        {"office": 0},
        system_later_s=YEAR_S,
        later={"gnss": YEAR_S},
        time_s=YEAR_S,
        sources=("gnss", "system"),
        contradicting=("office",),
    ),
    "GNSS forged alone, a year ahead": Case(
        0, {"office": 0}, later={"gnss": YEAR_S}, sources=("office", "system"), contradicting=("gnss",)
    ),
    "GNSS forged alone, a year behind": Case(
        0, {"office": 0}, later={"gnss": -YEAR_S / 100}, sources=("office", "system"), contradicting=("gnss",)
    ),
    "GNSS forged alone, by seconds": Case(
        0, {"office": 0}, later={"gnss": 4}, sources=("gnss", "office", "system")
    ),
    "GNSS forged at the start, then the office": Case(
        0, {"gnss": YEAR_S}, later={"office": 0}, sources=("office", "system"), contradicting=("gnss",)
    ),
    "GNSS forged at the start with a dead battery clock, then the office": Case(
        None,
        {"gnss": YEAR_S},
        later={"office": 0},
        grade=Grade.CLAIMED,
        sources=("office",),
        contradicting=("gnss",),
    ),
    "the office first, then a forged GNSS, with a dead battery clock": Case(
        None,
        {"office": 0},
        later={"gnss": YEAR_S},
        grade=Grade.CLAIMED,
        sources=("office",),
        contradicting=("gnss",),
    ),
    "GNSS and office against the system clock": Case(
        -YEAR_S / 100, {"gnss": 0, "office": 0.3}, sources=("gnss", "office"), contradicting=("system",)
    ),
    "GNSS and office against the system clock that was confirmed before": Case(
        0,
        {"office": 0},
        later={"gnss": 30, "office": 30},
        time_s=30,
        sources=("gnss", "office"),
        contradicting=("system",),
    ),
    "GNSS and office say that a confirmed time is ahead": Case(
        0,
        {"office": 0},
        later={"gnss": -30, "office": -30},
        sources=("system",),
        contradicting=("gnss", "office"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_comes_of_it(case: Case, fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    if case.known_s is not None:
        before = Fake()
        before.system_us = START_US - round(case.known_s * 1e6)
        known = before.clock(path)
        known.offer(before.says("office", before.system_us))
        known.persist()
    true_us = START_US
    fake.system_us = 12 if case.system_s is None else true_us + round(case.system_s * 1e6)
    clock = fake.clock(path)
    for source, off_s in case.offers.items():
        clock.offer(fake.says(source, true_us + round(off_s * 1e6)))
    if case.later or case.system_later_s is not None:
        clock.now_us()
        fake.pass_s(60)
        true_us += 60_000_000
        if case.system_later_s is not None:
            fake.system_us = true_us + round(case.system_later_s * 1e6)
        for source, off_s in case.later.items():
            clock.offer(fake.says(source, true_us + round(off_s * 1e6)))
    state = clock.state()
    if case.time_s is None:
        assert state.evidence.now_us >= EARLIEST_US
        assert state.evidence.uncertainty_us == UNSET_UNCERTAINTY_US
    else:
        assert state.evidence.now_us == pytest.approx(true_us + case.time_s * 1e6, abs=500_000)
    assert state.grade is case.grade
    assert state.evidence.sources == case.sources
    assert tuple(state.contradicting) == case.contradicting


def test_the_doubt_grows_with_the_crystal_s_drift(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 200_000))
    assert clock.evidence().uncertainty_us == 200_000
    fake.pass_s(86_400)
    assert clock.evidence().uncertainty_us == 200_000 + 86_400 * DRIFT_PPM
    clock.offer(fake.says("gnss", fake.system_us, 5_000))
    assert clock.evidence().uncertainty_us <= 5_000


def test_the_same_offer_again_makes_nothing_surer(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    offer = fake.says("office", START_US, 200_000)
    clock.offer(offer)
    fake.pass_s(3000)
    clock.offer(offer)
    assert clock.evidence().uncertainty_us == 200_000 + 3000 * DRIFT_PPM


@pytest.mark.parametrize("uncertainty_us", [AGREEMENT_US + 1, -1])
def test_an_offer_that_says_nothing_is_passed_over(uncertainty_us: int, fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US + YEAR_US, uncertainty_us))
    assert clock.state().grade is Grade.UNCONFIRMED
    assert clock.now_us() == START_US


def test_an_unconfirmed_time_says_how_unsure_it_is(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    assert clock.evidence().uncertainty_us == UNSTEERED_UNCERTAINTY_US


def test_a_steered_system_clock_is_a_source_with_the_kernel_s_own_bound(fake: Fake, tmp_path: Path) -> None:
    fake.kernel = KernelTime(synchronised=True, max_error_us=40_000)
    clock = fake.clock(tmp_path / "clock.json")
    state = clock.state()
    assert (state.grade, state.evidence.sources) == (Grade.CLAIMED, ("ntp",))
    assert state.evidence.uncertainty_us == 40_000


def test_ntp_that_sets_a_wrong_battery_clock_back_is_followed(fake: Fake, tmp_path: Path) -> None:
    fake.system_us += YEAR_US
    clock = fake.clock(tmp_path / "clock.json")
    assert clock.now_us() > START_US + YEAR_US // 2
    fake.system_us = START_US
    fake.kernel = KernelTime(synchronised=True, max_error_us=40_000)
    assert clock.now_us() == START_US
    clock.offer(fake.says("office", START_US))
    fake.system_us -= 3600 * 1_000_000  # NTP is forged: the office still says otherwise
    fake.mono_ns += 1_000_000_000
    assert clock.now_us() == START_US + 1_000_000


def test_a_surer_source_steers_forward_at_once(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 800_000))
    clock.offer(fake.says("gnss", START_US + 300_000, 5_000))
    assert clock.now_us() == START_US + 300_000
    assert clock.evidence().uncertainty_us <= 5_000


def test_a_surer_source_steers_back_by_running_slower(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 800_000))
    clock.offer(fake.says("gnss", START_US - 300_000, 5_000))
    last, true_us = clock.now_us(), START_US - 300_000
    assert clock.evidence().uncertainty_us >= 300_000
    for _ in range(100):
        fake.pass_s(0.1)
        assert clock.now_us() > last
        last = clock.now_us()
    assert last == true_us + 10_000_000
    assert clock.evidence().uncertainty_us < 10_000


def test_a_vaguer_source_does_not_steer(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 50_000))
    clock.offer(fake.says("gnss", START_US + 720_000, 700_000))
    assert clock.now_us() == START_US


def test_what_sources_differ_by_is_doubt(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 50_000))
    clock.offer(fake.says("gnss", START_US + 4_000_000, 5_000))
    assert clock.now_us() == START_US
    assert clock.evidence().uncertainty_us >= 3_900_000


@pytest.mark.parametrize("office", [True, False])
def test_a_forged_receiver_cannot_walk_the_time_away(office: bool, fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US, 300_000))
    begun_ns = fake.mono_ns
    for step in range(2000):  # as much as is believed each time, every ten seconds
        fake.pass_s(10)
        clock.offer(fake.says("gnss", clock.now_us() + 10_000, 5_000))
        if office and step % 3 == 0:
            clock.offer(fake.says("office", START_US + (fake.mono_ns - begun_ns) // 1000, 300_000))
    off_us = clock.now_us() - START_US - (fake.mono_ns - begun_ns) // 1000
    while_it_was_watched_us = 1_000_000  # the office's own doubt, and the receiver's
    assert off_us <= while_it_was_watched_us + (0 if office else WALK_US)


def test_no_microseconds_get_lost_between_many_questions(fake: Fake, tmp_path: Path) -> None:
    clock = fake.clock(tmp_path / "clock.json")
    clock.offer(fake.says("office", START_US))
    for _ in range(10_000):
        fake.mono_ns += 1_999
        clock.now_us()
    assert clock.now_us() == START_US + 10_000 * 1_999 // 1000


SAYS = st.tuples(
    st.sampled_from(["gnss", "office", "system", "time"]),
    st.integers(-40_000_000, 40_000_000),
    st.integers(1, 2_000_000),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SAYS, max_size=25))
def test_a_confirmed_time_never_goes_back_and_leaps_only_to_two(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, int]]
) -> None:
    fake = Fake()
    clock = fake.clock(tmp_path_factory.mktemp("c") / "clock.json")
    clock.offer(fake.says("office", START_US))
    last = clock.now_us()
    for what, off_us, uncertainty_us in script:
        if what == "time":
            fake.pass_s(abs(off_us) / 1e6)
            last += abs(off_us) - abs(off_us) // 20  # it may run slower, never back
        elif what == "system":
            fake.system_us += off_us
        else:
            clock.offer(fake.says(what, START_US + off_us, uncertainty_us))
        now = clock.now_us()
        assert now >= last - 1
        if now > last + abs(off_us) + AGREEMENT_US:
            assert len(clock.evidence().sources) > 1
        last = now
