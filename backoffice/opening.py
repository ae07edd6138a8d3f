# SPDX-License-Identifier: Apache-2.0
"""Opening pulled segments: share from the keyring, reads key from the office, device key to check who wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric import ec

from backoffice import keys
from backoffice.devices import get_device
from backoffice.errors import NotFound
from backoffice.office import Office
from backoffice.pull import open_keyring
from backoffice.segments import SegmentFolder
from storage.errors import StorageError
from storage.format import SegmentHeader
from storage.keyring import Keyring
from storage.reader import SegmentReading, open_segment, parse_header
from storage.types import EpochId, SegmentKind
from sync.certificates import certificate_key, load_certificate
from sync.errors import BadRecord
from sync.schema import ImageRecord, ReadRecord, RecordRef, to_jsonable


@dataclass(frozen=True, slots=True)
class Opened:
    """One record: where it lay, the SHA-256 of its payload, and the payload.

    `header_sha256` is the segment's `header_hash`.
    """

    device: str
    segment: str
    index: int
    sha256: str
    kind: SegmentKind
    payload: bytes
    epoch: EpochId
    header_sha256: str

    def read(self) -> ReadRecord:
        """The read; raises BadRecord."""
        return ReadRecord.decode(self.payload)

    def as_json(self) -> dict[str, Any]:
        """The record as `open --json` prints it; a picture as its header, with its size and not its bytes."""
        if self.kind is SegmentKind.READS:
            record = to_jsonable(self.read())
        else:
            image = ImageRecord.decode(self.payload)
            record = {
                "read_id": image.read_id,
                "kind": str(image.kind),
                "media_type": image.media_type,
                "bytes": len(image.data),
            }
        return {
            "device": self.device,
            "segment": self.segment,
            "index": self.index,
            "sha256": self.sha256,
            "kind": str(self.kind),
            "record": record,
        }


def pictures_elsewhere(folder: SegmentFolder, device: str, read: ReadRecord) -> Iterator[str]:
    """Segments that a read names for its pictures and that are not here.

    They were not pulled yet, or they gave way to newer pictures on the device's full disk.
    """
    for ref in picture_refs(read):
        if not folder.path(device, ref.segment).exists():
            yield f"{device}/{ref.segment}"


def picture_refs(read: ReadRecord) -> list[RecordRef]:
    """Where a read says that its pictures lie."""
    images = read.images
    return [ref for ref in (images.crop_ref, images.scene_ref) if ref is not None] if images else []


class Opener:
    """Opens segments one by one; what does not open is told to `on_problem` and never skipped silently."""

    def __init__(self, office: Office, on_problem: Callable[[str], None]) -> None:
        self._office = office
        self._problem = on_problem
        self._reads_key = keys.load_purpose_key(office.layout, keys.READS)
        self._keyring: Keyring = open_keyring(office)
        self._device_keys: dict[str, ec.EllipticCurvePublicKey | None] = {}

    def records(
        self,
        device_id: str | None = None,
        kind: SegmentKind | None = None,
        epochs: Container[EpochId] | None = None,
    ) -> Iterator[Opened]:
        """Every record of one device or of all, of some epochs or of all, in the order of segments and indices."""
        for device, path in SegmentFolder(self._office.layout.segments).all(device_id):
            for header, index, payload in self._read(device, path, kind, epochs):
                digest = hashlib.sha256(payload).hexdigest()
                yield Opened(
                    device,
                    path.stem,
                    index,
                    digest,
                    SegmentKind(header.kind),
                    payload,
                    header.epoch,
                    header.digest.hex(),
                )

    def tell(self, problem: str) -> None:
        """Tell of something that does not open as it should."""
        self._problem(problem)

    def reads(
        self, device_id: str | None = None, epochs: Container[EpochId] | None = None
    ) -> Iterator[tuple[Opened, ReadRecord]]:
        """Every read that follows the schema; the others are problems."""
        for opened in self.records(device_id, SegmentKind.READS, epochs):
            try:
                yield opened, opened.read()
            except BadRecord as error:
                self._problem(f"{opened.device}/{opened.segment}:{opened.index}: {error}")

    def _read(
        self, device: str, path: Path, kind: SegmentKind | None, epochs: Container[EpochId] | None
    ) -> Iterator[tuple[SegmentHeader, int, bytes]]:
        """Records of one segment, one at a time in memory; what is wrong with it is told when they are through."""
        name = f"{device}/{path.stem}"
        try:
            with path.open("rb") as file:
                header = parse_header(file)
                if kind is not None and header.kind != kind:
                    return
                if epochs is not None and header.epoch not in epochs:
                    return
                reading = self._opened(device, path, file, header)
                if reading is None:
                    return
                for index, payload in reading:
                    yield header, index, payload
                for problem in reading.problems:
                    self._problem(f"{name}: {problem}")
        except (StorageError, OSError, NotFound) as error:
            self._problem(f"{name}: {error}")

    def _opened(
        self, device: str, path: Path, file: BinaryIO, header: SegmentHeader
    ) -> SegmentReading | None:
        name = f"{device}/{path.stem}"
        if header.device_id != device or header.segment_id != path.stem:
            self._problem(f"{name}: the header names {header.device_id}/{header.segment_id}")
            return None
        share = self._keyring.peek(header.epoch, scope=device)
        if share is None:
            self._problem(f"{name}: no share of epoch {header.epoch}: pull it, unless retention deleted it")
            return None
        key = self._device_key(device)
        return open_segment(file, share=share, private_key=self._reads_key, verify_key=key)

    def _device_key(self, device: str) -> ec.EllipticCurvePublicKey:
        key = self._device_keys.get(device)
        if key is None:
            pem = get_device(self._office, device).cert_pem
            key = self._device_keys[device] = certificate_key(load_certificate(pem))
        return key
