# SPDX-License-Identifier: Apache-2.0
"""Tickets: what is wrong with a device and stays on somebody's desk until a person closes it.

1. An alarm is one part and what is wrong with it, as a heartbeat tells it, or the office's own: nothing was heard,
   deletion receipts are overdue, or the device's audit log contradicts what was seen of it. Of the last nothing is
   ever told well: a person looks.
2. A device has at most one open ticket for an alarm; a heartbeat that repeats the alarm changes nothing.
3. An open ticket whose alarm is no longer told is marked well. It stays open: a person looks why.
4. An alarm that returns makes its open ticket unwell again, whenever that is; a closed one that was well it reopens
   within REOPEN_US and is a new ticket later.
5. A ticket closed while the alarm is still told rests for REOPEN_US from the closing; then the alarm is a new ticket.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select, update

from backoffice.db import insert_once, tickets
from backoffice.devices import Device, all_devices, get_device
from backoffice.errors import BadRequest, Conflict, NotFound
from backoffice.hits import MAX_NOTE_CHARACTERS
from backoffice.office import Office
from sync.schema import Heartbeat

REOPEN_US = 24 * 3600 * 1_000_000  # microseconds in which an alarm that returns is the same trouble
MAX_OPEN = 32  # open tickets that one device's heartbeats may cause
MAX_NUMBER_DIGITS = 9  # of a ticket's number
SILENT, LOG, RECEIPTS = (
    "silent",
    "audit log",
    "receipts",
)  # the office's own alarms; what a device tells has TOLD before it
OFFICE, DELETION = (
    "OFFICE",
    "deletion",
)  # whose ticket it is when it is of no device: no device's id has capitals
TOLD = "told "
NO_ADVICE = "look at the device's card, then at the unit"
EYE_DOWN = "not running"  # what a device's health says of its eye when it cannot ask it
# how a device words a part that is not well; a part has no colon
_SENTENCE = re.compile(r"([^:]+: .+?) since (\d{4}-\d\d-\d\d \d\d:\d\d) UTC - (.*)")


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong: `key` is equal for the same part and fault; `since_us` by whoever tells it."""

    key: str
    what: str
    advice: str
    since_us: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket; times in Unix microseconds, None where it has not happened. `returns`: how often it came back.

    `closed_by` and `note` of a reopened ticket are those of its last closing.
    """

    device_id: str
    number: int
    alarm: str
    what: str
    advice: str
    since_us: int
    opened_us: int
    well_us: int | None
    returns: int
    closed_us: int | None
    closed_by: str | None
    note: str | None

    @property
    def ticket_id(self) -> str:
        """The device and the ticket's number there."""
        return f"{self.device_id}-{self.number}"

    @property
    def open(self) -> bool:
        """Whether nobody has closed it."""
        return self.closed_us is None


def hear(office: Office, beat: Heartbeat) -> None:
    """Bring the device's tickets up to date with a heartbeat; call it before the heartbeat is recorded."""
    now = office.clock()
    device = get_device(office, beat.device_id)
    told = {alarm.key: alarm for alarm in (_alarm(text, now) for text in beat.problems)}
    late = [_silence(device)] if device.late(now) else []
    _raise(office, device.device_id, [*late, *told.values()])
    _mark_well(office, beat, set(told))


def notice_silence(office: Office) -> None:
    """A ticket for every device that is heard no longer; not for one never heard yet, or revoked."""
    now = office.clock()
    for device in all_devices(office):
        if device.revoked_us is None and device.late(now):
            _raise(office, device.device_id, [_silence(device)])


def notice_log(office: Office, device_id: str) -> None:
    """A ticket for a device whose audit log went back: its end was cut, or two machines have its key."""
    advice = (
        "a bad card loses writes in a power cut; else compare its audit.jsonl with `wayside-office audit device`, "
        "and revoke it if its disk may have been copied"
    )
    what = "audit log: it contradicts what was seen of it before"
    _raise(office, device_id, [Alarm(LOG, what, advice, office.clock())])


def notice_receipts(office: Office, device_id: str, missing: int, since_us: int) -> None:
    """A ticket for a device that owes the receipts of so many hours since then; none missing makes it well."""
    if not missing:
        _set_well(office, device_id, {RECEIPTS})
        return
    hours = "1 hour" if missing == 1 else f"{missing} hours"
    what = f"receipts: {hours} past retention without a deletion receipt"
    advice = (
        "`wayside-office receipts verify` names them; look at its link, its clock and the policy that it obeys, "
        "then on the unit: `wayside verify`"
    )
    _raise(office, device_id, [Alarm(RECEIPTS, what, advice, since_us)])


