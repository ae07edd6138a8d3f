# SPDX-License-Identifier: Apache-2.0
"""Writes the report: Markdown with drawings, a file of figures, and the sheets of failures beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inference.report import figures as rules
from inference.report import gallery, measure, plots, prose
from inference.report.goals import goals, table
from inference.report.records import Case, cases, false_reads

WIDTHS: Final = (0, 40, 60, 80, 120, 200)  # px of the plate in the stored picture
SHARPNESS: Final = (0, 500, 1000, 2000, 4000)  # variance of the Laplacian of the normalised crop
LEAST: Final = 8  # plates of a country that has a bar of its own
LISTED: Final = 20
PAIRS: Final = 15


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go, and what the report says of its making."""

    out: Path
    gallery: Path  # never published
    data: Path
    command: str
    date: str  # YYYY-MM-DD


def build(measured: measure.Measured, places: Places) -> list[Path]:
    """Writes everything; the files that it wrote."""
    places.out.mkdir(parents=True, exist_ok=True)
    found = cases(measured.shots)
    text = "".join(
        [
            _head(measured.figures, places),
            _detection(measured, places.out),
            _ghosts(measured.figures["ghosts"]),
            _confidence(found, places.out),
            _texts(found, places.out),
            _states(measured.figures),
            _rendered(measured, places.out),
            _time(measured.figures, places.out),
            _failures(measured, found),
        ]
    )
    report, numbers = places.out / "report.md", places.out / "figures.json"
    report.write_text(text, encoding="utf-8")
    measure.write_json(numbers, measured.figures)
    sheets = gallery.write(places.gallery, places.data, measured.shots)
    return [report, numbers, *sorted(places.out.glob("*.png")), *sheets]


def _head(figures: dict[str, Any], places: Places) -> str:
    return prose.HEAD.format(
        command=places.command,
        date=places.date,
        pictures=figures["pictures"],
        models="\n".join(f"| {name} | `{digest}` |" for name, digest in sorted(figures["models"].items())),
        goals=table(goals(figures)),
    )


def _detection(measured: measure.Measured, out: Path) -> str:
    curves = {f"IoU {x}": rules.precision_recall(measured.shots, x) for x in (0.3, 0.5)}
    if all(curves.values()):
        plots.precision_recall(out / "precision_recall.png", curves, measured.figures["accept_score"])
    return prose.FOUND.format(any_width=percent(measured.figures["detection"]["recall_30_any_width"]))


def _ghosts(got: dict[str, Any] | None) -> str:
    if got is None:
        return ""
    of = got["rendered"]
    rendered = (
        f" In {of['pictures']} rendered ones: {of['ghosts']} ({of['believed']})." if of["pictures"] else ""
    )
    return prose.GHOSTS.format(with_ghosts=got["pictures_with_ghosts"], **{**got, "rendered": rendered})


def _confidence(found: list[Case], out: Path) -> str:
    confidences, right = rules.read_pairs(found)
    plates = rules.with_text(found)
    us = [case for case in plates if case.truth.country == "US"]
    if len(confidences):
        plots.reliability(out / "calibration.png", rules.calibration(confidences, right))
        every = rules.risk_coverage(confidences, right, len(plates))
        of_us = rules.risk_coverage(*rules.read_pairs(us), len(us)) if us else []
        plots.risk(out / "risk_coverage.png", every, of_us)
    return prose.CONFIDENCE.format(reads=len(confidences))


