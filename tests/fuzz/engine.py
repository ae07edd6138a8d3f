# SPDX-License-Identifier: Apache-2.0
"""Runs one target over many inputs: counts what became of each, and stops at the first finding.

A finding is any exception but the documented ones, more than HANG_S of processor time for one input, more than
MAX_EXTRA_BYTES of memory at once (MemoryError), or memory that grows from input to input.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

import structlog

from tests.fuzz.sources import Source

HANG_S = 1.0  # seconds of processor time for one input
TICK_S = 0.25  # seconds of processor time between two looks
MAX_EXTRA_BYTES = 1 << 30  # address space that a parser may take beyond what is there at the start
MAX_GROWTH_BYTES = 96 << 20  # resident memory after the run over that after its first tenth
GROWTH_FROM = 50_000  # inputs; a shorter run says nothing of growth
SHRINK_TRIES = 3000
FOLDER = Path("build/fuzz")


@dataclass(frozen=True, slots=True)
class Target:
    """A parser with the errors that it documents.

    `parse` gives None or False for what it refuses without an error; everything else is accepted. `least`: the share of
    inputs that must be accepted, or the target sees only the outer door. `part` of the inputs asked for are run.
    """

    name: str
    parse: Callable[[bytes], object]
    source: Source
    errors: tuple[type[Exception], ...] = ()
    least: float = 0.02
    part: float = 1.0


class Hang(BaseException):
    """One input took longer than HANG_S."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: the input's number in the run, the error, and the input as it was and shrunk."""

    number: int
    error: str
    data: bytes = field(repr=False)
    shrunk: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the inputs of one run; `slowest_s` is wall time."""

    name: str
    inputs: int
    seconds: float
    outcomes: dict[str, int]
    finding: Finding | None = None

    @property
    def accepted(self) -> float:
        """The share of inputs that the parser took."""
        return self.outcomes.get("accepted", 0) / max(1, self.inputs)


class _Watch:
    """Raises Hang in the main thread when `beat` stands still for HANG_S of processor time."""

    def __init__(self) -> None:
        self.beat = 0
        self._seen, self._ticks = -1, 0

    def _tick(self, _number: int, _frame: FrameType | None) -> None:
        if self.beat != self._seen:
            self._seen, self._ticks = self.beat, 0
            return
        self._ticks += 1
        if self._ticks * TICK_S >= HANG_S:
            self._ticks = 0
            raise Hang(f"more than {HANG_S} s for one input")

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        before = signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, TICK_S, TICK_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """MemoryError instead of a full machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_EXTRA_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No log lines, no warnings and nothing from C libraries: a parser may say a million times that it refuses."""
    before, stderr, nothing = structlog.get_config(), os.dup(2), os.open(os.devnull, os.O_WRONLY)
    structlog.configure(processors=[_drop])
    os.dup2(nothing, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)
        structlog.configure(**before)


def _drop(_logger: object, _method: str, _event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def fuzz(target: Target, inputs: int, seed: int = 0) -> Report:
    """Runs the target; the same seed gives the same inputs, but for what a signature or a fresh nonce changes."""
    inputs = max(1, int(inputs * target.part))
    rng, outcomes, watch = Random(f"{target.name}/{seed}"), Counter[str](), _Watch()
    begun, settled, data = time.monotonic(), 0, b""
    finding = None
    with watch.on(), _bounded_memory(), _quiet():
        for number in range(inputs):
            watch.beat = number
            try:
                data = target.source(rng)
                outcomes[outcome(target, data)] += 1
            except (Exception, Hang) as error:  # noqa: BLE001 -- whatever a parser raises is what is looked for
                outcomes["finding"] += 1
                finding = Finding(number, told(error), data, b"")
                break
            if number == inputs // 10:
                settled = _settled()
    seconds = time.monotonic() - begun
    if finding is not None:
        finding = Finding(finding.number, finding.error, data, shrink(target, data))
    elif inputs >= GROWTH_FROM and (grown := _settled() - settled) > MAX_GROWTH_BYTES:
        finding = Finding(inputs, f"memory grew by {grown >> 20} MB", b"", b"")
    return Report(target.name, sum(outcomes.values()), seconds, dict(outcomes), finding)


def _settled() -> int:
    gc.collect()
    return _resident()


def outcome(target: Target, data: bytes) -> str:
    """What becomes of one input; lets through what the target does not document."""
    try:
        result = target.parse(data)
    except target.errors as error:
        return type(error).__name__
    return "refused" if result is None or result is False else "accepted"


def told(error: BaseException) -> str:
    """An error and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {str(error)[:200]}{where}"


def attempt(target: Target, data: bytes) -> str | None:
    """The finding that one input gives, None when it is well."""
    watch = _Watch()
    with watch.on(), _bounded_memory(), _quiet():
        try:
            outcome(target, data)
        except (Exception, Hang) as error:  # noqa: BLE001 -- as above
            return told(error)
    return None


def shrink(target: Target, data: bytes) -> bytes:
    """A smaller input that fails with the same kind of error, by leaving out ever smaller pieces."""
    kind = (attempt(target, data) or "").partition(":")[0]
    if kind in {"", "Hang"}:
        return data
    size, tries = max(1, len(data) // 2), 0
    while size and tries < SHRINK_TRIES:
        at = 0
        while at < len(data) and tries < SHRINK_TRIES:
            smaller = data[:at] + data[at + size :]
            tries += 1
            if (attempt(target, smaller) or "").partition(":")[0] == kind:
                data = smaller
            else:
                at += size
        size //= 2
    return data


def keep(report: Report) -> str:
    """Writes the input of a finding as hex; what to say of it, and how to see it again."""
    finding = report.finding
    if finding is None:
        return ""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{report.name}-{hashlib.sha256(finding.data).hexdigest()[:8]}.hex"
    path.write_text(f"{(finding.shrunk or finding.data).hex()}\n", encoding="ascii")
    again = f"python -m tests.fuzz {report.name} --input {path}"
    return f"{report.name}: input {finding.number}: {finding.error}\n  {finding.shrunk[:120]!r}\n  again: {again}\n"
