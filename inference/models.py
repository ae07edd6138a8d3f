# SPDX-License-Identifier: Apache-2.0
"""Loads the nets; nothing runs whose bytes are not those that the manifest names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from inference.errors import ModelCorruptError, ModelMissingError
from inference.runtime import Net, TfliteNet

MODELS_DIR: Final = Path(__file__).parent / "models"
MANIFEST: Final = "manifest.json"
NAMES: Final = ("detector", "corners", "reader")
OPTIONAL: Final = ("state",)  # manifests of before it was there load without
MAX_MODEL_BYTES: Final = 32 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Models:
    """The nets with the thresholds they were tuned to."""

    detector: Net
    corners: Net
    reader: Net
    state: Net | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    model_bytes: int = 0
    digests: Mapping[str, str] = field(default_factory=dict)


def load_models(directory: Path | None = None, threads: int = 1) -> Models:
    """The nets of a folder, checked by SHA-256; raises Model{Missing,Corrupt,Mismatch}Error."""
    folder = directory or MODELS_DIR
    manifest = read_manifest(folder)
    wanted = (*NAMES, *(name for name in OPTIONAL if name in manifest["models"]))
    contents = {name: _checked(folder, name, manifest["models"]) for name in wanted}
    nets = {name: TfliteNet(name, content, threads=threads) for name, content in contents.items()}
    return Models(
        detector=nets["detector"],
        corners=nets["corners"],
        reader=nets["reader"],
        state=nets.get("state"),
        thresholds={str(k): float(v) for k, v in manifest.get("thresholds", {}).items()},
        model_bytes=sum(len(content) for content in contents.values()),
        digests={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of models; raises ModelMissingError or ModelCorruptError."""
    try:
        manifest = json.loads(_read(folder / MANIFEST, MAX_MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ModelCorruptError(f"{folder / MANIFEST} is not JSON: reinstall the models") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("models"), dict):
        raise ModelCorruptError(f"{folder / MANIFEST} names no models: reinstall the models")
    return manifest


def _checked(folder: Path, name: str, entries: Mapping[str, Any]) -> bytes:
    entry = entries.get(name)
    if not isinstance(entry, dict) or not {"file", "sha256"} <= entry.keys():
        raise ModelMissingError(f"the manifest names no model {name}: run `make train` or reinstall")
    path = folder / Path(str(entry["file"])).name
    content = _read(path, MAX_MODEL_BYTES)
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ModelCorruptError(f"{path} is not the file that the manifest names: reinstall the models")
    return content


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ModelCorruptError(f"{path} is larger than {limit} bytes: reinstall the models")
        return path.read_bytes()
    except OSError as error:
        raise ModelMissingError(f"{path} can't be read: run `make train` or reinstall the models") from error
