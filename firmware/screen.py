# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows while the appliance runs: reads and hits as they come, rates, link and key state."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from firmware.status_screen import board_line, light_line, trouble

READS_SHOWN = 12
HITS_SHOWN = 6
US_PER_S = 1_000_000

Event = Mapping[str, object]


@dataclass(slots=True)
class LiveState:
    """Everything that the tap has told so far."""

    reads: list[Event] = field(default_factory=list)
    hits: list[Event] = field(default_factory=list)
    acked: list[tuple[str, int, str, str]] = field(default_factory=list)  # segment, index, kind, SHA-256
    rates: Event = field(default_factory=dict)
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=READS_SHOWN))
    ended: bool = False

    def take(self, event: Event) -> None:
        """Adds one event of the tap."""
        match event.get("event"):
            case "read":
                self.reads.append(event)
                self.recent.append(event)
            case "hit":
                self.hits.append(event)
            case "acked":
                records = event.get("records")
                if isinstance(records, list):
                    self.acked.extend((str(s), int(i), str(k), str(d)) for s, i, k, d in records)
            case "rates":
                self.rates = event
            case "end":
                self.ended = True


def clock_text(at_us: object) -> str:
    """Unix µs as `HH:MM:SS` UTC."""
    return datetime.fromtimestamp(int(str(at_us)) / US_PER_S, tz=UTC).strftime("%H:%M:%S")


def read_line(read: Event) -> str:
    """One read as one plain line."""
    light = "IR " if read.get("ir") else "day"
    return (
        f"{clock_text(read['captured_us'])}  read  {read['text']!s:<9} {float(str(read['confidence'])):4.0%}  {light}"
        f"  {read['frames_agreed']} of {read['frames_seen']} frames agree"
    )


def hit_line(hit: Event) -> str:
    """One hit as one plain line."""
    return (
        f"{clock_text(hit['captured_us'])}  HIT   {hit['text']!s:<9} listed {hit['listed']} ({hit['category']},"
        f" {hit['kind']}) - verify before acting: {hit['explanation']}"
    )


def _reads_table(state: LiveState) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    for column in ("UTC", "plate", "sure", "light", "frames", "px"):
        table.add_column(column)
    for read in reversed(state.recent):
        confidence = float(str(read["confidence"]))
        style = "green" if confidence >= 0.9 else "yellow"
        table.add_row(
            clock_text(read["captured_us"]),
            Text(str(read["text"]), style="bold"),
            Text(f"{confidence:.0%}", style=style),
            "IR" if read.get("ir") else "day",
            f"{read['frames_agreed']}/{read['frames_seen']}",
            f"{float(str(read['width_px'])):.0f}",
        )
    return table


def _hits_table(state: LiveState) -> RenderableType:
    if not state.hits:
        return Text("no hits yet", style="dim")
    table = Table(expand=True, box=None, pad_edge=False)
    for column in ("UTC", "read", "listed", "category", "match"):
        table.add_column(column)
    for hit in state.hits[-HITS_SHOWN:][::-1]:
        table.add_row(
            clock_text(hit["captured_us"]),
            Text(str(hit["text"]), style="bold red"),
            str(hit["listed"]),
            str(hit["category"]),
            f"{hit['kind']}: {hit['explanation']}",
        )
    return table


def _state_lines(state: LiveState, statuses: Mapping[str, Event | None]) -> Text:
    eye, sync, provision = (statuses.get(name) or {} for name in ("eye", "sync", "provision"))
    rates = state.rates
    figures = [f"light {light_line(eye)}", f"board {board_line(eye)}"] if eye else []
    lines = [
        f"eye   {_up(eye)}  {rates.get('fps_now', 0)} frames/s, {rates.get('ms_p50', 0)} ms a frame, queue"
        f" {rates.get('queue', 0)}, dropped {rates.get('dropped', 0)}, sealed {rates.get('sealed', 0)}",
        f"sync  {_up(sync)}  link {sync.get('link', '?')}, hits waiting {sync.get('waiting', '?')}, uploaded"
        f" {sync.get('uploaded', '?')}, lists {sync.get('lists', '?')}",
        f"tech  {_up(provision)}  {provision.get('state', '?')}",
        f"keys  {eye.get('epochs', '?')} epoch(s) held, oldest {eye.get('oldest_epoch', '?')}, root of trust"
        f" {eye.get('root_of_trust', '?')}, retention {eye.get('retention_days', '?')} days",
        *figures,
    ]
    return Text("\n".join(lines))


def _up(status: Event) -> str:
    return "up  " if status else "down"


class Screen:
    """Draws the live state; `progress` is there when the run has a length."""

    def __init__(self, console: Console, duration_s: float | None, office_url: str) -> None:
        self._console = console
        self._office_url = office_url
        self._duration_s = duration_s
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("run", total=duration_s)

    def render(
        self, state: LiveState, statuses: Mapping[str, Event | None], elapsed_s: float
    ) -> RenderableType:
        """The whole screen."""
        self._progress.update(self._task, completed=elapsed_s)
        parts: list[RenderableType] = [
            Panel(
                _hits_table(state),
                title=f"hits ({len(state.hits)}) - verify before acting",
                border_style="red",
            ),
            Panel(_reads_table(state), title=f"reads ({len(state.reads)})", border_style="green"),
            Panel(
                Group(trouble(statuses, time.time_ns() // 1000), _state_lines(state, statuses)),
                title="appliance",
                border_style="blue",
            ),
            Text(f"office pages: {self._office_url}   Ctrl-C ends cleanly"),
        ]
        if self._duration_s:
            parts.append(self._progress)
        return Group(*parts)
