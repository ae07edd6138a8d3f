# SPDX-License-Identifier: Apache-2.0
"""The V4L2 camera over a stand-in for cv2.VideoCapture: its thread, its controls, damaged pictures, a pulled cable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers import camera_v4l2
from drivers.camera_v4l2 import DAMAGED_RUN, V4l2Camera, open_v4l2, whole_jpeg
from drivers.errors import BadOption, CameraLost, CameraTimeout
from drivers.types import Exposure, Frame
from drivers.v4l2_devices import cameras, find
from tests.drivers.video_stand_in import VideoStandIn

SMALL = {"width": 160, "height": 120, "gain_scale": 10.0}
Opener = Callable[..., V4l2Camera]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.touch()
    return path


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch, node: Path) -> Iterator[Opener]:
    """Opens the driver on a stand-in."""
    opened: list[tuple[VideoStandIn, V4l2Camera]] = []

    def make(video: VideoStandIn, **options: object) -> V4l2Camera:
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: video)
        camera = open_v4l2({"device": str(node), **SMALL, **options})
        opened.append((video, camera))
        return camera

    yield make
    for video, camera in opened:
        video.tick.release(2)
        camera.close()


def _frame(camera: V4l2Camera) -> Frame:
    frame = camera.capture(2.0)
    assert frame is not None
    return frame


def _wait_for(condition: Callable[[], bool]) -> bool:
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_frame_arrives_and_a_missing_one_is_a_timeout(opener: Opener) -> None:
    video = VideoStandIn()
    camera = opener(video)
    with pytest.raises(CameraTimeout):
        camera.capture(0.05)
    video.tick.release()
    assert _frame(camera).pixels.shape == (120, 160, 3)
    video.tick.release(2)
    camera.close()
    assert video.released.is_set()


def test_a_cut_cable_is_a_lost_camera_and_stays_lost(opener: Opener) -> None:
    video = VideoStandIn()
    camera = opener(video)
    video.cut = True
    video.tick.release()
    for _ in range(2):
        with pytest.raises(CameraLost, match="cable") as caught:
            camera.capture(2.0)
    assert not caught.value.permanent
    assert video.released.wait(2.0)


def test_an_error_of_the_library_is_a_lost_camera(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    video = VideoStandIn()

    def fail() -> None:
        raise cv2.error("(-215:Assertion failed) buf.index < req.count")

    monkeypatch.setattr(video, "read", fail)
    with pytest.raises(CameraLost):
        opener(video).capture(2.0)


def test_the_newest_frame_wins_and_the_gap_shows(opener: Opener) -> None:
    video = VideoStandIn()
    camera = opener(video)
    video.tick.release(3)
    assert _wait_for(lambda: video.count == 3)
    time.sleep(0.05)
    assert _frame(camera).sequence == 2


def test_a_frame_carries_the_kernel_s_time(opener: Opener) -> None:
    video = VideoStandIn()
    camera = opener(video)
    video.tick.release()
    assert _wait_for(lambda: video.count == 1)
    frame = _frame(camera)
    assert frame.monotonic_ns == pytest.approx(video.read_at_ns, abs=1_000)
    age_us = (time.monotonic_ns() - frame.monotonic_ns) / 1e3
    assert frame.captured_at_us == pytest.approx(time.time() * 1e6 - age_us, abs=50_000)


def test_exposure_reaches_the_device_in_its_units_and_comes_back_as_it_was_set(opener: Opener) -> None:
    video = VideoStandIn()
    camera = opener(video)
    camera.configure(Exposure(1000, 4.0))
    video.tick.release(2)
    assert _wait_for(lambda: video.count == 2)
    time.sleep(0.05)
    frame = _frame(camera)
    assert frame.exposure == Exposure(1000, 4.0)
    assert frame.metadata.applied
    assert video.properties[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert video.properties[cv2.CAP_PROP_EXPOSURE] == 10
    assert video.properties[cv2.CAP_PROP_GAIN] == 40.0


def test_capabilities_are_what_the_controls_take(opener: Opener) -> None:
    video = VideoStandIn()
    caps = opener(video, fps=25.0, shutter="global").capabilities()
    assert caps.exposure_us == (100, 40_000)  # the device's 500 ms are longer than a frame
    assert caps.gain == (1.0, 16.0)
    assert (caps.fps, caps.size, caps.shutter) == (25.0, (160, 120), "global")
    assert video.properties[cv2.CAP_PROP_EXPOSURE] == 156.0  # as it was before they were tried
    assert video.properties[cv2.CAP_PROP_AUTO_EXPOSURE] == 3.0


def test_a_camera_without_controls_says_so(opener: Opener) -> None:
    video = VideoStandIn(lacks=(cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_GAIN))
    camera = opener(video)
    assert camera.capabilities().exposure_us == (0, 0)
    assert camera.capabilities().gain == (1.0, 1.0)
    camera.configure(Exposure(1000, 4.0))
    video.tick.release(2)
    assert _wait_for(lambda: video.count == 2)
    assert not _frame(camera).metadata.applied


def test_colours_and_focus_are_left_alone_by_the_camera(opener: Opener) -> None:
    video = VideoStandIn()
    opener(video, focus=30.0)
    assert video.properties[cv2.CAP_PROP_AUTO_WB] == 0
    assert video.properties[cv2.CAP_PROP_AUTOFOCUS] == 0
    assert video.properties[cv2.CAP_PROP_FOCUS] == 30


def _jpeg(value: int = 7) -> bytes:
    noise = np.random.default_rng(value).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def test_a_jpeg_is_whole_with_its_end() -> None:
    assert whole_jpeg(_jpeg())
    assert whole_jpeg(_jpeg() + bytes(100))
    assert not whole_jpeg(_jpeg()[:-2])
    assert not whole_jpeg(_jpeg()[2:])
    assert not whole_jpeg(b"")


@pytest.mark.parametrize(
    "broken",
    [b"", b"\xff\xd8\xff\xd9", _jpeg()[:500], _jpeg()[500:], b"\xff\xd8" + bytes(500) + b"\xff\xd9"],
    ids=["nothing", "empty", "end cut", "beginning cut", "rubbish"],
)
def test_a_damaged_picture_is_passed_over_counted_and_a_gap(
    opener: Opener, broken: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    video = VideoStandIn()
    video.damage = [_jpeg(), broken, broken, _jpeg()]
    camera = opener(video)
    video.tick.release()
    assert _frame(camera).sequence == 0
    video.tick.release(3)
    assert _frame(camera).sequence == 3
    assert camera.damaged == 2
    assert capsys.readouterr().out.count("camera_frame_damaged") == 1


def test_a_picture_of_another_size_is_damaged(opener: Opener) -> None:
    video = VideoStandIn()
    small = cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
    video.damage = [small]
    camera = opener(video)
    video.tick.release(2)
    assert _frame(camera).sequence == 1


def test_nothing_but_damaged_pictures_is_a_lost_camera(opener: Opener) -> None:
    video = VideoStandIn()
    video.damage = [b"rubbish"] * DAMAGED_RUN
    camera = opener(video)
    video.tick.release(DAMAGED_RUN)
    with pytest.raises(CameraLost, match="change its cable"):
        camera.capture(5.0)


def test_a_camera_that_gives_no_jpeg_is_converted_by_the_library(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = VideoStandIn(lacks=(cv2.CAP_PROP_FOURCC,))
    camera = opener(video, fourcc="")
    video.tick.release()
    assert _frame(camera).pixels.shape == (120, 160, 3)
    assert camera.damaged == 0


def test_a_device_that_is_not_there(opener: Opener) -> None:
    with pytest.raises(CameraLost, match="cannot be opened"):
        opener(VideoStandIn(opened=False))
    with pytest.raises(CameraLost, match="/dev/video-not-there"):
        open_v4l2({"device": "/dev/video-not-there"})
    with pytest.raises(BadOption, match="fourcc"):
        open_v4l2({"fourcc": "JPEGS"})


# Which device it is.


class Machine:
    """A /sys/class/video4linux and a /dev."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev = root / "sys", root / "dev"
        for folder in (self.sysfs, self.dev / "v4l/by-id", root / "usb1/1-2", root / "platform"):
            folder.mkdir(parents=True)
        self.root = root

    def plug(self, number: int, card: str, *, index: int = 0, usb: bool = True, serial: str = "") -> Path:
        entry, node = self.sysfs / f"video{number}", self.dev / f"video{number}"
        entry.mkdir()
        (entry / "name").write_text(card + "\n")
        (entry / "index").write_text(f"{index}\n")
        (entry / "device").symlink_to(self.root / ("usb1/1-2" if usb else "platform"))
        node.touch()
        if serial:
            (self.dev / "v4l/by-id" / f"usb-{serial}-video-index{index}").symlink_to(node)
        return node

    def pull(self, number: int) -> None:
        entry = self.sysfs / f"video{number}"
        for part in entry.iterdir():
            part.unlink()
        entry.rmdir()
        (self.dev / f"video{number}").unlink()

    def find(self, device: str = "", card: str = "") -> Path:
        return find(device or str(self.dev / "video0"), card, sysfs=self.sysfs, dev=self.dev)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def test_cameras_are_listed_with_the_names_that_they_keep(machine: Machine) -> None:
    machine.plug(10, "bcm2835-isp", usb=False)
    machine.plug(2, "HD Webcam", serial="Acme_HD")
    machine.plug(3, "HD Webcam", index=1, serial="Acme_HD")
    found = cameras(machine.sysfs, machine.dev)
    assert [(camera.path.name, camera.card, camera.usb) for camera in found] == [
        ("video2", "HD Webcam", True),
        ("video10", "bcm2835-isp", False),
    ]
    assert found[0].stable.endswith("by-id/usb-Acme_HD-video-index0")


