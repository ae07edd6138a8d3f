# SPDX-License-Identifier: Apache-2.0
"""Buzzer, lamp and button behind whatever drives pins; and the unit without them, whose hits the office alone sees."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator, Mapping

from drivers.errors import BadOption, PinBusy
from drivers.options import Options

Errors = Callable[[], tuple[type[Exception], ...]]


class PinAlertOutput:
    """`switches` has "buzzer", "lamp" or both; `errors`: what a lost pin raises. Off when the process ends.

    A killed process cannot switch anything off: docs/hardware/alerts.md says what makes the pins fall back.
    """

    def __init__(
        self,
        switches: Mapping[str, Callable[[bool], object]],
        button: Callable[[], bool] | None,
        release: Callable[[], None],
        errors: Errors,
    ) -> None:
        self._switches, self._button, self._release, self._errors = switches, button, release, errors
        self._closed = False
        atexit.register(self.close)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The pins are ours, or PinBusy."""
        if self._closed:
            raise PinBusy("alert: the outputs were closed")
        try:
            yield
        except self._errors() as error:
            raise PinBusy(f"alert: the pins were lost ({error})") from error

    def drive(self, *, buzzer: bool, lamp: bool) -> None:
        """Switches both; raises PinBusy when the pins were lost or closed."""
        with self._held():
            for what, on in (("lamp", lamp), ("buzzer", buzzer)):
                if what in self._switches:
                    self._switches[what](on)

    def pressed(self) -> bool:
        """Whether the button is held down; raises PinBusy."""
        with self._held():
            return self._button is not None and self._button()

    def close(self) -> None:
        """Both off, and the pins released."""
        if self._closed:
            return
        with contextlib.suppress(PinBusy):
            self.drive(
                buzzer=False, lamp=False
            )  # where the kernel keeps a released pin's level, it keeps off
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(*self._errors()):  # of lost pins there is nothing to release
            self._release()


def read_pins(driver: str, read: Options) -> tuple[dict[str, str], str]:
    """The options buzzer_pin, lamp_pin and button_pin: those given, and the button's (empty: none)."""
    pins = {"buzzer": read.text("buzzer_pin", ""), "lamp": read.text("lamp_pin", "")}
    given = {what: pin for what, pin in pins.items() if pin}
    if not given:
        raise BadOption(f"{driver}: give 'buzzer_pin' or 'lamp_pin' or both, or use the driver 'none'")
    return given, read.text("button_pin", "")


class NoAlertOutput:
    """Nothing to switch."""

    def drive(self, *, buzzer: bool, lamp: bool) -> None:
        """Nobody is told."""

    def pressed(self) -> bool:
        """There is no button."""
        return False

    def close(self) -> None:
        """Nothing to release."""


def open_none(options: Mapping[str, object]) -> NoAlertOutput:
    """No buzzer, no lamp; it has no options."""
    Options("alert none", options).finish()
    return NoAlertOutput()
