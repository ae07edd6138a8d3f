# SPDX-License-Identifier: Apache-2.0
"""The whole appliance on the rig's camera, enrolled over the serial link, with the camera's cable out in mid-run."""

from __future__ import annotations

import json

import pytest

from firmware.config import load_config
from firmware.status import ask
from firmware.supervisor import Supervisor

from .appliance import Appliance
from .conftest import part
from .rig import Rig
from .wait import wait_for

pytestmark = pytest.mark.timeout(200)
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
    assert min(sight["first_seen_us"] for sight in truth) <= first_read_us


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
