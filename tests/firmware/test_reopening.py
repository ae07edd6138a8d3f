# SPDX-License-Identifier: Apache-2.0
"""A device that is not there is tried again, ever more rarely, and never stops its caller."""

from __future__ import annotations

from itertools import pairwise

from drivers.errors import DriverError, PinBusy
from firmware.reopening import Reopening


class Plug:
    """Opens as its script says; time passes by hand."""

    def __init__(self, script: list[bool]) -> None:
        self.script = script
        self.opened = self.closed = 0
        self.now_s = 100.0

    def open(self) -> Plug:
        self.opened += 1
        if not self.script.pop(0):
            raise PinBusy("taken")
        return self

    def close(self, device: Plug) -> None:
        self.closed += 1


def _reopening(plug: Plug, **options: float) -> Reopening[Plug]:
    return Reopening(plug.open, plug.close, monotonic_s=lambda: plug.now_s, **options)


def test_it_is_opened_at_its_first_use_and_once() -> None:
    plug = Plug([True])
    device = _reopening(plug)
    assert plug.opened == 0
    assert device.get() is device.get() is plug
    assert (plug.opened, device.problem) == (1, None)


def test_the_pauses_grow_to_their_bound() -> None:
    plug = Plug([False] * 50)
    device = _reopening(plug, longest_pause_s=4.0)
    tried = []
    for _ in range(100):
        before = plug.opened
        assert device.get() is None
        if plug.opened > before:
            tried.append(plug.now_s)
        plug.now_s += 0.25
    assert [after - before for before, after in pairwise(tried)][:5] == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert isinstance(device.problem, PinBusy)


def test_a_lost_device_is_closed_and_comes_back() -> None:
    plug = Plug([True, True])
    device = _reopening(plug)
    device.get()
    device.lose(DriverError("cable"))
    assert plug.closed == 1
    assert device.get() is None
    assert str(device.problem) == "cable"
    plug.now_s += 1.0
    assert device.get() is plug
    assert device.problem is None


def test_a_device_that_opens_and_fails_at_once_is_not_hammered() -> None:
    plug = Plug([True] * 20)
    device = _reopening(plug)
    for _ in range(100):
        if device.get() is not None:
            device.lose(DriverError("dead"))
        plug.now_s += 0.5
    assert plug.opened <= 7
    plug.now_s += 100
    device.get()
    device.good()
    device.lose(DriverError("dead"))
    plug.now_s += 1.0
    assert device.get() is plug


def test_closing_gives_it_back() -> None:
    plug = Plug([True])
    device = _reopening(plug)
    device.get()
    device.close()
    device.close()
    assert plug.closed == 1
    assert device.get() is None  # for good: a thread that still runs gets nothing


def test_a_device_that_refuses_to_be_closed_counts_as_closed() -> None:
    def refuse(_device: Plug) -> None:
        raise PinBusy("the pin is gone")

    plug = Plug([True, True])
    device = Reopening(plug.open, refuse, monotonic_s=lambda: plug.now_s)
    device.get()
    device.lose(DriverError("cable"))
    plug.now_s += 1.0
    assert device.get() is plug
    device.close()
    assert device.get() is None
