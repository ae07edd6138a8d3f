# SPDX-License-Identifier: Apache-2.0
"""Asks a back office on this very laptop for a bundle, by running its own command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from provisioning.errors import OfficeFailed
from sync.enrolment import LIMITS

OFFICE_TIMEOUT_S = 120.0  # seconds
COMMAND = "wayside-office"


def find_command() -> str:
    """The office's command beside this Python, else on the PATH; raises OfficeFailed."""
    beside = Path(sys.executable).with_name(COMMAND)
    found = str(beside) if beside.exists() else shutil.which(COMMAND)
    if found is None:
        raise OfficeFailed(f"{COMMAND} is not installed here; use --csr-out, then --bundle-in")
    return found


def issue(data: Path, csr: bytes, *, command: str | None = None) -> bytes:
    """The bundle that the office in `data` issues for this request; raises OfficeFailed."""
    with tempfile.TemporaryDirectory(prefix="wayside-tech-") as folder:
        request, bundle = Path(folder) / "device.csr", Path(folder) / "bundle.json"
        request.write_bytes(csr)
        _run([command or find_command(), "--data", str(data), "devices", "enrol"], request, bundle)
        try:
            return read_bundle(bundle)
        except OSError as error:
            raise OfficeFailed(f"{COMMAND} wrote no bundle") from error


def read_bundle(path: Path) -> bytes:
    """The bytes of a bundle file, at most one more than its bound; raises OSError."""
    with path.open("rb") as file:
        return file.read(LIMITS.bundle_bytes + 1)


def _run(start: list[str], request: Path, bundle: Path) -> None:
    arguments = [*start, "--csr", str(request), "--out", str(bundle)]
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=OFFICE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OfficeFailed(f"{COMMAND} cannot be run here") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OfficeFailed(f"{COMMAND} refused: {said[-1][:300] if said else f'exit code {done.returncode}'}")
