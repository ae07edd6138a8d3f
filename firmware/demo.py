# SPDX-License-Identifier: Apache-2.0
"""`wayside demo`, which is `make run`: an agency's office and one appliance, from enrolment to the opened reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from firmware.demo_office import Office, call, tool
from firmware.demo_setup import Choice, Plan, Ports, leads_list, plan_for, ports_of, write_config
from firmware.errors import DemoError, ExitCode
from firmware.live import Interrupt, Viewer
from firmware.null_modem import NullModem
from firmware.screen import LiveState
from firmware.status import ask
from firmware.supervisor import Supervisor
from firmware.truth import Score, compare, manifest_truth, sim_truth
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
    pulled_segments: int
    opened: int
    equal: int
    score: Score | None

    @property
    def good(self) -> bool:
        """Frames came, everything that was acknowledged came back as it was sealed, and every hit arrived."""
        seen = int(str(self.state.rates.get("frames", 0)))
        return seen > 0 and self.equal == len(self.state.acked) and self.waiting == 0


class Demo:
    """One run; `play` returns the exit code."""

    def __init__(self, choice: Choice, console: Console) -> None:
        self._choice = choice
        self._console = console
        self._run_dir = choice.run_dir.resolve()
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._logs = self._run_dir / "logs"
        self._logs.mkdir(exist_ok=True)
        self._layout = DataLayout(self._run_dir / "device")
        self._office = Office(self._run_dir / "office")

    def play(self) -> int:
        """From the office's start to the summary."""
        plan, ports = plan_for(self._choice), ports_of(self._run_dir)
        cable = NullModem()
        supervisor = Supervisor(write_config(self._run_dir, plan, ports, cable.device), self._logs)
        interrupt = Interrupt()
        try:
            with interrupt.watching():
                self._prepare(plan, ports, supervisor, cable)
                pages = str(self._office.urls["page_url"])
                viewer = Viewer(supervisor, self._layout.root, self._console, pages)
                viewer.follow(self._choice.duration_s, lambda: interrupt.asked)
                outcome = self._settle(supervisor, plan, ports, viewer)
        finally:
            supervisor.stop()
            self._office.stop()
            cable.close()
        self._summarise(outcome)
        return ExitCode.OK if outcome.good else ExitCode.PROBLEM

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{text}[/dim]", highlight=False)

    def _prepare(self, plan: Plan, ports: Ports, supervisor: Supervisor, cable: NullModem) -> None:
        """Office up, device enrolled over the serial link, sample list published, services running."""
        fresh = not (self._office.data / "office.json").exists()
        if fresh:
            self._say("the office: own CA, recipient keys and list key ...")
            (self._run_dir / "office-login.txt").write_text(
                self._office.run("init", "--agency", "Sample Police")
            )
        self._office.serve(device_port=ports.device, page_port=ports.pages, log=self._logs / "office.log")
        supervisor.start("provision")
        if not self._layout.identity.joinpath("enrolment.json").exists():
            self._say("the technician: enrols the device over the serial link ...")
            self._enrol(cable)
        self._publish(plan, fresh=fresh)
        supervisor.start("sync", "eye")
        self._console.print(f"office pages: [bold]{self._office.urls['page_url']}[/bold]", highlight=False)
        self._console.print(f"login: {self._run_dir / 'office-login.txt'}", highlight=False, soft_wrap=True)

    def _enrol(self, cable: NullModem) -> None:
        deadline = time.monotonic() + ENROL_WAIT_S
        while ask(self._layout.root, "provision") is None and time.monotonic() < deadline:
            time.sleep(0.1)
        call(
            [
                tool("wayside-tech"),
                "enrol",
                "--port",
                cable.laptop,
                "--office-data",
                str(self._office.data),
                "--yes",
            ]
        )

    def _publish(self, plan: Plan, *, fresh: bool) -> None:
        sample = self._run_dir / "ISPLITH.TXT"
        sample.write_bytes(leads_list(plan.listed))
        self._office.run("lists", "add", "--id", "leads-sample", "--layout", "leads", str(sample))
        if plan.wildcard and fresh:
            why = ["--reason", "partial plate from a witness, sample", "--expires", "7d"]
            self._office.run("lists", "manual", "--plate", plan.wildcard, *why)
        self._office.run("lists", "publish")

    def _settle(self, supervisor: Supervisor, plan: Plan, ports: Ports, viewer: Viewer) -> Outcome:
        """The eye ends; hits are sent; the office pulls and opens what was sealed; both sides are compared."""
        self._say("ending: sealing what is open, sending what waits ...")
        supervisor.stop_one("eye")
        viewer.drain(1.0)
        state = viewer.state
        sync = self._wait_for_uploads()
        self._say("the office pulls the sealed segments and opens them ...")
        device = str(
            json.loads((self._layout.identity / "enrolment.json").read_bytes())["bundle"]["device_id"]
        )
        pulled = self._office.run_json(
            "pull", device, "--url", f"https://127.0.0.1:{ports.pull}", codes=(0, 1)
        )
        opened = self._office.run_json("open", "--device", device, codes=(0, 1))
        return Outcome(
            state=state,
            uploaded=int(str(sync.get("uploaded", 0))),
            waiting=int(str(sync.get("waiting", -1))),
            pulled_segments=_pulled(pulled),
            opened=len(opened),
            equal=_equal(state, opened),
            score=self._score(plan, state),
        )

    def _wait_for_uploads(self) -> Status:
        deadline = time.monotonic() + DRAIN_S
        while True:
            status = ask(self._layout.root, "sync") or {}
            if status.get("waiting") == 0 or time.monotonic() > deadline:
                return status
            time.sleep(0.2)

    def _score(self, plan: Plan, state: LiveState) -> Score | None:
        truth = sim_truth(plan.truth_path) if plan.truth_path else []
        if plan.pictures:
            truth = manifest_truth(plan.pictures)
            played = {Path(str(read["source"])).name for read in state.reads}
            if not state.ended:  # stopped early: only pictures that were shown count
                truth = [passed for passed in truth if passed.source in played]
        return compare(truth, state.reads) if truth else None

    def _summarise(self, outcome: Outcome) -> None:
        state = outcome.state
        table = Table(title="summary", show_header=False)
        seen = sum(1 for _ in state.reads) + int(str(state.rates.get("unread", 0)))
        rows: list[tuple[str, object]] = [
            ("frames", state.rates.get("frames", 0)),
            ("frames dropped", state.rates.get("dropped", 0)),
            ("plates seen (tracks)", seen),
            ("reads", len(state.reads)),
            ("hits", len(state.hits)),
            ("records sealed", len(state.acked)),
            ("hits uploaded", outcome.uploaded),
            ("hits still waiting", outcome.waiting),
            ("segments pulled", outcome.pulled_segments),
            ("records opened by the office", outcome.opened),
            ("of this run, equal to what the eye saw", f"{outcome.equal} of {len(state.acked)}"),
        ]
        if outcome.score is not None:
            rows += _truth_rows(outcome.score)
        for name, value in rows:
            table.add_row(name, str(value))
        self._console.print(table)
        if not outcome.good:
            self._console.print(
                f"[red]not everything came back as it was sealed; see {self._logs}[/red]", soft_wrap=True
            )


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


def run_demo(choice: Choice, console: Console) -> int:
    """Plays the demo; a failed step is one clear line."""
    try:
        return Demo(choice, console).play()
    except DemoError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        return error.exit_code
