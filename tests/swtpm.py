# SPDX-License-Identifier: Apache-2.0
"""A TPM 2.0 in software (swtpm, of Debian), for tests: the real tools talk to it as to a chip."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.root_tpm2 import DEFAULT_NV_BASE, TpmRootOfTrust

NEEDED = ("swtpm", "tpm2_nvread")
MISSING = "no swtpm here: `apt-get install swtpm tpm2-tools` runs the tests of the TPM too"
START_LIMIT_S = 10.0


def installed() -> bool:
    return all(shutil.which(tool) for tool in NEEDED)


@dataclass(frozen=True)
class Tpm:
    """A running TPM and how to reach it."""

    tcti: str

    def root(self, nv_base: int = DEFAULT_NV_BASE) -> TpmRootOfTrust:
        return TpmRootOfTrust(self.tcti, nv_base)

    def tool(self, *command: str, given: bytes = b"") -> bytes:
        """What one of tpm2-tools printed."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti, "TSS2_LOG": "all+NONE"}
        return subprocess.run(command, input=given, env=environment, check=True, capture_output=True).stdout

    def clear(self) -> None:
        """As new: no owner's index, no owner's password."""
        self.tool("tpm2_clear", "-c", "p")


@contextmanager
def running_tpm() -> Iterator[Tpm]:
    """A TPM of its own, with its state and its sockets in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="swtpm-") as name, powered(Path(name)) as tpm:
        yield tpm


@contextmanager
def powered(folder: Path) -> Iterator[Tpm]:
    """The TPM whose state is in `folder` (a short path: a socket's has 107 bytes), until its power is cut."""
    process = subprocess.Popen(
        [
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"),
            *("--server", f"type=unixio,path={folder / 'tpm'}"),
            *("--ctrl", f"type=unixio,path={folder / 'tpm.ctrl'}"),
            *("--flags", "not-need-init,startup-clear"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(folder / "tpm.ctrl", process)
        yield Tpm(f"swtpm:path={folder / 'tpm'}")
    finally:
        process.kill()
        process.wait(START_LIMIT_S)
        for socket in ("tpm", "tpm.ctrl"):
            (folder / socket).unlink(missing_ok=True)


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("swtpm did not start")
        time.sleep(0.01)
