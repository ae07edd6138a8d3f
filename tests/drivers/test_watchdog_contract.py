# SPDX-License-Identifier: Apache-2.0
"""One contract for every watchdog: simulated, systemd's, and the kernel's device behind a stand-in for its ioctls.

The stand-in answers as linux/watchdog.h says. That a board really restarts, only a board shows (or softdog in a
virtual machine).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.errors import WatchdogUnavailable
from drivers.ports import Watchdog
from drivers.registry import open_watchdog
from drivers.sim.watchdog import SimWatchdog
from drivers.types import WatchdogInfo


def _request(direction: int, number: int, size: int) -> int:
    """As linux/ioctl.h makes it: 2 reads, 3 reads and writes."""
    return direction << 30 | size << 16 | ord("W") << 8 | number


GETSUPPORT, GETBOOTSTATUS, GETTIMEOUT, GETPRETIMEOUT = (
    _request(2, number, size) for number, size in ((0, 40), (2, 4), (7, 4), (9, 4))
)
SETTIMEOUT, SETPRETIMEOUT = _request(3, 6, 4), _request(3, 8, 4)
CARDRESET, CAN_SET, MAGIC, PRETIMEOUT = 0x20, 0x80, 0x100, 0x200


@dataclass
class Kernel:
    """Answers the ioctls of one watchdog; `asked` are the requests in order."""

    flags: int = CARDRESET | CAN_SET | MAGIC | PRETIMEOUT
    identity: bytes = b"Broadcom BCM2835 Watchdog timer"
    timeout: int = 15
    longest: int = 900
    pretimeout: int = 0
    boot: int = 0
    asked: list[int] = field(default_factory=list)

    def ioctl(self, fd: int, request: int, argument: bytearray) -> int:
        os.fstat(fd)  # only an open device answers
        self.asked.append(request)
        if request == GETSUPPORT:
            argument[:] = struct.pack("@II32s", self.flags, 1, self.identity)
            return 0
        (number,) = struct.unpack("@i", argument)
        if request == SETTIMEOUT:
            self._need(CAN_SET)
            if not 0 < number <= self.longest:
                raise OSError(errno.EINVAL, "Invalid argument")
            self.timeout, self.pretimeout = number, 0
        elif request == SETPRETIMEOUT:
            self._need(PRETIMEOUT)
            if number >= self.timeout:
                raise OSError(errno.EINVAL, "Invalid argument")
            self.pretimeout = number
        elif request not in {GETTIMEOUT, GETPRETIMEOUT, GETBOOTSTATUS}:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        if request == GETPRETIMEOUT:
            self._need(PRETIMEOUT)
        answers = {GETBOOTSTATUS: self.boot, SETPRETIMEOUT: self.pretimeout, GETPRETIMEOUT: self.pretimeout}
        argument[:] = struct.pack("@i", answers.get(request, self.timeout))
        return 0

    def _need(self, flag: int) -> None:
        if not self.flags & flag:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The file that a feed is written to."""
    path = tmp_path / "watchdog"
    path.touch()
    return path


def open_device(device: Path, kernel: Kernel, **options: object) -> Watchdog:
    given = {"path": device, "root": device.parent / "sys", "ioctl": kernel.ioctl}
    return open_watchdog("device", given | options)


@dataclass
class Watched:
    dog: Watchdog
    fed: Callable[[], int]


@pytest.fixture(params=["sim", "systemd", "device"])
def watched(
    request: pytest.FixtureRequest, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    if request.param == "sim":
        sim = open_watchdog("sim", {})
        assert isinstance(sim, SimWatchdog)
        yield Watched(sim, lambda: sim.feeds)
        sim.close()
    elif request.param == "device":
        dog = open_device(device, Kernel())
        yield Watched(dog, lambda: device.read_bytes().count(b"\0"))
        dog.close()
    else:
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(tmp_path / "notify"))
            server.setblocking(False)
            dog = open_watchdog("systemd", {"socket": str(tmp_path / "notify")})
            got: list[bytes] = []
            yield Watched(dog, lambda: _take(server, got).count(b"WATCHDOG=1"))
            dog.close()


def _take(server: socket.socket, got: list[bytes]) -> list[bytes]:
    while True:
        try:
            got.append(server.recv(64))
        except BlockingIOError:
            return got


def test_it_is_fed_once_a_feed(watched: Watched) -> None:
    assert isinstance(watched.dog, Watchdog)
    assert watched.fed() == 0
    for count in (1, 2, 3):
        watched.dog.feed()
        assert watched.fed() == count


def test_it_says_who_it_is_and_how_long_it_waits(watched: Watched) -> None:
    info = watched.dog.info()
    assert info is not None
    assert info.identity
    assert 1.0 <= info.timeout_s <= 3600.0
    watched.dog.close()
    assert watched.dog.info() == info


