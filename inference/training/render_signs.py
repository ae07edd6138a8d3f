# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Signs that stand on plates and are not read."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def wheelchair(
    canvas: NDArray[np.uint8] | NDArray[np.float32], left: float, top: float, size: float, tone: float
) -> None:
    """The access symbol, `size` px high: head, back, lap, leg, wheel."""
    thick = max(1, round(size * 0.09))

    def at(x: float, y: float) -> tuple[int, int]:
        return round(left + x * size), round(top + y * size)

    cv2.circle(canvas, at(0.4, 0.1), max(1, round(size * 0.08)), tone, -1, cv2.LINE_AA)
    body = [at(0.4, 0.2), at(0.43, 0.52), at(0.68, 0.54), at(0.8, 0.84), at(0.92, 0.8)]
    outline = [np.array(body, np.int32)]
    cv2.polylines(canvas, outline, isClosed=False, color=tone, thickness=thick, lineType=cv2.LINE_AA)
    cv2.line(canvas, at(0.42, 0.35), at(0.62, 0.36), tone, thick, cv2.LINE_AA)
    cv2.ellipse(
        canvas, at(0.4, 0.68), (round(size * 0.27), round(size * 0.27)), 0, 20, 255, tone, thick, cv2.LINE_AA
    )
