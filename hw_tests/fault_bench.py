# SPDX-License-Identifier: Apache-2.0
"""What a fault does to the appliance's health: real watchers on real or simulated devices, with the real books.

A subject is stepped; one step is a second of simulated time, or a moment of real time where a thread is watched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from drivers.sim.clock import SimClock
from firmware.clock import DeviceClock
from firmware.health import Change, Condition, Finding, Health
from firmware.health_book import book, problems
from firmware.ledger import Ledger
from storage.audit import AuditLog, AuditReport, read_entries, verify_audit
from sync.schema import Heartbeat

START_US = 1_795_350_919_000_000
SOURCE = "cam0"

Step = Callable[[], Sequence[Finding]]


@dataclass(slots=True)
class Bench:
    """Health with its books in a folder, and a clock that only the steps move."""

    folder: Path
    clock: SimClock = field(default_factory=lambda: SimClock(START_US, running=False))
    changes: list[Change] = field(default_factory=list)
    alarms: list[tuple[str, ...]] = field(
        default_factory=list
    )  # what each heartbeat would say, when it changes
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    ledger: Ledger = field(init=False)
    health: Health = field(init=False)
    _key: ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ledger = Ledger(self.folder / "ledger.json")
        write = book(self.ledger, AuditLog.open(self._audit_path, self._key), SOURCE)

        def told(change: Change) -> None:
            self.changes.append(change)
            write(change)

        self.health = Health(told)

    @property
    def _audit_path(self) -> Path:
        return self.folder / "audit.jsonl"

    def monotonic_s(self) -> float:
        """Of the simulated clock."""
        return self.clock.monotonic_ns() / 1e9

    def step(self, step: Step) -> None:
        """One second, and what the watchers say after it."""
        self.clock.advance(1.0)
        for finding in step():
            self.health.report(finding, self.clock.now_us())
        standing = problems(self.health.snapshot())
        if not self.alarms or standing != self.alarms[-1]:
            self.alarms.append(standing)

    def codes(self, part: str) -> list[str]:
        """What was told of a part in turn; an empty code: it is well again."""
        return [change.finding.code for change in self.changes if change.finding.part == part]

    def audited(self, part: str) -> list[str]:
        """The same, as the audit log keeps it."""
        entries = (entry for entry in read_entries(self._audit_path) if entry.event == "health_changed")
        return [str(entry.fields["code"]) for entry in entries if entry.fields["part"] == part]

    def audit(self) -> AuditReport:
        """Whether the chain holds, checked with the device's key."""
        return verify_audit(self._audit_path, self._key.public_key())

    def heartbeats(self) -> Iterator[Heartbeat]:
        """Each alarm as it goes over the wire, within the wire's bounds."""
        for standing in self.alarms:
            beat = Heartbeat(
                device_id="bench", boot_id="bench", sent_us=self.clock.now_us(), problems=standing
            )
            yield Heartbeat.decode(beat.encode())


def device_clock(bench: Bench) -> DeviceClock:
    """The device's clock over the bench's."""
    path = bench.folder / "clock.json"
    return DeviceClock(path, system_us=bench.clock.now_us, monotonic_ns=bench.clock.monotonic_ns)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: what `make` builds goes well, then wrong as told by `codes` in turn, then well again.

    `steps`: by then all of it must have been told. `quick`: it takes well under a second or two of real time.
    """

    name: str
    part: str
    codes: tuple[str, ...]
    make: Callable[[Bench], Step]
    steps: int
    worst: Condition = Condition.FAILED
    quick: bool = True
    over: bool = True  # False: it ends with the unit switched off

    @property
    def told(self) -> list[str]:
        """The codes that must be told in turn; empty: well again."""
        return [*self.codes, *([""] if self.over else [])]


def play(fault: Fault, folder: Path) -> Bench:
    """Steps the row to its end: until every code and the recovery were told, or its steps are used up."""
    bench = Bench(folder)
    with bench.closing:
        step = fault.make(bench)
        for _ in range(fault.steps):
            bench.step(step)
            if fault.over and bench.codes(fault.part) == fault.told:
                break
    return bench


def check(fault: Fault, bench: Bench) -> None:
    """Health state and code, alarm, ledger entry, audit entry, and recovery."""
    assert bench.codes(fault.part) == fault.told  # no flapping, nothing else, and well at the end
    told = [change.finding for change in bench.changes if change.finding.part == fault.part]
    assert max(list(Condition).index(finding.condition) for finding in told) == list(Condition).index(
        fault.worst
    )
    assert all(finding.advice for finding in told if finding.code)
    assert {change.finding.part for change in bench.changes} == {fault.part}
    counted = bench.ledger.totals()
    for code in fault.codes:
        assert counted[f"health: {fault.part} {code.replace('_', ' ')}"] == fault.codes.count(code)
    assert counted.get(f"health: {fault.part} ok", 0) == fault.over
    assert bench.audited(fault.part) == fault.told
    assert bench.audit().ok
    assert bench.audit().unsigned == 0
    _check_alarm(fault, bench)


def _check_alarm(fault: Fault, bench: Bench) -> None:
    """The office is told what it is, since when and what to do, and is no longer told when it is over."""
    said = [" ".join(beat.problems) for beat in bench.heartbeats()]
    for code in fault.codes:
        what = f"{fault.part}: {code}".replace("_", " ")
        assert any(what in alarm and " - " in alarm for alarm in said), said
    assert (said[-1] == "") == fault.over