def test_closing_is_final_and_may_be_repeated(watched: Watched) -> None:
    watched.dog.feed()
    watched.dog.close()
    watched.dog.close()
    with pytest.raises(WatchdogUnavailable):
        watched.dog.feed()
    assert watched.fed() == 1


def test_nobody_watches_a_developers_machine() -> None:
    dog = open_watchdog("none", {})
    dog.feed()
    dog.close()
    assert dog.info() is None


# --- the kernel's device ---------------------------------------------------------------------------


def test_the_device_is_set_up_told_and_stopped(device: Path) -> None:
    kernel = Kernel()
    dog = open_device(device, kernel, timeout_s=60, pretimeout_s=5)
    assert (kernel.timeout, kernel.pretimeout) == (60, 5)
    assert dog.info() == WatchdogInfo("Broadcom BCM2835 Watchdog timer", 60.0, 5.0, nowayout=None, bit=False)
    dog.feed()
    dog.close()
    assert device.read_bytes() == b"\0V"


def test_a_device_with_a_shorter_reach_keeps_its_own_and_says_so(device: Path) -> None:
    dog = open_device(device, Kernel(longest=16), timeout_s=60)
    info = dog.info()
    assert info is not None
    assert info.timeout_s == 15.0
    dog.close()


def test_a_device_that_cannot_be_set_is_still_a_watchdog(device: Path) -> None:
    dog = open_device(device, Kernel(flags=MAGIC), timeout_s=60, pretimeout_s=10)
    assert dog.info() == WatchdogInfo("Broadcom BCM2835 Watchdog timer", 15.0, 0.0, nowayout=None, bit=None)
    dog.close()


def test_a_start_by_the_watchdog_is_told(device: Path) -> None:
    dog = open_device(device, Kernel(boot=CARDRESET))
    info = dog.info()
    assert info is not None
    assert info.bit
    dog.close()


@pytest.mark.parametrize(
    ("flags", "text", "nowayout"), [(MAGIC, "1\n", True), (MAGIC, "0\n", False), (0, "0\n", True)]
)
def test_a_device_that_cannot_be_stopped_is_noticed(
    device: Path, flags: int, text: str, *, nowayout: bool
) -> None:
    folder = device.parent / "sys/class/watchdog/watchdog0"
    folder.mkdir(parents=True)
    (folder / "nowayout").write_text(text)
    dog = open_device(device, Kernel(flags=flags))
    info = dog.info()
    assert info is not None
    assert info.nowayout is nowayout
    dog.close()


def test_a_plain_file_watches_nobody(device: Path) -> None:
    with pytest.raises(WatchdogUnavailable, match="is no watchdog"):
        open_watchdog("device", {"path": device})
    assert device.read_bytes() == b"V"  # given back in an orderly way


def test_no_device(tmp_path: Path) -> None:
    with pytest.raises(WatchdogUnavailable, match="No such file"):
        open_watchdog("device", {"path": tmp_path / "none"})


def test_a_device_that_another_holds_names_who(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> int:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "open", busy)
    with pytest.raises(WatchdogUnavailable, match="RuntimeWatchdogSec"):
        open_device(device, Kernel())


def test_a_device_that_takes_no_feed(device: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    dog = open_watchdog("device", {"path": Path("/dev/full"), "root": tmp_path, "ioctl": Kernel().ioctl})
    with pytest.raises(WatchdogUnavailable, match="took no feed"):
        dog.feed()
    dog.close()  # an end is an end


# --- systemd's -------------------------------------------------------------------------------------


def test_systemd_is_told_of_the_start_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        dog = open_watchdog("systemd", {})
        dog.feed()
        dog.close()
        assert [server.recv(64) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
        assert dog.info() == WatchdogInfo("systemd", 30.0, nowayout=False)
    with pytest.raises(WatchdogUnavailable):
        open_watchdog("systemd", {})  # nobody listens any more


def test_a_service_without_a_watchdog_time_is_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        dog = open_watchdog("systemd", {"socket": str(tmp_path / "notify")})
        dog.feed()  # READY=1 and STOPPING=1 are still wanted
        assert dog.info() is None
        dog.close()


def test_a_process_that_systemd_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(WatchdogUnavailable, match="Type=notify"):
        open_watchdog("systemd", {})


# --- the simulated one -----------------------------------------------------------------------------


def test_the_simulated_watchdog_starves() -> None:
    now = [0.0]
    dog = open_watchdog("sim", {"timeout_s": 10.0, "faults": "..x", "monotonic_s": lambda: now[0]})
    assert isinstance(dog, SimWatchdog)
    for _ in range(2):
        now[0] += 9.0
        dog.feed()
    fed = dog.starved
    assert fed is False
    with pytest.raises(WatchdogUnavailable):
        dog.feed()
    now[0] += 10.5
    assert dog.starved
