# SPDX-License-Identifier: Apache-2.0
"""Commands: tickets, tickets close."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from backoffice import tickets
from backoffice.acting import acting
from backoffice.console import say, say_json, table, warn
from backoffice.pages.views import ticket_state, when
from backoffice.people import Action

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_commands(commands: Commands) -> None:
    """Register the commands of this module."""
    group = commands.add_parser("tickets", help="what is wrong with the devices, until a person closes it")
    group.add_argument("--all", action="store_true", help="the closed ones, too")
    group.add_argument("--json", action="store_true", help="one JSON object a ticket")
    group.set_defaults(run=_list)
    closing = group.add_subparsers(metavar="WHAT").add_parser("close", help="close a ticket; audited")
    closing.add_argument("ticket", metavar="ID", help="as the list shows it, such as pole-1-3")
    closing.add_argument("--note", default="", help="why; needed unless the ticket is marked well")
    closing.set_defaults(run=_close)


def _list(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.DEVICES) as actor:
        found = tickets.open_tickets(actor.office)
        if arguments.all:
            found += tickets.closed_tickets(actor.office)
    if arguments.json:
        for ticket in found:
            say_json({"ticket": ticket.ticket_id, "open": ticket.open, **dataclasses.asdict(ticket)})
        return 0
    rows = [(t.ticket_id, t.device_id, ticket_state(t), when(t.since_us), t.what, t.advice) for t in found]
    table(("TICKET", "DEVICE", "STATE", "SINCE", "WHAT", "WHAT TO DO"), rows)
    for device in tickets.full_devices(found):
        warn(f"{device}: {tickets.MAX_OPEN} tickets are open; further alarms show on its card only")
    return 0


def _close(arguments: argparse.Namespace) -> int:
    with acting(arguments, Action.TICKETS) as actor:
        what = {"ticket": arguments.ticket, "note": arguments.note.strip()}
        tickets.check_closable(actor.office, arguments.ticket, arguments.note)
        actor.record("ticket_close", **what)
        tickets.close(actor.office, arguments.ticket, actor.name, arguments.note)
        actor.record("ticket_closed", **what)
    say(f"{arguments.ticket}: closed")
    return 0
