# SPDX-License-Identifier: Apache-2.0
"""Checking an outbox: every item whole, nothing in it that is none. It reads only, and moves nothing to quarantine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from storage.fsck import Problem, Severity, is_other_than_file
from storage.spool import SpoolLimits
from storage.spool_file import HEADER_AT, MAX_HEADER_BYTES, parse_head
from storage.types import is_id

_KEEP = "keep the file and tell the agency's administrator: the office has to hear of this item another way"
_DECIDE = (
    "a person has to decide: see its reason in attempts/, then let it wait again or keep it for the office"
)


def verify_spool(folder: Path, limits: SpoolLimits = SpoolLimits()) -> tuple[int, list[Problem]]:  # noqa: B008 -- frozen
    """How many items wait, and what is wrong; never raises for anything that it finds."""
    waiting, problems = 0, list[Problem]()
    for path in _entries(folder / "pending", problems):
        waiting += 1
        problems += _check_item(path, limits)
    for path in _entries(folder / "quarantine", problems):
        problems.append(Problem(path, "was set aside", _DECIDE, Severity.WARNING))
        problems += _check_item(path, limits)
    return waiting, problems


def _entries(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 -- names alone
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(Problem(folder, f"cannot be read: {error.strerror}", "check the disk"))
        return
    for name in names:
        yield folder / name


def _check_item(path: Path, limits: SpoolLimits) -> list[Problem]:
    if not is_id(path.name) or is_other_than_file(path):
        return [Problem(path, "not an item", "find out who put it there, then remove it", Severity.WARNING)]
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = file.read(HEADER_AT + MAX_HEADER_BYTES + limits.max_item_bytes)
    except FileNotFoundError:
        return []  # the office has it since a moment ago
    except OSError as error:
        return [Problem(path, f"cannot be read: {error.strerror}", "check the disk, then keep the file")]
    head = parse_head(data, path.name, size)
    if head is None:
        return [Problem(path, "is damaged: no whole item", _KEEP)]
    header, body_at = head
    if hashlib.sha256(data[body_at:]).hexdigest() != header["sha256"]:
        return [Problem(path, "is damaged: its checksum differs", _KEEP)]
    return []
