# SPDX-License-Identifier: Apache-2.0
"""Checking a keyring: its file always, its content where the root of trust is at hand. It reads only."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from storage.atomic import TEMP_SUFFIX
from storage.errors import FormatError, KeyringDamagedError, KeyringElsewhereError, StorageError
from storage.keyring import MAKING_FILE, Keyring
from storage.keyring_file import MAX_KEYRING_BYTES, PackedKeyring, unpack
from storage.layout import KEYRING_FILE
from storage.root_of_trust import RootOfTrust
from storage.types import EpochId

REWRITE_S = 0.5  # in which a rewrite of the keyring ends, with a TPM too
_AFRESH = "put the right disk back, or `wayside trust --start-afresh`: what it held is then lost"


def read_packed(folder: Path) -> PackedKeyring | None:
    """The keyring's file, closed; None when there is none. Raises OSError, FormatError, KeyringDamagedError."""
    try:
        with (folder / KEYRING_FILE).open("rb") as file:
            return unpack(file.read(MAX_KEYRING_BYTES))
    except FileNotFoundError:
        return None


def verify_keyring(
    folder: Path, root: RootOfTrust | None = None, held: Collection[EpochId] = ()
) -> tuple[str, ...]:
    """What is wrong with a keyring, each with what to do; never raises for anything that it finds.

    Without `root` only the file's form is checked. `held` are the epochs of the segments that are in the store.
    """
    try:
        packed = read_packed(folder)
    except (FormatError, KeyringDamagedError) as error:
        return (f"{error}; {_AFRESH}",)
    except OSError as error:
        return (f"the keyring cannot be read ({error.strerror}): check the disk and the file's mode",)
    if packed is None:
        return (f"segments, and no keyring: {_AFRESH}",) if held else ()
    problems = _left_over(folder)
    return (*problems, *(_content_problems(folder, root, held) if root is not None else ()))


def _left_over(folder: Path) -> tuple[str, ...]:
    found = []
    if [*folder.glob(f".*{TEMP_SUFFIX}")]:
        found.append("a file left over from a crash: start the device, it clears that")
    if (folder / MAKING_FILE).exists():
        found.append("a move to another root of trust was cut: `wayside trust --move` ends it")
    return tuple(found)


def _content_problems(folder: Path, root: RootOfTrust, held: Collection[EpochId]) -> tuple[str, ...]:
    try:
        keyring = Keyring.open(folder, root, read_only=True)
        lost = sorted(set(held) - set(keyring.epochs()))
        spare = _spare_keys(root)
    except KeyringElsewhereError as error:
        return (str(error),)
    except StorageError as error:
        return (f"the keyring does not open here: {error}",)
    problems = []
    if lost:
        problems.append(
            f"{len(lost)} hours have segments and no share: they open for nobody; a deletion that was cut ends by "
            "itself when the device starts, else an older copy of the keyring was put back"
        )
    if spare > 0:
        problems.append(f"{spare} keys of before are not destroyed yet: start the device, it destroys them")
    return tuple(problems)


def _spare_keys(root: RootOfTrust) -> int:
    """How many keys there are beside the current one; a deletion that runs just now has two for a moment."""
    if len(root.handles()) > 1:
        time.sleep(REWRITE_S)
    return len(root.handles()) - 1
