# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.e2e.soak FOLDER HOURS`: the eye through simulated hours; what it used, as JSON on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .soak_clock import SoakClock

if __name__ == "__main__":
    clock = SoakClock()
    clock.install()
    from .soak_run import Soak  # only now: modules take the clock as they are imported

    sys.stdout.write(json.dumps(Soak(Path(sys.argv[1]), clock, float(sys.argv[2])).run()) + "\n")
