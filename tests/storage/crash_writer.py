# SPDX-License-Identifier: Apache-2.0
"""Appends and commits until it is killed; prints each batch of indexes once it is acknowledged."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from storage_world import T0

from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import EPOCH_US, Recipient, SegmentKind, StoreLimits


def payload(run: int, number: int) -> bytes:
    return b"%d:%d:" % (run, number) + bytes(number * 37 % 3000)


def main(root: Path, run: int) -> None:
    store = Store.open(
        root / "store",
        keyring=Keyring.open(root / "keyring", FileRootOfTrust(root / "trust")),
        recipients=[Recipient.of(load_pem_public_key((root / "agency.pem").read_bytes()))],
        signer=load_pem_private_key((root / "device.pem").read_bytes(), None),
        device_id="pole-7",
        boot_id=f"boot-{run}",
        limits=StoreLimits(max_segment_bytes=60_000, write_buffer_bytes=2000),
    )
    number = 0
    while True:
        for _ in range(1 + number % 7):
            kind = SegmentKind.IMAGES if number % 3 == 0 else SegmentKind.READS
            store.append(kind, payload(run, number), at_us=T0 + number // 200 * EPOCH_US)
            number += 1
        store.commit()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % 50 == 0:
            store.roll(T0 + number // 200 * EPOCH_US)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
