# SPDX-License-Identifier: Apache-2.0
"""Where everything lies in the office's data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OfficeLayout:
    """Paths under one data folder; nothing here touches the disk."""

    root: Path

    @property
    def settings(self) -> Path:
        """`office.json`: the agency's name, addresses and retention."""
        return self.root / "office.json"

    @property
    def pki(self) -> Path:
        """Certificates and their keys."""
        return self.root / "pki"

    @property
    def keys(self) -> Path:
        """Recipient, list-signing, audit and session keys."""
        return self.root / "keys"

    @property
    def database(self) -> Path:
        """The default database (SQLite)."""
        return self.root / "office.db"

    @property
    def blobs(self) -> Path:
        """Sealed bodies of hits, named by their SHA-256."""
        return self.root / "blobs"

    @property
    def segments(self) -> Path:
        """Sealed segments, one folder a device."""
        return self.root / "segments"

    @property
    def holds(self) -> Path:
        """Records held for cases, one folder a hold."""
        return self.root / "holds"

    @property
    def keyring(self) -> Path:
        """Epoch shares pulled from devices."""
        return self.root / "keyring"

    @property
    def trust(self) -> Path:
        """The file root of trust behind the keyring."""
        return self.root / "trust"

    @property
    def lists(self) -> Path:
        """Hot lists: drafts and every signed version."""
        return self.root / "lists"

    @property
    def audit(self) -> Path:
        """The audit chain."""
        return self.root / "audit.jsonl"

    @property
    def audit_rules(self) -> Path:
        """What an audit looks for; the defaults where the file is not there."""
        return self.root / "audit-rules.toml"

    @property
    def retention_clock(self) -> Path:
        """When the last round of deletion was, by which a jump of the clock is noticed."""
        return self.root / "retention-clock.json"

    @property
    def serving(self) -> Path:
        """The addresses of the running server, for the commands beside it."""
        return self.root / "run" / "serve.json"

    def folders(self) -> tuple[Path, ...]:
        """Every folder that init makes."""
        return (
            self.pki,
            self.keys,
            self.blobs,
            self.segments,
            self.holds,
            self.keyring,
            self.trust,
            self.lists,
            self.serving.parent,
        )
