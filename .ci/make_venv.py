# SPDX-License-Identifier: Apache-2.0
"""Makes the virtual environment; where Debian has split `venv` off, installs it or says how. Standard library only."""

from __future__ import annotations

import shutil
import subprocess
import sys

from apt_get import install

OLDEST = (3, 11)


def _fail(message: str) -> None:
    print(f"wayside: {message}", file=sys.stderr)
    raise SystemExit(1)


def _has_venv() -> bool:
    return (
        subprocess.run(
            [sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False
        ).returncode
        == 0
    )


def _install_venv() -> None:
    """Installs python3-venv through apt where this user may; otherwise names the command to type."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if shutil.which("apt-get") is None:
        _fail(
            "this Python has no `venv` module; install it with your system's package manager and run make again"
        )
    print(f"wayside: Python's venv module is a package of its own here: {package}")
    if not install(package):
        _fail(f"could not install {package}; run `sudo apt-get install {package}` and then make again")


def main(folder: str, *flags: str) -> None:
    """Creates the environment in `folder`."""
    if sys.version_info < OLDEST:
        found = sys.version.split()[0]
        _fail(
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {found}; set PYTHON=/path/to/python3"
        )
    if not _has_venv():
        _install_venv()
    shutil.rmtree(folder, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", *flags, folder], check=False).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        _fail(
            "the virtual environment could not be made (see above); free some disk space and run make again"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
