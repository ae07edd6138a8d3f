# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import pytest

from drivers.errors import DriverError
from firmware.attended import Attended


class Device:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def attended(devices: list[Device], look: object, seconds: list[float]) -> Attended[Device]:
    def open_it() -> Device:
        devices.append(Device())
        return devices[-1]

    return Attended(
        "it",
        open_it,
        look,  # type: ignore[arg-type]
        every_s=0.01,
        longest_pause_s=1.0,
        monotonic_s=lambda: seconds[0],
    )


def test_a_device_that_fails_is_closed_and_opened_again_after_a_pause() -> None:
    devices: list[Device] = []
    seconds, broken = [0.0], [True]

    def look(_device: Device) -> None:
        if broken[0]:
            raise DriverError("no answer")

    it = attended(devices, look, seconds)
    it.step()
    assert (len(devices), devices[0].closed, it.problem) == (1, 1, "no answer")
    it.step()
    assert len(devices) == 1
    seconds[0], broken[0] = 2.0, False
    it.step()
    assert (len(devices), it.problem) == (2, "")
    it.close()
    it.close()
    assert devices[1].closed == 1


def test_what_is_no_driver_s_error_is_not_hidden() -> None:
    def look(_device: Device) -> None:
        raise KeyError("a mistake in the code")

    with pytest.raises(KeyError):
        attended([], look, [0.0]).step()


def test_a_thread_that_hangs_is_noticed_and_its_close_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.attended.END_S", 0.05)
    let_go, seconds = threading.Event(), [0.0]
    it = attended([], lambda _device: let_go.wait(10), seconds)
    it.start()
    seconds[0] = 30.0
    assert it.away_s() == 30.0
    begun = time.monotonic()
    it.close()
    assert time.monotonic() - begun < 1.0
    let_go.set()
