# SPDX-License-Identifier: Apache-2.0
"""`--rig FILE`, and one fixture a part: opened through the registry, skipped when absent, left dark and quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from drivers import registry
from drivers.ports import Camera, Gnss, Illuminator, Modem, Power, Watchdog

from .appliance import Appliance, run_appliance
from .leftovers import held, left_since
from .rig import SIMULATED, CameraPart, Rig, RigError, load_rig
from .starving import StarvedEye, starve_eye

T = TypeVar("T")


class OpenCamera(Protocol):
    """Opens the rig's camera; a script is refused by real ones with a skip."""

    def __call__(self, faults: str = "", **options: object) -> Camera: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rig",
        type=Path,
        default=SIMULATED,
        metavar="FILE",
        help="the rig file (docs/rig.md); the simulated rig by default",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"rig: {config.getoption('--rig')}"


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Rig:
    """The rig file, checked."""
    try:
        return load_rig(request.config.getoption("--rig"))
    except RigError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Zero leftovers: threads, open devices, child processes."""
    before = held()
    yield
    assert left_since(before) == []


def part(what: T | None, table: str) -> T:
    """The part of the rig, or a skip that says what is missing."""
    if what is None:
        pytest.skip(f"the rig file has no [{table}]")
    return what


@pytest.fixture
def camera_part(rig: Rig) -> CameraPart:
    return part(rig.camera, "camera")


@pytest.fixture
def open_camera(camera_part: CameraPart) -> Iterator[OpenCamera]:
    """Opens the rig's camera as often as a test likes; all are closed."""
    with contextlib.ExitStack() as stack:

        def make(faults: str = "", **options: object) -> Camera:
            if (faults or options) and not camera_part.simulated:
                pytest.skip("only a simulated camera fails by script")
            chosen = camera_part.scripted(faults) if faults else dict(camera_part.options)
            camera = registry.open_camera(camera_part.name, chosen | options)
            stack.callback(camera.close)
            return camera

        yield make


@pytest.fixture
def lamp(rig: Rig) -> Iterator[Illuminator]:
    """The rig's lamp; dark before, dark after."""
    chosen = part(rig.illuminator, "illuminator")
    device = registry.open_illuminator(chosen.name, chosen.options)
    assert device.state().power == 0.0
    yield device
    device.close()
    assert device.state().power == 0.0


@pytest.fixture
def gnss(rig: Rig) -> Iterator[Gnss]:
    """The rig's receiver."""
    chosen = part(rig.gnss, "gnss")
    with contextlib.closing(registry.open_gnss(chosen.name, chosen.options)) as device:
        yield device


@pytest.fixture
def modem(rig: Rig) -> Iterator[Modem]:
    """The rig's cellular modem."""
    chosen = part(rig.modem, "modem")
    with contextlib.closing(registry.open_modem(chosen.name, chosen.options)) as device:
        yield device


@pytest.fixture
def power(rig: Rig) -> Power:
    """The rig's supply and heat sensors."""
    chosen = part(rig.power, "power")
    return registry.open_power(chosen.name, chosen.options)


@pytest.fixture
def watchdog(rig: Rig) -> Iterator[Watchdog]:
    """The rig's watchdog, a simulated one: another would restart this machine."""
    chosen = part(rig.watchdog, "watchdog")
    if not chosen.simulated:
        pytest.skip("starving a real watchdog would restart the machine that runs the tests")
    with contextlib.closing(registry.open_watchdog(chosen.name, chosen.options)) as device:
        yield device


@pytest.fixture
def person(rig: Rig, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Asks the person at the rig to do something; the test then watches for it."""

    def ask(text: str) -> None:
        if not rig.manual:
            pytest.skip("needs a person at the rig (manual = true)")
        with capsys.disabled():
            print(f"\n>>> {text}", flush=True)  # noqa: T201 -- to the person at the rig

    return ask


@pytest.fixture(scope="session")
def appliance(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """One run of the whole appliance with its office, on the rig's camera."""
    return run_appliance(part(rig.camera, "camera"), tmp_path_factory.mktemp("appliance") / "run")


@pytest.fixture(scope="session")
def starved(rig: Rig, appliance: Appliance) -> StarvedEye:
    """The enrolled eye once more, in this process and under a supervisor's socket, with a camera that stalls."""
    chosen = part(rig.camera, "camera")
    if not chosen.simulated:
        pytest.skip("only a simulated camera stalls by script")
    return starve_eye(appliance, chosen)
