# SPDX-License-Identifier: Apache-2.0
"""The camera's self-check on the simulated road: each fault found in time, nothing found where there is none."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.errors import CameraLost, CameraTimeout
from drivers.registry import open_camera
from drivers.types import Exposure, Frame
from firmware import camera_judge
from firmware.camera_check import DARK_FRAMES, DARK_NIGHT_FRAMES, FOUND_WITHIN_S, WELL_FRAMES, CameraCheck
from firmware.camera_findings import FINDINGS
from firmware.camera_judge import FAULTY_JUDGEMENTS, SAMPLES, Latch
from firmware.camera_reference import CHECKSUM, MAX_REFERENCE_BYTES, Reference, decode, encode, load
from firmware.camera_scene import sharpness
from firmware.health import Condition

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]

WIDTH, HEIGHT = 448, 252  # what the camera sees of a wider picture, so that it can be turned
MARGIN_X, MARGIN_Y = 56, 31
SAMPLED_FPS = 2.0  # the check measures two frames a second: a stretch of road needs no more
STRETCH_FRAMES = 80  # of each light; the first half is learnt from, the second is judged, over and over
LEARN = 4  # judgements
LEARN_FRAMES = (3 + LEARN + 5) * SAMPLES
FPS = 15.0
LIGHTS = {
    "day": {"day_seconds": 1e9},
    "night": {"day_seconds": 0.0},
    "rain": {"scenario": "dusk-rain"},
    "busy": {"day_seconds": 1e9, "every_s": 1.0},
    "empty night": {"day_seconds": 0.0, "every_s": 3600.0},
}


def aimed(right: int = 0, down: int = 0) -> Change:
    """The camera turned by so many pixels."""

    def crop(wide: Picture) -> Picture:
        x, y = MARGIN_X + right, MARGIN_Y + down
        return np.ascontiguousarray(wide[y : y + HEIGHT, x : x + WIDTH])

    return crop


def blurred(sigma_px: float, grain: float = 1.7) -> Change:
    """The lens out of focus: blur, then the sensor's noise."""
    noise = np.random.default_rng(5)

    def blur(wide: Picture) -> Picture:
        soft = cv2.GaussianBlur(aimed()(wide), (0, 0), sigma_px).astype(np.float32)
        rough = soft + noise.standard_normal(soft.shape, dtype=np.float32) * grain
        return np.clip(rough, 0, 255).astype(np.uint8)

    return blur


def filmed(light: str, frames: int) -> Iterator[Frame]:
    """A frame for each half second of a road, in grey and wider than the camera sees."""
    size = {"width": WIDTH + 2 * MARGIN_X, "height": HEIGHT + 2 * MARGIN_Y}
    camera = open_camera("sim", {"seed": 3, "pace": "max", "fps": SAMPLED_FPS, **size, **LIGHTS[light]})
    for number in range(frames):
        frame = camera.capture(1.0)
        assert frame is not None
        at_ns = round(number / SAMPLED_FPS * 1e9)
        yield replace(frame, pixels=frame.pixels[:, :, 1].copy(), monotonic_ns=at_ns, sequence=number)


@cache
def stretch(light: str) -> list[Frame]:
    """Some of them, to be shown over and over."""
    return list(filmed(light, STRETCH_FRAMES))


class Roadside:
    """A camera that gives a frame for each half second of a stretch of road, over and over."""

    def __init__(self, light: str, *, again: bool = False) -> None:
        taken, half = stretch(light), STRETCH_FRAMES // 2
        self.taken = taken[:half] if again else taken[half:]
        self.sequence = 0

    def frames(self, count: int, change: Change | None = None) -> Iterator[Frame]:
        change = change or aimed()
        for _ in range(count):
            frame = self.taken[self.sequence % len(self.taken)]
            self.sequence += 1
            at_ns = round(self.sequence / SAMPLED_FPS * 1e9)
            yield replace(frame, pixels=change(frame.pixels), monotonic_ns=at_ns, sequence=self.sequence)


def codes(check: CameraCheck, frames: Iterator[Frame]) -> list[str]:
    return [check.look(frame, night=frame.ir).code for frame in frames]


