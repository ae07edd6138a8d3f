# SPDX-License-Identifier: Apache-2.0
"""The whole appliance on the rig's camera, enrolled over the serial link, with the camera's cable out in mid-run."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from firmware.config import load_config
from firmware.status import ask
from firmware.supervisor import Supervisor

from .appliance import Appliance
from .conftest import part
from .rig import Rig
from .wait import wait_for

pytestmark = pytest.mark.timeout(200)


@dataclass(frozen=True)
class Budget:
    """What a service may use on a machine like this; `cpu_share` of one core, after `start_cpu_s` of its start."""

    memory_mb: float
    cpu_share: float
    start_cpu_s: float


BUDGETS = {
    "eye": Budget(450.0, 0.9, 8.0),
    "sync": Budget(150.0, 0.1, 4.0),
    "provision": Budget(120.0, 0.05, 4.0),
}
EARLY_US = 1_000_000  # a plate may be read before it counts as visible, by a clock that follows the receiver
ANSWER_S = 20.0  # the eye's start on a busy machine
GIVES_UP_S = 3.0


def test_it_was_enrolled_over_the_serial_link(appliance: Appliance) -> None:
    assert appliance.hello["enrolled"] is True
    assert appliance.hello["agency"] == "Sample Police"


def test_the_camera_is_lost_and_comes_back(rig: Rig, appliance: Appliance) -> None:
    if not part(rig.camera, "camera").simulated:
        pytest.skip("only a simulated camera is unplugged by script in mid-run")
    states = appliance.states()
    assert "lost" in states, states
    assert "up" in states[states.index("lost") :], states
    assert "camera_lost" in appliance.log


def test_an_alarm_reaches_the_office_and_is_over(rig: Rig, appliance: Appliance) -> None:
    """The lamp's pin: what the office's device page shows comes from the heartbeat that it keeps."""
    if not part(rig.camera, "camera").simulated:
        pytest.skip("only the simulated lamp fails by script")
    told = [" ".join(beat["problems"]) for beat in appliance.heartbeats]
    assert any("lamp: busy since" in alarm and " - " in alarm for alarm in told), told
    assert "lamp" not in told[-1]
    counters = appliance.heartbeats[-1]["counters"]
    assert counters["health: lamp busy"] == 1
    assert counters["health: camera lost"] >= 1


def test_the_processes_stay_within_their_means(appliance: Appliance) -> None:
    for service, budget in BUDGETS.items():
        used = appliance.used[service]
        assert used["rss_mb"] < budget.memory_mb, service
        assert used["cpu_s"] < budget.cpu_share * used["uptime_s"] + budget.start_cpu_s, service


def test_reads_go_on_after_the_camera_came_back(rig: Rig, appliance: Appliance) -> None:
    if not part(rig.camera, "camera").simulated:
        pytest.skip("only the simulated road has traffic to order")
    lost = [acked for state, acked in appliance.samples if state == "lost"]
    assert lost, appliance.states()
    assert lost[0] > 0
    assert appliance.samples[-1][1] > lost[0]


def test_no_acknowledged_record_is_lost(appliance: Appliance) -> None:
    outcome = appliance.outcome
    assert outcome is not None
    assert int(str(outcome.state.rates.get("frames", 0))) > 0
    assert outcome.equal == len(outcome.state.acked)
    assert outcome.opened >= len(outcome.state.acked)
    assert outcome.waiting == 0


def test_no_service_died(appliance: Appliance) -> None:
    assert appliance.outcome is not None
    assert appliance.outcome.restarts == 0


def test_the_truth_survives_the_unplugging(rig: Rig, appliance: Appliance) -> None:
    if not part(rig.camera, "camera").simulated:
        pytest.skip("only the simulated road knows the truth")
    assert appliance.outcome is not None
    truth = [json.loads(line) for line in (appliance.folder / "truth.jsonl").read_text().splitlines()]
    first_read_us = min(int(str(read["captured_us"])) for read in appliance.outcome.state.reads)
    assert min(sight["first_seen_us"] for sight in truth) <= first_read_us + EARLY_US


def test_a_camera_that_can_never_open_is_told(appliance: Appliance) -> None:
    root = load_config(appliance.hopeless).data_dir
    logs = appliance.folder / "hopeless-logs"
    supervisor = Supervisor(appliance.hopeless, logs)
    supervisor.start("eye")
    try:
        assert wait_for(lambda: ask(root, "eye") is not None or not supervisor.alive("eye"), ANSWER_S)
        assert wait_for(lambda: (ask(root, "eye") or {}).get("camera") != "opening", GIVES_UP_S, poll_s=0.2)
    finally:
        if supervisor.alive("eye"):
            supervisor.kill("eye")  # a hanging one would not hear SIGTERM either
        supervisor.stop()
    assert "eye_started" in (logs / "eye.log").read_text(
        encoding="utf-8"
    )  # it did not end for another reason
