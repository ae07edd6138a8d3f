# SPDX-License-Identifier: Apache-2.0
"""The segment files of a store as deletion sees them: by their names, which even a damaged header leaves readable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.errors import FormatError
from storage.keyring import Keyring
from storage.layout import SEGMENT_SUFFIX
from storage.receipts import ErasedSegment
from storage.recovery import look, measure, segment_names
from storage.types import EpochId, SegmentKind

_NAME = re.compile(r"(\d{1,12})-")


def segment_files(store_root: Path) -> list[tuple[EpochId, Path]]:
    """Segment files by the epoch in their name, which even a damaged header leaves readable."""
    return [(epoch, store_root / kind.value / name) for epoch, kind, name in named_files(store_root)]


def held_epochs(store_root: Path, keyring: Keyring) -> set[EpochId]:
    """Epochs of which there is a share or a file."""
    return set(keyring.epochs()) | {epoch for epoch, _, _ in named_files(store_root)}


def named_files(
    store_root: Path, kinds: Iterable[SegmentKind] = tuple(SegmentKind)
) -> Iterator[tuple[EpochId, SegmentKind, str]]:
    """(epoch, kind, name) of every segment file of these kinds, by its name."""
    for kind in sorted(kinds):
        for name in segment_names(store_root, kind):
            match = _NAME.match(name)
            if match:
                yield int(match.group(1)), kind, name


def describe(path: Path) -> ErasedSegment:
    """What a receipt says of a segment file; a damaged one, or one on a bad sector, is named all the same."""
    segment_id, kind, size = path.name.removesuffix(SEGMENT_SUFFIX), path.parent.name, 0
    try:
        size = path.stat().st_size
        header, footer, _ = look(path)
        records = footer.footer.records if footer else measure(path).records
    except (FormatError, OSError):
        return ErasedSegment(segment_id, kind, size, None, "", closed=False)
    return ErasedSegment(segment_id, kind, size, records, header.digest.hex(), closed=footer is not None)
