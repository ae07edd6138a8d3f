# SPDX-License-Identifier: Apache-2.0
"""What every command that looks for reads takes: why, of which device, from when to when."""

from __future__ import annotations

import argparse

from backoffice.cli_lists import expiry
from backoffice.search import Purpose, Query


def why_options(parser: argparse.ArgumentParser) -> None:
    """The recorded reason of a look."""
    parser.add_argument("--purpose", required=True, choices=[str(purpose) for purpose in Purpose])
    parser.add_argument("--reason", required=True, help="why, in words")
    parser.add_argument("--case", required=True, help="the case number")


def span_options(parser: argparse.ArgumentParser) -> None:
    """Of which device, and when."""
    parser.add_argument("--device", help="of one device only")
    parser.add_argument("--since", help="YYYY-MM-DDTHH:MM (UTC)")
    parser.add_argument("--until", help="YYYY-MM-DDTHH:MM (UTC)")


def query_of(arguments: argparse.Namespace, now_us: int) -> Query:
    """The query of a command with `--plate` and these options; not checked yet. Raises BadRequest for a time."""
    return Query(
        arguments.plate,
        Purpose(arguments.purpose),
        arguments.reason,
        arguments.case,
        arguments.device,
        expiry(arguments.since, now_us) if arguments.since else None,
        expiry(arguments.until, now_us) if arguments.until else None,
    )
