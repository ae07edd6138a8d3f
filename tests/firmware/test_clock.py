# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from firmware.clock import (
    AGREEMENT_US,
    EARLIEST_US,
    UNSET_UNCERTAINTY_US,
    DeviceClock,
    TimeOffer,
    read_offer,
    write_offer,
)

START_US = 1_800_000_000_000_000
YEAR_US = 365 * 86_400 * 1_000_000


class Fake:
    """A system clock and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.system_us = START_US
        self.mono_ns = 5_000_000_000

    def clock(self, path: Path) -> DeviceClock:
        return DeviceClock(path, system_us=lambda: self.system_us, monotonic_ns=lambda: self.mono_ns)

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
    assert clock.evidence().sources == ("system", "office")
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
    monkeypatch.setattr("firmware.clock.boot_id", lambda: "another")
    assert read_offer(path) is None
