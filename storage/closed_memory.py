# SPDX-License-Identifier: Apache-2.0
"""Keeps this process's memory to itself: no core file, no other process that reads it, no page of it in swap.

What is freed is overwritten by the allocator, where the process was started with WIPING in its environment: Python
cannot clear its own bytes and texts. The units in `firmware/systemd/` set it. Linux and glibc.
"""

from __future__ import annotations

import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path

# Python's own pools and glibc's per-thread caches would both keep freed bytes as they were
WIPING = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165",
}

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14


@dataclass(frozen=True, slots=True)
class ClosedMemory:
    """What holds from now on. `locked`: no page goes to swap; `wiped`: what is freed is overwritten."""

    locked: bool
    wiped: bool


def close_memory() -> ClosedMemory:
    """Close the memory of this process; call it before the first key is read. Raises OSError."""
    # The limit alone is no answer: the kernel does not look at it when core files go to a program (systemd-coredump)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the memory cannot be closed to other processes")
    wiped = all(os.environ.get(name) == value for name, value in WIPING.items())
    return ClosedMemory(_lock(libc), wiped)


def _lock(libc: ctypes.CDLL) -> bool:
    """Keep each page in RAM once it is used; False where the system does not allow it.

    Where there is a finite limit the lock is not tried: allocations beyond the limit would fail later.
    """
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not (unlimited or _may_lock_anything()):
        return False
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def _may_lock_anything() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return bool(int(fields.get("CapEff", "0"), 16) >> _CAP_IPC_LOCK & 1)