def notice_deletion(office: Office, why: str) -> None:
    """The office's own ticket while its deletion does not go on; no `why` makes it well."""
    if not why:
        _set_well(office, OFFICE, {DELETION})
        return
    advice = "`wayside-office retention show` says why it waits; else look at the server's log, disk, clock and keyring"
    _raise(office, OFFICE, [Alarm(DELETION, f"deletion: {why}", advice, office.clock())])


def open_tickets(office: Office) -> list[Ticket]:
    """Open ones, those not well first, each oldest first; looks for silent devices before."""
    notice_silence(office)
    order = (tickets.c.well_us.is_not(None), tickets.c.opened_us, tickets.c.device_id, tickets.c.number)
    query = select(tickets).where(tickets.c.closed_us.is_(None)).order_by(*order)
    with office.engine.connect() as connection:
        return [Ticket(**row) for row in connection.execute(query).mappings()]


def closed_tickets(office: Office, limit: int | None = None) -> list[Ticket]:
    """Closed ones, the last closed first."""
    query = select(tickets).where(tickets.c.closed_us.is_not(None)).order_by(tickets.c.closed_us.desc())
    with office.engine.connect() as connection:
        return [Ticket(**row) for row in connection.execute(query.limit(limit)).mappings()]


def count_open(office: Office) -> int:
    """How many are open; looks for silent devices before."""
    notice_silence(office)
    with office.engine.connect() as connection:
        query = select(func.count()).select_from(tickets).where(tickets.c.closed_us.is_(None))
        return connection.execute(query).scalar_one()


def full_devices(found: Iterable[Ticket]) -> list[str]:
    """Devices with so many open tickets that a further alarm shows on their card only."""
    counts: dict[str, int] = {}
    for ticket in found:
        if ticket.open and ticket.alarm.startswith(TOLD):
            counts[ticket.device_id] = counts.get(ticket.device_id, 0) + 1
    return sorted(device for device, count in counts.items() if count >= MAX_OPEN)


def get_ticket(office: Office, ticket_id: str) -> Ticket:
    """One ticket; NotFound."""
    device_id, _, number = ticket_id.rpartition("-")
    if number.isascii() and number.isdigit() and len(number) <= MAX_NUMBER_DIGITS:
        mine = (tickets.c.device_id == device_id) & (tickets.c.number == int(number))
        with office.engine.connect() as connection:
            row = connection.execute(select(tickets).where(mine)).mappings().first()
        if row is not None:
            return Ticket(**row)
    raise NotFound("there is no such ticket; `tickets --all` shows them")


