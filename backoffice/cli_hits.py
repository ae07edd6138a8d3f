# SPDX-License-Identifier: Apache-2.0
"""Commands: hits list, receipts verify."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from backoffice import keys, receipts
from backoffice.acting import acting
from backoffice.console import say, say_json, table, warn
from backoffice.hits import Hit, HitStore
from backoffice.pages.views import when
from backoffice.people import Action

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    hits = commands.add_parser("hits", help="the hits").add_subparsers(required=True, metavar="WHAT")
    listing = hits.add_parser("list", help="every hit and its decision; audited")
    listing.add_argument(
        "--json", action="store_true", help="one JSON object a hit, opened: needs the hits key"
    )
    listing.set_defaults(run=_hits_list)
    group = commands.add_parser("receipts", help="the devices' deletion receipts")
    verify = group.add_subparsers(required=True, metavar="WHAT").add_parser(
        "verify", help="check signatures, numbers and links of every chain; needs no device"
    )
    verify.add_argument("--device", help="of one device only")
    verify.add_argument("--json", action="store_true", help="one JSON object a device")
    verify.set_defaults(run=_receipts_verify)


def _hits_list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.HITS) as actor:
        key = keys.load_purpose_key(actor.office.layout, keys.HITS) if arguments.json else None
        actor.record("hits_listed", opened=key is not None)
        store = HitStore(actor.office, key)
        if arguments.json:
            for hit in store.each():
                say_json(_as_json(hit))
        else:
            rows = [_row(hit) for hit in store.each()]
            table(("HIT", "DEVICE", "RAISED", "RECEIVED", "DECISION", "TAKEN BACK BY"), rows)
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


def _receipts_verify(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        actor.record("receipts_verify", device=arguments.device)
        found = receipts.verify(actor.office, arguments.device)
        bad = [report.device for report in found if not report.ok]
        actor.record("receipts_verified", devices=len(found), bad=bad[:100])
    for report in found:
        if arguments.json:
            say_json({**dataclasses.asdict(report), "ok": report.ok})
            continue
        state = "whole" if report.ok else f"{len(report.problems)} problems"
        say(f"{report.device}: {report.receipts} receipts, {report.epochs} epochs erased, {state}")
        for problem in report.problems:
            warn(f"{report.device}: {problem}")
    return 1 if bad else 0
