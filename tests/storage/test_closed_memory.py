# SPDX-License-Identifier: Apache-2.0
"""What `close_memory` closes, asked of the kernel about another process."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.closed_memory import WIPING

PLAIN = """
import ctypes, os
if os.getuid() == 0:  # its privileges go, the user stays
    libc = ctypes.CDLL(None)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, nothing) == 0
"""
CHILD = """
if sys.argv[1] == "closed":
    from storage.closed_memory import close_memory
    print(close_memory(), flush=True)
else:
    print("open", flush=True)
sys.stdin.read()
"""
READER = """
try:
    with open(sys.argv[1] + "/maps") as maps:
        start = int(next(line for line in maps if " rw-p " in line).partition("-")[0], 16)
    with open(sys.argv[1] + "/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        print("read" if memory.read(64) else "nothing")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """The folder in /proc of a process that closed its memory (with the parameter "open": did not)."""
    how, environment, plain = getattr(request, "param", ("closed", {}, False))
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\n{PLAIN if plain else ''}{CHILD}", how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    yield Path(f"/proc/{process.pid}"), said
    process.communicate("")


def status(folder: Path, field: str) -> str:
    lines = (folder / "status").read_text().splitlines()
    return next(line.split(":\t")[1].strip() for line in lines if line.startswith(field))


def test_no_core_file(child) -> None:
    folder, _ = child
    limits = (folder / "limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    assert (folder / "mem").stat().st_uid == 0  # not dumpable: the kernel gives it to root, whoever runs it


CRASH = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as a system that wants core files
if sys.argv[1] == "closed":
    from storage.closed_memory import close_memory
    close_memory()
    if sys.argv[2] == "raised":
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        except ValueError:
            pass
os.abort()
"""


@pytest.mark.parametrize("how", [("closed", ""), ("closed", "raised"), ("open", "")], ids="-".join)
def test_a_crash_leaves_no_core_file(how: tuple[str, str], tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if how[0] == "open" and (pattern.startswith(("|", "/")) or hard == 0):
        pytest.skip("this machine puts core files elsewhere, or allows none")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", CRASH, *how], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == -signal.SIGABRT
    assert bool(list(tmp_path.iterdir())) == (how[0] == "open")


@pytest.mark.parametrize(
    "child", [("closed", {}, True), ("open", {}, True)], indirect=True, ids=["closed", "open"]
)
def test_no_other_process_of_the_same_user_reads_it(child) -> None:
    """Without privileges, as the same user: what a service that was broken into could do to its neighbour."""
    folder, said = child
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{PLAIN}{READER}", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout.split() == (["read"] if said == "open\n" else ["PermissionError"])


def test_its_pages_stay_in_ram_where_the_system_allows_it(child) -> None:
    folder, said = child
    assert ("locked=True" in said) == (int(status(folder, "VmLck").split()[0]) > 5_000)


@pytest.mark.parametrize(
    ("child", "wiped"),
    [(("closed", WIPING, False), True), (("closed", {}, False), False)],
    indirect=["child"],
)
def test_it_says_whether_freed_memory_is_overwritten(child, wiped: bool) -> None:
    _, said = child
    assert f"wiped={wiped}" in said
