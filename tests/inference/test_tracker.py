# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hand_nets import plate_read

from inference.tracker import MAX_OBSERVATIONS, MAX_TRACKS, Track, Tracker, TrackerSettings
from inference.types import FrameResult, PlateRead

SECOND = 1_000_000


def play(tracker: Tracker, frames: list[tuple[int, list[PlateRead]]], source: str = "") -> list[Track]:
    """Frames of (time µs, reads) -> all finished tracks, those still live at the end included."""
    ended: list[Track] = []
    for sequence, (t_us, reads) in enumerate(frames):
        ended += tracker.update(FrameResult(reads, []), t_us=t_us, sequence=sequence, source=source)
    return ended + tracker.flush()


def passing(text: str, fps: int, *, start: float = 0.0, speed: float = 600.0) -> list[tuple[int, PlateRead]]:
    """A plate of 60 px that crosses 1280 px at `speed` px/s from `start` seconds on."""
    count = int(1200 / speed * fps)
    return [
        (int((start + i / fps) * SECOND), plate_read(text, 20 + speed * i / fps, 300 + 20 * i / fps, w=60))
        for i in range(count)
    ]


def frames_of(*passes: list[tuple[int, PlateRead]]) -> list[tuple[int, list[PlateRead]]]:
    times: dict[int, list[PlateRead]] = {}
    for one in passes:
        for t_us, read in one:
            times.setdefault(t_us, []).append(read)
    return sorted(times.items(), key=lambda item: item[0])


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("speed", [60.0, 600.0])
def test_one_pass_is_one_track(fps: int, speed: float) -> None:
    one = passing("ABC1234", fps, speed=speed)
    tracks = play(Tracker(), frames_of(one))
    assert len(tracks) == 1
    assert len(one) > MAX_OBSERVATIONS or len(tracks[0].observations) == len(one)
    assert tracks[0].first_us == one[0][0]
    assert tracks[0].last_us == one[-1][0]


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_two_vehicles_at_once_and_one_after_another(fps: int) -> None:
    first, other = passing("ABC1234", fps), passing("XYZ9876", fps)
    other = [(t, plate_read("XYZ9876", r.box[0], 600.0, w=60)) for t, r in other]
    after = passing("KLM5555", fps, start=4.0)
    tracks = play(Tracker(), frames_of(first, other, after))
    assert sorted(t.best.read.text for t in tracks) == ["ABC1234", "KLM5555", "XYZ9876"]


def test_missed_frames_and_misreads_do_not_split_a_pass() -> None:
    one = passing("ABC1234", 10)
    one = [
        (t, plate_read("A8C1284", *r.box[:2], w=60, p=0.7) if i % 3 == 0 else r)
        for i, (t, r) in enumerate(one)
        if i % 4 != 2
    ]
    assert len(play(Tracker(), frames_of(one))) == 1


def test_a_follower_in_the_same_place_is_another_vehicle() -> None:
    frames = [(i * 100_000, [plate_read("ABC1234", p=0.99)]) for i in range(5)]
    frames += [(500_000 + i * 100_000, [plate_read("XKM7788", p=0.99)]) for i in range(5)]
    assert [t.best.read.text for t in play(Tracker(), frames)] == ["ABC1234", "XKM7788"]


def test_another_source_ends_tracks() -> None:
    tracker = Tracker()
    frame = FrameResult([plate_read("ABC1234")], [])
    assert tracker.update(frame, t_us=0, sequence=0, source="a.jpg") == []
    assert tracker.update(frame, t_us=100_000, sequence=1, source="a.jpg") == []
    (ended,) = tracker.update(frame, t_us=200_000, sequence=2, source="b.jpg")
    assert len(ended.observations) == 2
    assert ended.source == "a.jpg"


def test_a_track_ends_after_the_gap() -> None:
    tracker = Tracker(TrackerSettings(max_gap_us=500_000))
    tracker.update(FrameResult([plate_read("ABC1234")], []), t_us=0, sequence=0)
    assert tracker.update(FrameResult([], []), t_us=500_000, sequence=1) == []
    assert len(tracker.update(FrameResult([], []), t_us=500_001, sequence=2)) == 1
    assert tracker.live == []


def test_it_says_whose_picture_to_keep() -> None:
    tracker = Tracker()
    for sequence, p in enumerate((0.8, 0.99, 0.9)):
        tracker.update(
            FrameResult([plate_read("ABC1234", p=p)], []), t_us=sequence * 100_000, sequence=sequence
        )
        assert bool(tracker.improved) is (sequence < 2)
    (track,) = tracker.flush()
    assert track.best.sequence == 1


def test_a_standing_vehicle_is_reported_again_and_memory_is_bounded() -> None:
    frames = [(i * 33_333, [plate_read("ABC1234")]) for i in range(MAX_OBSERVATIONS + 10)]
    (track,) = play(Tracker(), frames)
    assert len(track.observations) <= MAX_OBSERVATIONS
    assert track.best in track.observations
    slow = [(i * SECOND // 2, [plate_read("ABC1234")]) for i in range(130)]
    assert len(play(Tracker(), slow)) == 2


def test_live_tracks_are_bounded() -> None:
    tracker = Tracker()
    many = [plate_read(f"{i:06d}", x=200.0 * i, p=0.99) for i in range(MAX_TRACKS + 3)]
    ended = tracker.update(FrameResult(many, []), t_us=0, sequence=0)
    assert len(ended) == 3
    assert len(tracker.live) == MAX_TRACKS
