# SPDX-License-Identifier: Apache-2.0
"""Commands: hold request, list, show, approve, drop, release, keep, open, export."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backoffice.acting import Acting, acting
from backoffice.cli_query import query_of, span_options, why_options
from backoffice.console import say, say_json, table, warn
from backoffice.errors import NotFound, Refused
from backoffice.hold_choice import Selection
from backoffice.hold_export import export, shown
from backoffice.hold_file import Hold, HoldFolder
from backoffice.hold_watch import lone_cases
from backoffice.holds import Holds, Outcome, hours_left
from backoffice.pages.views import when
from backoffice.people import Action, Person
from backoffice.search import check_why
from storage.errors import HeldRecordError
from storage.hold import HeldKind
from sync.errors import BadRecord

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

PASSWORD_BYTES = 4096  # read from standard input when it is no terminal


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    hold = commands.add_parser("hold", help="legal holds: keep chosen reads beyond the retention, for a case")
    group = hold.add_subparsers(required=True, metavar="WHAT")
    _add_request(group)
    listing = group.add_parser("list", help="every hold and how far it is")
    listing.add_argument("--json", action="store_true", help="one JSON object a hold")
    listing.set_defaults(run=_list)
    show = _one(group, "show", "what was asked for, what is held, what was lost", _show)
    show.add_argument("--json", action="store_true", help="one JSON object")
    _one(group, "approve", "approve what another person asked for; asks for your password", _approve)
    for name, text, run in (
        ("drop", "withdraw or decline a hold that waits; asks for your password", _drop),
        (
            "release",
            "ask for the end of a hold; another person approves it; asks for your password",
            _release,
        ),
        ("keep", "decline or withdraw an end that was asked for; asks for your password", _keep),
    ):
        _one(group, name, text, run).add_argument("--reason", required=True, help="why, in words")
    show = _one(group, "open", "show what is held", _open)
    show.add_argument("--reason", required=True, help="why you look, in words")
    show.add_argument("--json", action="store_true", help="one JSON object a record")
    out = _one(group, "export", "write what is held, with what proves it, to a folder", _export)
    out.add_argument("--reason", required=True, help="for whom, and why")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")


def _add_request(group: Commands) -> None:
    ask = group.add_parser(
        "request",
        help="ask for a hold; another person approves it before the retention ends; asks for your password",
    )
    why_options(ask)
    ask.add_argument("--plate", default="", help="? stands for one character, * for any number")
    span_options(ask)
    ask.add_argument("--record", action="append", default=[], metavar="DEVICE/SEGMENT:INDEX", help="one read")
    ask.add_argument("--read", action="append", default=[], metavar="DEVICE/READ_ID", help="one read")
    ask.add_argument("--hit", action="append", default=[], metavar="HIT_ID", help="a hit, with its read")
    ask.add_argument("--json", action="store_true", help="one JSON object")
    ask.set_defaults(run=_request)


def _one(group: Commands, name: str, text: str, run: object) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=text)
    parser.add_argument("hold", metavar="ID", help="as `hold list` shows it")
    parser.set_defaults(run=run)
    return parser


def _holds(actor: Acting) -> Holds:
    return Holds(actor.office, actor.name, actor.record)


def _request(arguments: argparse.Namespace) -> int:
    with _proven(arguments, Action.HOLD, "hold_request") as actor:
        why = query_of(arguments, actor.office.clock())
        wanted = Selection(why, tuple(arguments.record), tuple(arguments.read), tuple(arguments.hit))
        outcome = _holds(actor).request(wanted)
        left = hours_left(actor.office, outcome.hold)
    hold = outcome.hold
    if arguments.json:
        counts = {"reads": len(hold.reads), "pictures": outcome.pictures, "hits": len(hold.hits)}
        say_json({"hold": hold.hold_id, "hours_left": left, "problems": outcome.problems, **counts})
    else:
        say(
            f"{hold.hold_id}: {len(hold.reads)} reads, {outcome.pictures} pictures, {len(hold.hits)} hits "
            f"for case {hold.case}; nothing is held yet"
        )
        say(f"another person must approve it: `wayside-office --as NAME hold approve {hold.hold_id}`")
        say(f"the first of it dies in {left} hours if nobody does")
    return _tell(outcome)


def _tell(outcome: Outcome) -> int:
    for problem in outcome.problems:
        warn(problem)
    return 1 if outcome.problems else 0


def _list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.HOLD) as actor:
        found, problems = HoldFolder(actor.office.layout.holds).all()
        left = {hold.hold_id: hours_left(actor.office, hold) if hold.pending else None for hold in found}
        problems += [f"{scope}: its hold is not here: restore holds/" for scope in lone_cases(actor.office)]
    if arguments.json:
        for hold in found:
            say_json({**hold.model_dump(mode="json"), "hours_left": left[hold.hold_id]})
    else:
        rows = [_row(hold, left[hold.hold_id]) for hold in found]
        table(("HOLD", "CASE", "STATE", "ASKED", "BY", "APPROVED BY", "RECORDS", "HOURS LEFT"), rows)
    for problem in problems:
        warn(problem)
    return 1 if problems else 0


def _row(hold: Hold, left: int | None) -> tuple[object, ...]:
    kept = sum(count for kind, count in hold.held.items() if kind != HeldKind.PROOF)
    count = f"{len(hold.reads) + len(hold.hits)} asked for" if hold.pending else kept
    hours = "" if left is None else left
    return (
        hold.hold_id,
        hold.case,
        hold.state,
        when(hold.asked_us),
        hold.asked_by,
        hold.approved_by or "",
        count,
        hours,
    )


def _show(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.HOLD) as actor:
        hold = _holds(actor).get(arguments.hold)
        left = hours_left(actor.office, hold) if hold.pending else None
    if arguments.json:
        say_json({**hold.model_dump(mode="json"), "hours_left": left})
        return 0
    say(f"{hold.hold_id}: case {hold.case}, {hold.state}")
    say(f"asked for by {hold.asked_by}, {when(hold.asked_us)}: {hold.reason} ({hold.purpose})")
    say(f"{len(hold.reads)} reads, {len(hold.hits)} hits chosen")
    if left is not None:
        say(f"the first of it dies in {left} hours if nobody approves it")
    if hold.approved_us:
        say(f"approved by {hold.approved_by}, {when(hold.approved_us)}; held: {_held(hold)}")
    if hold.end_asked:
        say(f"end asked for by {hold.end_asked.by}, {when(hold.end_asked.at_us)}: {hold.end_asked.why}")
    if hold.closed:
        say(f"{hold.state} by {hold.closed.by}, {when(hold.closed.at_us)}: {hold.closed.why}")
    for problem in hold.problems or hold.asked_problems:
        warn(problem)
    return 0


def _held(hold: Hold) -> str:
    kinds = [kind for kind in sorted(hold.held) if kind != HeldKind.PROOF]
    return ", ".join(f"{hold.held[kind]} {kind}" for kind in kinds) or "nothing"


def _approve(arguments: argparse.Namespace) -> int:
    with _proven(arguments, Action.APPROVE_HOLD, "hold_approve") as actor:
        outcome = _holds(actor).approve(arguments.hold)
    hold = outcome.hold
    say(f"{hold.hold_id}: {hold.state}; {_held(hold)}" if hold.opens else f"{hold.hold_id}: {hold.state}")
    return _tell(outcome)


@contextmanager
def _proven(arguments: argparse.Namespace, action: Action, act: str) -> Iterator[Acting]:
    """`acting`, of a person who proved by their password who they are.

    A name typed beside `--as` proves nothing: with it one person would be the two that a hold, and its end, take.
    """
    with acting(arguments, action) as actor:
        try:
            person = actor.office.people.log_in(actor.name, _password(actor.name), actor.office.clock())
            _check_own_password(person)
        except Refused as error:
            actor.record("refused", action=act, hold=getattr(arguments, "hold", None), why=str(error))
            raise
        yield actor


def _check_own_password(person: Person) -> None:
    """Whoever made the account knows the one-time password: it proves nobody."""
    if person.one_time:
        raise Refused("choose a password of your own first: log in to the pages once")


def _password(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"password of {name}: ")
    return sys.stdin.readline(PASSWORD_BYTES).rstrip("\n")


def _drop(arguments: argparse.Namespace) -> int:
    with _proven(arguments, Action.HOLD, "hold_drop") as actor:
        hold = _holds(actor).drop(arguments.hold, arguments.reason)
    say(f"{hold.hold_id}: dropped; nothing of it is held")
    return 0


def _release(arguments: argparse.Namespace) -> int:
    with _proven(arguments, Action.HOLD, "hold_release") as actor:
        hold = _holds(actor).ask_end(arguments.hold, arguments.reason)
    say(f"{hold.hold_id}: its end is asked for; it is held until another person approves that")
    return 0


def _keep(arguments: argparse.Namespace) -> int:
    with _proven(arguments, Action.HOLD, "hold_keep") as actor:
        hold = _holds(actor).keep(arguments.hold, arguments.reason)
    say(f"{hold.hold_id}: goes on")
    return 0


def _open(arguments: argparse.Namespace) -> int:
    problems: list[str] = []
    with acting(arguments, Action.OPEN) as actor:
        holds = _holds(actor)
        hold = holds.get(arguments.hold)
        actor.record("hold_open", **_why(arguments, hold))
        count = 0
        for record in holds.records(hold, problems.append):
            try:
                line = shown(actor.office, record)
            except (BadRecord, HeldRecordError, NotFound) as error:
                problems.append(f"{record.device}/{record.segment}:{record.index}: {error}")
                continue
            count += 1
            if arguments.json:
                say_json(line)
            else:
                say(f"{record.kind:<6} {record.device}/{record.segment}:{record.index}  {record.sha256}")
        actor.record("hold_opened", hold=hold.hold_id, records=count, problems=len(problems))
    for problem in problems:
        warn(problem)
    return 1 if problems else 0


def _why(arguments: argparse.Namespace, hold: Hold) -> dict[str, str]:
    """What the audit log says of an access; raises BadRequest without a reason."""
    reason, case = check_why(arguments.reason, hold.case)
    return {"hold": hold.hold_id, "case": case, "purpose": str(hold.purpose), "reason": reason}


def _export(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.OPEN) as actor:
        holds = _holds(actor)
        hold = holds.get(arguments.hold)
        actor.record("hold_export", **_why(arguments, hold), to=str(arguments.out))
        done = export(actor.office, holds, hold, arguments.out, actor.record)
    say(f"{done.files} files and manifest.json (SHA-256 {done.manifest_sha256}) are in {arguments.out}")
    for problem in done.problems:
        warn(problem)
    return 1 if done.problems else 0
