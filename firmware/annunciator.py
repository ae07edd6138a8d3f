# SPDX-License-Identifier: Apache-2.0
"""Tells the people in a mobile unit of a hit, by buzzer and lamp. A thread of its own: a hit never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from drivers.errors import DriverError
from drivers.ports import AlertOutput
from firmware.alarm_patterns import SLOT_S, Programme, pattern_of
from firmware.health import Condition, Finding, well
from firmware.reopening import Reopening
from sync.schema import HitRecord

MUTE_HELD_S: Final = 2.0  # a button held this long mutes
MUTE_S: Final = 600.0  # a forgotten mute ends by itself
STUCK_S: Final = 30.0  # nobody holds a button that long: it hangs, or water bridges its cable
LOOK_S: Final = 1.0  # how often a silent thread tries busy pins again
PART: Final = "alert_outputs"

STUCK: Final = Finding(
    PART,
    Condition.DEGRADED,
    "button_stuck",
    "The button seems to be held down all the time, and no hit can be acknowledged: look for water in its cable.",
)
STOPPED: Final = Finding(
    PART,
    Condition.FAILED,
    "stopped",
    "Nobody in the unit hears or sees a hit: switch the unit off and on, and send its log to those who maintain it.",
)

log = structlog.get_logger(__name__)


class Annunciator:
    """Thread-safe. `open_output` None: a unit with neither buzzer nor lamp. Off when idle, and at its end."""

    def __init__(
        self,
        open_output: Callable[[], AlertOutput] | None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = Reopening(open_output, _close, monotonic_s=monotonic_s) if open_output else None
        self._monotonic_s = monotonic_s
        self._programme = Programme()
        self._wake = threading.Condition()
        self._closing = False
        self._muted_until_s = -float("inf")
        self._pressed_since_s: float | None = None
        self._stuck = False
        self._asked = False  # something was asked for since the thread last looked
        self._thread = threading.Thread(target=self._run, name="annunciator", daemon=True)
        self._thread.start()

    def hit(self, hit: HitRecord) -> None:
        """Sounds and shows a hit, or that it was taken back; silent ones do neither."""
        pattern = pattern_of(hit)
        if pattern is None or self._output is None:
            return
        with self._wake:
            now_s = self._monotonic_s()
            if hit.supersedes:
                self._programme.drop(hit.supersedes, now_s)
            self._programme.add(pattern, hit.hit_id, now_s)
            self._notify()

    def acknowledge(self) -> None:
        """Somebody has seen it: everything that plays or waits ends."""
        with self._wake:
            self._programme.clear()
            self._notify()

    def mute(self, seconds: float = MUTE_S) -> None:
        """The buzzer stays off for so long (0: it sounds again); the lamp goes on."""
        with self._wake:
            self._muted_until_s = self._monotonic_s() + seconds
            self._notify()

    @property
    def muted(self) -> bool:
        """Whether the buzzer is kept off, for the status screen."""
        return self._monotonic_s() < self._muted_until_s

    def finding(self) -> Finding:
        """How buzzer and lamp are."""
        if self._output is None:
            return Finding(PART, Condition.ABSENT)
        if not self._closing and not self._thread.is_alive():
            return STOPPED
        problem = self._output.problem
        if problem is None:
            return STUCK if self._stuck else well(PART)
        advice = f"Nobody in the unit hears or sees a hit: {problem}; see which program holds the pins."
        return Finding(PART, Condition.FAILED, "busy", advice)

    def close(self) -> None:
        """Off, and the pins released; may be called twice."""
        with self._wake:
            self._closing = True
            self._notify()
        self._thread.join()

    def _notify(self) -> None:
        self._asked = True
        self._wake.notify()

    # --- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._output is None:
            return
        try:
            while not self._closing:
                pause_s = self._turn(self._output)
                with self._wake:
                    if not self._asked:
                        self._wake.wait(pause_s)
                    self._asked = False
        finally:
            self._output.close()

    def _turn(self, output: Reopening[AlertOutput]) -> float:
        """Drives what is due now; gives the seconds until it has to be looked at again."""
        device = output.get()
        with self._wake:
            buzzer, lamp = self._programme.levels(self._monotonic_s())
            playing = self._programme.playing is not None
        if device is None:
            return LOOK_S
        try:
            device.drive(buzzer=buzzer and not self.muted, lamp=lamp)
            held = device.pressed()
        except DriverError as error:
            output.lose(error)
            return LOOK_S
        output.good()
        self._note_button(held=held)
        return SLOT_S if playing or held else LOOK_S

    def _note_button(self, *, held: bool) -> None:
        """A press acknowledges, a long one mutes too; one without end does neither: no hit must be missed by it."""
        if not held:
            self._pressed_since_s, self._stuck = None, False
            return
        now_s = self._monotonic_s()
        if self._pressed_since_s is None:
            self._pressed_since_s = now_s
            self.acknowledge()
        elif now_s - self._pressed_since_s >= STUCK_S:
            if not self._stuck:
                self._stuck = True
                self.mute(0.0)
        elif now_s - self._pressed_since_s >= MUTE_HELD_S and not self.muted:
            self.mute()
            log.info("alert_muted", seconds=MUTE_S)


def _close(device: AlertOutput) -> None:
    device.close()
