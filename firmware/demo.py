# SPDX-License-Identifier: Apache-2.0
"""`wayside demo`, which is `make run`: an agency's office and one appliance, from enrolment to the opened reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from firmware.demo_office import Office, call, tool
from firmware.demo_setup import Choice, leads_list, plan_for, ports_of, write_config
from firmware.errors import DemoError, ExitCode
from firmware.live import Interrupt, Viewer
from firmware.null_modem import NullModem
from firmware.screen import LiveState
from firmware.status import ask
from firmware.supervisor import Supervisor
from firmware.truth import Score, compare, manifest_truth, sim_truth
from storage.atomic import write_atomic
from storage.layout import DataLayout

DRAIN_S = 45.0
ENROL_WAIT_S = 30.0
Status = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the summary is made of."""

    state: LiveState
    uploaded: int
    waiting: int
    set_aside: int
    pulled_segments: int
    opened: int
    equal: int
    restarts: int
    score: Score | None

    @property
    def good(self) -> bool:
        """Frames came, everything that was acknowledged came back as it was sealed, and every hit arrived."""
        seen = int(str(self.state.rates.get("frames", 0)))
        sealed = bool(self.state.acked) or not self.state.reads
        whole = sealed and self.equal == len(self.state.acked)
        return seen > 0 and whole and self.waiting == 0 and self.set_aside == 0


class Demo:
    """One run: entered, everything is up; left, everything has ended. `play` does it all."""

    def __init__(self, choice: Choice, console: Console) -> None:
        self._choice = choice
        self._console = console
        self._run_dir = choice.run_dir.resolve()
        self._logs = self._run_dir / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self.layout = DataLayout(self._run_dir / "device")
        self.office = Office(self._run_dir / "office")
        self.plan = plan_for(choice)
        self._ports = ports_of(self._run_dir)
        self._cable = NullModem()
        config = write_config(self._run_dir, self.plan, self._ports, self._cable.device)
        self.supervisor = Supervisor(config, self._logs)
        self.viewer = Viewer(self.supervisor, self.layout.root, console)

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self.supervisor.stop()
        self.office.stop()
        self._cable.close()

    def play(self) -> Outcome:
        """From the office's start to the comparison of what was sealed with what was opened."""
        interrupt = Interrupt()
        with interrupt.watching(), self:
            self.viewer.follow(self._choice.duration_s, lambda: interrupt.asked)
            return self.settle()

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{text}[/dim]", highlight=False)

    def _prepare(self) -> None:
        """Office up, device enrolled over the serial link, sample list published, services running."""
        fresh = not (self.office.data / "office.json").exists()
        login = self._run_dir / "office-login.txt"
        if fresh:
            self._say("the office: own CA, recipient keys and list key ...")
            write_atomic(login, self.office.run("init", "--agency", "Sample Police").encode())
        self.office.serve(
            device_port=self._ports.device, page_port=self._ports.pages, log=self._logs / "office.log"
        )
        self.viewer.office_url = str(self.office.urls["page_url"])
        self.supervisor.start("provision")
        if not (self.layout.identity / "enrolment.json").exists():
            self._say("the technician: enrols the device over the serial link ...")
            self._enrol()
        self._publish(fresh=fresh)
        self.supervisor.start("sync", "eye")
        self._console.print(f"office pages: [bold]{self.viewer.office_url}[/bold]", highlight=False)
        how = str(login) if login.exists() else f"wayside-office --data {self.office.data} users reset admin"
        self._console.print(f"login: {how}", highlight=False, soft_wrap=True)

    def _enrol(self) -> None:
        deadline = time.monotonic() + ENROL_WAIT_S
        while ask(self.layout.root, "provision") is None and time.monotonic() < deadline:
            time.sleep(0.1)
        known = ["--known", str(self._run_dir / "known-devices.json")]
        where = ["--port", self._cable.laptop, "--office-data", str(self.office.data)]
        call([tool("wayside-tech"), "enrol", *where, *known, "--yes"])

    def _publish(self, *, fresh: bool) -> None:
        sample = self._run_dir / "ISPLITH.TXT"
        sample.write_bytes(leads_list(self.plan.listed))
        self.office.run("lists", "add", "--id", "leads-sample", "--layout", "leads", str(sample))
        if self.plan.wildcard and fresh:
            why = ["--reason", "partial plate from a witness, sample", "--expires", "7d"]
            self.office.run("lists", "manual", "--plate", self.plan.wildcard, *why)
        self.office.run("lists", "publish")

    def settle(self) -> Outcome:
        """The eye ends; hits are sent; the office pulls and opens what was sealed; both sides are compared."""
        self._say("ending: sealing what is open, sending what waits ...")
        self.supervisor.stop_one("eye")
        self.viewer.drain(1.0)
        sync = self._wait_for_uploads()
        self._say("the office pulls the sealed segments and opens them ...")
        device = json.loads((self.layout.identity / "enrolment.json").read_bytes())["bundle"]["device_id"]
        url = f"https://127.0.0.1:{self._ports.pull}"
        pulled = self.office.run_json("pull", device, "--url", url, codes=(0, 1))
        why = ("--purpose", "test", "--reason", "what was sealed is compared", "--case", "demo 1")
        opened = self.office.run_json("open", "--device", device, *why, codes=(0, 1))
        state = self.viewer.state
        return Outcome(
            state=state,
            uploaded=int(str(sync.get("uploaded", 0))),
            waiting=int(str(sync.get("waiting", -1))),
            set_aside=int(str(sync.get("set_aside", 0))),
            pulled_segments=_pulled(pulled),
            opened=len(opened),
            equal=_equal(state, opened),
            restarts=sum(service.restarts for service in self.supervisor.services.values()),
            score=self._score(state),
        )

    def _wait_for_uploads(self) -> Status:
        deadline = time.monotonic() + DRAIN_S
        while True:
            status = ask(self.layout.root, "sync") or {}
            if status.get("waiting") == 0 or time.monotonic() > deadline:
                return status
            time.sleep(0.2)

    def _score(self, state: LiveState) -> Score | None:
        truth = sim_truth(self.plan.truth_path) if self.plan.truth_path else []
        if self.plan.pictures:
            truth = manifest_truth(self.plan.pictures)
            if not state.ended:  # stopped early: only pictures that gave a read count
                played = {Path(str(read["source"])).name for read in state.reads}
                truth = [passed for passed in truth if passed.source in played]
        return compare(truth, state.reads) if truth else None


