# SPDX-License-Identifier: Apache-2.0
"""The agent and the laptop's client over real pseudo-terminals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.agent import AgentTimes, ProvisionAgent
from provisioning.commands import Commands
from provisioning.conversation import DeviceEnd
from provisioning.errors import CommandRefused, LinkError, LinkTimeout, PortUnavailable
from provisioning.frames import Frame, Kind, encode
from provisioning.host.client import DeviceClient
from provisioning.identity import Identity
from provisioning.ports import PtyPort, open_port
from provisioning.selftest import SelfTests
from provisioning.session import device_context

Serve = Callable[..., ProvisionAgent]


def hello(port: str | Path | int, **options: Any) -> dict[str, object]:
    with DeviceClient(port, **options) as client:
        return client.call("hello")


def test_hello_over_a_pseudo_terminal(pty_agent: tuple[ProvisionAgent, Path]) -> None:
    agent, link = pty_agent
    for _ in range(3):  # clients come and go
        assert hello(link)["fingerprint"] == agent.commands.identity.fingerprint


def test_a_whole_enrolment_with_renewal_and_refusals(
    pty_agent: tuple[ProvisionAgent, Path], agency: Any, other_agency: Any
) -> None:
    agent, link = pty_agent
    with DeviceClient(link) as client:
        csr = str(client.call("csr")["pem"]).encode()
        with pytest.raises(CommandRefused, match="confirm"):
            client.call("install", {"document": agency.bundle(csr).decode()})
        first = {"document": agency.bundle(csr).decode(), "confirm_ca": agency.fingerprint}
        assert client.call("install", first)["agency"] == agency.title
    with DeviceClient(link) as client:  # now with the agency's certificate, the same key
        assert client.peer.fingerprint == agent.commands.identity.fingerprint
        assert client.call("install", {"document": agency.bundle(csr).decode()})
        foreign = {"document": other_agency.bundle(csr).decode(), "confirm_ca": other_agency.fingerprint}
        with pytest.raises(CommandRefused) as refused:
            client.call("install", foreign)
        assert refused.value.code == "refused"
    assert Identity.load(agent.commands.identity.folder).enrolled


def test_only_an_agency_technician_may_reset(
    pty_agent: tuple[ProvisionAgent, Path], agency: Any, other_agency: Any, tmp_path: Path
) -> None:
    agent, link = pty_agent
    identity = agent.commands.identity
    agent.commands.identity = identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)
    request = {"confirm": identity.device_id}
    with DeviceClient(link) as client, pytest.raises(CommandRefused, match="technician"):
        client.call("reset", request)
    stranger = DeviceClient(link, other_agency.person(tmp_path / "other"))
    with stranger, pytest.raises(LinkError):
        stranger.call("reset", request, timeout_s=3)
    with DeviceClient(link, agency.person(tmp_path / "people")) as client:
        assert client.call("status")["full"] is True
        assert client.call("reset", request)["fingerprint"] != identity.fingerprint


def test_it_serves_an_open_descriptor(serve: Serve, tmp_path: Path) -> None:
    master, slave = os.openpty()
    serve(master, tmp_path / "identity")
    path = os.ttyname(slave)
    assert hello(path)["product"] == "wayside"
    os.close(slave)
    time.sleep(0.2)  # the master reads EIO for a while
    assert hello(path)["product"] == "wayside"


def test_it_survives_unplugging_and_plugging_in_again(serve: Serve, cable: Any, tmp_path: Path) -> None:
    serve(cable.device_path, tmp_path / "identity")
    assert hello(cable.master)["product"] == "wayside"
    for _ in range(2):
        client = DeviceClient(cable.master)
        cable.unplug()
        with pytest.raises(LinkError):
            client.call("hello", timeout_s=2)
        time.sleep(0.15)
        cable.plug()
        assert hello(cable.master)["product"] == "wayside"


def test_a_port_that_appears_later_is_served(serve: Serve, cable: Any, tmp_path: Path) -> None:
    cable.unplug()
    serve(cable.device_path, tmp_path / "identity")
    time.sleep(0.2)
    cable.plug()
    assert hello(cable.master)["product"] == "wayside"


def test_unplugged_in_the_middle_of_an_install(serve: Serve, cable: Any, agency: Any, tmp_path: Path) -> None:
    agent = serve(cable.device_path, tmp_path / "identity")
    client = DeviceClient(cable.master)
    document = agency.bundle(str(client.call("csr")["pem"]).encode()).decode()
    whole = client._end.request(
        b'{"id":9,"command":"install","params":{"document":"' + document.encode() + b'"}}'
    )
    os.write(cable.master, whole[: len(whole) // 2])
    cable.unplug()
    time.sleep(0.15)
    cable.plug()
    with DeviceClient(cable.master) as client:
        assert client.call("hello")["enrolled"] is False
        assert client.call("install", {"document": document, "confirm_ca": agency.fingerprint})
    assert agent.commands.identity.enrolled


def test_it_survives_garbage_and_half_frames(pty_agent: tuple[ProvisionAgent, Path]) -> None:
    _, link = pty_agent
    dice = random.Random(7)
    with serial.Serial(str(link), 115_200, timeout=0.1, write_timeout=5) as line:
        for size in (1, 100, 4000):
            line.write(dice.randbytes(size))
            line.write(b"AT+CGMI\r\n\x1b[c")
            line.write(encode(Frame(Kind.TO_DEVICE, 5, 0, b"x" * 900))[:500])
            line.read(4096)
    assert hello(link)["product"] == "wayside"


def test_a_damaged_certificate_is_no_crash(pty_agent: tuple[ProvisionAgent, Path]) -> None:
    agent, link = pty_agent
    file = agent.commands.identity.folder / "self.pem"
    good = file.read_bytes()
    file.write_bytes(b"damaged")
    with pytest.raises(LinkTimeout):
        DeviceClient(link, open_timeout_s=1)
    file.write_bytes(good)
    assert hello(link)["product"] == "wayside"


def test_a_laptop_that_vanishes_leaves_nothing_behind(pty_agent: tuple[ProvisionAgent, Path]) -> None:
    _, link = pty_agent
    client = DeviceClient(link)
    client._port.close()  # no CLOSE frame
    assert hello(link)["product"] == "wayside"


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=400), max_size=5))
def test_any_bytes_leave_the_device_working(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    commands = Commands(tmp_path_factory.getbasetemp() / "fuzzed", SelfTests())
    end = DeviceEnd(lambda: device_context(commands.identity), commands.handle)
    end.feed(encode(Frame(Kind.OPEN, 1, 0)))
    for number, piece in enumerate(pieces):
        end.feed(piece)
        end.feed(encode(Frame(Kind.TO_DEVICE, 1, 1 + number, piece)))
        end.idle()


def test_a_second_program_on_the_port_is_told_so(pty_agent: tuple[ProvisionAgent, Path]) -> None:
    _, link = pty_agent
    with DeviceClient(link), pytest.raises(PortUnavailable, match="in use"):
        DeviceClient(link)


def test_a_port_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(PortUnavailable, match="cable"):
        DeviceClient(tmp_path / "ttyACM0")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(PortUnavailable, match="serial port"):
        DeviceClient(plain)


def test_silence_is_a_timeout(tmp_path: Path) -> None:
    master, slave = os.openpty()
    with pytest.raises(LinkTimeout, match="no Wayside device"):
        DeviceClient(os.ttyname(slave), open_timeout_s=0.3)
    os.close(master)
    os.close(slave)


def test_a_reader_that_stops_reading_does_not_hang_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning.ports.WRITE_TIMEOUT_S", 0.2)
    port = PtyPort(tmp_path / "ttyACM0")
    with pytest.raises(LinkTimeout):
        port.write(b"x" * 1_000_000)
    port.close()
    port.close()
    assert not (tmp_path / "ttyACM0").is_symlink()
    with pytest.raises(PortUnavailable):
        open_port(f"pty:{tmp_path}/no/such/folder")


def test_the_watchdog_is_fed_and_stop_is_quick(tmp_path: Path) -> None:
    fed = threading.Event()
    agent = ProvisionAgent(
        f"pty:{tmp_path}/tty", tmp_path / "identity", times=AgentTimes(0.05, 0.05), on_alive=fed.set
    )
    stop = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stop,))
    thread.start()
    assert fed.wait(5)
    stop.set()
    thread.join(2)
    assert not thread.is_alive()


# --- a real process, killed --------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        arguments = ["--identity", str(tmp_path / "identity"), "--port", f"pty:{tmp_path}/tty"]
        (tmp_path / "tty").unlink(missing_ok=True)
        started.append(
            subprocess.Popen([sys.executable, "-m", "provisioning", *arguments], stdout=subprocess.DEVNULL)
        )
        ends = time.monotonic() + 20
        while not (tmp_path / "tty").is_symlink():
            assert time.monotonic() < ends
            time.sleep(0.02)
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.wait()


def test_killed_in_mid_install_leaves_the_old_or_the_new(
    process: Callable[[], subprocess.Popen[bytes]], agency: Any, tmp_path: Path
) -> None:
    dice = random.Random(11)
    child = process()
    csr = Identity.load(tmp_path / "identity").csr()
    current: str | None = None
    for round_ in range(5):
        document = agency.bundle(csr, bundle_id=f"round-{round_}").decode()
        client = DeviceClient(tmp_path / "tty")
        killer = threading.Timer(dice.uniform(0.0, 0.02), child.kill)
        killer.start()
        acknowledged = False
        try:
            client.call("install", {"document": document, "confirm_ca": agency.fingerprint}, timeout_s=3)
            acknowledged = True
        except LinkError:
            pass
        killer.join()
        client.close()
        assert child.wait(5) == -signal.SIGKILL
        bundle = Identity.load(tmp_path / "identity").bundle
        found = bundle.bundle_id if bundle else None
        assert found == f"round-{round_}" if acknowledged else found in {current, f"round-{round_}"}
        current = found
        child = process()
        assert hello(tmp_path / "tty")["enrolled"] is (current is not None)
    child.terminate()
    assert child.wait(5) == 0
