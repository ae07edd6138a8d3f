# SPDX-License-Identifier: Apache-2.0
"""The eye's way to the disk (reader, alerts, keeper, vault, store, spool, deletion) on a disk that fails as told."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from firmware.alerts import Alerts
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.health_book import book
from firmware.keeper import Keeper
from firmware.ledger import Ledger
from firmware.reader import Reader
from firmware.records import Origin
from firmware.sealing import Vault
from firmware.tap import Tap
from storage.audit import AuditLog
from storage.ballast import BALLAST_FILE, Ballast
from storage.files import Files
from storage.giving_way import GivingWay
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.reader import read_segment
from storage.retention import Retention, RetentionPolicy, TimeEvidence
from storage.root_of_trust import FileRootOfTrust
from storage.spool import Spool
from storage.store import Store, list_segments
from storage.types import Recipient, SegmentKind, StoreLimits
from sync.schema import HitRecord, ImageKind, ImageRecord, ReadRecord
from tests.sync.factories import entry, hit_record

from .test_matching import make_read

HOUR_US = 3_600_000_000
T0_US = 500_000 * HOUR_US
BROKEN = (
    "create",
    "append_to",
    "write",
    "allocate",
    "fsync",
    "truncate",
    "replace",
    "link",
    "unlink",
    "fsync_dir",
)


class TroubledFiles(Files):
    """A disk that, from one moment to the next, refuses calls with an errno or lets an fsync hang."""

    def __init__(self) -> None:
        self.refuse: int | None = None
        self.refused_calls: tuple[str, ...] = BROKEN
        self.flows = threading.Event()  # cleared: an fsync hangs until it is set
        self.flows.set()
        self.written = 0
        self.fsyncs = 0

    def _meet(self, call: str) -> None:
        if self.refuse is not None and call in self.refused_calls:
            raise OSError(self.refuse, errno.errorcode[self.refuse])

    def create(self, path: Path, mode: int = 0o600) -> int:
        self._meet("create")
        return super().create(path, mode)

    def append_to(self, path: Path, mode: int = 0o600) -> int:
        self._meet("append_to")
        return super().append_to(path, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._meet("write")
        taken = super().write(fd, data)
        self.written += taken
        return taken

    def allocate(self, fd: int, size: int) -> None:
        self._meet("allocate")
        super().allocate(fd, size)

    def fsync(self, fd: int) -> None:
        self.flows.wait(60.0)
        self._meet("fsync")
        self.fsyncs += 1
        super().fsync(fd)

    def truncate(self, path: Path, size: int) -> None:
        self._meet("truncate")
        super().truncate(path, size)

    def replace(self, source: Path, target: Path) -> None:
        self._meet("replace")
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._meet("link")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._meet("unlink")
        super().unlink(path)

    def fsync_dir(self, folder: Path) -> None:
        self.flows.wait(60.0)
        self._meet("fsync_dir")
        super().fsync_dir(folder)


class DiskRig:
    """Passes and hits go in by `see` and `hit`; the jobs are done by `work`, or by threads of the test."""

    def __init__(
        self,
        folder: Path,
        files: Files | None = None,
        *,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- frozen
        policy_s: int = 30 * 86_400,
        ballast_bytes: int = 1 << 16,
        spool_files: Files | None = None,
        signer: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        self.files = files or Files()
        self.layout = DataLayout(folder)
        self.layout.run.mkdir(parents=True, exist_ok=True)
        self.agency = ec.generate_private_key(ec.SECP256R1())
        self.signer = signer or ec.generate_private_key(ec.SECP256R1())
        recipient = Recipient.of(self.agency.public_key())
        trust = FileRootOfTrust(self.layout.trust, files=self.files)
        self.keyring = Keyring.open(self.layout.keyring, trust, files=self.files)
        self.store = Store.open(
            self.layout.store,
            keyring=self.keyring,
            recipients=[recipient],
            signer=self.signer,
            device_id="dev-1",
            boot_id="boot-1",
            limits=limits,
            files=self.files,
        )
        self.hits = Spool.open(self.layout.hits_spool, files=spool_files or self.files)
        self.audit = AuditLog.open_or_begin(self.layout.audit, self.signer, files=self.files)
        self.retention = Retention(
            self.layout.store,
            self.layout.retention,
            keyring=self.keyring,
            policy=RetentionPolicy(policy_s, "p-1"),
            signer=self.signer,
            device_id="dev-1",
            audit=self.audit,
            store=self.store,
            files=self.files,
            ballast_bytes=ballast_bytes,
        )
        self.retention.run(self.evidence(T0_US))  # as an eye does when it starts
        room = GivingWay(
            self.layout.store,
            audit=self.audit,
            ballast=Ballast(self.layout.retention / BALLAST_FILE, ballast_bytes, files=self.files),
            store=self.store,
            limits=limits,
            files=self.files,
        )
        self.vault = Vault(self.store, self.hits, self.retention, [recipient], room)
        self.ledger = Ledger(self.layout.root / "ledger.json")
        self.keeper = Keeper()
        self.announced: list[HitRecord] = []
        self.alerts = Alerts(
            self.vault,
            self.ledger,
            Tap(None),
            self.layout.run / "alerts.json",
            30.0,
            self.announced.append,
            self.keeper,
        )
        self.book = book(self.ledger, self.audit, "cam0", self.keeper)
        nothing: Any = SimpleNamespace()
        self.reader = Reader(
            nothing,
            nothing,
            self.vault,
            nothing,
            self.alerts,
            clock=DeviceClock(self.layout.root / "clock.json"),
            ledger=self.ledger,
            tap=Tap(None),
            origin=Origin("dev-1", "cam0"),
            settings=EyeConfig(),
            later=self.keeper,
        )
        self.passes = 0

    def see(self, at_us: int, crop: bytes = b"crop", scene: bytes = b"") -> bool:
        """One vehicle has passed, its plate was read; whether the read was taken."""
        self.passes += 1
        read = make_read(read_id=f"r{self.passes}", captured_us=at_us)
        images = [
            ImageRecord(read_id=read.read_id, kind=kind, media_type="image/jpeg", data=data)
            for kind, data in ((ImageKind.CROP, crop), (ImageKind.SCENE, scene))
            if data
        ]
        return self.reader._put_away(read, images, "sim")

    def hit(self, number: int) -> None:
        """A listed plate was read."""
        self.alerts.raise_all([hit_record(hit_id=f"{number:032x}", entry=entry(entry_id=f"e{number}"))])

    def commit(self) -> None:
        """Everything that waits is done and made durable."""
        self.keeper.work()
        self.vault.commit()

    def evidence(self, now_us: int) -> TimeEvidence:
        return TimeEvidence(now_us, 1000, ("gnss", "office"))

    def opened(self, kind: SegmentKind) -> list[bytes]:
        """The records that lie on the disk and open, by segment and index."""
        found: list[bytes] = []
        ring = Keyring.open(self.layout.keyring, FileRootOfTrust(self.layout.trust), read_only=True)
        for info in list_segments(self.layout.store):
            share = ring.peek(info.epoch)
            if info.kind is kind and share is not None:
                content = read_segment(
                    info.path.read_bytes(), share=share, private_key=self.agency, verify_key=None
                )
                found += content.records
        return found

    def reads(self) -> list[ReadRecord]:
        """The reads that lie on the disk and open."""
        return [ReadRecord.decode(payload) for payload in self.opened(SegmentKind.READS)]

    def counted(self) -> dict[str, int]:
        """The ledger, with what the vault counts, as it is persisted."""
        return {**self.ledger.totals(), **{what: n for what, n in self.vault.counts().items() if n}}
