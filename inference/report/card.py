# SPDX-License-Identifier: Apache-2.0
"""`python -m inference.report.card CARD`: brings the figures in the model card up to the models' manifest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from inference.models import MODELS_DIR, read_manifest

BEGIN: Final = "<!-- figures:begin -->"
END: Final = "<!-- figures:end -->"
ROWS: Final = (  # what, where in the manifest's accuracy
    (
        "clear US plates of 60 px and more: exact text from the whole picture, O≡0 and I≡1",
        ("us_clear", "exact_folded"),
    ),
    ("the same to the letter", ("us_clear", "exact")),
    ("every plate with a known text: exact, O≡0 and I≡1", ("exact_folded",)),
    ("the same to the letter", ("exact",)),
    ("plates found at IoU 0.3, of 24 px and more at the detector's input", ("detection_recall_30_at24",)),
    ("plates found at IoU 0.5, the same", ("detection_recall_50_at24",)),
    ("false plates a picture", ("false_plates_per_image",)),
    ("expected calibration error of the confidence", ("ece",)),
    ("plates still read at 99 % precision", ("coverage_at_99",)),
)


def filled(text: str, manifest: Mapping[str, Any]) -> str:
    """The card with its block of figures written anew; raises ValueError without the block's two marks."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the card has no {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{figures(manifest)}{END}{tail}"


def figures(manifest: Mapping[str, Any]) -> str:
    """The models and what they measured, as two tables."""
    models, accuracy = manifest["models"], manifest["accuracy"]
    nets = "".join(_net(name, entry) for name, entry in sorted(models.items()))
    rows = [(what, _at(accuracy, path)) for what, path in ROWS]
    measured = "".join(f"| {what} | {value:.3f} |\n" for what, value in rows if value is not None)
    total = sum(entry["bytes"] for entry in models.values()) / 1e6
    counts = f"{accuracy['images']} pictures, {accuracy['plates_with_text']} plates with a known text"
    return (
        "| net | input | parameters | bytes | trained on | SHA-256 |\n|---|---|---|---|---|---|\n"
        f"{nets}\n| on {counts} | measured |\n|---|---|\n{measured}\n"
        f"All nets together: {total:.2f} MB; {accuracy['cpu_ms_p50']:.0f} ms of processor time a picture on one x86 "
        f"thread. Command: `{accuracy['command']}`.\n"
    )


def _net(name: str, entry: Mapping[str, Any]) -> str:
    size = "×".join(str(side) for side in entry["input"][1:])  # noqa: RUF001 -- for people to read
    counts = f"{entry['parameters']:,} | {entry['bytes']:,}"
    return f"| {name} | {size} | {counts} | {'; '.join(entry['trained_on'])} | `{entry['sha256'][:16]}` |\n"


def _at(accuracy: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = accuracy
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrites the card's block."""
    parser = argparse.ArgumentParser(prog="python -m inference.report.card", description=__doc__)
    parser.add_argument("card", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS_DIR)
    options = parser.parse_args(argv)
    text = options.card.read_text(encoding="utf-8")
    options.card.write_text(filled(text, read_manifest(options.models)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
