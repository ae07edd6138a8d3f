# SPDX-License-Identifier: Apache-2.0
"""Brings the software TPM that some tests run against, where root may install it; says so where not. Never fails."""

from __future__ import annotations

import os
import shutil

from apt_get import install

NEEDED = {"swtpm": "swtpm", "tpm2_nvread": "tpm2-tools"}  # program, Debian's package


def main() -> None:
    """Installs what is missing, or prints one line."""
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing and not (os.geteuid() == 0 and install(*missing)):
        print(f"wayside: the tests of the TPM are skipped; `apt-get install {' '.join(missing)}` brings them")


if __name__ == "__main__":
    main()
