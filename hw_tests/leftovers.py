# SPDX-License-Identifier: Apache-2.0
"""What a test could leave behind in this process: threads, open devices, child processes."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from .wait import wait_for

SETTLE_S = 5.0  # a cancelled timer or a closed camera's thread ends within this
HARMLESS = frozenset({"/dev/null", "/dev/tty", "/dev/urandom", "/dev/random"})


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot: the names of what is there."""

    threads: frozenset[threading.Thread]
    devices: frozenset[str]
    children: frozenset[str]

    def since(self, before: Held) -> list[str]:
        """What came since and is still there, in words."""
        return [
            *(f"thread {thread.name}" for thread in self.threads - before.threads),
            *(f"open {device}" for device in self.devices - before.devices),
            *(f"child process {pid}" for pid in self.children - before.children),
        ]


def held() -> Held:
    """What this process holds now."""
    return Held(frozenset(threading.enumerate()), frozenset(_devices()), frozenset(_children()))


def left_since(before: Held) -> list[str]:
    """What is still there after SETTLE_S seconds at most; empty when all is clean."""
    wait_for(lambda: not held().since(before), SETTLE_S)
    return held().since(before)


def _devices() -> list[str]:
    """The device files that are open, each with its number of descriptors."""
    found: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- the folder itself takes a descriptor
        with contextlib.suppress(OSError):
            target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if target.startswith("/dev/") and target not in HARMLESS:
                found.append(f"{target} as descriptor {descriptor}")
    return found


def _children() -> list[str]:
    pids: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            pids += (task / "children").read_text().split()
    return pids
