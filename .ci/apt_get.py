# SPDX-License-Identifier: Apache-2.0
"""Packages of Debian, where this user may install them. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess

LIMIT_S = 300  # of one command


def install(*packages: str) -> bool:
    """Installs packages; whether that worked. Asks for no password."""
    if shutil.which("apt-get") is None:
        return False
    as_root = ["env"] if os.geteuid() == 0 else ["sudo", "-n", "env"]
    quiet = [*as_root, "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    print(f"wayside: installing {' '.join(packages)} ...", flush=True)
    try:
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            if subprocess.run([*quiet, *command], check=False, timeout=LIMIT_S).returncode != 0:
                return False
    except (OSError, subprocess.TimeoutExpired):
        return False
    return True