def test_a_camera_that_comes_back_under_another_number_is_found(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.plug(0, "HD Webcam")
    assert machine.find().name == "video0"
    machine.pull(0)
    with pytest.raises(CameraLost, match="no camera is plugged in"):
        machine.find()
    machine.plug(2, "HD Webcam")
    machine.plug(3, "HD Webcam", index=1)
    machine.plug(10, "bcm2835-isp", usb=False)
    assert machine.find().name == "video2"
    assert "camera_moved" in capsys.readouterr().out


def test_of_two_cameras_none_is_guessed_but_both_are_named(machine: Machine) -> None:
    machine.plug(1, "Left", serial="A")
    machine.plug(2, "Right")
    with pytest.raises(CameraLost, match=r"'Left' at .*by-id/usb-A-video-index0, 'Right' at .*video2"):
        machine.find()
    assert machine.find(card="Right").name == "video2"
    machine.plug(3, "Right")
    with pytest.raises(CameraLost, match="several cameras are called 'Right'"):
        machine.find(card="Right")
    with pytest.raises(CameraLost, match="no camera is called 'Middle'"):
        machine.find(card="Middle")


def test_a_name_that_udev_keeps_is_never_replaced_by_a_guess(machine: Machine) -> None:
    machine.plug(1, "HD Webcam")
    with pytest.raises(CameraLost, match="by-id"):
        machine.find(str(machine.dev / "v4l/by-id/usb-Other-index0"))


def test_the_driver_opens_the_device_that_was_found(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.plug(4, "HD Webcam")
    opened: list[str] = []

    def capture(path: str, _backend: int) -> VideoStandIn:
        opened.append(path)
        return VideoStandIn(free=True)

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    monkeypatch.setattr(
        camera_v4l2, "find", lambda device, card: find(device, card, sysfs=machine.sysfs, dev=machine.dev)
    )
    camera = open_v4l2({"card": "HD Webcam"})
    assert _frame(camera).pixels.any()
    camera.close()
    assert opened == [str(machine.dev / "video4")]
