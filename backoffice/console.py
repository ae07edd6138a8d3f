# SPDX-License-Identifier: Apache-2.0
"""What the commands write: plain lines for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    """Text whose control characters are written as JSON escapes: what a person typed must not act on a terminal.

    JSON stays the same JSON.
    """
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    )


def say(text: str) -> None:
    """One line to standard output."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def say_json(value: object) -> None:
    """One JSON object on one line to standard output."""
    say(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str))


def warn(text: str) -> None:
    """One line to standard error."""
    sys.stderr.write(printable(text) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(head), *cells]) for at in range(len(head))]
    for row in [list(head), *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
