# SPDX-License-Identifier: Apache-2.0
"""Command: hits list."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from backoffice import keys
from backoffice.acting import Acting, acting
from backoffice.console import say_json, table
from backoffice.errors import BadRequest
from backoffice.hits import Hit, HitStore
from backoffice.pages.views import when
from backoffice.people import Action
from backoffice.search import Purpose, check_why

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    hits = commands.add_parser("hits", help="the hits").add_subparsers(required=True, metavar="WHAT")
    listing = hits.add_parser("list", help="every hit and its decision; audited")
    listing.add_argument(
        "--json", action="store_true", help="one JSON object a hit, opened; needs the hits key, and says why"
    )
    for name, text in (("reason", "why, in words"), ("case", "the case number")):
        listing.add_argument(f"--{name}", default="", help=f"{text}; with --json")
    purposes = [str(purpose) for purpose in Purpose]
    listing.add_argument("--purpose", choices=purposes, help="what for; with --json")
    listing.set_defaults(run=_hits_list)


def _hits_list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.HITS) as actor:
        if arguments.json:
            return _open_all(actor, arguments)
        actor.record("hits_listed")
        rows = [_row(hit) for hit in HitStore(actor.office, None).each()]
    table(("HIT", "DEVICE", "RAISED", "RECEIVED", "DECISION", "TAKEN BACK BY"), rows)
    return 0


def _open_all(actor: Acting, arguments: argparse.Namespace) -> int:
    """Every plate that was alerted: an access as any other, with its purpose, reason and case."""
    if arguments.purpose is None:
        raise BadRequest("--json shows every plate: say --purpose, --reason and --case")
    reason, case = check_why(arguments.reason, arguments.case)
    key = keys.load_purpose_key(actor.office.layout, keys.HITS)
    actor.record("hits_open", purpose=arguments.purpose, reason=reason, case=case)
    count = 0
    for hit in HitStore(actor.office, key).each():
        say_json(_as_json(hit))
        count += 1
    actor.record("hits_opened", records=count)
    return 0


def _row(hit: Hit) -> tuple[str, ...]:
    decision = "a correction" if hit.follow_up else str(hit.decision or "open")
    times = when(hit.raised_us), when(hit.received_us)
    return (hit.hit_id, hit.device_id, *times, decision, hit.superseded_by or "")


def _as_json(hit: Hit) -> dict[str, object]:
    """`text`, `plate` and what else lies in the sealed record are null when it was deleted or does not open."""
    record = hit.record
    return {
        "hit_id": hit.hit_id,
        "device": hit.device_id,
        "raised_us": hit.raised_us,
        "received_us": hit.received_us,
        "decision": hit.decision,
        "decided_us": hit.decided_us,
        "supersedes": hit.supersedes,
        "superseded_by": hit.superseded_by,
        "preliminary": record.preliminary if record else None,
        "correction": record.correction if record else None,
        "read_id": record.read.read_id if record else None,
        "camera": record.read.camera if record else None,
        "captured_us": record.read.captured_us if record else None,
        "text": record.read.text if record else None,
        "plate": record.entry.plate if record else None,
        "entry_id": record.entry.entry_id if record else None,
        "list_id": record.match.list_id if record else None,
    }
