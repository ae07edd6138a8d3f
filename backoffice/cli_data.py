# SPDX-License-Identifier: Apache-2.0
"""Commands: pull, open, search."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backoffice.acting import Acting, acting
from backoffice.cli_query import query_of, span_options, why_options
from backoffice.console import say, say_json, warn
from backoffice.devices import all_devices, get_device
from backoffice.errors import BadRequest, OfficeError
from backoffice.opening import Opener, pictures_elsewhere
from backoffice.pages.views import percent, when
from backoffice.people import Action
from backoffice.pull import PullReport, pull
from backoffice.search import Found, check_why, make_query, search
from backoffice.segments import SegmentFolder
from storage.atomic import write_atomic
from storage.types import SegmentKind
from sync.errors import BadRecord
from sync.schema import to_jsonable

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

PICTURE_GONE = (
    "  (its pictures are not here: pull again; what is gone from the device gave way on its full disk)"
)


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    fetch = commands.add_parser("pull", help="fetch sealed segments and shares from a device; resumes")
    which = fetch.add_mutually_exclusive_group(required=True)
    which.add_argument("device", nargs="?", help="the device's id")
    which.add_argument("--all", action="store_true", help="every device that was pulled before")
    fetch.add_argument("--url", help="https://HOST:PORT of its pull service (default: as last time)")
    fetch.add_argument("--out", type=Path, metavar="FILE", help="write the reports there, as a JSON list")
    fetch.add_argument("--json", action="store_true", help="one JSON object a device")
    fetch.set_defaults(run=_pull)
    show = commands.add_parser("open", help="open pulled segments; audited")
    why_options(show)
    show.add_argument("--device", help="of one device only")
    show.add_argument("--kind", choices=[str(kind) for kind in SegmentKind], help="of one kind only")
    show.add_argument("--limit", type=int, help="stop after so many records")
    show.add_argument("--json", action="store_true", help="one JSON object a record")
    show.set_defaults(run=_open)
    find = commands.add_parser("search", help="find reads by plate; audited")
    find.add_argument("--plate", required=True, help="? stands for one character, * for any number")
    why_options(find)
    span_options(find)
    find.add_argument("--json", action="store_true", help="one JSON object a read")
    find.set_defaults(run=_search)


def _pull(arguments: argparse.Namespace) -> int:
    reports: list[PullReport] = []
    failed = 0
    with acting(arguments, Action.PULL) as actor:
        for device_id, url in _targets(actor, arguments):
            actor.record("pull", device=device_id, url=url)
            try:
                report = pull(actor.office, device_id, url)
            except OfficeError as error:
                if not arguments.all:
                    raise
                warn(f"{device_id}: {error}")
                failed = max(failed, error.exit_code)
            else:
                reports.append(report)
                actor.record(
                    "pulled", **dataclasses.asdict(report) | {"missing_epochs": len(report.missing_epochs)}
                )
    for report in reports:
        _show_report(report, as_json=arguments.json)
    if arguments.out:
        write_atomic(arguments.out, json.dumps([dataclasses.asdict(r) for r in reports]).encode() + b"\n")
    return failed or int(any(report.problems or report.missing_epochs for report in reports))


def _targets(actor: Acting, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    if arguments.all:
        if arguments.url:
            raise BadRequest("--url is one device's address: give it with the device, not with --all")
        known = all_devices(actor.office)
        return [(d.device_id, d.pull_url) for d in known if d.pull_url and d.revoked_us is None]
    url = arguments.url or get_device(actor.office, arguments.device).pull_url
    if not url:
        raise BadRequest("this device was never pulled from: give its address with --url")
    return [(arguments.device, url)]


def _show_report(report: PullReport, *, as_json: bool) -> None:
    if as_json:
        say_json(dataclasses.asdict(report))
    else:
        say(
            f"{report.device}: {report.segments} segments there, {report.fetched} fetched "
            f"({report.bytes} bytes), {report.shares} shares"
        )
    for problem in report.problems:
        warn(f"{report.device}: {problem}")
    if report.missing_epochs:
        warn(f"{report.device}: {len(report.missing_epochs)} epochs have no share any more")


def _open(arguments: argparse.Namespace) -> int:
    problems: list[str] = []

    def on_problem(text: str) -> None:
        problems.append(text)
        warn(text)

    count = 0
    with acting(arguments, Action.OPEN) as actor:
        reason, case = check_why(arguments.reason, arguments.case)
        what = {"device": arguments.device, "kind": arguments.kind, "limit": arguments.limit}
        actor.record("open", purpose=arguments.purpose, reason=reason, case=case, **what)
        kind = SegmentKind(arguments.kind) if arguments.kind else None
        for opened in Opener(actor.office, on_problem).records(arguments.device, kind):
            if arguments.limit is not None and count >= arguments.limit:
                break
            try:
                line = opened.as_json()
            except BadRecord as error:
                on_problem(f"{opened.device}/{opened.segment}:{opened.index}: {error}")
                continue
            count += 1
            if arguments.json:
                say_json(line)
            else:
                say(f"{line['device']}/{line['segment']}:{line['index']}  {_words(line)}")
        actor.record("opened", records=count, problems=len(problems))
    return 1 if problems else 0


def _words(line: dict[str, Any]) -> str:
    record = line["record"]
    if line["kind"] == SegmentKind.IMAGES:
        return f"{record['kind']} of {record['read_id']}, {record['bytes']} bytes"
    state = record["state"] or "state not read"
    return (
        f"{record['text']:<10} {percent(record['confidence']):>3} %  {state}  {when(record['captured_us'])}"
    )


def _search(arguments: argparse.Namespace) -> int:
    problems: list[str] = []
    with acting(arguments, Action.SEARCH) as actor:
        query = make_query(query_of(arguments, actor.office.clock()))
        actor.record("search", **dataclasses.asdict(query))
        found = list(search(Opener(actor.office, problems.append), query))
        actor.record("searched", plate=query.pattern, case=query.case, results=len(found))
        folder = SegmentFolder(actor.office.layout.segments)
    for item in found:
        _show_found(item, folder, as_json=arguments.json)
    for problem in problems:
        warn(problem)
    if not arguments.json:
        say(f"{len(found)} reads")
    return 1 if problems else 0


def _show_found(item: Found, folder: SegmentFolder, *, as_json: bool) -> None:
    opened, read = item.opened, item.read
    elsewhere = sorted(set(pictures_elsewhere(folder, opened.device, read)))
    if as_json:
        place = {"device": opened.device, "segment": opened.segment, "index": opened.index}
        found = {"sha256": opened.sha256, "match": str(item.kind), "pictures_not_here": elsewhere}
        say_json({**place, **found, "record": to_jsonable(read)})
        return
    state = read.state or "state not read"
    say(
        f"{read.text:<10} {item.kind:<15} {percent(read.confidence):>3} %  {state}  "
        f"{when(read.captured_us)}  {opened.device}{PICTURE_GONE if elsewhere else ''}"
    )
