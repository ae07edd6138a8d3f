# SPDX-License-Identifier: Apache-2.0
"""The bytes of an item in the outbox: magic, header length, canonical JSON header, body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from storage.errors import is_bad_sector

MAGIC = b"WAYSPOOL"
MAX_HEADER_BYTES = 1024
HEADER_AT = len(MAGIC) + 2


def queued_us_of(head: bytes) -> int | None:
    """`queued_us` from the first bytes of an item's file, or None when they are damaged."""
    size = int.from_bytes(head[len(MAGIC) : HEADER_AT], "big")
    try:
        queued_us = json.loads(head[HEADER_AT : HEADER_AT + size])["queued_us"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return queued_us if type(queued_us) is int and head[: len(MAGIC)] == MAGIC else None


def parse_head(head: bytes, item_id: str, file_size: int) -> tuple[dict[str, Any], int] | None:
    """Header, and where the body begins, of an item's file of `file_size` bytes; None when it is no whole item."""
    size = int.from_bytes(head[len(MAGIC) : HEADER_AT], "big")
    if head[: len(MAGIC)] != MAGIC or size > MAX_HEADER_BYTES:
        return None
    try:
        header = json.loads(head[HEADER_AT : HEADER_AT + size])
        types = (str, str, int, str, int)
        names = ("id", "kind", "queued_us", "sha256", "size")
        sound = all(type(header[name]) is kind for name, kind in zip(names, types, strict=True))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = sound and header["id"] == item_id and header["size"] == file_size - HEADER_AT - size
    return (header, HEADER_AT + size) if whole else None


def head_of(path: Path) -> bytes:
    """The first bytes of an item's file, enough for its header; none when the disk cannot read them."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_AT + MAX_HEADER_BYTES)
    except OSError as error:
        if not is_bad_sector(error):
            raise
        return b""


def changed_ns(path: Path) -> int:
    """When a file was changed, ns since 1970; 0, the oldest, when the disk cannot say."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        if not is_bad_sector(error):
            raise
        return 0
