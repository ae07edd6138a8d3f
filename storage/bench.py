# SPDX-License-Identifier: Apache-2.0
"""How fast sealing and opening are on this machine, measured through the real store."""

from __future__ import annotations

import os
import resource
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from storage.files import Files
from storage.keyring import Keyring
from storage.reader import read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import Recipient, SegmentKind, epoch_of

READ_BYTES, CROP_BYTES, SCENE_BYTES = 200, 8_000, 60_000
COMMIT_EVERY_S = 1.0
ROAD_READS_PER_S = 20
FIRST_US = 1_767_225_600_000_000  # the records' time; any hour does
MAX_OPENED_BYTES = 64 << 20


class _CountingFiles(Files):
    """Counts syncs of files and folders."""

    def __init__(self) -> None:
        self.syncs = 0

    def fsync(self, fd: int) -> None:
        self.syncs += 1
        super().fsync(fd)

    def fsync_dir(self, folder: Path) -> None:
        self.syncs += 1
        super().fsync_dir(folder)


def bench_store(seconds: float, folder: Path) -> dict[str, float]:
    """Seal reads with their images, half of `seconds` at full speed and half at a busy road's; then open them.

    Full speed gives `sealed_reads_per_s`; `fsyncs_per_s` and `ack_ms_p95` (append to the return of the commit
    that covers it) are of the road, with a commit each second as on the device. `overhead_ratio` is bytes on
    disk over bytes of payload, less 1.
    """
    agency = ec.generate_private_key(ec.SECP256R1())
    keyring = Keyring.open(folder / "keyring", FileRootOfTrust(folder / "trust"))
    files = _CountingFiles()
    store = Store.open(
        folder / "store",
        keyring=keyring,
        recipients=[Recipient.of(agency.public_key())],
        signer=ec.generate_private_key(ec.SECP256R1()),
        device_id="bench",
        boot_id="bench",
        files=files,
    )
    rss_before = _peak_rss_mb()
    fast = _seal(store, seconds / 2, pause_s=0)
    syncs_before = files.syncs
    road = _seal(store, seconds / 2, pause_s=1 / ROAD_READS_PER_S)
    syncs = files.syncs - syncs_before
    store.close()
    reads = len(fast.acks_s) + len(road.acks_s)
    on_disk = sum(info.size for info in store.segments())
    return {
        "sealed_reads_per_s": len(fast.acks_s) / fast.spent_s,
        "bytes_per_read": on_disk / reads,
        "overhead_ratio": on_disk / reads / (READ_BYTES + CROP_BYTES + SCENE_BYTES) - 1,
        "fsyncs_per_s": syncs / road.spent_s,
        "ack_ms_p95": sorted(road.acks_s)[int(0.95 * (len(road.acks_s) - 1))] * 1e3,
        "rss_growth_mb": _peak_rss_mb() - rss_before,
        "open_mb_per_s": _open_speed(store, keyring, agency),
    }


@dataclass(frozen=True, slots=True)
class _Phase:
    acks_s: list[float]  # append to acknowledgement, of each read
    spent_s: float


def _seal(store: Store, seconds: float, *, pause_s: float) -> _Phase:
    read, crop, scene = (secrets.token_bytes(size) for size in (READ_BYTES, CROP_BYTES, SCENE_BYTES))
    acks: list[float] = []
    waiting: list[float] = []
    start = committed = time.monotonic()
    while True:
        store.append(SegmentKind.IMAGES, crop, at_us=FIRST_US)
        store.append(SegmentKind.IMAGES, scene, at_us=FIRST_US)
        store.append(SegmentKind.READS, read, at_us=FIRST_US)
        now = time.monotonic()
        waiting.append(now)
        if now - committed >= COMMIT_EVERY_S or now - start >= seconds:
            store.commit()
            committed = time.monotonic()
            acks += [committed - since for since in waiting]
            waiting.clear()
            if committed - start >= seconds:
                break
        time.sleep(pause_s)
    return _Phase(acks, time.monotonic() - start)


def _open_speed(store: Store, keyring: Keyring, agency: ec.EllipticCurvePrivateKey) -> float:
    """MB of plaintext opened a second, from bytes in memory, images only."""
    share = keyring.peek(epoch_of(FIRST_US)) or b""
    opened = spent = 0.0
    for info in store.segments():
        if info.kind is SegmentKind.IMAGES and opened < MAX_OPENED_BYTES:
            data = info.path.read_bytes()
            start = time.perf_counter()
            content = read_segment(data, share=share, private_key=agency, verify_key=None)
            spent += time.perf_counter() - start
            opened += sum(map(len, content.records))
    return opened / 1e6 / spent


def _peak_rss_mb() -> float:
    unit = 1024 if os.uname().sysname == "Linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