def _texts(found: list[Case], out: Path) -> str:
    plates = rules.with_text(found)
    us = [case for case in plates if case.truth.country == "US"]
    by_width = [rules.by_bins(some, WIDTHS, lambda c: c.truth.width) for some in (plates, us)]
    names = ("all plates, by width in px", "US plates, by width in px")
    plots.bars(out / "width.png", list(zip(names, by_width, strict=True)))
    blur = rules.by_bins(plates, SHARPNESS, lambda c: c.read.sharpness if c.read else None)
    plots.bars(out / "sharpness.png", [("plates found, by sharpness (blurred to sharp)", blur)])
    countries = rules.by_name(plates, lambda c: c.truth.country or "unknown", LEAST)
    sources = rules.by_name(plates, lambda c: c.source)
    plots.bars(out / "groups.png", [("by country", countries), ("by source", sources)])
    counts = rules.confusions(found)
    plots.confusion(out / "confusion.png", counts)
    taken = sorted(
        (row for row in counts.items() if row[0][0] != row[0][1]), key=lambda row: (-row[1], row[0])
    )
    return prose.TEXTS.format(
        two_rows=len(rules.two_rows(plates)),
        right=_total(counts) - sum(n for _, n in taken),
        wrong=sum(n for _, n in taken),
        gap=rules.GAP,
        pairs="\n".join(f"| {a} | {b} | {n} |" for (a, b), n in taken[:PAIRS]),
    )


def _total(counts: Counter[tuple[str, str]]) -> int:
    return sum(counts.values())


def _states(figures: dict[str, Any]) -> str:
    got = figures["state"]
    if not got["any"]:
        return prose.NO_STATES
    sixty = got["right_at_60"]
    shares = {name: percent(got[name]) for name in ("top1", "top1_of_read", "told", "told_right")}
    return prose.STATES.format(
        plates=got["plates"],
        read=got["read"],
        sixty="" if sixty is None else f"The surest 60 % are right in {percent(sixty)}. ",
        **shares,
    )


def _rendered(measured: measure.Measured, out: Path) -> str:
    if not measured.rendered:
        return ""
    charts, rows = [], []
    for light, shots in measured.rendered.items():
        plates = rules.with_text(cases(shots))
        title = f"rendered, {light}, by width in px"
        charts.append((title, rules.by_bins(plates, WIDTHS[1:], lambda c: c.truth.width)))
        got = measured.figures["rendered"][light]
        shares = " | ".join(percent(got[name]) for name in ("exact_folded", "exact", "recall_30"))
        rows.append(f"| {light} | {got['pictures']} | {shares} |")
    plots.bars(out / "rendered.png", charts)
    return prose.RENDERED.format(rows="\n".join(rows))


def _time(figures: dict[str, Any], out: Path) -> str:
    got = figures["time"]
    if got is None:
        return ""
    plots.timing(out / "timing.png", got["stages_ms"])
    return prose.TIME.format(
        frames=got["frames"],
        cpu=got["cpu_ms_p50"],
        cpu95=got["cpu_ms_p95"],
        wall=got["ms_p50"],
        rss=got["peak_rss_mb"],
        peer=figures["peer"]["note"],
    )


def _failures(measured: measure.Measured, found: list[Case]) -> str:
    wrong, missed = rules.failures(found)
    false = rules.false_ranked(false_reads(measured.shots))
    wrong_rows = [
        (c.image, c.truth.text or "", c.read.text, f"{c.truth.width:.0f}", f"{c.read.confidence:.2f}")
        for c in wrong[:LISTED]
        if c.read
    ]
    missed_rows = [(c.image, c.truth.text or "", f"{c.truth.width:.0f}") for c in missed[:LISTED]]
    false_rows = [(s.image, r.text, f"{r.box[2]:.0f}", f"{r.confidence:.2f}") for s, r in false[:LISTED]]
    return prose.FAILURES.format(
        wrong=len(wrong),
        missed=len(missed),
        false=len(false),
        wrong_rows=rows_of(("picture", "on the plate", "read", "px", "confidence"), wrong_rows),
        missed_rows=rows_of(("picture", "on the plate", "px"), missed_rows),
        false_rows=rows_of(("picture", "read", "px", "confidence"), false_rows),
    )


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(line) + " |\n" for line in (head, *rows)]
    return "".join([lines[0], "|" + "---|" * len(head) + "\n", *lines[1:]])


def percent(row: dict[str, Any]) -> str:
    """A share with its interval."""
    if row["value"] is None:
        return "-"
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
