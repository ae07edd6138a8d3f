# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-any-return,no-untyped-call,import-not-found"
"""PyTorch to int8 TFLite: litert-torch, then static int8 weights and activations by min/max calibration."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

INPUT_SCALE = 1 / 255
SCALE_SLACK = 0.01  # relative
ZERO_POINT = -128
SIGNATURE = "serving_default"
Floats = NDArray[np.float32]


class ConversionError(RuntimeError):
    """The exported model is not what the device expects; the message says which property differs."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An int8 model on disk, its size in bytes and its SHA-256 in hex."""

    path: Path
    size: int
    sha256: str


def export_float(module: nn.Module, sample_shape: tuple[int, ...], out_path: Path) -> Path:
    """Write the float TFLite model of `module`, called with one float32 array of `sample_shape` (NHWC)."""
    import litert_torch
    import torch

    sample = (torch.zeros(sample_shape, dtype=torch.float32),)
    with torch.no_grad():
        edge = litert_torch.convert(module.eval().cpu(), sample)
    edge.export(str(out_path))
    return out_path


def calibration_rows(batches: Iterable[Floats], shape: tuple[int, ...]) -> Iterator[Floats]:
    """Samples of `shape` in 0..1; a black-to-white ramp comes first, so the input's range is exactly 0..1."""
    yield np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    for batch in batches:
        for row in np.asarray(batch, np.float32).reshape(-1, *shape):
            yield np.clip(row, 0.0, 1.0)


def quantize(
    float_path: Path, sample_shape: tuple[int, ...], batches: Iterable[Floats], out_path: Path
) -> Path:
    """Static int8 in and out. The stock calibrator averages minima and maxima over time and clips: not used."""
    from ai_edge_quantizer import quantizer, recipe, recipe_manager
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.utils import qsv_utils

    quant = quantizer.Quantizer(str(float_path))
    quant.load_quantization_recipe(recipe.static_wi8_ai8())
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    calibrator = Calibrator(str(float_path), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    name = _input_name(float_path)
    rows = [{name: row} for row in calibration_rows(batches, sample_shape)]
    calibrator.calibrate({SIGNATURE: rows}, rules)
    result = quant.quantize(calibrator.get_model_qsvs(), enable_progress_report=False)
    result.export_model(str(out_path), overwrite=True)
    return out_path


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path), num_threads=1)


def _input_name(path: Path) -> str:
    return _interpreter(path).get_signature_list()[SIGNATURE]["inputs"][0]


def check_int8(path: Path, sample_shape: tuple[int, ...]) -> None:
    """Raises ConversionError unless input and outputs are int8 and the input is uint8 - 128."""
    model = _interpreter(path)
    (entry,) = model.get_input_details()
    scale, zero = entry["quantization"]
    if tuple(entry["shape"]) != tuple(sample_shape):
        raise ConversionError(f"input shape {tuple(entry['shape'])}, wanted {tuple(sample_shape)}")
    if abs(scale / INPUT_SCALE - 1) > SCALE_SLACK or zero != ZERO_POINT:
        raise ConversionError(f"input scale {scale:.6f}, zero point {zero}; wanted 1/255 and {ZERO_POINT}")
    for tensor in (entry, *model.get_output_details()):
        if tensor["dtype"] is not np.int8:
            raise ConversionError(f"tensor {tensor['name']} is {tensor['dtype'].__name__}, wanted int8")


def describe(path: Path) -> Exported:
    """Size and hash of a model file."""
    data = path.read_bytes()
    return Exported(path, len(data), hashlib.sha256(data).hexdigest())


def export_int8(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    calibration_batches: Iterable[Floats],
    out_path: Path,
) -> Exported:
    """Convert `module` (NHWC floats 0..1 in) to int8, check it, and replace `out_path` in one step.

    `calibration_batches`: float32 arrays in 0..1, shaped `sample_shape` or stacked along the first axis.
    """
    out_path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_path.parent, prefix=".convert-") as folder:
        float_path = export_float(module, sample_shape, Path(folder) / "float.tflite")
        int8_path = quantize(float_path, sample_shape, calibration_batches, Path(folder) / "int8.tflite")
        check_int8(int8_path, sample_shape)
        int8_path.chmod(0o644)
        int8_path.replace(out_path)
    return describe(out_path)
