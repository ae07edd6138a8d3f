# SPDX-License-Identifier: Apache-2.0
"""The goals beside what was measured: one row a goal, `must`, `aim`, and whether they are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from inference.report.speed import PEER_PUBLISHED_MS

ACCEPTANCE: Final = {"US": (0.92, 0.97), "EU": (0.97, 0.99), "BR": (0.96, 0.98)}  # must and aim, exact texts
NOT_HERE: Final = "not measured here"
MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Goal:
    """One row; `value` None: not measured, and `measured` says why. `up`: larger is better."""

    what: str
    must: float | None
    aim: float | None
    value: float | None
    measured: str
    up: bool = True
    shown: tuple[str, str] = ("", "")  # must and aim as written

    @property
    def verdict(self) -> str:
        """`aim`, `must` or `short`; empty where nothing was measured or nothing is asked."""
        if self.value is None or self.must is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "must" if self._reaches(self.must) else "short"

    def _reaches(self, bar: float) -> bool:
        if self.value is None:
            return False
        return self.value >= bar if self.up else self.value <= bar


def goals(figures: dict[str, Any]) -> list[Goal]:
    """The whole table from the figures of `measure.measure`."""
    return [
        *_acceptance(figures),
        *_texts(figures),
        *_detection(figures),
        *_states(figures),
        *_confidence(figures),
        *_cost(figures),
        _ghosts(figures),
    ]


def _share(row: dict[str, Any] | None) -> tuple[float | None, str]:
    if not row or row["value"] is None:
        return None, "nothing to measure on"
    of = f"{round(row['value'] * row['of'])} of {row['of']}"
    return row["value"], f"{row['value']:.3f} ({of}; 95 %: {row['low']:.2f} to {row['high']:.2f})"


def _percent(
    what: str, row: dict[str, Any] | None, must: float | None, aim: float | None, note: str = ""
) -> Goal:
    value, text = _share(row)
    shown = tuple("" if bar is None else f"≥ {bar:.0%}".replace("%", " %") for bar in (must, aim))
    return Goal(what, must, aim, value, text + note, shown=(shown[0], shown[1]))


def _acceptance(figures: dict[str, Any]) -> list[Goal]:
    rows = []
    for name, (must, aim) in ACCEPTANCE.items():
        got = figures["acceptance"].get(name)
        what = f"exact, acceptance {name}, O≡0"
        shown = (f"≥ {must * 100:.0f} %", f"≥ {aim * 100:.0f} %")
        if got is None:
            rows.append(Goal(what, must, aim, None, f"{NOT_HERE} (`--acceptance {name}=FILE`)", shown=shown))
        else:
            text = f"{got['exact_folded']:.3f} ({got['images']} pictures; to the letter {got['exact']:.3f})"
            rows.append(Goal(what, must, aim, got["exact_folded"], text, shown=shown))
    return rows


def _texts(figures: dict[str, Any]) -> list[Goal]:
    clear, two, every = figures["us_clear"], figures["two_rows"], figures["all_texts"]
    return [
        _percent("exact, val, clear US plates ≥ 60 px, O≡0", clear["exact_folded"], 0.85, 0.93),
        _percent("the same to the letter", clear["exact"], None, None),
        _percent("exact, val, two rows or small stacked letters, O≡0", two["exact_folded"], 0.8, 0.92),
        _percent("exact, val, every known text, O≡0", every["exact_folded"], None, None),
        _percent("the same to the letter", every["exact"], None, None),
    ]


def _detection(figures: dict[str, Any]) -> list[Goal]:
    rows = []
    for name, got in sorted(figures["acceptance"].items()):
        if got["detection_recall_30"] is not None:
            found, false = got["detection_recall_30"], got["false_plates_per_image"]
            rows += _found(f"acceptance {name}", found, got["detection_recall_50"], false)
    if not rows:
        text = f"{NOT_HERE}; val below"
        rows = [
            Goal("recall at IoU 0.3, acceptance", 0.985, 0.995, None, text, shown=("≥ 0.985", "≥ 0.995")),
            Goal(
                "false plates an image, acceptance",
                0.08,
                0.03,
                None,
                text,
                up=False,
                shown=("≤ 0.08", "≤ 0.03"),
            ),
        ]
    val = figures["detection"]
    return [
        *rows,
        Goal("recall at IoU 0.3, val, ≥ 24 px at the input", None, None, *_share(val["recall_30"])),
        Goal("recall at IoU 0.5, val, ≥ 24 px at the input", None, None, *_share(val["recall_50"])),
        Goal(
            "false plates an image, val", None, None, val["false_per_image"],
            f"{val['false_per_image']:.3f} ({val['false']} in {val['images']} pictures)", up=False,
        ),
    ]  # fmt: skip


def _found(where: str, recall: float, strict: float, false: float) -> list[Goal]:
    return [
        Goal(f"recall at IoU 0.3, {where}", 0.985, 0.995, recall, f"{recall:.3f} (at 0.5: {strict:.3f})",
             shown=("≥ 0.985", "≥ 0.995")),
        Goal(f"false plates an image, {where}", 0.08, 0.03, false, f"{false:.3f}", up=False,
             shown=("≤ 0.08", "≤ 0.03")),
    ]  # fmt: skip


def _states(figures: dict[str, Any]) -> list[Goal]:
    state = figures["state"]
    if not state["any"]:
        return [
            Goal("state, US, top-1", 0.75, 0.9, None, "no state is read", shown=("≥ 75 %", "≥ 90 %")),
            Goal("state: right at 60 % coverage", 0.95, None, None, "no state is read", shown=("≥ 95 %", "")),
        ]
    told, right = state["told"]["value"], state["told_right"]["value"]
    note = "" if right is None else f"; told for {told:.0%}, right in {right:.0%} of those"
    return [
        _percent("state, US, top-1", state["top1"], 0.75, 0.9, note.replace("%", " %")),
        _percent("state: right at 60 % coverage", state["right_at_60"], 0.95, None),
    ]


def _confidence(figures: dict[str, Any]) -> list[Goal]:
    got = figures["confidence"]
    error = f"{got['ece']:.3f} on {got['reads']} reads (perfect confidences would show {got['noise']:.3f})"
    kept = f"{got['coverage_at_99']:.3f} of {got['plates']} plates ({got['coverage_at_99_of_read']:.3f} of those read)"
    return [
        Goal(
            "confidence: expected calibration error",
            0.03,
            None,
            got["ece"],
            error,
            up=False,
            shown=("≤ 0.03", ""),
        ),
        Goal("read at 99 % precision", 0.8, 0.92, got["coverage_at_99"], kept, shown=("≥ 80 %", "≥ 92 %")),
        *_mended(figures),
    ]


def _mended(figures: dict[str, Any]) -> list[Goal]:
    """The same beside it, where labels are known to be wrong."""
    got = figures["label_errors_mended"]
    if not got["labels"]:
        return []
    kept = f"{got['coverage_at_99']:.3f}"
    errors = "1 label error" if got["labels"] == 1 else f"{got['labels']} label errors"
    return [Goal(f"the same with {errors} mended", None, None, got["coverage_at_99"], kept)]


def _cost(figures: dict[str, Any]) -> list[Goal]:
    time, peer, size = figures["time"], figures["peer"], figures["model_bytes"] / MB
    rows = [Goal("models together", 3.0, 1.5, size, f"{size:.2f} MB", up=False, shown=("≤ 3 MB", "≤ 1.5 MB"))]
    if time is None:
        return rows
    low = PEER_PUBLISHED_MS[0] if peer["ms"] is None else peer["ms"]
    against = (
        f"fast-alpr's {PEER_PUBLISHED_MS[0]:.0f} to {PEER_PUBLISHED_MS[1]:.0f} ms as published"
        if peer["ms"] is None
        else f"{peer['ms']:.1f} ms of fast-alpr in this run"
    )
    ms = time["cpu_ms_p50"]
    text = (
        f"{ms:.1f} ms of processor time ({time['ms_p50']:.1f} ms by the clock), 1/{low / ms:.1f} of {against}"
    )
    shown = ("≤ 1/3 of the peer", "≤ 1/6")
    return [
        Goal("time of a 1280x720 frame with one plate", low / 3, low / 6, ms, text, up=False, shown=shown),
        *rows,
    ]


def _ghosts(figures: dict[str, Any]) -> Goal:
    got, shown = figures["ghosts"], ("≤ 1", "≤ 0.1")
    what = "ghosts in 100 plate-free pictures"
    if got is None:
        return Goal(what, 1.0, 0.1, None, f"{NOT_HERE} (`--plate-free MANIFEST`)", up=False, shown=shown)
    value = got["per_100"]
    text = f"{value:.2f} ({got['ghosts']} in {got['pictures']}; {got['believed']} with a confidence of 0.5 and more)"
    return Goal(what, 1.0, 0.1, value, text, up=False, shown=shown)


def table(rows: Sequence[Goal]) -> str:
    """The goals as a Markdown table, which reads well on a terminal too."""
    cells = [("goal", "must", "aim", "measured", "met"), *_cells(rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _cells(rows: Sequence[Goal]) -> list[tuple[str, str, str, str, str]]:
    return [(row.what, *row.shown, row.measured, row.verdict) for row in rows]
