# SPDX-License-Identifier: Apache-2.0
"""`wayside status` on one screen: first what is wrong, since when and what to do; then what is well; then figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from firmware.health import Condition
from firmware.health_book import words

US_PER_S = 1_000_000
BEHIND_S = 5.0  # that a record has waited for the disk
NAME_WIDTH, HOW_WIDTH, SINCE_WIDTH = 13, 14, 6
STYLES = {Condition.DEGRADED.value: "bold yellow", Condition.FAILED.value: "bold red"}
NOTHING: Mapping[str, Any] = {}

Status = Mapping[str, Any]


def status_screen(found: Mapping[str, Status | None], now_us: int) -> RenderableType:
    """What the three services say (`firmware.status.statuses`), for 80 columns and 24 lines."""
    eye, sync, provision = (found.get(name) or NOTHING for name in ("eye", "sync", "provision"))
    parts = [*eye.get("health", ()), *sync.get("health", ())]
    return Group(
        _title(eye, provision, now_us),
        trouble(found, now_us),
        _flow("well", _standing(parts, Condition.OK, now_us), "green"),
        _flow("not fitted", _standing(parts, Condition.ABSENT, None), "dim"),
        _figures(eye, sync, now_us),
    )


def all_well(found: Mapping[str, Status | None]) -> bool:
    """Whether every service answers and no part is in trouble."""
    parts = (part for status in found.values() if status for part in status.get("health", ()))
    return all(found.values()) and not any(part["condition"] in STYLES for part in parts)


def _title(eye: Status, provision: Status, now_us: int) -> Text:
    who = provision.get("device_id") or eye.get("device_id") or "not enrolled"
    kind = f"{eye['deployment']} unit" if "deployment" in eye else ""
    parts = ["wayside", str(who), kind, f"{_at(now_us):%Y-%m-%d %H:%M:%S} UTC"]
    return Text("  ".join(part for part in parts if part), style="bold", overflow="ellipsis", no_wrap=True)


def trouble(found: Mapping[str, Status | None], now_us: int) -> RenderableType:
    """What is wrong, since when and what to do, the services that do not run first."""
    silent = [name for name, status in found.items() if status is None]
    parts = [part for status in found.values() if status for part in status.get("health", ())]
    wrong = [part for part in parts if part["condition"] in STYLES]
    if not found:
        return Text("nothing was asked yet", style="dim")
    if not (wrong or silent):
        return Text("everything works", style="bold green")
    table = Table.grid(padding=(0, 1))
    for width in (NAME_WIDTH, HOW_WIDTH, SINCE_WIDTH):
        table.add_column(width=width)
    table.add_column(ratio=1)
    for name in silent:
        how = Text("NOT RUNNING", style=STYLES[Condition.FAILED.value])
        table.add_row(name, how, "", f"start it: systemctl start wayside-{name}")
    for part in wrong:
        how = Text(words(part["code"] or part["condition"]).upper(), style=STYLES[part["condition"]])
        table.add_row(words(part["part"]), how, _since(part["since_us"], now_us), Text(part["advice"]))
    return table


def _standing(parts: list[dict[str, Any]], condition: Condition, now_us: int | None) -> list[str]:
    here = [part for part in parts if part["condition"] == condition.value]
    return [
        words(part["part"]) + (f" {_since(part['since_us'], now_us)}" if now_us is not None else "")
        for part in here
    ]


def _flow(head: str, names: list[str], style: str) -> Text:
    """`well  camera 12:30, disk 12:30`: what needs no row of its own."""
    if not names:
        return Text("", end="")
    return Text.assemble((f"{head}  ", "bold"), (", ".join(names), style))


def _figures(eye: Status, sync: Status, now_us: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=5, style="bold")
    table.add_column(ratio=1)
    rows: tuple[tuple[str, Callable[[Status, Status, int], str], Status], ...] = (
        ("reads", _reads, eye),
        ("speed", _speed, eye),
        ("queue", _queue, eye),
        ("light", lambda eye, _sync, _now_us: light_line(eye), eye),
        ("place", _place, eye),
        ("time", _time, eye),
        ("board", lambda eye, _sync, _now_us: board_line(eye), eye),
        ("disk", _disk, eye),
        ("link", _link, sync),
        ("lists", _lists, eye),
    )
    for name, line, needed in rows:
        if needed:
            table.add_row(name, Text(line(eye, sync, now_us)))
    return table


def _reads(eye: Status, _sync: Status, _now_us: int) -> str:
    owed = f", {eye['hits_owed']} hits owed" if eye.get("hits_owed") else ""
    lost = f", {eye['records_lost']} LOST" if eye.get("records_lost") else ""
    seen = f"{eye['reads']} reads of {eye['tracks']} passes, {eye['hits']} hits"
    return f"{seen}, {eye['sealed']} records sealed{owed}{lost}"


def _speed(eye: Status, _sync: Status, _now_us: int) -> str:
    stages = ", ".join(f"{name} {ms:g}" for name, ms in eye.get("stages", {}).items())
    return f"{eye['fps_now']:g} frames/s, {eye['ms_p50']:g} ms a frame (95 %: {eye['ms_p95']:g})" + (
        f": {stages}" if stages else ""
    )


def _queue(eye: Status, _sync: Status, _now_us: int) -> str:
    return (
        f"{eye['queue']} of {eye.get('queue_frames', '?')} wait, lag {eye['lag_ms_p95']:g} ms;"
        f" dropped: queue {eye['dropped']}, camera {eye['camera_dropped']}; scenes given up {eye['pictures_given_up']}"
    )


def light_line(eye: Status) -> str:
    """Shutter, gain and lamp."""
    light = eye.get("light")
    if not light:
        return "the camera exposes by itself"
    lamp = "no lamp" if light["lamp"] is None else f"lamp {light['lamp']:.0%}"
    when = "night" if light["night"] else "day"
    return (
        f"{when}, shutter 1/{round(1e6 / max(1, light['exposure_us']))} s, gain {light['gain']:.1f}, {lamp}"
    )


def _place(eye: Status, _sync: Status, _now_us: int) -> str:
    place = eye.get("place")
    if not place:
        return f"not known{_antenna(eye)}"
    sure = f" ±{place['accuracy_m']:.0f} m" if place.get("accuracy_m") is not None else ""
    return f"{place['lat']:.5f}, {place['lon']:.5f}{sure} ({place['source']}){_antenna(eye)}"


def _antenna(eye: Status) -> str:
    """What the receiver hears: a surveyed place says nothing of that."""
    gnss = eye.get("gnss") or {}
    if not gnss.get("fix"):
        return ""
    away = f", {gnss['from_survey_m']:.0f} m from the survey" if gnss.get("from_survey_m") is not None else ""
    return f"; {gnss['satellites']} satellites ±{gnss['accuracy_m']:.0f} m{away}"


def _time(eye: Status, _sync: Status, _now_us: int) -> str:
    sources = ", ".join(eye["time_sources"]) or "nobody: not confirmed"
    late_h = eye.get("deletion_late_s", 0) // 3600
    late = f"; DELETION {late_h} h LATE" if late_h else ""
    return f"{_at(eye['time_us']):%H:%M:%S} UTC ±{eye['time_uncertainty_us'] / US_PER_S:.2g} s by {sources}{late}"


def board_line(eye: Status) -> str:
    """Heat, supply, what is given up, what the process uses."""
    power = eye.get("power") or {}
    measured = [
        f"{power[name]:.1f} {unit}"
        for name, unit in (("temperature_c", "°C"), ("battery_v", "V"))
        if power.get(name) is not None
    ]
    rung = [str(power["given_up"])] if power.get("given_up") else []
    return ", ".join([*(measured or ["no sensors"]), *rung, f"{eye['rss_mb']:.0f} MB, {_cores(eye)}"])


def _cores(eye: Status) -> str:
    """The mean since the start, of one core."""
    return f"{eye['cpu_s'] / max(1.0, eye['uptime_s']):.0%} CPU"


def _disk(eye: Status, _sync: Status, _now_us: int) -> str:
    free = eye.get("disk_free_mb")
    room = "not readable" if free is None else f"{free / 1000:.1f} GB free"
    room += f", {eye['disk_wait_s']:g} s BEHIND" if eye.get("disk_wait_s", 0) >= BEHIND_S else ""
    room += f", {eye['pictures_gave_way']} pictures gave way" if eye.get("pictures_gave_way") else ""
    keys = f"{eye['epochs']} keys since {eye['oldest_epoch']}" if eye["epochs"] else "no keys"
    return f"{room}; {keys}, {eye['root_of_trust']}, kept {eye['retention_days']:g} days ({eye['retention_policy']})"


def _link(_eye: Status, sync: Status, now_us: int) -> str:
    radio = f"; {_radio(sync['modem'])}" if sync.get("modem") else ""
    last = f", last {_since(sync['last_contact_us'], now_us)}" if sync.get("last_contact_us") else ""
    aside = f", {sync['set_aside']} REFUSED" if sync.get("set_aside") else ""
    return f"{sync['link']}{last}; hits: {sync['waiting']} wait, {sync['uploaded']} sent{aside}{radio}"


def _radio(modem: Mapping[str, Any]) -> str:
    """Who carries the link and how strong it is; else what stands in its way."""
    if not modem.get("registered"):
        return f"no network: {modem.get('problem') or modem.get('registration', 'not asked yet')}"
    measured = next((modem[name] for name in ("rsrp_dbm", "signal_dbm") if modem.get(name) is not None), None)
    return f"{modem.get('operator') or 'network'}, {'signal unknown' if measured is None else f'{measured:.0f} dBm'}"


def _lists(eye: Status, _sync: Status, _now_us: int) -> str:
    told = (
        f"{hot['list_id']} v{hot['version']} {_span(hot['age_s'])} old{' STALE' if hot['stale'] else ''}"
        for hot in eye["lists"]
    )
    return ", ".join(told) or "none"


def _span(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / US_PER_S, tz=UTC)


def _since(at_us: int, now_us: int) -> str:
    """The time of today, the date of an earlier day."""
    at = _at(at_us)
    return f"{at:%H:%M}" if at.date() == _at(now_us).date() else f"{at:%b %d}"
