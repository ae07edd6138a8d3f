# SPDX-License-Identifier: Apache-2.0
"""What the office writes down of each hold: one document a hold, `holds/ID/hold.json`, replaced as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from backoffice.errors import NotFound
from backoffice.search import MAX_CASE_CHARACTERS, MAX_REASON_CHARACTERS, Purpose
from storage.atomic import make_folder, write_atomic
from storage.files import OS_FILES, Files
from storage.hold import case_files, case_scope
from storage.types import EpochId
from sync.schema import canonical_json

DOCUMENT = "hold.json"
MAX_READS = 5000  # reads that one hold may choose
MAX_HITS = 200
MAX_DOCUMENT_BYTES = 8 << 20
MAX_STATES = 10_000  # of holds, remembered between looks
MAX_PROBLEM_CHARACTERS = 300
MAX_PROBLEMS = 200  # told one by one in the document; then only counted
_REQUEST = {"hold_id", "case", "reason", "purpose", "asked_by", "asked_us", "reads", "hits", "asked_problems"}
_HOLD_ID = re.compile(r"[0-9a-f]{8}")

Words = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_CHARACTERS)]
Problem = Annotated[str, StringConstraints(max_length=MAX_PROBLEM_CHARACTERS)]
Problems = Annotated[tuple[Problem, ...], Field(max_length=MAX_PROBLEMS + 1)]


class HoldState(StrEnum):
    """How far a hold is."""

    WAITING = "waiting"  # asked for; nothing is held yet
    SEALING = "sealing"  # approved and not finished: approve it again
    HELD = "held"
    END_ASKED = "end asked"  # still held
    ENDING = "ending"  # its end is approved and not finished: approve it again
    ENDED = "ended"  # nothing of it opens any more
    DROPPED = "dropped"
    LAPSED = "lapsed"  # nothing was left when it was approved


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChosenRead(_Part):
    """A read that was asked for: where it lies, and the SHA-256 of its payload then."""

    device: str
    segment: str
    index: int
    sha256: str
    read_id: str
    epoch: EpochId


class ChosenHit(_Part):
    """A hit that was asked for; `since_us` is when its retention began."""

    hit_id: str
    device: str
    since_us: int


class HeldFile(_Part):
    """A segment of the case; `header_sha256` is its `header_hash`."""

    name: str
    records: int
    header_sha256: str
    size: int


class Asked(_Part):
    """Who asked for something, when and why."""

    by: str
    at_us: int
    why: str


class Hold(_Part):
    """A hold. Times in Unix microseconds; None where it has not happened."""

    v: Literal[1] = 1
    hold_id: str
    case: str = Field(min_length=1, max_length=MAX_CASE_CHARACTERS)
    reason: Words
    purpose: Purpose
    asked_by: str
    asked_us: int
    reads: tuple[ChosenRead, ...] = Field(max_length=MAX_READS)
    hits: tuple[ChosenHit, ...] = Field(default=(), max_length=MAX_HITS)
    asked_problems: Problems = ()  # what was not found, or not here, when it was asked for
    state: HoldState = HoldState.WAITING
    approved_by: str | None = None
    approved_us: int | None = None
    epoch: EpochId | None = None  # of the case's share
    files: tuple[HeldFile, ...] = ()
    held: dict[str, int] = Field(default_factory=dict)  # how many records of each kind
    problems: Problems = ()  # when it was made
    end_asked: Asked | None = None
    closed: Asked | None = None  # dropped, lapsed or ended

    @property
    def scope(self) -> str:
        """Scope of the case's share in the keyring."""
        return case_scope(self.hold_id)

    @property
    def request_sha256(self) -> str:
        """Of everything that was asked for and by whom: the audit log keeps it, so that nobody changes it unseen."""
        asked = self.model_dump(mode="json", include=_REQUEST)
        return hashlib.sha256(canonical_json(asked)).hexdigest()

    @property
    def pending(self) -> bool:
        """Whether the records that it asks for are not all safe yet."""
        return self.state in {HoldState.WAITING, HoldState.SEALING}

    @property
    def opens(self) -> bool:
        """Whether what it holds can be opened."""
        return self.state in {HoldState.HELD, HoldState.END_ASKED}


def told(problems: Iterable[str]) -> tuple[str, ...]:
    """Problems as the document keeps them: shortened, and beyond a bound only counted."""
    all_of_them = [text[:MAX_PROBLEM_CHARACTERS] for text in problems]
    more = len(all_of_them) - MAX_PROBLEMS
    return (*all_of_them[:MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


class HoldFolder:
    """The documents of all holds; `save` is the sole commit point of whatever a hold goes through."""

    def __init__(self, root: Path, *, files: Files = OS_FILES) -> None:
        self._root = root
        self._files = files

    @property
    def lock(self) -> Path:
        """Lock file of whoever changes a hold."""
        make_folder(self._root)
        return self._root / "lock"

    def folder(self, hold_id: str) -> Path:
        """Folder of one hold; NotFound for what is no id of a hold."""
        if not _HOLD_ID.fullmatch(hold_id):
            raise NotFound("there is no such hold; `hold list` shows them")
        return self._root / hold_id

    def save(self, hold: Hold) -> None:
        """Replace a hold's document, durably; raises OSError."""
        folder = self.folder(hold.hold_id)
        make_folder(folder)
        data = canonical_json(hold.model_dump(mode="json")) + b"\n"
        write_atomic(folder / DOCUMENT, data, files=self._files)

    def load(self, hold_id: str) -> Hold:
        """One hold; NotFound also when its document is damaged, with what to do."""
        path = self.folder(hold_id) / DOCUMENT
        try:
            with path.open("rb") as file:
                return Hold.model_validate_json(file.read(MAX_DOCUMENT_BYTES))
        except FileNotFoundError as error:
            raise NotFound("there is no such hold; `hold list` shows them") from error
        except ValidationError as error:
            raise NotFound(
                f"{path} is damaged: restore it from the backup, the segments beside it are kept"
            ) from error

    def all(self) -> tuple[list[Hold], list[str]]:
        """Every hold, the newest first, and what is wrong with those that cannot be read."""
        holds, problems = [], []
        for hold_id in sorted(self.ids()):
            try:
                holds.append(self.load(hold_id))
            except (NotFound, OSError) as error:
                problems.append(f"{hold_id}: {error}")
        return sorted(holds, key=lambda hold: hold.asked_us, reverse=True), problems

    def ids(self) -> set[str]:
        """Of every hold that is here, damaged or not."""
        return {folder.name for folder in self._root.glob("*/") if _is_begun(folder)}

    def states(self) -> list[HoldState]:
        """How far each hold is that can be read; a document that did not change is not read again."""
        found: list[HoldState] = []
        for path in sorted(self._root.glob(f"*/{DOCUMENT}")):
            with contextlib.suppress(NotFound, OSError):
                about = path.stat()
                stamp = about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size
                found.append(_state_of(self._root, path.parent.name, stamp))
        return found


def _is_begun(folder: Path) -> bool:
    """Whether a folder is a hold's; one that a crash left empty is none: nobody was told of it."""
    return bool(_HOLD_ID.fullmatch(folder.name)) and bool((folder / DOCUMENT).exists() or case_files(folder))


@lru_cache(maxsize=MAX_STATES)
def _state_of(root: Path, hold_id: str, _stamp: tuple[int, ...]) -> HoldState:
    return HoldFolder(root).load(hold_id).state
