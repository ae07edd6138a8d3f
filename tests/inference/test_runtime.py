# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest

from inference import runtime
from inference.errors import ModelMismatchError, RuntimeMissingError
from inference.runtime import Output, by_shape, find_runtime, to_int8


def test_uint8_becomes_int8_less_128() -> None:
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(to_int8(picture), picture.astype(int) - 128)
    assert np.array_equal(to_int8(picture[:, ::2]), picture[:, ::2].astype(int) - 128)


def test_dequantised_and_back() -> None:
    output = Output(np.array([-128, 0, 127], dtype=np.int8), 0.5, -10)
    assert output.values == pytest.approx([-59.0, 5.0, 68.5])
    assert output.quantise(5.0) == 0
    assert output.quantise(5.1) == 1


def test_outputs_are_matched_by_shape() -> None:
    outputs = {"a": Output(np.zeros((1, 8), np.int8), 1, 0), "b": Output(np.zeros((1, 2), np.int8), 1, 0)}
    assert by_shape(outputs, (1, 2), "net") is outputs["b"]
    with pytest.raises(ModelMismatchError):
        by_shape(outputs, (1, 3), "net")
    with pytest.raises(ModelMismatchError):
        by_shape({**outputs, "c": outputs["b"]}, (1, 2), "net")


def test_the_older_runtime_is_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    older = ModuleType("older")

    def only_older(name: str) -> ModuleType:
        if name.startswith("tflite_runtime"):
            return older
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", only_older)
    assert find_runtime() is older


def test_no_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "RUNTIMES", ("no_such_runtime_a", "no_such_runtime_b"))
    with pytest.raises(RuntimeMissingError, match="ai-edge-litert"):
        find_runtime()


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match="reader"):
        runtime.TfliteNet("reader", b"not a model")
