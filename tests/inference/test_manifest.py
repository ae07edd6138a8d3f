# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from inference import models
from inference.errors import InferenceError, ModelCorruptError, ModelMissingError
from inference.models import MANIFEST, MAX_MANIFEST_BYTES, NAMES, load_models


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files that match their manifest and are no models."""
    entries = {}
    for name in NAMES:
        (tmp_path / f"{name}.tflite").write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        entries[name] = {"file": f"{name}.tflite", "sha256": digest}
    (tmp_path / MANIFEST).write_text(json.dumps({"version": 1, "models": entries}))
    return tmp_path


def test_altered_bytes_never_reach_the_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("the runtime was given altered bytes")

    monkeypatch.setattr(models, "TfliteNet", never)
    (folder / "reader.tflite").write_bytes(b"altered")
    with pytest.raises(ModelCorruptError, match="reinstall"):
        load_models(folder)


def test_a_missing_file_or_name(folder: Path) -> None:
    (folder / "corners.tflite").unlink()
    with pytest.raises(ModelMissingError, match=r"corners\.tflite"):
        load_models(folder)
    (folder / MANIFEST).write_text('{"models": {}}')
    with pytest.raises(ModelMissingError, match="detector"):
        load_models(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ModelMissingError, match=r"manifest\.json"):
        load_models(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"models": []}', " " * (MAX_MANIFEST_BYTES + 1)])
def test_a_manifest_that_is_none(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(ModelCorruptError):
        load_models(folder)


def test_limits_and_names_keep_files_inside_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_MODEL_BYTES", 3)
    with pytest.raises(ModelCorruptError, match="larger"):
        load_models(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["models"]["detector"]["file"] = "../../etc/passwd"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InferenceError, match=str(folder / "passwd")):
        load_models(folder)
