# SPDX-License-Identifier: Apache-2.0
"""What leaves the office of a hold: the records as files, a manifest with where each came from, the chain of custody.

Order: the records are written first, then `manifest.json`, whose SHA-256 enters the audit log (`hold_exported`); then
`custody.json` and a signed checkpoint behind that entry. So who has any later export of the audit log can check that
this manifest, and through it every file, is what left the office then.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backoffice.devices import get_device
from backoffice.errors import BadRequest, NotFound
from backoffice.hold_file import Hold
from backoffice.holds import Holds, Recorder
from backoffice.office import Office
from storage.atomic import write_atomic
from storage.audit import read_entries
from storage.errors import HeldRecordError
from storage.hold import HeldKind, HeldRecord
from storage.hold_proof import check_proof
from storage.offline import HOLD_CHECKER
from sync.certificates import certificate_key, load_certificate
from sync.errors import BadRecord
from sync.schema import HitRecord, ImageRecord, ReadRecord, canonical_json, to_jsonable

README = """This folder holds what was kept for one case beyond the agency's retention.

verify_hold.py  checks this folder with Python 3.11 and the package `cryptography`:  python verify_hold.py .
manifest.json   every file here with its SHA-256, and for each record the device, the segment and the place in it that
                it came from, and the SHA-256 of the record as its device sealed it.
proofs/         what the device itself signed of each of those segments: its header and its footer.
reads/          the reads, as JSON.   images/  the pictures.   hits/  the hits, as JSON.
sealed/         each record byte for byte as its device sealed it.
custody.json    who asked, approved, opened and exported, from the office's audit log.
checkpoint.json the signed end of that log at the time of this export.
devices/        the certificates of the devices.   audit.pub  the key of the audit log.

