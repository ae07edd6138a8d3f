# SPDX-License-Identifier: Apache-2.0
"""The one seam to a TFLite runtime: uint8 picture in, dequantised float arrays out."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelMismatchError, RuntimeMissingError
from inference.preprocess import Floats, Grey

RUNTIMES: Final = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
INPUT_SCALE: Final = 1.0 / 255.0
INPUT_SCALE_TOLERANCE: Final = 0.02  # relative
INPUT_ZERO_POINT: Final = -128


class Net(Protocol):
    """A net with one picture as input, grey or in colour."""

    name: str

    def run(self, picture: Grey) -> dict[str, Output]:
        """(H, W) or (H, W, 3) uint8 -> outputs by name; raises ModelMismatchError for another shape."""


@dataclass(frozen=True, slots=True)
class Output:
    """One int8 output tensor with its scale; values are computed where they are wanted."""

    raw: NDArray[np.int8]
    scale: float
    zero_point: int

    @property
    def values(self) -> Floats:
        """The dequantised tensor, same shape, float32."""
        return self.dequantise(self.raw)

    def dequantise(self, raw: NDArray[np.int8]) -> Floats:
        """Some of the tensor's cells -> float32."""
        return (raw.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)

    def quantise(self, value: float) -> int:
        """The smallest int8 step whose value is at least `value` (may lie outside -128..127)."""
        return int(np.ceil(value / self.scale + self.zero_point))


def find_runtime() -> ModuleType:
    """The first installed TFLite runtime module; raises RuntimeMissingError."""
    for name in RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeMissingError(
        "no TFLite runtime: install `ai-edge-litert` (or `tflite-runtime` with `numpy<2`)"
    )


class TfliteNet:
    """An int8 TFLite model; one caller at a time."""

    def __init__(self, name: str, content: bytes, *, threads: int = 1) -> None:
        self.name = name
        module = find_runtime()
        try:
            self._interpreter: Any = module.Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelMismatchError(f"model {name}: the runtime refuses it; reinstall the models") from error
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1:
            raise ModelMismatchError(f"model {name}: {len(inputs)} inputs instead of one")
        self._input: dict[str, Any] = inputs[0]
        self._outputs: list[dict[str, Any]] = list(self._interpreter.get_output_details())
        self._check_quantisation()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, H, W, 1), or (1, H, W, 3) for colour."""
        return tuple(int(n) for n in self._input["shape"])

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name -> shape."""
        return {str(o["name"]): tuple(int(n) for n in o["shape"]) for o in self._outputs}

    def run(self, picture: Grey) -> dict[str, Output]:
        """(H, W) or (H, W, 3) uint8 -> outputs by name; raises ModelMismatchError for another shape."""
        if (1, *picture.shape, 1)[:4] != self.input_shape:
            raise ModelMismatchError(f"model {self.name}: wants {self.input_shape}, got {picture.shape}")
        self._interpreter.set_tensor(self._input["index"], to_int8(picture).reshape(self.input_shape))
        self._interpreter.invoke()
        return {str(o["name"]): self._output(o) for o in self._outputs}

    def _output(self, details: dict[str, Any]) -> Output:
        scale, zero_point = details["quantization"]
        return Output(self._interpreter.get_tensor(details["index"]), float(scale), int(zero_point))

    def _check_quantisation(self) -> None:
        for tensor in (self._input, *self._outputs):
            if tensor["dtype"] is not np.int8:
                raise ModelMismatchError(f"model {self.name}: tensor {tensor['name']} is not int8")
        scale, zero_point = self._input["quantization"]
        if zero_point != INPUT_ZERO_POINT or abs(scale / INPUT_SCALE - 1.0) > INPUT_SCALE_TOLERANCE:
            raise ModelMismatchError(f"model {self.name}: input scale {scale}, zero point {zero_point}")


def to_int8(picture: Grey) -> NDArray[np.int8]:
    """uint8 `x` -> int8 `x - 128`, same shape."""
    return np.bitwise_xor(np.ascontiguousarray(picture), np.uint8(128)).view(np.int8)


def by_shape(outputs: dict[str, Output], shape: tuple[int, ...], model: str) -> Output:
    """The only output of that shape; raises ModelMismatchError when there is none or more than one."""
    found = [output for output in outputs.values() if output.raw.shape == shape]
    if len(found) != 1:
        raise ModelMismatchError(f"model {model}: {len(found)} outputs of shape {shape} instead of one")
    return found[0]
