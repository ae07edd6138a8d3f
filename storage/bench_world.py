# SPDX-License-Identifier: Apache-2.0
"""What the parts of `wayside bench store` share: payload, one device with its agency, and a count of its writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from storage.files import Files
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import EPOCH_US, Recipient, SegmentKind, StoreLimits

READ_BYTES, CROP_BYTES, SCENE_BYTES = 200, 8_000, 60_000
PAYLOAD_BYTES = READ_BYTES + CROP_BYTES + SCENE_BYTES
SEED = 5
FIRST_US = 490_880 * EPOCH_US  # the records' time; any hour does
MB = 1e6

_rng = random.Random(SEED)  # noqa: S311 -- repeatable inputs, no secrets
READ, CROP, SCENE = (_rng.randbytes(size) for size in (READ_BYTES, CROP_BYTES, SCENE_BYTES))


class CountingFiles(Files):
    """Counts syncs of files and folders, and the bytes that are written."""

    def __init__(self) -> None:
        self.syncs = 0
        self.written = 0

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """As `Files`, counted."""
        taken = super().write(fd, data)
        self.written += taken
        return taken

    def fsync(self, fd: int) -> None:
        """As `Files`, counted."""
        self.syncs += 1
        super().fsync(fd)

    def fsync_dir(self, folder: Path) -> None:
        """As `Files`, counted."""
        self.syncs += 1
        super().fsync_dir(folder)


class BenchDevice:
    """A device below `folder`, and the agency's key that opens what it sealed."""

    def __init__(self, folder: Path, *, limits: StoreLimits | None = None) -> None:
        self.folder = folder
        self.files = CountingFiles()
        self.agency = ec.generate_private_key(ec.SECP256R1())
        self.signer = ec.generate_private_key(ec.SECP256R1())
        self.keyring = Keyring.open(
            folder / "keyring", FileRootOfTrust(folder / "trust", files=self.files), files=self.files
        )
        self.store = Store.open(
            folder / "store",
            keyring=self.keyring,
            recipients=[Recipient.of(self.agency.public_key())],
            signer=self.signer,
            device_id="bench",
            boot_id="bench",
            limits=limits or StoreLimits(),
            files=self.files,
        )

    def seal(self, at_us: int) -> None:
        """Append one read with its two pictures."""
        self.store.append(SegmentKind.IMAGES, CROP, at_us=at_us)
        self.store.append(SegmentKind.IMAGES, SCENE, at_us=at_us)
        self.store.append(SegmentKind.READS, READ, at_us=at_us)


def took(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by the clock or by `time.process_time`."""
    start = clock()
    work()
    return clock() - start