def check_closable(office: Office, ticket_id: str, note: str) -> Ticket:
    """The ticket; BadRequest without the note that an unwell one needs, Conflict when it is closed."""
    ticket = get_ticket(office, ticket_id)
    if not ticket.open:
        raise Conflict("this ticket is closed already")
    if len(note) > MAX_NOTE_CHARACTERS:
        raise BadRequest(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
    if ticket.well_us is None and not note.strip():
        raise BadRequest("this is not well yet: say in a note why the ticket can be closed")
    return ticket


def close(office: Office, ticket_id: str, by: str, note: str) -> None:
    """Close it; raises as `check_closable`."""
    ticket = check_closable(office, ticket_id, note)
    mine = (tickets.c.device_id == ticket.device_id) & (tickets.c.number == ticket.number)
    seen = mine & tickets.c.closed_us.is_(None) & (tickets.c.returns == ticket.returns)
    values = {"closed_us": office.clock(), "closed_by": by, "note": note.strip()}
    with office.engine.begin() as connection:
        done = connection.execute(update(tickets).where(seen).values(values)).rowcount == 1
    if not done:
        raise Conflict("this ticket changed meanwhile: look again")


def _alarm(text: str, now_us: int) -> Alarm:
    """What a heartbeat's sentence says; one in other words is an alarm as a whole, whatever it counts."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    found = _SENTENCE.fullmatch(shown)
    if found is None:
        return Alarm(TOLD + re.sub(r"\d+", "#", shown), shown, NO_ADVICE, now_us)
    what, since, advice = found.groups()
    return Alarm(TOLD + what, what, advice, min(now_us, _minute(since, now_us)))


def _minute(text: str, otherwise_us: int) -> int:
    try:
        told = dt.datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=dt.UTC)
    except ValueError:
        return otherwise_us
    return int(told.timestamp()) * 1_000_000


def _silence(device: Device) -> Alarm:
    advice = "look at its power and its link first, then at the unit; it may be gone"
    return Alarm(
        SILENT, "silent: nothing is heard from it", advice, device.heartbeat_us or device.enrolled_us
    )


def _raise(office: Office, device_id: str, alarms: Iterable[Alarm]) -> None:
    """Open, reopen or leave alone: rules 2, 4 and 5."""
    held = _held(office, device_id)
    latest = {ticket.alarm: ticket for ticket in held}
    room = MAX_OPEN - sum(ticket.open and ticket.alarm.startswith(TOLD) for ticket in held)
    number = held[-1].number if held else 0
    now = office.clock()
    for alarm in alarms:
        ticket = latest.get(alarm.key)
        same = ticket if ticket is not None and (ticket.open or _rests(ticket, now)) else None
        if same is not None and (same.open or same.well_us is None):
            _renew(office, same, alarm)
        elif room > 0 or not alarm.key.startswith(TOLD):  # a device's own alarms must not hide the office's
            room -= alarm.key.startswith(TOLD)
            if same is not None:
                _renew(office, same, alarm)
            else:
                number += 1
                _open(office, device_id, number, alarm)


def _rests(ticket: Ticket, now_us: int) -> bool:
    """Whether the alarm of a closed ticket still belongs to it."""
    ended = ticket.well_us if ticket.well_us is not None else ticket.closed_us
    return ended is not None and now_us - ended <= REOPEN_US


def _held(office: Office, device_id: str) -> list[Ticket]:
    """All of a device's tickets by number. Only people closing them make room, so they are few."""
    query = select(tickets).where(tickets.c.device_id == device_id).order_by(tickets.c.number)
    with office.engine.connect() as connection:
        return [Ticket(**row) for row in connection.execute(query).mappings()]


def _open(office: Office, device_id: str, number: int, alarm: Alarm) -> None:
    # two that saw the same tickets take the same number: one is made, and the alarm that lost is told again
    row: dict[str, object] = {
        "device_id": device_id,
        "number": number,
        "alarm": alarm.key,
        "what": alarm.what,
        "advice": alarm.advice,
        "since_us": alarm.since_us,
        "opened_us": office.clock(),
        "returns": 0,
    }
    insert_once(office.engine, tickets, row)


def _renew(office: Office, ticket: Ticket, alarm: Alarm) -> None:
    """Keep the latest words; one that was well is unwell and open again."""
    mine = (tickets.c.device_id == ticket.device_id) & (tickets.c.number == ticket.number)
    values: dict[str, object] = {"what": alarm.what, "advice": alarm.advice}
    if ticket.well_us is not None:
        mine &= tickets.c.well_us.is_not(None)
        values |= {"well_us": None, "closed_us": None, "returns": tickets.c.returns + 1}
    elif (ticket.what, ticket.advice) == (alarm.what, alarm.advice):
        return  # as nearly every heartbeat
    with office.engine.begin() as connection:
        connection.execute(update(tickets).where(mine).values(values))


def _mark_well(office: Office, beat: Heartbeat, told: set[str]) -> None:
    """Rule 3. A heartbeat that could not ask the eye says of no part that it is well."""
    could_ask = bool(beat.health) and beat.health.get("eye") != EYE_DOWN
    with office.engine.connect() as connection:
        unwell = (tickets.c.device_id == beat.device_id) & tickets.c.well_us.is_(None)
        held = set(connection.execute(select(tickets.c.alarm).where(unwell)).scalars())
    _set_well(
        office,
        beat.device_id,
        {alarm for alarm in held - told if alarm == SILENT or (could_ask and alarm.startswith(TOLD))},
    )


def _set_well(office: Office, device_id: str, alarms: set[str]) -> None:
    if alarms:
        unwell = (tickets.c.device_id == device_id) & tickets.c.well_us.is_(None)
        with office.engine.begin() as connection:
            change = update(tickets).where(unwell, tickets.c.alarm.in_(alarms))
            connection.execute(change.values(well_us=office.clock()))
