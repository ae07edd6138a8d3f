# SPDX-License-Identifier: Apache-2.0
"""`wayside trust`: where the keyring's key lives, how it moves, and a new keyring for a lost one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from firmware.config import DeviceConfig
from firmware.enrolled import open_keyring, root_of_trust
from firmware.errors import TrustError
from firmware.stopped import services_stopped
from provisioning.errors import IdentityError
from provisioning.identity import Identity
from storage import keyring_afresh
from storage.audit import AuditLog
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.keyring_check import read_packed
from storage.layout import DataLayout
from storage.root_of_trust import FileRootOfTrust
from storage.root_tpm2 import TpmRootOfTrust

ROOTS = (FileRootOfTrust.name, TpmRootOfTrust.name)
WHAT_IS_LOST = (
    "what the keyring held is lost: reads and images that the office has not pulled open for nobody, hot lists come "
    "anew from the office; hits that wait are not touched. If that is meant, say --yes"
)
T = TypeVar("T")


def _told(work: Callable[[], T]) -> T:
    """The result; what storage raises as an error for the terminal."""
    try:
        return work()
    except StorageError as error:
        raise TrustError(str(error)) from error


def describe(config: DeviceConfig) -> list[str]:
    """Lines that say where the key is and what it opens; raises TrustError when it does not open."""
    layout = DataLayout(config.data_dir)
    keyring = _told(lambda: open_keyring(config.storage, layout, read_only=True))
    promise = (
        "best effort: flash may keep a destroyed key" if keyring.root.best_effort else "destroyed is gone"
    )
    slots = _told(keyring.root.handles)
    lines = [
        f"root of trust: {keyring.root.name} ({promise})",
        f"keyring: opens, {len(keyring.epochs())} hours, {len(slots)} {'key' if len(slots) == 1 else 'keys'}",
    ]
    if keyring.left:
        lines.append(
            f"a move was cut: old keys are left in {keyring.left!r}; `wayside trust --move` destroys them"
        )
    return lines


def move(config: DeviceConfig) -> list[str]:
    """Bring the keyring under the configured root of trust; asked again after a cut it ends what was left.

    Raises TrustError, or FirmwareError while a service runs: it would go on with a keyring that is not here any more.
    """
    layout = DataLayout(config.data_dir)
    with services_stopped(layout):
        return _told(lambda: _move(config, layout))


def _move(config: DeviceConfig, layout: DataLayout) -> list[str]:
    packed = read_packed(layout.keyring)
    wanted = config.storage.root_of_trust
    if packed is None:
        raise TrustError(f"no keyring in {layout.keyring}: the eye makes it where the configuration says")
    if packed.root not in ROOTS:
        raise TrustError(
            f"the keyring is in a root of trust {packed.root!r} that this software does not know"
        )
    root = root_of_trust(config.storage, layout)
    if packed.root == wanted:
        keyring = Keyring.open(layout.keyring, root)
        if keyring.left in ROOTS:
            keyring.finish_move(root_of_trust(config.storage, layout, keyring.left))
    else:
        Keyring.open(layout.keyring, root_of_trust(config.storage, layout, packed.root)).move_to(root)
        _record(layout, "keyring_moved", {"from": packed.root, "to": wanted})
    return [f"the keyring's key is in {wanted!r}; the keys that it had elsewhere are destroyed"]


def start_afresh(config: DeviceConfig, *, sure: bool) -> list[str]:
    """A new keyring in place of one that does not open; raises as `move`, and TrustError unless `sure`."""
    if not sure:
        raise TrustError(WHAT_IS_LOST)
    layout = DataLayout(config.data_dir)
    with services_stopped(layout):
        return _start_afresh(config, layout)


def _start_afresh(config: DeviceConfig, layout: DataLayout) -> list[str]:
    root = root_of_trust(config.storage, layout)
    _refuse_if_another_root_opens_it(config, layout)
    aside = _told(lambda: keyring_afresh.start_afresh(layout.keyring, root))
    _told(
        lambda: _record(layout, "keyring_started_afresh", {"root": root.name, "set_aside": aside is not None})
    )
    where = f"; the old file is kept as {aside.name}" if aside is not None else ""
    return [f"a new keyring in {root.name!r}{where}; start the services again"]


def _refuse_if_another_root_opens_it(config: DeviceConfig, layout: DataLayout) -> None:
    for name in ROOTS:
        if name == config.storage.root_of_trust:
            continue
        try:
            Keyring.open(layout.keyring, root_of_trust(config.storage, layout, name), read_only=True)
        except StorageError:
            continue
        raise TrustError(
            f"the keyring opens in {name!r}: `wayside trust --move` brings it over, nothing is lost"
        )


def _record(layout: DataLayout, event: str, fields: dict[str, object]) -> None:
    try:
        key = Identity.load(layout.identity).key
    except IdentityError:
        key = None
    AuditLog.open_or_begin(layout.audit, key).append(event, fields)
