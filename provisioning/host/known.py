# SPDX-License-Identifier: Apache-2.0
"""The keys of devices that this laptop has met: shown on first sight, compared ever after."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from provisioning.errors import ProvisioningError, UntrustedPeer
from provisioning.session import PeerCertificate
from storage.atomic import make_folder, write_atomic
from sync.certificates import is_device_id, spoken

MAX_FILE_BYTES = 4 * 1024 * 1024  # bytes, tens of thousands of devices


def default_path() -> Path:
    """`known-devices.json` in the user's state folder (XDG)."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "wayside-tech" / "known-devices.json"


@dataclass(frozen=True, slots=True)
class KnownDevices:
    """Device id to fingerprint, in one JSON file."""

    path: Path

    def check(self, peer: PeerCertificate) -> bool:
        """True when the device is known with this key, False when it is new; raises UntrustedPeer."""
        if not is_device_id(peer.name):
            raise UntrustedPeer("the other end does not name itself as a Wayside device does")
        remembered = self._load().get(peer.name)
        if remembered is not None and remembered != peer.fingerprint:
            raise UntrustedPeer(
                f"{peer.name} shows another key than before (now {spoken(peer.fingerprint[:16])} ...): it was reset, "
                f"or this is not the same device. Check its label; if it was reset: wayside-tech forget {peer.name}"
            )
        return remembered is not None

    def remember(self, peer: PeerCertificate) -> None:
        """Pins the device's key."""
        self._save(self._load() | {peer.name: peer.fingerprint})

    def forget(self, device_id: str) -> bool:
        """Unpins a device; whether it was known."""
        known = self._load()
        found = known.pop(device_id, None) is not None
        if found:
            self._save(known)
        return found

    def _load(self) -> dict[str, str]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            known = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
        except (ValueError, RecursionError):
            known = None
        if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
            raise ProvisioningError(
                f"{self.path} is damaged; check the devices by their labels and remove it"
            )
        return known

    def _save(self, known: dict[str, str]) -> None:
        make_folder(self.path.parent)
        write_atomic(self.path, json.dumps(known, sort_keys=True, indent=1).encode(), mode=0o600)
