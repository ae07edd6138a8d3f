# SPDX-License-Identifier: Apache-2.0
"""What lies in a device's data folder: unknown files, left-over ones, and who else may read them. It reads only."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from storage.atomic import TEMP_SUFFIX
from storage.errors import StateDamagedError
from storage.fsck import Problem, Severity
from storage.layout import RETENTION_FILE, DataLayout
from storage.retention_policies import load_schedule
from storage.retention_state import load_state

# Folders by their path in the data folder, and the names that belong there; fsck itself looks at the segments.
KNOWN = {
    "": (
        *("audit.jsonl", "audit.jsonl.lock", "state.json", "clock.json", "ledger.json", "ledger-sync.json"),
        *("budget.json", "camera.bin", "retention-policy.signed", "*.damaged"),
    ),
    "store": (".lock", "recovered.json"),
    "store/reads": ("*",),
    "store/images": ("*",),
    "keyring": ("keyring.wkr", "keyring.wkr.lost-*", "lock", "making"),
    "trust": ("slot-*", "*.slot", "*.key", "lock"),
    "retention": ("retention.json", "receipts.jsonl", "policies.json", "ballast", "*.damaged"),
    "lists": ("*.wlist", "lists.state", "lists.state.copy", "*.damaged"),
    "identity": ("*",),
    **{
        f"spool/{spool}/{state}": ("*",)
        for spool in ("hits", "receipts")
        for state in ("tmp", "pending", "done", "quarantine", "attempts")
    },
    "run": ("*",),
}
FREE_FOLDERS = {"run", "identity"}  # whatever lies in there
KNOWN_TO_FSCK = {"store/reads", "store/images"}
FOLDERS = {*KNOWN, "spool", "spool/hits", "spool/receipts"}
OPEN_TO_OTHERS = (
    "",
    "run",
    "run/*",
    "identity/*.crt",
    "identity/*.pem",
)  # for reading: no secret is in there
JSON_STATES = ("state.json", "clock.json", "ledger.json", "ledger-sync.json", "budget.json")
MAX_STATE_BYTES = 64 << 20
FRESH_S = 60.0
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
_OTHERS, _OTHERS_WRITE = 0o077, 0o022
_STRANGER = "find out who put it there, then remove it"
_ANEW = "the service sets it aside and starts anew; keep a copy if you need to know why"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of a data folder; `place` is its path in there."""

    path: Path
    place: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder (a link to one is not)."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_temp(self) -> bool:
        """Whether it was left over by a replacement that a crash cut off."""
        name = self.path.name
        return stat.S_ISREG(self.status.st_mode) and name.startswith(".") and name.endswith(TEMP_SUFFIX)

    @property
    def belongs(self) -> bool:
        """Whether a device keeps what has this name there, left-over files included."""
        folder, _, name = self.place.rpartition("/")
        if self.place.partition("/")[0] in FREE_FOLDERS:
            return True
        if self.is_folder:
            return self.place in FOLDERS
        if self.is_temp:
            return folder in KNOWN
        return any(fnmatchcase(name, pattern) for pattern in KNOWN.get(folder, ()))

    @property
    def is_private(self) -> bool:
        """Whether nobody but its owner may open it."""
        public = any(fnmatchcase(self.place, pattern) for pattern in OPEN_TO_OTHERS)
        forbidden = _OTHERS_WRITE if public else _OTHERS
        return stat.S_ISLNK(self.status.st_mode) or not self.status.st_mode & forbidden


def entries(root: Path, problems: list[Problem] | None = None) -> Iterator[Entry]:
    """Everything in a data folder and the folder itself, links not followed; what cannot be read is a problem."""

    def failed(error: OSError) -> None:
        if problems is not None:
            path = Path(os.fsdecode(error.filename or root))
            problems.append(Problem(path, f"cannot be read: {error.strerror}", "check the disk"))

    try:
        yield Entry(root, "", root.stat())
    except OSError as error:
        failed(error)
    for folder, folders, files in os.walk(root, onerror=failed):
        for name in sorted((*folders, *files)):
            path = Path(folder, name)
            try:
                yield Entry(path, path.relative_to(root).as_posix(), path.lstat())
            except FileNotFoundError:
                continue  # gone in this moment
            except OSError as error:
                failed(error)


def verify_files(layout: DataLayout, *, growing: bool = False) -> list[Problem]:
    """What is wrong with names, modes, owners and small states; never raises for anything that it finds.

    `growing`: services run, so that what is a moment old may be a file on its way to its place.
    """
    problems: list[Problem] = []
    owner, now_s = None, time.time()
    for entry in entries(layout.root, problems):
        if growing and entry.is_temp and now_s - entry.status.st_mtime < FRESH_S:
            continue
        owner = entry.status.st_uid if owner is None else owner
        problems += _check_place(entry)
        if not entry.is_private:
            do = "`wayside verify --repair` closes it" if entry.belongs else _STRANGER
            problems.append(Problem(entry.path, "others may read or change it", do, Severity.WARNING))
        if entry.status.st_uid != owner:
            who = f"belongs to user {entry.status.st_uid}, the folder to {owner}"
            problems.append(Problem(entry.path, who, f"give it to user {owner} (chown)", Severity.WARNING))
    return problems + _check_states(layout)


def _check_place(entry: Entry) -> list[Problem]:
    kind = entry.status.st_mode
    folder, _, name = entry.place.rpartition("/")
    if entry.is_temp and entry.belongs:
        if folder in {*KNOWN_TO_FSCK, "keyring"}:  # told by those who look there
            return []
        do = "start the device, or `wayside verify --repair`: it holds nothing that counts"
        return [Problem(entry.path, "left over from a crash", do, Severity.WARNING)]
    if name.endswith(".damaged") and entry.belongs:
        do = "keep it until the agency's administrator has seen it, then remove it"
        return [Problem(entry.path, "was damaged, and set aside", do, Severity.WARNING)]
    linked = not (entry.is_folder or stat.S_ISREG(kind)) and folder not in {"run", *KNOWN_TO_FSCK}
    if linked or not entry.belongs:
        return [Problem(entry.path, "does not belong here", _STRANGER, Severity.WARNING)]
    return []


def _check_states(layout: DataLayout) -> list[Problem]:
    problems = []
    for name in JSON_STATES:
        problems += _check_json(layout.root / name)
    for load, path in ((load_state, layout.retention / RETENTION_FILE), (load_schedule, layout.policies)):
        try:
            load(path)
        except FileNotFoundError:
            continue
        except (StateDamagedError, OSError) as error:
            problems.append(Problem(path, f"is damaged ({type(error).__name__})", _ANEW))
    return problems


def _check_json(path: Path) -> list[Problem]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_STATE_BYTES))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Problem(path, f"cannot be read: {error.strerror}", "check the disk")]
    except (ValueError, RecursionError):
        value = None
    return [] if isinstance(value, dict) else [Problem(path, "is damaged", _ANEW, Severity.WARNING)]
