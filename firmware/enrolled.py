# SPDX-License-Identifier: Apache-2.0
"""An enrolled device as its services find it: identity, keys, policy, and where they leave things for each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drivers.ports import Watchdog
from drivers.registry import open_watchdog
from firmware.config import StorageConfig
from firmware.errors import NotEnrolledError
from provisioning.identity import BUNDLE_FILE, Identity
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.retention import RetentionPolicy
from storage.root_of_trust import FileRootOfTrust, RootOfTrust
from storage.root_tpm2 import TpmRootOfTrust
from storage.root_watched import WatchedRoot
from storage.types import Recipient
from sync.enrolment import EnrolmentBundle

LIST_BOX = "hotlists"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The device's identity with the agency's bundle."""

    identity: Identity
    bundle: EnrolmentBundle

    def recipients(self, purpose: Literal["reads", "hits"]) -> list[Recipient]:
        """The agency's keys for one purpose ("reads", "hits")."""
        return [Recipient.from_pem(key.public_pem.encode()) for key in self.bundle.recipients_for(purpose)]


def enrolled(layout: DataLayout) -> Enrolled:
    """Identity and bundle; raises NotEnrolledError."""
    identity = Identity.load(layout.identity)
    bundle = identity.bundle
    if bundle is None:
        raise NotEnrolledError(f"{layout.root}: not enrolled; run `wayside-tech enrol` over the serial link")
    return Enrolled(identity, bundle)


def root_of_trust(config: StorageConfig, layout: DataLayout, name: str | None = None) -> RootOfTrust:
    """The configured root of trust, or the one that is called `name`."""
    if (name or config.root_of_trust) == TpmRootOfTrust.name:
        return TpmRootOfTrust(config.tpm_tcti, config.tpm_nv_base)
    return FileRootOfTrust(layout.trust)


def open_keyring(config: StorageConfig, layout: DataLayout, *, read_only: bool) -> Keyring:
    """The keyring behind the configured root of trust; raises KeyringError kinds and RootOfTrustError.

    A move that was cut after it left the file root ends here, when it is opened to write.
    """
    root = WatchedRoot(root_of_trust(config, layout))
    keyring = Keyring.open(layout.keyring, root, read_only=read_only)
    if not read_only:
        keyring.finish_move(FileRootOfTrust(layout.trust))
    return keyring


def retention_policy(bundle: EnrolmentBundle) -> RetentionPolicy:
    """The agency's retention policy, from its signed bundle."""
    first = bundle.retention
    return RetentionPolicy(seconds=first.seconds, version=first.version, number=first.number)


def offer_path(layout: DataLayout) -> Path:
    """Where sync leaves the office's time for the eye."""
    return layout.run / "office-time.json"


def learn_path(layout: DataLayout) -> Path:
    """A file that asks the eye to forget what its camera used to show."""
    return layout.run / "learn-camera"


def ask_to_learn(layout: DataLayout) -> None:
    """Asks the running eye, or the next one that starts; raises OSError."""
    learn_path(layout).touch()


def enrolment_stamp(layout: DataLayout) -> tuple[int, int] | None:
    """Changes when the device is enrolled anew or reset: the services then start again with the new bundle."""
    return file_stamp(layout.identity / BUNDLE_FILE)


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file is replaced; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def open_service_watchdog() -> Watchdog:
    """systemd's, where systemd started us; else nobody watches."""
    return open_watchdog("systemd" if "NOTIFY_SOCKET" in os.environ else "none", {})