def until(check: CameraCheck, frames: Iterator[Frame], code: str) -> float:
    """Seconds until it is found, of a stretch at SAMPLED_FPS; nothing else is found before."""
    looks = 0
    for frame in frames:
        looks += 1
        found = check.look(frame, night=frame.ir).code
        if found == code:
            return looks / SAMPLED_FPS
        assert found == ""
    pytest.fail(f"{code} was not found in {looks / SAMPLED_FPS:.0f} s")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Learnt on one stretch by day and one by night."""
    path = tmp_path_factory.mktemp("camera") / "camera.ref"
    check = CameraCheck(path, fps=SAMPLED_FPS, learn_judgements=LEARN)
    for light in ("day", "night"):
        assert set(codes(check, Roadside(light, again=True).frames(LEARN_FRAMES))) == {""}
        assert check.learnt
    check.persist()
    return path.read_bytes()


@pytest.fixture
def learnt(reference: bytes, tmp_path: Path) -> CameraCheck:
    path = tmp_path / "camera.ref"
    path.write_bytes(reference)
    check = CameraCheck(path, fps=SAMPLED_FPS)
    assert check.learnt
    return check


# Over long stretches nothing is found.


@pytest.mark.parametrize("light", LIGHTS)
def test_a_sound_camera_is_well(learnt: CameraCheck, light: str) -> None:
    assert set(codes(learnt, Roadside(light).frames(8 * SAMPLES))) == {""}


@pytest.mark.slow
@pytest.mark.parametrize("light", ["day", "night", "rain"])
def test_a_sound_camera_is_well_for_an_hour(learnt: CameraCheck, light: str) -> None:
    hour = filmed(light, round(3_600 * SAMPLED_FPS))
    assert set(codes(learnt, (replace(frame, pixels=aimed()(frame.pixels)) for frame in hour))) == {""}


def test_a_pole_that_sways_is_well(learnt: CameraCheck) -> None:
    rng = np.random.default_rng(1)

    def sway(wide: Picture) -> Picture:
        right, down = rng.integers(-3, 4, 2)
        return aimed(int(right), int(down))(wide)

    assert set(codes(learnt, Roadside("day").frames(6 * SAMPLES, sway))) == {""}


# Each fault is found in time, and its end too.


@pytest.mark.parametrize(
    ("light", "right", "down"),
    [
        ("day", 22, 0),
        ("day", 0, 26),
        ("day", 42, -20),
        ("night", 22, 0),
        ("night", -54, 0),
        ("rain", 22, 0),
    ],
    ids=[
        "day 5 % right",
        "day 10 % down",
        "day both",
        "night 5 % right",
        "night 12 % left",
        "rain 5 % right",
    ],
)
def test_a_turned_camera_is_found(learnt: CameraCheck, light: str, right: int, down: int) -> None:
    road = Roadside(light)
    assert set(codes(learnt, road.frames(2 * SAMPLES))) == {""}
    within = round(FOUND_WITHIN_S["turned"] * SAMPLED_FPS)
    assert until(learnt, road.frames(within, aimed(right, down)), "turned")


def test_a_camera_that_is_turned_back_is_well_again_and_has_learnt_nothing_wrong(learnt: CameraCheck) -> None:
    road = Roadside("day")
    assert codes(learnt, road.frames(10 * SAMPLES, aimed(45, 0)))[-1] == "turned"
    assert codes(learnt, road.frames(6 * SAMPLES))[-1] == ""


def test_fog_is_no_turned_camera_but_a_wall_for_a_day_is(
    reference: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fog(wide: Picture) -> Picture:
        return np.clip(aimed()(wide) * 0.02 + 150.0, 0, 255).astype(np.uint8)

    monkeypatch.setattr(camera_judge, "BLANK_JUDGEMENTS", 20)  # of a day's 2,880
    (tmp_path / "camera.ref").write_bytes(reference)
    check, road = CameraCheck(tmp_path / "camera.ref", fps=SAMPLED_FPS), Roadside("day")
    assert set(codes(check, road.frames(16 * SAMPLES, fog))) == {""}
    assert codes(check, road.frames(10 * SAMPLES, fog))[-1] == "turned"


@pytest.mark.parametrize(("light", "sigma_px"), [("day", 2.0), ("day", 4.0), ("night", 3.0)])
def test_a_blurred_picture_is_found_and_its_end(learnt: CameraCheck, light: str, sigma_px: float) -> None:
    road = Roadside(light)
    within = round(FOUND_WITHIN_S["defocused"] * SAMPLED_FPS)
    assert until(learnt, road.frames(within, blurred(sigma_px)), "defocused")
    assert codes(learnt, road.frames(3 * SAMPLES))[-1] == ""


def test_a_vehicle_that_drives_is_not_turned_but_its_lens_can_be_blurred(
    reference: bytes, tmp_path: Path
) -> None:
    (tmp_path / "camera.ref").write_bytes(reference)
    check = CameraCheck(tmp_path / "camera.ref", fps=SAMPLED_FPS, fixed=False)
    step = count()

    def driving(wide: Picture) -> Picture:
        return aimed(next(step) % 100 - 50)(wide)

    assert check.learnt
    assert set(codes(check, Roadside("day").frames(6 * SAMPLES, driving))) == {""}
    assert codes(check, Roadside("day").frames(5 * SAMPLES, blurred(4.0)))[-1] == "defocused"


def _live(script: str, light: str) -> Iterator[tuple[str, str]]:
    """The letter of each frame at 15 a second, and what the check finds."""
    size = {"width": 320, "height": 240}
    options = {"pace": "max", "fps": FPS, "faults": script, **size, **LIGHTS[light]}
    camera, check = open_camera("sim", options), CameraCheck(None, fps=FPS)
    for number in range(round(len(script) * FPS)):
        letter = script[int(number / FPS)]
        try:
            frame = camera.capture(0.0)
            assert frame is not None
            yield letter, check.look(frame, night=frame.ir).code
        except CameraTimeout:
            yield letter, check.missed().code
        except CameraLost:
            yield letter, check.lost().code


@pytest.mark.parametrize("light", ["day", "night"])
@pytest.mark.parametrize(
    ("letter", "code"), [("f", "frozen"), ("d", "dark"), ("b", "blinded"), ("u", "lost")]
)
def test_a_scripted_fault_is_found_in_time_and_ends(letter: str, code: str, light: str) -> None:
    within = round(FOUND_WITHIN_S.get(code, 0.0) * FPS)
    seen = list(_live(".." + 4 * letter + "...", light))
    during = [found for at, found in seen if at == letter]
    assert code in during[: within + 1]
    assert set(during) <= {"", code}
    assert during[during.index(code) :] == [code] * (len(during) - during.index(code))
    after = [found for at, found in seen[round(6 * FPS) :]]
    assert set(after[WELL_FRAMES:]) == {""}
    assert set(after) <= {"", code}


def test_a_camera_that_gives_no_frames_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    check, now_ns = CameraCheck(None, fps=FPS), time.monotonic_ns()
    assert check.missed().code == ""  # it has only just been opened
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 5_000_000_000)
    assert check.missed() == FINDINGS["slow"]
    frames = [noisy(number) for number in range(60)]
    found = [check.look(frame, night=False).code for frame in frames]
    assert found[0] == "slow"
    assert found[-1] == ""


def noisy(number: int, level: int = 120, fps: float = FPS, *, spread: int = 20) -> Frame:
    """A picture of nothing with a living sensor's noise."""
    noise = np.random.default_rng(number).integers(max(0, level - spread), level + spread, (90, 160))
    pixels = np.clip(noise, 0, 255).astype(np.uint8)
    return Frame(pixels, 0, round(number / fps * 1e9), number, Exposure(500, 1.0), ir=False)


