# SPDX-License-Identifier: Apache-2.0
"""Writes ``models/manifest.json``: what each model is, its hash, how it was trained and what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.training.convert import describe

MANIFEST = "manifest.json"
VERSION = 1
INPUTS: Mapping[str, tuple[int, ...]] = {
    "detector": (1, 384, 640, 1),
    "corners": (1, 64, 128, 1),
    "reader": (1, 48, 144, 1),
    "state": (1, 72, 144, 3),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model's part of the manifest, but for what is read from its file."""

    name: str
    parameters: int
    trained_on: Sequence[str]
    training: Mapping[str, Any] = field(default_factory=dict)
    float_vs_int8: Mapping[str, Any] = field(default_factory=dict)


def load(models: Path) -> dict[str, Any]:
    """The manifest of a folder, an empty one where there is none."""
    path = models / MANIFEST
    if not path.exists():
        return {"version": VERSION, "models": {}, "thresholds": {}, "accuracy": {}}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.get("version") != VERSION:
        raise ValueError(f"{path}: version {content.get('version')}, this writes {VERSION}; remove the file")
    return content


def store(models: Path, content: Mapping[str, Any]) -> Path:
    """Replace the manifest in one step."""
    path = models / MANIFEST
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def add(models: Path, entry: Entry) -> Path:
    """Add or replace one model's entry; everything else in the manifest stays."""
    content = load(models)
    file = describe(models / f"{entry.name}.tflite")
    content["models"][entry.name] = {
        "file": file.path.name,
        "sha256": file.sha256,
        "bytes": file.size,
        "input": list(INPUTS[entry.name]),
        "parameters": entry.parameters,
        "trained_on": list(entry.trained_on),
        "training": dict(entry.training),
        "float_vs_int8": dict(entry.float_vs_int8),
    }
    return store(models, content)


def add_thresholds(models: Path, **thresholds: float) -> Path:
    """Set thresholds by name, keeping the others."""
    content = load(models)
    content.setdefault("thresholds", {}).update(thresholds)
    return store(models, content)


def add_accuracy(models: Path, figures: Mapping[str, Any], command: str) -> Path:
    """Set the measured accuracy and the command that measures it again."""
    content = load(models)
    content["accuracy"] = {**figures, "command": command}
    return store(models, content)


def refresh(models: Path) -> list[str]:
    """Bring size and hash of every entry up to date with its file; returns the names that had changed."""
    content, changed = load(models), []
    for name, entry in content["models"].items():
        file = describe(models / entry["file"])
        if (entry["sha256"], entry["bytes"]) != (file.sha256, file.size):
            entry.update(sha256=file.sha256, bytes=file.size)
            changed.append(name)
    if changed:
        store(models, content)
    return changed
