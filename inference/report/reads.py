# SPDX-License-Identifier: Apache-2.0
"""`python -m inference.report.reads FOLDER`: one JSON line a picture with what is read there and by which runtime.

Needs NumPy, OpenCV and a TFLite runtime only: two environments can be compared by it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from inference.errors import BadPictureError
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.runtime import find_runtime

PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def reads_of(folder: Path, models: Path | None = None) -> Iterator[dict[str, Any]]:
    """Every picture of a folder in the order of names -> its reads; raises BadPictureError."""
    cv2.setNumThreads(1)
    pipeline = Pipeline(load_models(models))
    runtime = find_runtime().__name__.partition(".")[0]
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise BadPictureError(f"{path} is no picture that can be decoded")
        result = pipeline.process(np.asarray(picture, dtype=np.uint8))
        plates = [
            {
                "text": read.text,
                "confidence": round(read.confidence, 6),
                "score": round(read.score, 6),
                "state": read.state,
                "corners": [[round(float(v), 3) for v in corner] for corner in read.corners],
            }
            for read in result.reads
        ]
        yield {"image": path.name, "runtime": runtime, "plates": plates, "ms": result.timings["total"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the lines."""
    parser = argparse.ArgumentParser(prog="python -m inference.report.reads", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path)
    options = parser.parse_args(argv)
    for line in reads_of(options.folder, options.models):
        sys.stdout.write(json.dumps(line, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
