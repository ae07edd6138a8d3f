# SPDX-License-Identifier: Apache-2.0
"""Sealing what a hold chose anew, under the case's own share."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from backoffice import keys
from backoffice.errors import BadRequest, NotFound
from backoffice.hits import HitStore
from backoffice.hold_choice import pictures_of
from backoffice.hold_file import ChosenRead, Hold
from backoffice.office import Office
from backoffice.opening import Opened, Opener, picture_refs
from backoffice.pull import open_keyring
from backoffice.segments import SegmentFolder
from storage.errors import StorageError
from storage.files import Files
from storage.hold import (
    CaseSeal,
    CaseWriter,
    HeldKind,
    HeldRecord,
    HeldSegment,
    case_files,
    case_share,
    read_case,
)
from storage.hold_proof import source_proof
from storage.types import Recipient
from sync.errors import BadRecord
from sync.schema import ReadRecord

_KINDS = {"reads": HeldKind.READ, "images": HeldKind.IMAGE}


def signer(office: Office) -> ec.EllipticCurvePrivateKey:
    """The key that signs a case's segments: the audit log's, the one that stays for as long as what it signed."""
    return keys.load_purpose_key(office.layout, keys.AUDIT)


class Sealing:
    """Seals what a hold chose: from the sources, and from what an attempt that was cut off had sealed already."""

    def __init__(self, office: Office, hold: Hold, folder: Path, files: Files) -> None:
        self._office = office
        self._hold = hold
        self._folder = folder
        self._files = files
        self._key = keys.load_purpose_key(office.layout, keys.READS)
        self._keyring = open_keyring(office)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._opener = Opener(office, self.problems.append)
        self._seen: set[tuple[str, str, str, int]] = set()
        self._pictures: dict[tuple[str, str, str, int], str] = {}  # places that held reads name: which read

    def seal(self) -> tuple[HeldSegment, ...]:
        """The closed segments; none when nothing was left. Raises StorageError kinds."""
        hold = self._hold
        if hold.epoch is None:
            raise BadRequest("the hold has no epoch: its document was altered")
        earlier = case_files(self._folder)
        share = case_share(self._keyring, hold.scope, hold.epoch)
        recipients = [Recipient.of(self._key.public_key())]
        seal = CaseSeal(hold.scope, hold.epoch, share, recipients, signer(self._office))
        writer = CaseWriter(self._folder, seal, files=self._files)
        try:
            for record in self._records(earlier):
                if record.place not in self._seen:
                    self._seen.add(record.place)
                    self.counts[record.kind] += 1
                    writer.add(record, self._office.clock())
                    self._note_pictures(record)
            segments = writer.finish()
        finally:
            writer.abandon()  # nothing is left to give up unless this was cut off
        self._tell_lost()
        return segments

    def _records(self, earlier: list[Path]) -> Iterator[HeldRecord]:
        reads = {(read.device, read.segment, read.index): read for read in self._hold.reads}
        yield from self._again(earlier)
        for opened in itertools.chain(self._reads(reads), pictures_of(self._opener, reads.values())):
            yield _held(opened)
        yield from self._hits()
        yield from self._proofs()

    def _again(self, earlier: list[Path]) -> Iterator[HeldRecord]:
        """What an attempt that was cut off had sealed; its torn end is no problem of this one."""
        yield from read_case(
            earlier,
            self._hold.scope,
            self._keyring,
            private_key=self._key,
            verify_key=signer(self._office).public_key(),
            on_problem=lambda _: None,
        )

    def _reads(self, reads: dict[tuple[str, str, int], ChosenRead]) -> Iterator[Opened]:
        epochs: dict[str, set[int]] = {}
        for read in reads.values():
            epochs.setdefault(read.device, set()).add(read.epoch)
        for device in sorted(epochs):
            for opened, _ in self._opener.reads(device, epochs[device]):
                wanted = reads.get((device, opened.segment, opened.index))
                if wanted is not None and wanted.sha256 == opened.sha256:
                    yield opened

    def _hits(self) -> Iterator[HeldRecord]:
        if not self._hold.hits:
            return
        store = HitStore(self._office, keys.load_purpose_key(self._office.layout, keys.HITS))
        for chosen in self._hold.hits:
            with contextlib.suppress(NotFound):
                record = store.get(chosen.hit_id).record
                if record is not None:
                    payload = record.encode()
                    yield HeldRecord(HeldKind.HIT, chosen.device, chosen.hit_id, 0, "", payload)

    def _proofs(self) -> Iterator[HeldRecord]:
        """Of every segment that a held record came from, also of one that an earlier attempt sealed from."""
        folder = SegmentFolder(self._office.layout.segments)
        places = {kind: {place[1:3] for place in self._seen if place[0] == kind} for kind in HeldKind}
        for device, segment in sorted(
            (places[HeldKind.READ] | places[HeldKind.IMAGE]) - places[HeldKind.PROOF]
        ):
            try:
                yield source_proof(device, folder.path(device, segment))
            except (StorageError, OSError) as error:
                self.problems.append(f"{device}/{segment}: what its device signed is not kept: {error}")

    def _note_pictures(self, record: HeldRecord) -> None:
        """A read says where its pictures lie: each of them must be held in the end, or be told."""
        if record.kind is not HeldKind.READ:
            return
        try:
            read = ReadRecord.decode(record.payload)
        except BadRecord as error:
            self.problems.append(f"{record.device}/{record.segment}:{record.index}: {error}")
            return
        for ref in picture_refs(read):
            self._pictures[HeldKind.IMAGE, record.device, ref.segment, ref.index] = read.read_id

    def _tell_lost(self) -> None:
        for read in self._hold.reads:
            if (HeldKind.READ, read.device, read.segment, read.index) not in self._seen:
                where = f"{read.device}/{read.segment}:{read.index}"
                self.problems.append(f"{where}: is not held: its retention ended, or it is damaged")
        for hit in self._hold.hits:
            if (HeldKind.HIT, hit.device, hit.hit_id, 0) not in self._seen:
                self.problems.append(
                    f"hit {hit.hit_id}: is not held: its retention ended, or it does not open"
                )
        for place in sorted(self._pictures.keys() - self._seen):
            _, device, segment, index = place
            self.problems.append(
                f"{device}/{segment}:{index}: this picture of {self._pictures[place]} is not held: "
                "it was not pulled, it died, or it is damaged"
            )


def _held(opened: Opened) -> HeldRecord:
    return HeldRecord(
        _KINDS[opened.kind], opened.device, opened.segment, opened.index, opened.header_sha256, opened.payload
    )
