# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

from firmware.truth import Passed, Score, compare, manifest_truth, sim_truth

S = 1_000_000


def _read(text: str, at_s: float, source: str = "") -> dict[str, object]:
    return {"text": text, "captured_us": round(at_s * S), "source": source}


def test_vehicles_are_compared_in_their_time() -> None:
    truth = [
        Passed("AB12345", 10 * S, 12 * S),
        Passed("O1SEVEN", 20 * S, 22 * S),
        Passed("GONE77", 50 * S, 51 * S),
    ]
    reads = [_read("AB12345", 11), _read("01SEVEN", 21), _read("XYZ", 90)]
    assert compare(truth, reads) == Score(3, 1, 2, 0, 1, 1)


def test_a_misread_is_not_a_miss_and_not_a_false_read() -> None:
    assert compare([Passed("AB12345", 10 * S, 12 * S)], [_read("AB1234S", 11)]) == Score(1, 0, 0, 1, 0, 0)


def test_the_right_text_at_the_wrong_time_is_a_false_read() -> None:
    assert compare([Passed("AB12345", 10 * S, 12 * S)], [_read("AB12345", 30)]) == Score(1, 0, 0, 0, 1, 1)


def test_stills_are_compared_by_picture() -> None:
    truth = [Passed("AB12345", source="a.webp"), Passed("AB12345", source="b.webp")]
    assert compare(truth, [_read("AB12345", 0, "/x/b.webp")]) == Score(2, 1, 1, 0, 1, 0)


def test_truth_files(tmp_path: Path) -> None:
    sim = tmp_path / "truth.jsonl"
    line = {"plate": "AB12345", "first_seen_us": 1, "last_seen_us": 2, "vehicle_id": 3}
    sim.write_text(json.dumps(line) + "\n" + json.dumps(line)[:-4])
    assert sim_truth(sim) == [Passed("AB12345", 1, 2)]
    assert sim_truth(tmp_path / "none") == []
    plates = [{"text": "A1", "quality": "clear"}, {"text": "B?", "quality": "clear"}, {"box": [1, 2, 3, 4]}]
    (tmp_path / "pics.jsonl").write_text(json.dumps({"image": "pics/x.webp", "plates": plates}) + "\n")
    assert manifest_truth(tmp_path / "pics") == [Passed("A1", source="x.webp")]
    assert manifest_truth(tmp_path / "none") == []
