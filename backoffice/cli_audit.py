# SPDX-License-Identifier: Apache-2.0
"""Commands: audit report, audit sign-off."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING

from backoffice.acting import acting
from backoffice.audit_report import Asked, Report, Review, describe, last_days, make_report, sign_off
from backoffice.audit_rules import AuditRules
from backoffice.console import say, say_json, table, warn
from backoffice.odd_use import Line, Period, person_of
from backoffice.pages.views import when
from backoffice.people import Action

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

QUESTIONS = "Questions to ask. Each line says why it is here; none of them says that anybody did wrong."


def add_commands(group: Commands) -> None:
    """Register the commands under `audit`."""
    report = group.add_parser(
        "report", help="use by person and purpose, odd use, and a sample to check by hand; recorded"
    )
    report.add_argument(
        "--since", type=_day, metavar="YYYY-MM-DD", help="first day, UTC (default: a review ago)"
    )
    report.add_argument("--until", type=_day, metavar="YYYY-MM-DD", help="last day, UTC (default: until now)")
    report.add_argument("--person", metavar="NAME", help="of one person only")
    report.add_argument(
        "--sample", type=int, metavar="N", help="accesses to draw (default: audit-rules.toml)"
    )
    report.add_argument(
        "--seed", default="", help="of the sample, to draw the same one again (default: drawn)"
    )
    report.add_argument("--json", action="store_true", help="one JSON object")
    report.set_defaults(run=_report)
    signed = group.add_parser("sign-off", help="record that a person went through a report")
    signed.add_argument("number", type=int, metavar="REPORT", help="the report's number")
    signed.add_argument("--note", required=True, help="what came of it")
    signed.set_defaults(run=_sign_off)


def _day(text: str) -> int:
    """Start of a UTC day, Unix microseconds."""
    day = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    return int(day.timestamp() * 1e6)


def _report(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        now = actor.office.clock()
        usual = last_days(now, AuditRules.load(actor.office.layout.audit_rules))
        day_us = 86_400_000_000
        until = now if arguments.until is None else arguments.until + day_us
        since = usual.since_us if arguments.since is None else arguments.since
        asked = Asked(Period(since, until), arguments.person, arguments.sample, arguments.seed)
        report = make_report(actor.office, actor.record, asked)
    if arguments.json:
        say_json(report.as_json())
    else:
        _show(report, now)
    for problem in report.problems:
        warn(f"the log itself: {problem}")
    return 1 if report.problems else 0


def _show(report: Report, now_us: int) -> None:
    say(f"Audit report {report.number}: {when(report.period.since_us)} to {when(report.period.until_us)}")
    say(
        f"{report.entries} entries in the log, {len(report.problems)} problems; {review_words(report.review, now_us)}"
    )
    say("")
    head = (
        "PERSON",
        "SEARCHES",
        "PLATES",
        "CASES",
        "OPENED",
        "RECORDS",
        "HITS",
        "DECIDED",
        "PICTURES",
        "REFUSED",
    )
    rows = [
        (
            name,
            u.searches,
            len(u.plates),
            len(u.cases),
            u.opens,
            u.records_opened,
            u.hits_viewed,
            u.hits_decided,
            u.pictures,
            u.refused,
        )
        for name, u in report.people.items()
    ]
    table(head, rows)
    say("")
    table(("PURPOSE", "ACCESSES"), list(report.purposes.items()))
    say("")
    say(QUESTIONS if report.lines else "Nothing stands out by the rules in use.")
    for line in report.lines:
        for text in line_words(line):
            say(text)
    say("")
    say(f"Sample to check against the case files (seed {report.seed}):")
    for entry in report.sample:
        say(f"  entry {entry.n}  {when(entry.at_us)}  {person_of(entry)}  {describe(entry)}")
    say("")
    say(f'when done: wayside-office audit sign-off {report.number} --note "..."')


def line_words(line: Line) -> tuple[str, str]:
    """A line of the report, and the reason why it is there."""
    subject = f" {line.subject}:" if line.subject else ""
    entries = ", ".join(str(n) for n in line.entries)
    return (
        f"  {line.person}  {line.rule}{subject} {line.count:g} (told from {line.threshold:g} on)",
        f"      {line.why}; entries {entries}",
    )


def review_words(review: Review, now_us: int) -> str:
    """When the log was last signed off, and whether it is due."""
    last = (
        f"signed off by {review.by} on {when(review.at_us)}"
        if review.at_us is not None
        else "never signed off"
    )
    due = "OVERDUE since" if review.overdue(now_us) else "next due"
    return f"{last}, {due} {when(review.due_us)}"


def _sign_off(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.AUDIT) as actor:
        entry = sign_off(actor.office, actor.record, arguments.number, arguments.note, actor.name)
    say(f"report {arguments.number} is signed off by {actor.name} in entry {entry.n}")
    return 0
