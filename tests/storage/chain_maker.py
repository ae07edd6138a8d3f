# SPDX-License-Identifier: Apache-2.0
"""Makes the vectors of audit logs and receipt chains: `python tests/storage/chain_maker.py`.

Made from FORMAT.md by the second implementation, byte for byte the same each time; FORMAT.md says what the lines mean.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import independent_reader as other
from independent_writer import Private, sign
from vector_maker import DEVICE, EPOCH, FORGER, fields

FOLDER = Path(__file__).parents[1] / "vectors" / "chains"
GENESIS = "0" * 64
HOUR_US = 3_600_000_000
Vector = tuple[dict[str, str], bytes]


def link(what: str, raw: bytes) -> str:
    return hashlib.sha256(other.label(what) + raw).hexdigest()


# --- Audit log ----------------------------------------------------------------------------------------------


def entry(before: list[bytes], event: str, said: dict[str, Any]) -> bytes:
    prev = link("audit-entry", before[-1]) if before else GENESIS
    n = len(before)
    at_us = said.get("at_us", EPOCH * HOUR_US + n)
    return other.canonical({"at_us": at_us, "event": event, "fields": said, "n": n, "prev": prev})


def checkpoint(before: list[bytes], key: Private) -> dict[str, Any]:
    n = len(before) - 1
    said = {
        "at_us": EPOCH * HOUR_US + 50,
        "head": link("audit-entry", before[-1]),
        "key_id": other.key_id(key.public_key()),
        "n": n,
    }
    return {**said, "signature": sign(key, "audit-checkpoint", other.canonical(said)).hex()}


def log(key: Private = DEVICE, said: str = "é\n\u007f", more: tuple[Any, ...] = (0.1, 1e-07)) -> list[bytes]:
    """Six entries; number 3 is a checkpoint."""
    made: list[bytes] = []
    made.append(entry(made, "opened", {"text": said, "more": list(more)}))
    for n in (1, 2):
        made.append(entry(made, "opened", {"n": n}))
    made.append(entry(made, "checkpoint", checkpoint(made, key)))
    for n in (4, 5):
        made.append(entry(made, "closed", {"n": n}))
    return made


def audit_vectors() -> dict[str, Vector]:
    good, kept = log(), checkpoint(log(), DEVICE)
    a, b, c, d, e, f = good
    foreign = checkpoint(log(said="other")[:3], DEVICE)
    cases = {
        "audit-good": (good, "-", None),
        "audit-good-kept": (good, "-", kept),
        "audit-empty": ([], "-", None),
        "audit-edited": ([a, b.replace(b'{"n":1}', b'{"n":9}'), c, d, e, f], "follow 3", None),
        "audit-edited-last": ([a, b, c, d, e, f.replace(b'{"n":5}', b'{"n":9}')], "missing 5", kept),
        "audit-not-canonical": ([a, b.replace(b'"n":1,', b'"n": 1,'), c, d, e, f], "unreadable 2", None),
        "audit-member-added": ([a, b[:-1] + b',"z":1}', c, d, e, f], "unreadable 2", None),
        "audit-removed": ([a, c, d, e, f], "follow 2", None),
        "audit-first-removed": ([b, c, d, e, f], "follow 1", None),
        "audit-reordered": ([a, c, b, d, e, f], "follow 2, follow 3, follow 4", None),
        "audit-inserted": ([a, b, b, c, d, e, f], "follow 3", None),
        "audit-cut": (good[:5], "-", None),
        "audit-cut-kept": (good[:5], "missing 5", kept),
        "audit-written-anew": (log(said="other"), "missing 5", kept),
        "audit-foreign-checkpoint": (
            [a, b, c, entry([a, b, c], "checkpoint", foreign)],
            "checkpoint 3",
            None,
        ),
        "audit-foreign-line": ([a, b, c, log(said="other")[3]], "follow 4", None),
        "audit-forged-checkpoint": (log(FORGER), "checkpoint 3", None),
        "audit-kept-of-another-key": (good, "kept", checkpoint(good, FORGER)),
    }
    out = {}
    for name, (lines, problems, held) in cases.items():
        meta = {"checkpoint": other.canonical(held).decode() if held else "-", "problems": problems}
        out[name] = _vector("audit", meta, lines)
    whole = b"".join(line + b"\n" for line in good)
    out["audit-torn"] = (_meta("audit", {"checkpoint": "-", "problems": "unreadable 6"}), whole[:-1])
    return out


# --- Receipts -----------------------------------------------------------------------------------------------


def receipt(before: list[bytes], key: Private = DEVICE, **changed: object) -> bytes:
    n = len(before)
    body = {
        "best_effort": True,
        "device_id": "pole-7",
        "epoch": EPOCH + n,
        "erased_us": (EPOCH + n + 24 * 30) * HOUR_US,
        "n": n,
        "policy_seconds": 30 * 86_400,
        "policy_version": "30-days",
        "prev": link("receipt-link", body_of(before[-1])) if before else GENESIS,
        "root_of_trust": "file",
        "segments": [
            {
                "closed": True,
                "header_sha256": hashlib.sha256(b"%d" % n).hexdigest(),
                "kind": "reads",
                "records": 7,
                "segment_id": fields(n)["segment_id"],
                "size": 900,
            }
        ],
        "time_sources": ["gnss", "office"],
        **changed,
    }
    signature = sign(key, "receipt", other.canonical(body)).hex()
    return other.canonical({"body": body, "key_id": other.key_id(key.public_key()), "signature": signature})


def body_of(raw: bytes) -> bytes:
    return other.canonical((other.parsed(raw) or {})["body"])


def chain(count: int = 4, **changed: object) -> list[bytes]:
    made: list[bytes] = []
    for _ in range(count):
        made.append(receipt(made, **(changed if len(made) == 1 else {})))
    return made


def receipt_vectors() -> dict[str, Vector]:
    a, b, c, d = good = chain()
    cases = {
        "receipts-good": (good, "-"),
        "receipts-edited": ([a, b.replace(b'"records":7', b'"records":6'), c, d], "signature 1, replaced 2"),
        "receipts-missing": ([a, c, d], "missing 1-1"),
        "receipts-two-missing": ([a, d], "missing 1-2"),
        "receipts-first-missing": ([b, c, d], "missing 0-0"),
        "receipts-reordered": ([a, c, b, d], "missing 1-1, order 1, missing 2-2"),
        "receipts-twice": ([a, b, b, c, d], "order 1"),
        "receipts-replaced": ([a, receipt([a], epoch=1), c, d], "replaced 2"),
        "receipts-forged": ([a, receipt([a], FORGER), c, d], "signature 1"),
        "receipts-not-canonical": ([a, b + b" ", c, d], "unreadable 2"),
    }
    return {
        name: _vector("receipts", {"problems": problems}, lines) for name, (lines, problems) in cases.items()
    }


def told(chain_of: list[bytes]) -> list[bytes]:
    """The audit log of a device that wrote these receipts."""
    made: list[bytes] = []
    for n, raw in enumerate(chain_of):
        said = {
            "epoch": EPOCH + n,
            "receipt": n,
            "receipt_hash": link("receipt-link", body_of(raw)),
            "segments": 1,
        }
        made.append(entry(made, "epoch_erased", said))
    return made


# --- Files --------------------------------------------------------------------------------------------------


def _meta(kind: str, more: dict[str, str]) -> dict[str, str]:
    return {"kind": kind, "key": other.point(DEVICE.public_key()).hex(), **more}


def _vector(kind: str, more: dict[str, str], lines: list[bytes]) -> Vector:
    return _meta(kind, more), b"".join(line + b"\n" for line in lines)


def vectors() -> dict[str, Vector]:
    return {**audit_vectors(), **receipt_vectors()}


def encode(meta: dict[str, str], data: bytes) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in meta.items()).encode() + b"\n" + data


def decode(raw: bytes) -> Vector:
    head, _, body = raw.partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().splitlines()), body


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, vector in vectors().items():
        (FOLDER / f"{name}.txt").write_bytes(encode(*vector))
