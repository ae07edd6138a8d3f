# SPDX-License-Identifier: Apache-2.0
"""The report's drawings, by matplotlib: it is needed for nothing else and imported when one is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from inference.report.figures import GAP, Calibration, Share

BLUE, ORANGE, GREEN, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#777777",
)  # Okabe and Ito: told apart by all eyes
DPI: Final = 80
CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" + GAP
Curve = Sequence[tuple[float, float]]
Bars = Sequence[tuple[str, Share]]


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True, "svg.hashsalt": "0"}
    )
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    """The PNG without the date and versions that matplotlib would write into it."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    import_module("matplotlib.pyplot").close(figure)
    return path


def precision_recall(
    path: Path, curves: Mapping[str, Sequence[tuple[float, float, float]]], shipped: float
) -> Path:
    """Detection: precision against recall per IoU; a ring marks the shipped threshold."""
    figure, axes = _figure(6.4, 4.6)
    for (name, points), colour, style in zip(curves.items(), (BLUE, ORANGE), ("-", "--"), strict=False):
        recall, precision, score = (np.array(column) for column in zip(*points, strict=True))
        axes.plot(recall, precision, style, color=colour, label=name, linewidth=2)
        at = int(np.flatnonzero(score >= shipped)[-1]) if (score >= shipped).any() else 0
        axes.plot(
            recall[at], precision[at], "o", color=colour, markersize=9, fillstyle="none", markeredgewidth=2
        )
    axes.set(
        xlabel="recall (plates of 24 px and more at the input)",
        ylabel="precision",
        xlim=(0.5, 1),
        ylim=(0.5, 1.01),
    )
    axes.set_title("Plates found; the ring is the shipped threshold")
    axes.legend(loc="lower left")
    return _save(figure, path)


def reliability(path: Path, found: Calibration) -> Path:
    """How often reads of a confidence are right."""
    figure, axes = _figure(5.6, 5.2)
    confidence, right, count = (np.array(column) for column in zip(*found.bins, strict=True))
    ends = [Share(round(r * n), int(n)).interval() for r, n in zip(right, count, strict=True)]
    reach = [
        [max(0.0, r - low) for r, (low, _) in zip(right, ends, strict=True)],
        [max(0.0, high - r) for r, (_, high) in zip(right, ends, strict=True)],
    ]
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="as told")
    axes.errorbar(
        confidence,
        right,
        yerr=reach,
        fmt="o-",
        color=BLUE,
        ecolor="#88B8D8",
        capsize=3,
        linewidth=1.2,
        label=f"measured, {len(found.bins)} bins (95 %)",
    )
    axes.set(
        xlabel="confidence told (mean of a bin)",
        ylabel="share of texts right",
        xlim=(0, 1.02),
        ylim=(0, 1.05),
    )
    axes.set_title(
        f"Calibration: expected error {found.error:.3f} on {found.reads} reads\n"
        f"(perfect confidences would show {found.noise:.3f} on as few)"
    )
    axes.legend(loc="lower right")
    return _save(figure, path)


def risk(path: Path, every: Curve, us: Curve) -> Path:
    """Share of wrong texts against the share of plates read, the surest first."""
    figure, axes = _figure(6.4, 4.4)
    for name, points, colour, style in (("all plates", every, BLUE, "-"), ("US plates", us, ORANGE, "--")):
        if points:
            coverage, wrong = zip(*points, strict=True)
            axes.plot(coverage, wrong, style, color=colour, label=name, linewidth=2)
    axes.axhline(0.01, color=GREY, linestyle=":", label="1 % wrong")
    axes.set(
        xlabel="plates read, the surest first (share of all with a known text)",
        ylabel="texts wrong",
        xlim=(0, 1),
    )
    axes.set_ylim(0, None)
    axes.set_title("Risk and coverage")
    axes.legend(loc="upper left")
    return _save(figure, path)


def confusion(path: Path, counts: Counter[tuple[str, str]]) -> Path:
    """True characters against read ones; what is right is left white, the number says how often."""
    figure, axes = _figure(8.6, 8.2)
    table = np.array([[counts[a, b] if a != b else 0 for b in CHARACTERS] for a in CHARACTERS])
    axes.imshow(np.sqrt(table), cmap="Blues", vmin=0, vmax=max(1.0, float(np.sqrt(table.max()))))
    for i, j in np.argwhere(table > 0):
        dark = np.sqrt(table[i, j]) > 0.6 * np.sqrt(table.max())
        axes.text(
            j, i, str(table[i, j]), ha="center", va="center", fontsize=8, color="white" if dark else "black"
        )
    axes.set_xticks(range(len(CHARACTERS)), CHARACTERS)
    axes.set_yticks(range(len(CHARACTERS)), CHARACTERS)
    axes.set(xlabel=f"read ({GAP}: not read)", ylabel=f"on the plate ({GAP}: not there)")
    axes.grid(alpha=0.15)
    axes.set_title("Characters taken for others (right ones are not drawn)")
    return _save(figure, path)


def _bars(axes: Any, rows: Bars, title: str, colour: str) -> None:
    shown = [(name, share) for name, share in rows if share.whole]
    values = [share.value or 0.0 for _, share in shown]
    low = [max(0.0, v - s.interval()[0]) for v, (_, s) in zip(values, shown, strict=True)]
    high = [max(0.0, s.interval()[1] - v) for v, (_, s) in zip(values, shown, strict=True)]
    places = range(len(shown))
    axes.bar(places, values, color=colour, yerr=[low, high], capsize=3, ecolor="#333333")
    axes.set_xticks(places, [f"{name}\n{share.whole}" for name, share in shown], fontsize=8)
    axes.set_ylim(0, 1.05)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0)


def bars(path: Path, charts: Sequence[tuple[str, Bars]]) -> Path:
    """Charts side by side; under each bar its name and how many plates it stands for, with 95 % intervals."""
    figure, axes = _figure(11.5, 4.0, len(charts))
    for place, (title, rows), colour in zip(np.atleast_1d(axes), charts, (BLUE, GREEN, ORANGE), strict=False):
        _bars(place, rows, title, colour)
    np.atleast_1d(axes)[0].set_ylabel("exact texts (O≡0, I≡1)")
    return _save(figure, path)


def timing(path: Path, stages: Mapping[str, Mapping[str, float]]) -> Path:
    """Milliseconds of each stage: the bar is the median, the line reaches to the 95th percentile."""
    order = sorted(stages, key=lambda name: name == "total")  # the total last, the others as they come
    rows = [(name, stages[name]["p50"], stages[name]["p95"]) for name in order][::-1]
    figure, axes = _figure(7.0, 0.5 * len(rows) + 1.4)
    places = range(len(rows))
    spread = [[0.0] * len(rows), [max(0.0, p95 - p50) for _, p50, p95 in rows]]
    colours = [ORANGE if name == "total" else BLUE for name, _, _ in rows]
    axes.barh(places, [p50 for _, p50, _ in rows], xerr=spread, color=colours, capsize=3, ecolor="#333333")
    for place, (_, p50, _) in zip(places, rows, strict=True):
        axes.text(p50, place + 0.28, f" {p50:.1f}", fontsize=8, va="bottom")
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.set(
        xlabel="ms, one thread (the best of five runs of each frame)", title="A 1280x720 frame with one plate"
    )
    axes.grid(axis="y", alpha=0)
    return _save(figure, path)