@pytest.mark.parametrize("fps", [7.5, 2.0, 0.5])
def test_a_slow_camera_is_found_in_time_however_slow(fps: float) -> None:
    check = CameraCheck(None, fps=FPS)
    for number in range(round(FOUND_WITHIN_S["slow"] * fps) + 1):
        found = check.look(noisy(number, fps=fps), night=False).code
    assert found == "slow"


def test_half_the_frames_is_slow_and_the_whole_pace_is_well_again() -> None:
    check = CameraCheck(None, fps=FPS)
    half = [check.look(noisy(number, fps=FPS / 2), night=False).code for number in range(100)]
    assert half[-1] == "slow"
    assert half.index("slow") < FOUND_WITHIN_S["slow"] * FPS / 2
    check.expect(FPS / 2)
    assert [check.look(noisy(100 + number, fps=FPS / 2), night=False).code for number in range(60)][-1] == ""


def test_one_late_frame_is_not_slow() -> None:
    check = CameraCheck(None, fps=FPS)
    numbers = [*range(60), *range(70, 130)]
    assert {check.look(noisy(number), night=False).code for number in numbers} == {""}


def test_an_unlit_road_is_no_fault_for_minutes_and_a_covered_lens_is_one_by_day() -> None:
    by_day, by_night = CameraCheck(None, fps=FPS), CameraCheck(None, fps=FPS)
    covered = [noisy(number, 4, spread=4) for number in range(2 * DARK_FRAMES)]
    assert [by_day.look(frame, night=False).code for frame in covered][-1] == "dark"
    assert {by_night.look(frame, night=True).code for frame in covered} == {""}
    passing = noisy(9_999, 200)
    by_night.look(passing, night=True)
    many = [noisy(number % 97, 4, spread=4) for number in range(DARK_NIGHT_FRAMES + 10)]
    found = [by_night.look(frame, night=True).code for frame in many]
    assert "dark" not in found[: DARK_NIGHT_FRAMES - 1]
    assert found[-1] == "dark"


