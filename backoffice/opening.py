# SPDX-License-Identifier: Apache-2.0
"""Opening pulled segments: share from the keyring, reads key from the office, device key to check who wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from backoffice import keys
from backoffice.devices import get_device
from backoffice.errors import NotFound
from backoffice.office import Office
from backoffice.pull import open_keyring
from backoffice.segments import SegmentFolder
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.reader import SegmentContent, parse_header, read_segment
from storage.types import SegmentKind
from sync.certificates import certificate_key, load_certificate
from sync.errors import BadRecord
from sync.schema import ImageRecord, ReadRecord, to_jsonable


@dataclass(frozen=True, slots=True)
class Opened:
    """One record: where it lay, the SHA-256 of its payload, and the payload."""

    device: str
    segment: str
    index: int
    sha256: str
    kind: SegmentKind
    payload: bytes

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


class Opener:
    """Opens segments one by one; what does not open is told to `on_problem` and never skipped silently."""

    def __init__(self, office: Office, on_problem: Callable[[str], None]) -> None:
        self._office = office
        self._problem = on_problem
        self._reads_key = keys.load_purpose_key(office.layout, keys.READS)
        self._keyring: Keyring = open_keyring(office)
        self._device_keys: dict[str, ec.EllipticCurvePublicKey | None] = {}

    def records(self, device_id: str | None = None, kind: SegmentKind | None = None) -> Iterator[Opened]:
        """Every record of one device or of all, in the order of segments and indices."""
        for device, path in SegmentFolder(self._office.layout.segments).all(device_id):
            content = self._content(device, path, kind)
            if content is None:
                continue
            for problem in content.problems:
                self._problem(f"{device}/{path.stem}: {problem}")
            indexed = (*enumerate(content.records), *content.salvaged)
            for index, payload in indexed:
                digest = hashlib.sha256(payload).hexdigest()
                yield Opened(device, path.stem, index, digest, SegmentKind(content.header.kind), payload)

    def reads(self, device_id: str | None = None) -> Iterator[tuple[Opened, ReadRecord]]:
        """Every read that follows the schema; the others are problems."""
        for opened in self.records(device_id, SegmentKind.READS):
            try:
                yield opened, opened.read()
            except BadRecord as error:
                self._problem(f"{opened.device}/{opened.segment}:{opened.index}: {error}")

    def _content(self, device: str, path: Path, kind: SegmentKind | None) -> SegmentContent | None:
        name = f"{device}/{path.stem}"
        try:
            data = path.read_bytes()
            header = parse_header(data)
            if kind is not None and header.kind != kind:
                return None
            if header.device_id != device or header.segment_id != path.stem:
                self._problem(f"{name}: the header names {header.device_id}/{header.segment_id}")
                return None
            share = self._keyring.peek(header.epoch, scope=device)
            if share is None:
                self._problem(
                    f"{name}: no share of epoch {header.epoch}: pull it, unless retention deleted it"
                )
                return None
            return read_segment(
                data, share=share, private_key=self._reads_key, verify_key=self._device_key(device)
            )
        except (StorageError, OSError, NotFound) as error:
            self._problem(f"{name}: {error}")
            return None

    def _device_key(self, device: str) -> ec.EllipticCurvePublicKey:
        key = self._device_keys.get(device)
        if key is None:
            pem = get_device(self._office, device).cert_pem
            key = self._device_keys[device] = certificate_key(load_certificate(pem))
        return key
