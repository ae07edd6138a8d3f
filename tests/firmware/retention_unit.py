# SPDX-License-Identifier: Apache-2.0
"""A unit whose clocks and power a test holds: the real DeviceClock, Retention and keyring, in simulated days.

Records are made every so often, at a true time that the test knows; each seals under the hour that the unit's own clock
names. What is deleted, and when by the true time, is written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivers.clock import EARLIEST_US
from firmware.clock import DeviceClock, TimeOffer
from firmware.retention_watch import retention_finding
from storage.audit import AuditLog
from storage.files import Files
from storage.keyring import Keyring
from storage.retention import Retention, RetentionPolicy
from storage.root_of_trust import FileRootOfTrust
from storage.types import EpochId, epoch_of
from tests.provisioning.conftest import new_key

S = 1_000_000
HOUR = 3_600 * S
DAY = 24 * HOUR
YEAR = 365 * DAY
START = EARLIEST_US // HOUR * HOUR + 300 * DAY
KEEP = 8 * HOUR
LIES = {"g": ("gnss", 0), "o": ("office", 0)} | {
    "G": ("gnss", YEAR),
    "O": ("office", YEAR + DAY),  # liars do not tell the same lie: that is two sources
    "b": ("gnss", -YEAR),
    "p": ("office", -YEAR - DAY),
}
WALK_US = 110 * S  # by how much more a walking lie ("w") is ahead at each look
LOOKS_A_RECORD = 3
DOUBT_US = {"gnss": 100_000, "office": 300_000}


class Obeying:
    """No policy was refused."""

    refused = False


class NoSync(Files):
    """Simulated power cuts lose nothing here, so nothing has to wait for a disk."""

    def fsync(self, fd: int) -> None:
        return None

    def fsync_dir(self, folder: Path) -> None:
        return None


@dataclass(slots=True)
class Death:
    """An epoch that was deleted: when, and the true time of the last record in it."""

    at_us: int
    last_us: int

    @property
    def early_us(self) -> int:
        """How much too young its youngest record was."""
        return max(0, self.last_us + KEEP - self.at_us)


class Unit:
    """`run` lets days pass with power, `off` without."""

    def __init__(self, root: Path, rtc_us: int | None = 0) -> None:
        """`rtc_us` is by how much the battery clock is ahead; None: it is dead and begins at 1970 each time."""
        self.root = root
        self.true_us = START
        self.uptime_ns = 0
        self.asleep_ns = 0  # of the uptime, what the clock of the frames slept through
        self.rtc_us = rtc_us
        self.deaths: list[Death] = []
        self.made: dict[EpochId, list[int]] = {}
        self.late_us = 0  # the worst that was kept too long, in time with power
        self.told: set[str] = set()  # what health said of deletion
        self._looks = self._walk_us = 0
        self._dark: list[tuple[int, int]] = []
        files = NoSync()
        self.keyring = Keyring.open(
            root / "keyring", FileRootOfTrust(root / "trust", files=files), files=files
        )
        self._files = files
        self._key = new_key()
        self.boot()

    def _wall_us(self) -> int:
        return self.true_us - self._booted_us if self.rtc_us is None else self.true_us + self.rtc_us

    def boot(self) -> None:
        """Power comes: the monotonic clock begins anew."""
        self._booted_us, self.uptime_ns, self.asleep_ns = self.true_us, 20 * 10**9, 0
        self.start()

    def _monotonic_ns(self) -> int:
        return self.uptime_ns - self.asleep_ns

    def start(self) -> None:
        """The process starts, also without a boot."""
        self.clock = DeviceClock(
            self.root / "clock.json", system_us=self._wall_us, monotonic_ns=self._monotonic_ns
        )
        self.retention = Retention(
            self.root / "store",
            self.root / "retention",
            keyring=self.keyring,
            policy=RetentionPolicy(KEEP // S, "eight-hours"),
            signer=self._key,
            device_id="pole-7",
            audit=AuditLog.open(self.root / "audit.jsonl", self._key, files=self._files),
            monotonic_ns=lambda: self.uptime_ns,
            files=self._files,
            ballast_bytes=0,
        )

    def lose_state(self) -> None:
        """The file of the believed time is lost, as by a bad sector, and the process starts."""
        (self.root / "retention" / "retention.json").unlink(missing_ok=True)
        self.start()

    def _pass(self, seconds: int) -> None:
        self.true_us += seconds * S
        self.uptime_ns += seconds * 10**9

    def _hear(self, sources: str) -> None:
        self._walk_us += WALK_US if "w" in sources else 0
        for letter in sources:
            name, ahead = ("gnss", self._walk_us) if letter == "w" else LIES[letter]
            self.clock.offer(TimeOffer(name, self.true_us + ahead, self._monotonic_ns(), DOUBT_US[name]))

    def look(self, sources: str) -> None:
        """One round: what the sources say, now and then a read, deletion, what health says of it."""
        self._hear(sources)
        self._looks += 1
        if self._looks % LOOKS_A_RECORD == 0:
            epoch = epoch_of(self.clock.now_us())
            self.keyring.share(epoch)
            self.made.setdefault(epoch, []).append(self.true_us)
        self.retention.run(self.clock.coarse_evidence())
        self.told.add(retention_finding(self.retention, Obeying()).code)
        held = set(self.keyring.epochs())
        for epoch in set(self.made) - held:
            times = self.made.pop(epoch)
            self.late_us = max(self.late_us, self._overdue_us(min(times)))
            self.deaths.append(Death(self.true_us, max(times)))

    def _overdue_us(self, made_us: int) -> int:
        """For how long a record is, or was, past its retention while the unit had power."""
        due = made_us + KEEP
        dark = sum(max(0, to - max(since, due)) for since, to in self._dark)
        return self.true_us - due - dark

    def run(self, days: float, sources: str = "", every_s: int = 3600) -> None:
        """Days with power; `sources` are letters of LIES, heard at each look."""
        self.look(sources)
        until = self.true_us + int(days * DAY)
        while self.true_us < until:
            self._pass(every_s)
            self.look(sources)

    def off(self, days: float) -> None:
        """Days without power, then it comes again."""
        self.clock.persist()
        self._dark.append((self.true_us, self.true_us + int(days * DAY)))
        self.true_us += int(days * DAY)
        self.boot()

    @property
    def early_us(self) -> int:
        """The worst that was deleted too early."""
        return max((death.early_us for death in self.deaths), default=0)

    def check_what_is_left(self) -> None:
        """What is still held counts as well."""
        for times in self.made.values():
            self.late_us = max(self.late_us, self._overdue_us(min(times)))

    def loop(self, minutes: int, sources: str) -> None:
        """Power for so long, with a look at its beginning, its middle and 20 s before its end; then it starts again."""
        self.look(sources)
        self._pass(minutes * 30)
        self.look(sources)
        self._pass(minutes * 30 - 20)
        self.look(sources)
        self._pass(20)
        self.off(20 * S / DAY)

    def suspend(self, days: float) -> None:
        """Days asleep: the clock of the frames stands still, the uptime goes on."""
        self._dark.append((self.true_us, self.true_us + int(days * DAY)))
        self._pass(int(days * DAY) // S)
        self.asleep_ns += int(days * DAY) * 1000

    def step(self, by_us: int) -> None:
        """A leap second: everybody's UTC steps, no monotonic clock does."""
        self.true_us += by_us
