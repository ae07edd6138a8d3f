# SPDX-License-Identifier: Apache-2.0
"""A device's whole data folder as a killed eye left it, and what the agency can open of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.identity import Identity
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.reader import read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.types import Recipient
from tests.provisioning.conftest import FakeAgency

from .disk_rig import HOUR_US, T0_US, DiskRig

DAY_S = 86_400
AGENCY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device that has read for some hours, deleted on time, raised hits, and was killed while it wrote."""
    layout = DataLayout(tmp_path_factory.mktemp("verify") / "device")
    agency = FakeAgency()
    identity = Identity.create(layout.identity, "dev-1")
    identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)
    rig = DiskRig(layout.root, signer=identity.key, policy_s=DAY_S)
    rig.store._recipients = (Recipient.of(AGENCY.public_key()),)
    for hour in (0, 1, 40, 41, 42):
        for number in range(4):
            rig.see(T0_US + hour * HOUR_US + number, scene=bytes(2000))
        rig.hit(hour)
        rig.commit()
    rig.vault.tend(rig.evidence(T0_US + 42 * HOUR_US))
    rig.see(T0_US + 42 * HOUR_US, scene=bytes(2000))
    rig.commit()
    rig.audit.checkpoint()
    rig.ledger.persist()
    rig.store._release()  # as a dead process would: two segments stay without a footer
    return layout.root


@pytest.fixture
def device(sound: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "device"
    shutil.copytree(sound, copy)
    return copy


def opened(root: Path) -> set[tuple[str, int, bytes]]:
    """Every record that the agency can open with what lies there."""
    layout = DataLayout(root)
    ring = Keyring.open(layout.keyring, FileRootOfTrust(layout.trust), read_only=True)
    found = set()
    for path in layout.store.glob("*/*.wseg"):
        try:
            share = ring.peek(int(path.name.split("-")[0]))
            content = read_segment(path.read_bytes(), share=share or b"", private_key=AGENCY, verify_key=None)
        except (StorageError, ValueError, OSError):
            continue
        found |= {(path.name, n, record) for n, record in (*enumerate(content.records), *content.salvaged)}
    return found


def segment(root: Path, kind: str = "reads", number: int = 0) -> Path:
    return sorted((root / "store" / kind).glob("*.wseg"))[number]


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at if at >= 0 else len(data) // 2] ^= 1
    path.write_bytes(data)
