# SPDX-License-Identifier: Apache-2.0
"""Named self-tests: the firmware registers what it can check, the technician runs them over the cable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioning.errors import BadRequest, IdentityError, ProvisioningError
from provisioning.identity import Identity
from provisioning.types import CheckResult

MAX_CHECKS = 64  # checks in one registry
MAX_DETAIL_CHARS = 200  # characters of one result's detail
DEFAULT_TIMEOUT_S = 15.0  # seconds that one check may take
MAX_TIMEOUT_S = 60.0  # seconds; below the service's watchdog, which is fed between checks

Check = Callable[[], str]


class CheckFailed(ProvisioningError):
    """Raised by a check that did not pass; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Entry:
    check: Check
    timeout_s: float


class SelfTests:
    """A registry of checks. A check returns what it saw, or raises CheckFailed or OSError."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names in order of registration."""
        return tuple(self._entries)

    def register(self, name: str, check: Check, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Adds a check; raises ValueError for a taken name, a full registry or a time over MAX_TIMEOUT_S."""
        if timeout_s > MAX_TIMEOUT_S:
            raise ValueError(f"a self-test may take {MAX_TIMEOUT_S:g} s at most")
        if name in self._entries or len(self._entries) >= MAX_CHECKS:
            raise ValueError(f"self-test {name!r} exists already, or there are {MAX_CHECKS}")
        self._entries[name] = _Entry(check, timeout_s)

    def run(
        self, names: Sequence[str] = (), *, on_alive: Callable[[], None] = lambda: None
    ) -> list[CheckResult]:
        """Runs the named checks, or all; raises BadRequest for an unknown name. One failure stops none.

        `on_alive` is called before each.
        """
        unknown = [name for name in names if name not in self._entries]
        if unknown:
            raise BadRequest(f"no such self-test; there are: {', '.join(self._entries)}")
        results = []
        for name in names or self._entries:
            on_alive()
            results.append(_run(name, self._entries[name]))
        return results


def _run(name: str, entry: _Entry) -> CheckResult:
    outcomes: list[tuple[bool, str]] = []

    def attempt() -> None:
        try:
            outcomes.append((True, entry.check()))
        except (CheckFailed, OSError, ValueError) as error:
            outcomes.append((False, str(error) or type(error).__name__))

    started = time.monotonic()
    worker = threading.Thread(target=attempt, name=f"selftest-{name}", daemon=True)
    worker.start()
    worker.join(entry.timeout_s)
    late = f"no answer within {entry.timeout_s:g} s" if worker.is_alive() else "the check broke; see the log"
    ok, detail = outcomes[0] if outcomes else (False, late)
    return CheckResult(name, ok, detail[:MAX_DETAIL_CHARS], round((time.monotonic() - started) * 1000, 1))


def identity_check(folder: Path) -> Check:
    """A check that the identity loads from disk, its key is private, and says whether it is enrolled."""

    def check() -> str:
        try:
            identity = Identity.load(folder)
        except IdentityError as error:
            raise CheckFailed(str(error)) from error
        return f"{identity.device_id}, {'enrolled' if identity.enrolled else 'not enrolled'}"

    return check
