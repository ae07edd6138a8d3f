# SPDX-License-Identifier: Apache-2.0
"""Times fast-alpr on a folder of pictures; stands alone, so that any interpreter that has fast-alpr can run it.

Prints one JSON object: `ms_p50`, `version`, `frames`, `read`; or `error` where the package or its weights are missing.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ROUNDS = 3


def measure(folder: Path) -> dict[str, Any]:
    """The peer's time for one picture, one thread, its default models."""
    try:
        cv2, onnxruntime, fast_alpr = (import_module(name) for name in ("cv2", "onnxruntime", "fast_alpr"))
    except ImportError as error:
        return {"error": f"fast-alpr is not installed ({error.name})"}
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    cpu = ["CPUExecutionProvider"]
    try:
        peer = fast_alpr.ALPR(
            detector_providers=cpu,
            detector_sess_options=options,
            ocr_device="cpu",
            ocr_sess_options=options,
        )
    except (OSError, RuntimeError, ValueError) as error:  # its weights come from the network on first use
        return {"error": f"fast-alpr is here, its weights are not ({type(error).__name__})"}
    return _timed(peer, [cv2.imread(str(path)) for path in sorted(folder.iterdir())])


def _timed(peer: Any, frames: list[Any]) -> dict[str, Any]:
    peer.predict(frames[0])
    times, read = [], 0
    for frame in frames * ROUNDS:
        started = time.perf_counter()
        results = peer.predict(frame)
        times.append((time.perf_counter() - started) * 1e3)
        read += any(result.ocr is not None and result.ocr.text for result in results)
    return {
        "ms_p50": round(sorted(times)[len(times) // 2], 3),
        "version": metadata.version("fast-alpr"),
        "frames": len(frames),
        "read": read // ROUNDS,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]))) + "\n")
