# SPDX-License-Identifier: Apache-2.0
"""Where everything lies in a device's data folder; the only place that knows these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SEGMENT_SUFFIX = ".wseg"
KEYRING_FILE = "keyring.wkr"
RETENTION_FILE = "retention.json"
RECEIPTS_FILE = "receipts.jsonl"
POLICIES_FILE = "policies.json"
RECOVERED_FILE = "recovered.json"  # in the store: runs whose segments were looked through after a crash


@dataclass(frozen=True, slots=True)
class DataLayout:
    """Paths below a device's data folder `root`."""

    root: Path

    @property
    def store(self) -> Path:
        """Segments, in `reads/` and `images/`."""
        return self.root / "store"

    @property
    def keyring(self) -> Path:
        """The keyring's folder."""
        return self.root / "keyring"

    @property
    def trust(self) -> Path:
        """Slots of the file root of trust."""
        return self.root / "trust"

    @property
    def hits_spool(self) -> Path:
        """Hits that wait for the office."""
        return self.root / "spool" / "hits"

    @property
    def receipts_spool(self) -> Path:
        """Deletion receipts that wait for the office."""
        return self.root / "spool" / "receipts"

    @property
    def audit(self) -> Path:
        """The audit chain."""
        return self.root / "audit.jsonl"

    @property
    def retention(self) -> Path:
        """Folder of the receipt chain and of what a deletion needs to finish after a crash."""
        return self.root / "retention"

    @property
    def policies(self) -> Path:
        """The retention policies that hold for what is stored."""
        return self.retention / POLICIES_FILE

    @property
    def policy_offer(self) -> Path:
        """The signed retention policy that the sync service last took from the office, for the eye."""
        return self.root / "retention-policy.signed"

    @property
    def lists(self) -> Path:
        """Hot lists, sealed at rest."""
        return self.root / "lists"

    @property
    def identity(self) -> Path:
        """The device's key, certificate and enrolment."""
        return self.root / "identity"

    @property
    def state(self) -> Path:
        """Small state, one JSON file."""
        return self.root / "state.json"

    @property
    def run(self) -> Path:
        """Sockets of running services."""
        return self.root / "run"
