# SPDX-License-Identifier: Apache-2.0
"""Runs fuzz targets: `python -m tests.fuzz [NAME ...] [--inputs N] [--seed S] [--jobs N]`, or one input again with
`NAME --input FILE` (hex). Exit code 1 when something was found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.engine import Report, attempt, keep, outcome
from tests.fuzz.jobs import reports
from tests.fuzz.targets import TARGETS

MILLION = 1_000_000


def _line(report: Report, least: float) -> str:
    top = sorted(report.outcomes.items(), key=lambda item: -item[1])[:5]
    what = ", ".join(f"{name} {count / max(1, report.inputs):.1%}" for name, count in top)
    verdict = "FOUND" if report.finding else "shallow" if report.accepted < least else "ok"
    return f"{report.name:22} {report.inputs:>9,} inputs {report.seconds:7.1f} s  {verdict:8} {what}"


def _again(name: str, path: Path) -> int:
    data = bytes.fromhex(path.read_text(encoding="ascii"))
    error = attempt(TARGETS[name], data)
    sys.stdout.write(f"{error or outcome(TARGETS[name], data)}\n")
    return 1 if error else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", choices=[*TARGETS, []], metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=MILLION, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--input", type=Path, help="a file in hex: this one input, of one target")
    options = parser.parse_args(arguments)
    names = options.names or list(TARGETS)
    if options.input is not None:
        return _again(names[0], options.input)
    wrong = 0
    for report in reports(names, options.inputs, options.seed, options.jobs):
        least = TARGETS[report.name].least
        sys.stdout.write(f"{_line(report, least)}\n{keep(report)}")
        sys.stdout.flush()
        wrong += report.finding is not None or report.accepted < least
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
