# SPDX-License-Identifier: Apache-2.0
"""Targets around retention and holds: policies, what a case keeps, and the office's own documents of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import cast

from cryptography.exceptions import InvalidSignature

from backoffice.audit_rules import AuditRules
from backoffice.errors import BadRequest, NotFound
from backoffice.hold_file import ChosenRead, Hold, HoldFolder
from backoffice.receipts_export import About, _about, _key
from backoffice.retention_clock import OLDEST
from backoffice.retention_clock import _load as _load_mark
from backoffice.search import Purpose
from storage.errors import HeldRecordError, StateDamagedError
from storage.format import COMMITMENT_BYTES
from storage.hold import HeldKind, HeldRecord
from storage.hold_proof import check_proof
from storage.offline import verify_hold
from storage.primitives import canonical_json, sign
from storage.recovery import _recovered_runs
from storage.retention_policies import _digest, encode_schedule, load_schedule
from storage.retention_schedule import RetentionPolicy, RetentionSchedule, Step
from sync.errors import BadList, BadSignature
from sync.hotlists.envelope import join_envelope
from sync.retention_document import KIND, OvertakenPolicy, RetentionDocument, open_retention
from tests.fuzz.engine import Target
from tests.fuzz.held import (
    ANY_SIGNATURE,
    DEVICE,
    HeldFile,
    certificate,
    held,
    memory_folder,
    of_file,
    public_pem,
)
from tests.fuzz.sources import either, json_like, mutated, wrapped
from tests.fuzz.targets_certificates import DEVICE_PEM, certificates
from tests.fuzz.targets_lists import LIST_HEAD
from tests.fuzz.targets_segments import HEADER, HEADER_BYTES

_MARK = b'{"at_us":1795000000000000,"boot_id":"b","uptime_ns":5000000000}'
_POLICY = RetentionPolicy(2_592_000, "30d.1", 1)
_SCHEDULE = encode_schedule(
    RetentionSchedule((Step(_POLICY, 0, frozenset({5, 6, 9}), b"x"), Step(RetentionPolicy(180, "3m", 2), 10)))
)
_DOCUMENT = RetentionDocument(
    number=2,
    seconds=2_592_000,
    version="30d.2",
    issued_us=5,
    by="chief",
    reason="the new law",
    overtaken=(OvertakenPolicy(number=1, seconds=180, version="3m", until_us=5),),
).encode()
_HOLD = canonical_json(
    Hold(
        hold_id="0" * 8,
        case="2026-1",
        reason="a theft",
        purpose=Purpose.STOLEN_VEHICLE,
        asked_by="pat",
        asked_us=5,
        reads=(ChosenRead(device="d", segment="s", index=1, sha256="0" * 64, read_id="r", epoch=5),),
    ).model_dump(mode="json")
)
_ABOUT = canonical_json(
    About(
        agency="a",
        device="d",
        exported_us=1,
        receipts=2,
        head="0" * 64,
        due_epochs=(5, 6),
    ).model_dump(mode="json")
)
_RECORD = HeldRecord(HeldKind.READ, "pole-7", "s-1", 3, "0" * 64, b"payload")
_RECORD_HEADER = _RECORD.encode()[4:-7]
_FOOTER = json.dumps({"body_sha256": "0" * 64, "closed_us": 5, "last_tag": "1" * 32, "records": 3})
_PROOF = canonical_json(
    {
        "file_sha256": "0" * 64,
        "footer": _FOOTER,
        "footer_signature": "00",
        "header": HEADER_BYTES[:-COMMITMENT_BYTES].hex(),
    }
)
_TOLD = json_like(b'{"event":"hold_exported","fields":{"hold":"00000000","manifest_sha256":"00"}}')
_SIGNED_FOOTER = sign(DEVICE, "segment-footer", HEADER.digest + _FOOTER.encode()).hex()
_SIGNED_PROOF = canonical_json(json.loads(_PROOF) | {"footer_signature": _SIGNED_FOOTER})
_RULES = b"""time_zone = "America/Chicago"
outside_shift = 2
[shifts]
pat = ["07:00-15:30"]
"*" = ["22:00-06:00", "06:00-14:00"]
"""


def _digested(raw: bytes) -> bytes:
    """A schedule whose digest is that of its steps, as whoever changed the file would make it."""
    try:
        value = json.loads(raw)
        return canonical_json(value | {"sha256": _digest(value["steps"])})
    except (ValueError, TypeError, KeyError, RecursionError):
        return raw


def _proof(data: bytes) -> object:
    record = HeldRecord(HeldKind.PROOF, "pole-7", "s-1", 0, HEADER.digest.hex(), data)
    return check_proof(record, DEVICE.public_key())


class _Holds(HoldFolder):
    """The office's holds over one document in memory."""

    def __init__(self, data: bytes) -> None:
        self._held = HeldFile(data)

    def folder(self, hold_id: str) -> HeldFile:  # type: ignore[override]
        return self._held


