# SPDX-License-Identifier: Apache-2.0
"""Commands: lists add, manual, publish, list."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from backoffice import lists
from backoffice.acting import acting
from backoffice.console import say, say_json, table, warn
from backoffice.errors import BadRequest
from backoffice.pages.views import when
from backoffice.people import Action
from sync.hotlists.entry import Category
from sync.hotlists.mapping import MAX_MAPPING_BYTES
from sync.limits import ListLimits

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    group = commands.add_parser("lists", help="hot lists").add_subparsers(required=True, metavar="WHAT")
    add = group.add_parser("add", help="read a feed file into a list's next version")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--id", required=True, dest="list_id", help="the list's id")
    add.add_argument("--layout", required=True, help="leads, sos, ncic, california, genetec, mapped, ...")
    add.add_argument("--mapping", type=Path, help="TOML file that names the columns")
    add.add_argument("--title", default="", help="what people call the list")
    _json_flag(add)
    add.set_defaults(run=_add)
    manual = group.add_parser("manual", help="enter one plate by hand, and publish the manual list")
    manual.add_argument("--plate", required=True, help="? stands for one character, * for any number")
    manual.add_argument("--reason", required=True)
    manual.add_argument("--expires", required=True, help="30m, 12h, 7d, or YYYY-MM-DDTHH:MM (UTC)")
    manual.add_argument("--state", help="state of issuance, two letters")
    manual.add_argument("--category", choices=[str(c) for c in Category], default=str(Category.MANUAL))
    _json_flag(manual)
    manual.set_defaults(run=_manual)
    publish = group.add_parser("publish", help="sign every list and the manifest that names them")
    _json_flag(publish)
    publish.set_defaults(run=_publish)
    listing = group.add_parser("list", help="the published lists")
    _json_flag(listing)
    listing.set_defaults(run=_list)


def _json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add(arguments: argparse.Namespace) -> int:
    data = _read(arguments.file, ListLimits().max_feed_bytes)
    mapping = _read(arguments.mapping, MAX_MAPPING_BYTES) if arguments.mapping else None
    with acting(arguments, Action.LISTS) as actor:
        as_of_us = min(int(arguments.file.stat().st_mtime * 1e6), actor.office.clock())
        feed = lists.Feed(arguments.list_id, arguments.layout, data, mapping, arguments.title, as_of_us)
        actor.record("list_add", list=feed.list_id, layout=feed.layout, bytes=len(data))
        parsed = lists.add_feed(actor.office, feed)
        actor.record(
            "list_added",
            list=feed.list_id,
            layout=feed.layout,
            entries=len(parsed.entries),
            dropped=parsed.dropped,
        )
    for problem in parsed.problems:
        warn(f"line {problem.line}: {problem.what}{' (no entry)' if problem.dropped else ''}")
    if parsed.unlisted_problems:
        warn(f"and {parsed.unlisted_problems} more problems")
    if arguments.json:
        say_json(
            {
                "list": feed.list_id,
                "entries": len(parsed.entries),
                "dropped": parsed.dropped,
                "problems": len(parsed.problems) + parsed.unlisted_problems,
            }
        )
    else:
        say(f"{feed.list_id}: {len(parsed.entries)} entries, {parsed.dropped} lines gave none; now publish")
    return 1 if parsed.dropped else 0


def _manual(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.MANUAL) as actor:
        expires = expiry(arguments.expires, actor.office.clock())
        manual = lists.Manual(
            arguments.plate, arguments.reason, expires, arguments.state, Category(arguments.category)
        )
        actor.record("manual_entry", plate=manual.plate, reason=manual.reason, expires_us=expires)
        entry = lists.add_manual(actor.office, manual)
        found = lists.publish_manual(actor.office)
        actor.record("manual_entry_published", entry=entry.entry_id)
    version = next(item.version for item in found if item.list_id == lists.MANUAL_LIST)
    if arguments.json:
        say_json(
            {"entry_id": entry.entry_id, "plate": entry.plate, "expires_us": expires, "version": version}
        )
    else:
        say(f"{entry.plate}: listed until {when(expires)}, published as manual version {version}")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.LISTS) as actor:
        actor.record("lists_publish")
        found = lists.publish(actor.office)
        actor.record("lists_published", lists={item.list_id: item.version for item in found})
    _show(found, as_json=arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.LISTS) as actor:
        found = lists.published(actor.office)
    _show(found, as_json=arguments.json)
    return 0


def _show(found: list[lists.PublishedList], *, as_json: bool) -> None:
    if as_json:
        for item in found:
            say_json(dataclasses.asdict(item))
        return
    rows = [(i.list_id, i.version, i.entries, when(i.published_us), when(i.expires_us)) for i in found]
    table(("LIST", "VERSION", "ENTRIES", "PUBLISHED", "EXPIRES"), rows)


def expiry(text: str, now: int) -> int:
    """A length (30m, 12h, 7d) or a UTC time as Unix microseconds; BadRequest."""
    unit = {"m": 60, "h": 3600, "d": 86_400}.get(text[-1:])
    if unit and text[:-1].isascii() and text[:-1].isdigit() and len(text) <= 6:
        return now + int(text[:-1]) * unit * 1_000_000
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest("--expires takes 30m, 12h, 7d, or YYYY-MM-DDTHH:MM (UTC)") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() * 1e6)


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit + 1)
