# SPDX-License-Identifier: Apache-2.0
"""A new keyring in place of one that does not open any more. Only a person decides that; no service calls it.

Order of writes: the file `making` names the root of trust; the keyring's file is set aside under another name (sole
commit point: until here nothing changed); then it is made as any new keyring is, which destroys every other slot of
that root. Cut after the commit point, the next writer makes it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from storage.atomic import locked, make_folder, write_atomic
from storage.errors import (
    FormatError,
    KeyringBusyError,
    KeyringError,
    KeyringOpensError,
    WriteFailedError,
)
from storage.files import OS_FILES, Files
from storage.keyring import LOCK_FILE, LOCK_TIMEOUT_S, MAKING_FILE, Keyring
from storage.layout import KEYRING_FILE
from storage.root_of_trust import RootOfTrust


def start_afresh(folder: Path, root: RootOfTrust, *, files: Files = OS_FILES) -> Path | None:
    """Make a new keyring; where the old file was set aside, if there was one. What it held is lost.

    Raises KeyringOpensError when it is not needed, RootOfTrustError when the root of trust itself fails.
    """
    root.handles()  # a root of trust that fails is no reason to give a keyring up
    _refuse_if_it_opens(folder, root)
    make_folder(folder, files=files)
    with locked(folder / LOCK_FILE, LOCK_TIMEOUT_S) as free:
        if not free:
            raise KeyringBusyError("the keyring is in use: stop the services, then try again")
        aside = _set_aside(folder, root, files)
    Keyring.open(folder, root, files=files)
    return aside


def _refuse_if_it_opens(folder: Path, root: RootOfTrust) -> None:
    try:
        Keyring.open(folder, root, read_only=True)
    except (KeyringError, FormatError):
        return
    raise KeyringOpensError("the keyring opens: there is nothing to start afresh")


def _set_aside(folder: Path, root: RootOfTrust, files: Files) -> Path | None:
    path = folder / KEYRING_FILE
    aside = path.with_name(f"{KEYRING_FILE}.lost-{secrets.token_hex(4)}")
    try:
        write_atomic(folder / MAKING_FILE, f"{root.name} ".encode(), files=files)
        if not path.exists():
            return None
        files.replace(path, aside)
        files.fsync_dir(folder)
    except OSError as error:
        raise WriteFailedError(f"cannot set {path} aside: check the disk") from error
    return aside