def _schedule(data: bytes) -> bool:
    schedule = load_schedule(held(data))
    return schedule.seconds_for(5) > 0


# --- the stand-alone check of an exported hold ------------------------------------------------------------------------

_FILES = {
    "devices/pole-7.pem": certificate("pole-7", "device", DEVICE),
    "proofs/p.json": _PROOF,
    "records/r.json": b"{}",
}
_EMPTY = hashlib.sha256(b"{}").hexdigest()
_PLACE = {"device": "pole-7", "segment": HEADER.segment_id}
_MANIFEST = canonical_json(
    {
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in _FILES.items()},
        "hold": {"hold_id": "00000000"},
        "proofs": [{**_PLACE, "file": "proofs/p.json", "header_sha256": HEADER.digest.hex()}],
        "records": [
            {
                **_PLACE,
                "files": ["records/r.json"],
                "index": 0,
                "kind": "reads",
                "sha256": hashlib.sha256(b"{}").hexdigest(),
            }
        ],
    }
)


class _Export:
    """A folder in memory, with one file of the export as the input has it."""

    def __init__(self, name: str, data: bytes) -> None:
        self._files = _FILES | {"manifest.json": _MANIFEST, name: data}

    def __truediv__(self, name: object) -> Path:
        try:
            return held(self._files[str(name)])
        except KeyError:
            return _NOWHERE / "missing"

    def glob(self, _pattern: str) -> list[Path]:
        return []


_NOWHERE = memory_folder()


def _manifest(data: bytes) -> bool:
    folder = cast("Path", _Export("manifest.json", data))
    return bool(verify_hold.check(folder, held(b"{}\n"))[1])


def _hold_proof(data: bytes) -> bool:
    proof = {**_PLACE, "file": "proofs/p.json", "header_sha256": HEADER.digest.hex()}
    return verify_hold._check_proof(cast("Path", _Export("proofs/p.json", data)), proof) is not None


_REFUSED = (
    InvalidSignature,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)  # as `check` expects
EXPORT_TARGETS = (
    Target("offline-hold", _manifest, json_like(_MANIFEST), (verify_hold.Unusable, OSError)),
    Target("offline-hold-proof", _hold_proof, either(json_like(_PROOF), json_like(_SIGNED_PROOF)), _REFUSED),
    Target(
        "offline-hold-key",
        lambda data: verify_hold._key(held(data), "pole-7"),
        certificates(_FILES["devices/pole-7.pem"], "CERTIFICATE"),
        (verify_hold.Unusable, ValueError),
    ),
    Target(
        "offline-hold-log",
        lambda data: verify_hold._told(held(data), "00000000", "00") or None,
        _TOLD,
        least=0.01,
    ),
)

TARGETS = (
    *EXPORT_TARGETS,
    Target(
        "retention-policies",
        _schedule,
        either(
            wrapped(json_like(_SCHEDULE, words=("[0,999999]", "[[0,999999]]")), _digested),
            json_like(_SCHEDULE),
        ),
        (StateDamagedError,),
    ),
    Target(
        "retention-document",
        lambda data: open_retention(data, (ANY_SIGNATURE,)),
        wrapped(json_like(_DOCUMENT), lambda body: join_envelope(KIND, LIST_HEAD, body)),
        (BadList, BadSignature),
    ),
    Target(
        "retention-clock",
        lambda data: _load_mark(held(data)) != OLDEST,
        either(json_like(_MARK, words=("-1", "1e400")), mutated(_MARK)),
    ),
    Target(
        "recovered-runs",
        lambda data: bool(_recovered_runs(held(data))),
        either(json_like(b'{"runs":["0011","a1"]}'), mutated(b'{"runs":["a"]}')),
    ),
    Target(
        "held-record",
        HeldRecord.decode,
        either(
            mutated(_RECORD.encode()),
            wrapped(json_like(_RECORD_HEADER), lambda head: len(head).to_bytes(4, "big") + head + b"payload"),
        ),
        (HeldRecordError,),
    ),
    Target(
        "hold-proof", _proof, json_like(_PROOF, words=('"[1]"', '"{}"', '"1"', '"null"')), (HeldRecordError,)
    ),
    Target(
        "hold-document",
        lambda data: _Holds(data).load("0" * 8),
        either(json_like(_HOLD), mutated(_HOLD)),
        (NotFound,),
    ),
    Target("export-about", of_file(_about), either(json_like(_ABOUT), mutated(_ABOUT)), (BadRequest,)),
    Target("export-key", of_file(_key), mutated(DEVICE_PEM, public_pem(DEVICE)), (BadRequest,), least=0.005),
    Target(
        "audit-rules",
        of_file(AuditRules.load),
        mutated(_RULES, tokens=(b'"', b"= ", b"[shifts]\n", b"inf", b"[[", b"UTC", b"..")),
        (BadRequest,),
    ),
)
