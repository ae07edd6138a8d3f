# SPDX-License-Identifier: Apache-2.0
"""Hours that a device named by a clock that was ahead: the office keeps them no longer than the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from held_world import DAY_US, pulled_segment
from office_world import Clock, MadeDevice, make_receipts

from backoffice import receipts, retention
from backoffice.known_epochs import remember_epochs
from backoffice.office import Office
from storage.receipts import sign_receipt
from storage.types import EpochId, epoch_of


def pulled_ahead(office: Office, device: MadeDevice, clock: Clock, ahead_us: int) -> EpochId:
    """A pulled hour that is named so much later than it is."""
    epoch = epoch_of(clock() + ahead_us)
    remember_epochs(office, device.device_id, [epoch])
    pulled_segment(office, device, clock() + ahead_us)
    return epoch


def say_erased(office: Office, device: MadeDevice, epoch: EpochId) -> None:
    (made,) = make_receipts(device, 1)
    receipt = sign_receipt(replace(made.body, epoch=epoch), device.key)
    receipts.record(office, device.device_id, f"r-{epoch}", receipt.encode())


def goes_after(office: Office, clock: Clock, days: range) -> int | None:
    """The first of these days from now on which all is past its retention."""
    start = clock()
    try:
        for day in days:
            clock.now_us = start + day * DAY_US
            if retention.plan(office).counts() == {"shares": 1, "segments": 1, "hits": 0, "strays": 0}:
                return day
    finally:
        clock.now_us = start
    return None


def test_next_years_hour_goes_after_one_retention(office: Office, device: MadeDevice, clock: Clock) -> None:
    pulled_ahead(office, device, clock, 365 * DAY_US)
    assert goes_after(office, clock, range(60)) == 31


@pytest.mark.parametrize(("erased", "day"), [(True, 31), (False, 41)])
def test_an_hour_of_next_week_goes_when_the_device_says_that_it_is_gone(
    office: Office, device: MadeDevice, clock: Clock, erased: bool, day: int
) -> None:
    epoch = pulled_ahead(office, device, clock, 10 * DAY_US)
    if erased:
        say_erased(office, device, epoch)
    assert goes_after(office, clock, range(60)) == day


def test_a_receipt_takes_nothing_that_is_inside_its_retention(
    office: Office, device: MadeDevice, clock: Clock
) -> None:
    for ahead_us in (-DAY_US, 0, 365 * DAY_US):  # a thief with the device's key
        say_erased(office, device, pulled_ahead(office, device, clock, ahead_us))
    clock.forward(25 * 86_400)
    assert retention.plan(office).empty


def test_an_office_whose_clock_was_behind_when_it_heard_of_an_hour_deletes_nothing_early(
    office: Office, device: MadeDevice, clock: Clock
) -> None:
    pulled_ahead(office, device, clock, 365 * DAY_US)  # the device was right
    clock.forward(366 * 86_400)
    assert retention.plan(office).empty
    assert goes_after(office, clock, range(60)) == 30