def summary(outcome: Outcome) -> list[tuple[str, object]]:
    """What the run did, a row a figure."""
    state = outcome.state
    rows: list[tuple[str, object]] = [
        ("frames", state.rates.get("frames", 0)),
        ("frames dropped", state.rates.get("dropped", 0)),
        ("plates seen", state.rates.get("tracks", 0)),
        ("reads", len(state.reads)),
        ("hits", len(state.hits)),
        ("records sealed", len(state.acked)),
        ("hits uploaded", outcome.uploaded),
        ("hits still waiting", outcome.waiting),
        ("hits refused by the office", outcome.set_aside),
        ("segments pulled", outcome.pulled_segments),
        ("records opened by the office", outcome.opened),
        ("of this run, equal to what the eye saw", f"{outcome.equal} of {len(state.acked)}"),
        ("services restarted", outcome.restarts),
    ]
    return rows + (_truth_rows(outcome.score) if outcome.score is not None else [])


def _truth_rows(score: Score) -> list[tuple[str, object]]:
    return [
        ("truth: plates that passed", score.vehicles),
        ("truth: read exactly (O as 0, I as 1)", f"{score.exact_folded} ({score.exact} to the letter)"),
        ("truth: read otherwise", score.read_otherwise),
        ("truth: missed", score.missed),
        ("truth: reads of nothing that passed", score.false_reads),
    ]


def _pulled(lines: list[dict[str, Any]]) -> int:
    return sum(int(line["fetched"]) for line in lines)


def _equal(state: LiveState, opened: list[dict[str, Any]]) -> int:
    """How many acknowledged records came back with the digest of what was sealed."""
    there = {(str(line["segment"]), int(line["index"])): str(line["sha256"]) for line in opened}
    return sum(1 for segment, index, _kind, digest in state.acked if there.get((segment, index)) == digest)


def run_demo(choice: Choice, console: Console, json_out: Path | None = None) -> int:
    """Plays the demo and prints its summary; a failed step is one clear line."""
    try:
        outcome = Demo(choice, console).play()
    except DemoError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        return error.exit_code
    rows = summary(outcome)
    table = Table(title="summary", show_header=False)
    for name, value in rows:
        table.add_row(name, str(value))
    console.print(table)
    if json_out is not None:
        json_out.write_text(json.dumps(dict(rows)) + "\n", encoding="utf-8")
    if outcome.good:
        return ExitCode.OK
    logs = choice.run_dir.resolve() / "logs"
    console.print(f"[red]not everything came back as it was sealed; see {logs}[/red]", soft_wrap=True)
    return ExitCode.PROBLEM