def test_a_picture_that_flickers_does_not_flap() -> None:
    check = CameraCheck(None, fps=FPS)
    found = [check.look(noisy(number, 254 if number % 3 else 120), night=False).code for number in range(300)]
    assert set(found) == {""}
    steady = [check.look(noisy(300 + number, 254), night=False).code for number in range(60)]
    assert steady[-1] == "blinded"
    assert {check.look(noisy(360 + n, 254 if n % 3 else 120), night=False).code for n in range(300)} == {
        "blinded"
    }


# What is learnt.


def test_a_replay_is_always_well() -> None:
    check = CameraCheck(None, fps=FPS, live=False)
    assert {check.look(noisy(1), night=False).code for _ in range(100)} == {""}


def test_nothing_is_judged_before_it_is_learnt() -> None:
    check, road = CameraCheck(None, fps=SAMPLED_FPS), Roadside("day")
    assert set(codes(check, road.frames(2 * SAMPLES))) == {""}
    assert set(codes(check, road.frames(5 * SAMPLES, blurred(4.0)))) == {""}
    assert not check.learnt


def test_a_camera_that_is_aimed_while_it_learns_begins_again(tmp_path: Path) -> None:
    check = CameraCheck(tmp_path / "camera.ref", fps=SAMPLED_FPS, learn_judgements=6)
    road = Roadside("day")
    codes(check, road.frames(7 * SAMPLES, aimed(-50, 20)))
    codes(check, road.frames(14 * SAMPLES))
    assert check.learnt
    assert set(codes(check, road.frames(5 * SAMPLES))) == {""}


def test_a_restart_judges_by_what_was_learnt_before(learnt: CameraCheck, tmp_path: Path) -> None:
    again = CameraCheck(tmp_path / "camera.ref", fps=SAMPLED_FPS)
    assert again.learnt
    again.forget()
    assert not again.learnt
    assert not (tmp_path / "camera.ref").exists()


def test_the_file_is_written_when_something_was_learnt_and_rarely_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "camera.ref"
    check = CameraCheck(path, fps=SAMPLED_FPS, learn_judgements=1)
    check.persist()
    assert not path.exists()
    codes(check, Roadside("day").frames(4 * SAMPLES))
    check.persist()
    assert load(path).place[0] is not None
    path.unlink()  # a file that is there again was written; times of files are too coarse to tell
    check.persist()
    assert not path.exists()
    later_ns = time.monotonic_ns() + 7 * 3_600_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: later_ns)
    check.persist()
    assert path.exists()


