# SPDX-License-Identifier: Apache-2.0
"""Watches the cellular modem: what keeps the unit off the network, and when only a restart of the modem can help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final, Self

import structlog

from drivers.errors import ModemMute
from drivers.ports import Modem
from drivers.types import ModemStatus
from firmware.attended import Attended
from firmware.health import Condition, Finding, well
from firmware.lasting import Lasting

ASK_EVERY_S: Final = 30.0
LONGEST_PAUSE_S: Final = 60.0  # between two tries to open the port
HUNG_S: Final = 120.0  # every command has its time limit: a look that takes longer hangs in the port
MUTE_S: Final = 45.0  # a modem that starts by itself is away for half a minute
NO_SIM_S: Final = 60.0
NOT_REGISTERED_S: Final = 120.0
WEAK_S: Final = 180.0
WEAK_RSRP_DBM: Final = -116.0  # below, LTE barely carries an upload
WEAK_RSSI_DBM: Final = -103.0  # where the modem tells no RSRP
BETTER_DB: Final = 4.0  # by so much it must be stronger before it counts as strong
RESTART_S: Final = 600.0  # off the network for so long, and again for twice as long each time ...
LONGEST_RESTART_S: Final = 14_400.0  # ... up to this

MUTE = Finding(
    "modem", Condition.FAILED, "mute", "the modem does not answer: check its power, its cable and its lamp"
)
NO_SIM = Finding(
    "modem", Condition.FAILED, "no_sim", "its SIM card is missing, locked or broken: seat it, unlock it"
)
NOT_REGISTERED = Finding(
    "modem", Condition.FAILED, "not_registered", "no network takes it: check antenna, plan and access point"
)
WEAK = Finding("modem", Condition.DEGRADED, "weak", "it hardly hears the network: move or raise the antenna")

log = structlog.get_logger(__name__)


class LinkJudge:
    """Pure: one finding, the gravest, from what the modem says."""

    def __init__(self) -> None:
        self._mute = Lasting(MUTE_S, 0.0)
        self._no_sim = Lasting(NO_SIM_S, 0.0)
        self._off = Lasting(NOT_REGISTERED_S, 0.0)
        self._weak = Lasting(WEAK_S, WEAK_S)

    def look(self, now_s: float, status: ModemStatus | None) -> Finding:
        """`status` None: it does not answer; `now_s` is monotonic."""
        self._mute.step(status is None, now_s)
        if status is not None:
            self._no_sim.step(status.sim in ("missing", "locked", "failed"), now_s)
            self._off.step(not status.registered, now_s)
            self._weak.step(self._is_weak(status), now_s)
        told = ((self._mute, MUTE), (self._no_sim, NO_SIM), (self._off, NOT_REGISTERED), (self._weak, WEAK))
        return next((finding for lasting, finding in told if lasting.told), well("modem"))

    def _is_weak(self, status: ModemStatus) -> bool:
        better_db = BETTER_DB if self._weak.told else 0.0
        if status.rsrp_dbm is not None:
            return status.rsrp_dbm < WEAK_RSRP_DBM + better_db
        return status.signal_dbm is not None and status.signal_dbm < WEAK_RSSI_DBM + better_db


class Restarts:
    """Pure: when a modem that stays off the network is to be started anew; each time it waits twice as long."""

    def __init__(self) -> None:
        self._wait_s = RESTART_S
        self._since_s: float | None = None
        self.count = 0

    def due(self, now_s: float, *, hopeful: bool) -> bool:
        """`hopeful`: it is off the network for a reason that a restart can end."""
        if not hopeful:
            self._since_s, self._wait_s = None, RESTART_S
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < self._wait_s:
            return False
        self._since_s, self._wait_s = now_s, min(2 * self._wait_s, LONGEST_RESTART_S)
        self.count += 1
        return True


def _is_hopeful(status: ModemStatus | None) -> bool:
    """A card that is missing or a plan that ended comes back by no restart."""
    return status is None or (
        not status.registered and status.registration != "denied" and status.sim in ("ready", "unknown")
    )


class LinkCheck:
    """Thread-safe; asks on a thread of its own. `open_modem` None: the unit has no modem."""

    def __init__(
        self, open_modem: Callable[[], Modem] | None, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        self._modem = open_modem and Attended(
            "modem",
            open_modem,
            self._look,
            every_s=ASK_EVERY_S,
            longest_pause_s=LONGEST_PAUSE_S,
            monotonic_s=monotonic_s,
        )
        self._judge, self._restarts = LinkJudge(), Restarts()
        self._lock = threading.Lock()
        self._status: ModemStatus | None = None
        self._answered = False  # until its first answer it is not known to be mute

    def start(self) -> None:
        """Begins to ask the modem."""
        if self._modem is not None:
            self._modem.start()

    def step(self) -> None:
        """Asks the modem once, where nobody called `start`."""
        if self._modem is not None:
            self._modem.step()

    def close(self) -> None:
        """Ends the thread and gives the port back."""
        if self._modem is not None:
            self._modem.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, modem: Modem) -> None:
        try:
            status: ModemStatus | None = modem.status()
        except ModemMute:
            self._consider_restart(modem, None)
            raise
        with self._lock:
            self._status, self._answered = status, True
        self._consider_restart(modem, status)

    def _consider_restart(self, modem: Modem, status: ModemStatus | None) -> None:
        if self._restarts.due(self._monotonic_s(), hopeful=_is_hopeful(status)):
            log.warning("modem_restarted", mute=status is None, restarts=self._restarts.count)
            modem.restart()

    def poll(self) -> list[Finding]:
        """What is to be said of the modem now; at once, whatever the modem does. Call it every second."""
        if self._modem is None:
            return [Finding("modem", Condition.ABSENT)]
        silent = bool(self._modem.problem) or self._modem.away_s() > HUNG_S
        with self._lock:
            if not silent and not self._answered:
                return [well("modem")]
            return [self._judge.look(self._monotonic_s(), None if silent else self._status)]

    def status(self) -> dict[str, bool | int | float | str | None]:
        """For the status socket: what the modem said last, how often it was restarted, why it can't be asked."""
        problem = "" if self._modem is None else self._modem.problem
        with self._lock:
            told = {} if self._status is None or problem else asdict(self._status)
        return {**told, "restarts": self._restarts.count, "problem": problem}