What this proves: the device's signature proves that it sealed such a segment, when, and, if the segment was closed, how
many records it had and the hash of all of them sealed. That a record here was one of them is the statement of the
office, which opened it before the segment died; it stands in the audit log (hold_made, hold_exported) at that time.
The SHA-256 of manifest.json stands in the audit log as well: check an export of the log with verify_audit.py.
"""
MAX_CUSTODY_ENTRIES = 10_000
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    files: int
    manifest_sha256: str
    problems: tuple[str, ...]


def shown(office: Office, record: HeldRecord) -> dict[str, Any]:
    """A held record as plain JSON, as `open --json` shows one; a picture without its bytes.

    Raises BadRecord, HeldRecordError, and NotFound for a device that is not known any more.
    """
    return {
        "device": record.device,
        "segment": record.segment,
        "index": record.index,
        "sha256": record.sha256,
        "kind": str(record.kind),
        "record": _content(office, record),
    }


def _content(office: Office, record: HeldRecord) -> dict[str, Any]:
    match record.kind:
        case HeldKind.READ:
            return dict(to_jsonable(ReadRecord.decode(record.payload)))
        case HeldKind.HIT:
            hit = dict(to_jsonable(HitRecord.decode(record.payload)))
            return {**hit, "crop_jpeg": None}
        case HeldKind.IMAGE:
            image = ImageRecord.decode(record.payload)
            about = {"read_id": image.read_id, "kind": str(image.kind), "media_type": image.media_type}
            return {**about, "bytes": len(image.data)}
        case HeldKind.PROOF:
            pem = get_device(office, record.device).cert_pem
            return asdict(check_proof(record, certificate_key(load_certificate(pem))))


def export(office: Office, holds: Holds, hold: Hold, out: Path, record: Recorder) -> Exported:
    """Write everything held to a new or empty folder. Raises BadRequest, Conflict, OSError, StorageError kinds."""
    if out.exists() and any(out.iterdir()):
        raise BadRequest(f"{out} is not empty: give a new folder")
    problems: list[str] = []
    records = holds.records(hold, problems.append)  # refused before there is a folder
    for name in ("reads", "images", "hits", "sealed", "proofs", "devices"):
        (out / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    writer = _Writer(office, out)
    for number, held in enumerate(records):
        try:
            writer.add(number, held)
        except (BadRecord, HeldRecordError, NotFound) as error:
            problems.append(f"{held.device}/{held.segment}:{held.index}: {error}")
    manifest = _pretty(writer.manifest(hold, problems))
    digest = hashlib.sha256(manifest).hexdigest()
    write_atomic(out / "manifest.json", manifest)
    record(
        "hold_exported", hold=hold.hold_id, case=hold.case, files=len(writer.files), manifest_sha256=digest
    )
    custody = [asdict(entry) for entry in _custody(office, hold.hold_id)]
    if len(custody) > MAX_CUSTODY_ENTRIES:
        del custody[MAX_CUSTODY_ENTRIES:]
        problems.append(
            f"custody.json has the first {MAX_CUSTODY_ENTRIES} entries: see the audit log's export"
        )
    write_atomic(out / "custody.json", _pretty(custody))
    checkpoint = office.audit.checkpoint(office.clock())
    write_atomic(out / "checkpoint.json", canonical_json(checkpoint.as_fields()) + b"\n")
    write_atomic(out / "audit.pub", (office.layout.keys / "audit.pub").read_bytes())
    write_atomic(out / HOLD_CHECKER.name, HOLD_CHECKER.read_bytes())
    write_atomic(out / "README.txt", README.encode())
    return Exported(len(writer.files), digest, tuple(problems))


class _Writer:
    """Writes records as files and remembers what the manifest says of them."""

    def __init__(self, office: Office, out: Path) -> None:
        self._office = office
        self._out = out
        self._devices: set[str] = set()
        self._records: list[dict[str, Any]] = []
        self._proofs: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}

    def add(self, number: int, held: HeldRecord) -> None:
        """Write one record; raises BadRecord, HeldRecordError, NotFound."""
        if held.device not in self._devices:
            self._devices.add(held.device)
            self._write(f"devices/{held.device}.pem", get_device(self._office, held.device).cert_pem.encode())
        content = shown(self._office, held)
        if held.kind is HeldKind.PROOF:
            name = f"proofs/{number:06}.json"
            self._write(name, held.payload)
            self._proofs.append({**content["record"], "file": name})
            return
        sealed = f"sealed/{number:06}.bin"
        self._write(sealed, held.payload)
        names = [sealed, self._readable(number, held, content["record"])]
        if held.kind is HeldKind.HIT:
            names.append(f"hits/{number:06}.jpg")
            self._write(names[-1], HitRecord.decode(held.payload).crop_jpeg)
        source = {name: content[name] for name in ("device", "segment", "index", "sha256", "kind")}
        self._records.append({**source, "header_sha256": held.header_sha256, "files": names})

    def _readable(self, number: int, held: HeldRecord, content: dict[str, Any]) -> str:
        if held.kind is HeldKind.IMAGE:
            image = ImageRecord.decode(held.payload)
            name = f"images/{number:06}-{image.kind}{_SUFFIXES.get(image.media_type, '.bin')}"
            self._write(name, image.data)
        else:
            name = f"{held.kind}/{number:06}.json"
            self._write(name, _pretty(content))
        return name

    def manifest(self, hold: Hold, problems: list[str]) -> dict[str, Any]:
        """The manifest of what was written."""
        about = hold.model_dump(mode="json", exclude={"reads", "hits", "files"})
        return {
            "agency": self._office.settings.agency,
            "exported_us": self._office.clock(),
            "hold": about,
            "records": self._records,
            "proofs": self._proofs,
            "files": self.files,
            "problems": problems,
        }

    def _write(self, name: str, data: bytes) -> None:
        write_atomic(self._out / name, data)
        self.files[name] = hashlib.sha256(data).hexdigest()


def _custody(office: Office, hold_id: str) -> Iterator[Any]:
    """What the audit log says of this hold, in order."""
    found = (entry for entry in read_entries(office.layout.audit) if entry.fields.get("hold") == hold_id)
    yield from itertools.islice(found, MAX_CUSTODY_ENTRIES + 1)


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