@pytest.mark.parametrize("raw", [b"", b"{}", bytes(100), bytes(MAX_REFERENCE_BYTES + 1)])
def test_a_damaged_file_is_refused_in_the_log_and_learnt_anew(
    raw: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "camera.ref"
    path.write_bytes(raw)
    assert not CameraCheck(path, fps=FPS).learnt
    assert "camera_reference_refused" in capsys.readouterr().out


def test_a_picture_of_another_size_is_learnt_anew(
    learnt: CameraCheck, capsys: pytest.CaptureFixture[str]
) -> None:
    road = Roadside("day")

    def lower(wide: Picture) -> Picture:
        return np.ascontiguousarray(aimed()(wide)[: HEIGHT - 60])

    assert set(codes(learnt, road.frames(4 * SAMPLES, lower))) == {""}
    assert "camera_reference_refused" in capsys.readouterr().out
    assert not learnt.learnt


def test_rain_in_the_first_hour_does_not_set_the_mark(tmp_path: Path) -> None:
    check = CameraCheck(tmp_path / "camera.ref", fps=SAMPLED_FPS, learn_judgements=2)
    codes(check, Roadside("rain").frames(5 * SAMPLES))
    assert set(codes(check, Roadside("day").frames(5 * SAMPLES))) == {""}


GOOD = encode(Reference((np.full((4, 6, 2), 0.5, np.float32), None), (0.1, None)))


def _sealed(body: bytes) -> bytes:
    return body + CHECKSUM.pack(zlib.crc32(body))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (_sealed(b"WSCAMRF2" + GOOD[8:-4]), "version"),
        (_sealed(GOOD[:8] + b"\x05" + GOOD[9:-4]), "size"),
        (GOOD[:-4] + bytes(4), "checksum"),
        (GOOD[:20], "short"),
    ],
)
def test_a_reference_of_another_form_is_refused(raw: bytes, told: str) -> None:
    assert decode(GOOD).sharp == (0.1, None)
    with pytest.raises(ValueError, match=told):
        decode(raw)


@given(st.binary(max_size=64), st.integers(0, 2000))
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_reference_is_a_value_error_or_a_reference(damage: bytes, at: int) -> None:
    raw = bytearray(GOOD)
    at %= len(raw)
    raw[at : at + len(damage)] = damage
    with contextlib.suppress(ValueError):
        assert isinstance(decode(bytes(raw)), Reference)


def test_a_reference_comes_back_as_it_was() -> None:
    place = np.random.default_rng(1).uniform(-0.7, 0.7, (9, 16, 2)).astype(np.float32)
    back = decode(encode(Reference((None, place), (0.11, None))))
    assert back.place[0] is None
    assert back.place[1] == pytest.approx(place, abs=0.005)
    assert back.sharp == (0.11, None)


# The measures.


def test_sharpness_asks_neither_light_nor_noise() -> None:
    rng = np.random.default_rng(2)
    scene = cv2.resize(
        rng.integers(40, 200, (60, 107), dtype=np.uint8), (1280, 720), interpolation=cv2.INTER_LINEAR
    )
    dim = (scene * 0.4).astype(np.uint8)
    noisy_scene = np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)
    level = sharpness(scene)
    assert level is not None
    assert sharpness(dim) == pytest.approx(level, abs=0.01)
    assert sharpness(noisy_scene) == pytest.approx(level, abs=0.01)
    assert sharpness(np.full((720, 1280), 90, np.uint8)) is None


def test_a_latch_has_two_sides() -> None:
    latch = Latch(3, 2)
    stood = []
    for bad in (1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1):
        latch.take(bad=bool(bad))
        stood.append(latch.stands)
    assert stood == [False] * 5 + [True] * 4 + [False] * 2


def test_each_finding_tells_the_technician_one_sentence() -> None:
    for code, finding in FINDINGS.items():
        assert finding.code == code
        assert finding.part == "camera"
        assert finding.condition in (Condition.FAILED, Condition.DEGRADED)
        assert finding.advice.endswith(".")
    assert FOUND_WITHIN_S["defocused"] > FAULTY_JUDGEMENTS * SAMPLES / SAMPLED_FPS


def test_a_look_costs_less_than_a_millisecond() -> None:
    base = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (720, 1280, 3), np.uint8), (0, 0), 2)
    frames = [cv2.add(base, np.full_like(base, number)) for number in range(4)]
    check, costs = CameraCheck(None, fps=FPS, learn_judgements=1), []
    for number in range(round(40 * FPS)):
        pixels = np.asarray(frames[number % 4], dtype=np.uint8)
        frame = Frame(pixels, 0, round(number / FPS * 1e9), number, Exposure(500, 1.0), ir=False)
        begun_s = time.thread_time()
        check.look(frame, night=False)
        costs.append(time.thread_time() - begun_s)
    assert float(np.mean(costs)) < 0.001
