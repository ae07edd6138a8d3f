# SPDX-License-Identifier: Apache-2.0
"""Check an audit log, or a chain of deletion receipts, with nothing but Python 3.11 and `cryptography`.

    python verify_audit.py audit    audit.jsonl    --key audit.pub  [--checkpoint checkpoint.json]
    python verify_audit.py receipts receipts.jsonl --key device.pub [--first N] [--audit audit.jsonl]

KEY is a PEM public key or certificate. Copy this file anywhere; it imports nothing of the product, so that whoever
checks need not trust what wrote the files. The formats are in FORMAT.md ("Receipts", "Audit log"). Exit code 0: all
is sound; 1: something is wrong, each thing on a line with its place; 2: a file cannot be read.

A log proves itself up to its last signed checkpoint. That its end was not cut shows only against a checkpoint, or for
receipts an audit log, that was kept elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate

MAX_ENTRY_BYTES = 65_536
MAX_RECEIPT_BYTES = 1_048_576
MAX_EVENT_CHARS = 64
MAX_SMALL_FILE_BYTES = 65_536  # a key, a certificate or a checkpoint
MAX_PROBLEMS = 50  # then the check stops
GENESIS = "0" * 64
ENTRY = {"at_us", "event", "fields", "n", "prev"}
CHECKPOINT = {"at_us", "head", "key_id", "n", "signature"}
NUMBER, TEXT, FLAG = (int,), (str,), (bool,)
SEGMENT = {
    **dict.fromkeys(("header_sha256", "kind", "segment_id"), TEXT),
    "size": NUMBER,
    "records": (int, type(None)),
    "closed": FLAG,
}
BODY = {
    **dict.fromkeys(("epoch", "erased_us", "n", "policy_seconds"), NUMBER),
    **dict.fromkeys(("device_id", "policy_version", "prev", "root_of_trust"), TEXT),
    "best_effort": FLAG,
}


class Unusable(Exception):
    """A file cannot be read at all; the text says which and why."""


class Problem(NamedTuple):
    """What is wrong: `code` as in FORMAT.md, with the place; `text` for a person."""

    code: str
    text: str


@dataclass
class Found:
    """What a check found. `count` lines were sound in form; `unsigned`: audit entries after the last checkpoint."""

    count: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    problems: list[Problem] = field(default_factory=list)

    def tell(self, code: str, text: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(code, text))

    @property
    def full(self) -> bool:
        """Whether enough was found that going on makes no sense."""
        return len(self.problems) >= MAX_PROBLEMS


def canonical(value: object) -> bytes:
    """The one encoding of a value that is hashed and signed; ValueError for what has none."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def link(what: str, raw: bytes) -> str:
    """Hash that the next line names as its `prev`."""
    return hashlib.sha256(b"wayside/" + what.encode() + b"/1\0" + raw).hexdigest()


def signed(key: ec.EllipticCurvePublicKey, what: str, raw: bytes, signature: object) -> bool:
    """Whether `signature` (hex) over `raw` for this purpose is of this key."""
    if not (isinstance(signature, str) and is_hex(signature)):
        return False
    try:
        key.verify(bytes.fromhex(signature), b"wayside/" + what.encode() + b"/1\0" + raw, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def is_hex(text: object) -> bool:
    """Whether a text is bytes in lower-case hex."""
    try:
        return isinstance(text, str) and bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def parsed(raw: bytes) -> dict[str, Any] | None:
    """An object in canonical JSON, or None."""
    try:
        value = json.loads(raw)
        return value if isinstance(value, dict) and canonical(value) == raw else None
    except (ValueError, RecursionError):
        return None


def lines(path: Path, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Number from 1 and content of each line; None, as the last, for one that is cut or over `limit` bytes."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(limit + 1):
            number += 1
            if not line.endswith(b"\n"):
                yield number, None
                return
            yield number, line[:-1]


# --- Audit log ----------------------------------------------------------------------------------------------


def check_audit(path: Path, key: ec.EllipticCurvePublicKey, kept: dict[str, Any] | None = None) -> Found:
    """Check a log line by line, and against a checkpoint that was kept elsewhere."""
    found, head, signed_to = Found(), GENESIS, 0
    kept_hash = GENESIS if kept is not None and kept["n"] == -1 else ""
    for number, raw in lines(path, MAX_ENTRY_BYTES):
        entry = entry_of(raw)
        if entry is None or raw is None:
            found.tell(
                f"unreadable {number}", f"line {number} is no entry, or is cut: nothing after it is checked"
            )
            break
        if (entry["n"], entry["prev"]) != (found.count, head):
            found.tell(
                f"follow {number}",
                f"line {number} (n = {entry['n']}) does not follow line {number - 1}: that line was edited, or lines "
                "were removed, added or moved here",
            )
        if entry["event"] == "checkpoint":
            if _checkpoint_ok(entry, key):
                found.checkpoints, signed_to = found.checkpoints + 1, entry["n"] + 1
            else:
                found.tell(
                    f"checkpoint {entry['n']}",
                    f"line {number}: the checkpoint is of another log, key or place",
                )
        found.count, head = entry["n"] + 1, link("audit-entry", raw)
        if kept is not None and entry["n"] == kept["n"]:
            kept_hash = head
        if found.full:
            break
    found.unsigned = max(0, found.count - signed_to)
    if kept is not None:
        _check_kept(found, key, kept, kept_hash)
    return found


def entry_of(raw: bytes | None) -> dict[str, Any] | None:
    """An entry's line, or None when it is none."""
    entry = None if raw is None else parsed(raw)
    if entry is None or set(entry) != ENTRY:
        return None
    numbers = type(entry["n"]) is int and type(entry["at_us"]) is int
    event = isinstance(entry["event"], str) and 1 <= len(entry["event"]) <= MAX_EVENT_CHARS
    shapes = isinstance(entry["fields"], dict) and isinstance(entry["prev"], str)
    return entry if numbers and event and shapes else None


def _checkpoint_ok(entry: dict[str, Any], key: ec.EllipticCurvePublicKey) -> bool:
    said = entry["fields"]
    place = {"at_us": entry["at_us"], "head": entry["prev"], "n": entry["n"] - 1}
    return (
        set(said) == CHECKPOINT
        and all(said[name] == place[name] for name in place)
        and checkpoint_signed(said, key)
    )


def checkpoint_signed(said: dict[str, Any], key: ec.EllipticCurvePublicKey) -> bool:
    """Whether a checkpoint's signature is of this key."""
    message = canonical({name: value for name, value in said.items() if name != "signature"})
    return signed(key, "audit-checkpoint", message, said["signature"])


def _check_kept(found: Found, key: ec.EllipticCurvePublicKey, kept: dict[str, Any], its_hash: str) -> None:
    if not checkpoint_signed(kept, key):
        found.tell("kept", "the kept checkpoint is not signed by this key: get the right one")
    elif its_hash != kept["head"]:
        what = "differs" if its_hash else "is missing"
        found.tell(
            f"missing {kept['n']}",
            f"entry {kept['n']} of the kept checkpoint {what}; the log has {found.count} entries: its end was cut, "
            "or it was written anew",
        )


# --- Receipts -----------------------------------------------------------------------------------------------


def check_receipts(
    path: Path, key: ec.EllipticCurvePublicKey, first: int = 0, audit: Path | None = None
) -> Found:
    """Check a chain of receipts; with the device's audit log also that none is missing at its end."""
    found, expected, hashes = Found(), first, dict[int, str]()
    prev = GENESIS if first == 0 else None
    skipped = 0  # lines since the last receipt that are none, each of which may have been one
    for number, raw in lines(path, MAX_RECEIPT_BYTES):
        receipt = receipt_of(raw)
        if receipt is None:
            found.tell(f"unreadable {number}", f"line {number} is no receipt, or is cut")
            skipped, prev = skipped + 1, None
            if found.full:
                return found
            continue
        body = canonical(receipt["body"])
        n = receipt["body"]["n"]
        if not signed(key, "receipt", body, receipt["signature"]):
            found.tell(f"signature {n}", f"line {number}: receipt {n} is not signed by this device")
        if n > expected + skipped:
            found.tell(
                f"missing {expected}-{n - 1}",
                f"receipts {expected} to {n - 1} are missing before line {number}",
            )
        elif n < expected:
            found.tell(f"order {n}", f"line {number}: receipt {n} is there twice or out of order")
        elif prev is not None and receipt["body"]["prev"] != prev:
            found.tell(
                f"replaced {n}",
                f"line {number}: receipt {n} does not follow the one before: one was replaced",
            )
        expected, prev, skipped = n + 1, link("receipt-link", body), 0
        hashes[n] = prev
        found.count += 1
        if found.full:
            return found
    if audit is not None:
        _check_told(found, hashes, audit, first)
    return found


def receipt_of(raw: bytes | None) -> dict[str, Any] | None:
    """A receipt's line, or None when it is none."""
    receipt = None if raw is None else parsed(raw)
    if receipt is None or set(receipt) != {"body", "key_id", "signature"}:
        return None
    body = receipt["body"]
    if not (isinstance(body, dict) and set(body) == {*BODY, "segments", "time_sources"}):
        return None
    lists = isinstance(body["segments"], list) and isinstance(body["time_sources"], list)
    sound = (
        lists
        and is_hex(receipt["signature"])
        and isinstance(receipt["key_id"], str)
        and all(type(body[name]) in kinds for name, kinds in BODY.items())
        and all(_is_segment(segment) for segment in body["segments"])
        and all(isinstance(source, str) for source in body["time_sources"])
    )
    return receipt if sound else None


def _is_segment(segment: object) -> bool:
    return (
        isinstance(segment, dict)
        and set(segment) == set(SEGMENT)
        and all(type(segment[name]) in kinds for name, kinds in SEGMENT.items())
    )


def _check_told(found: Found, hashes: dict[int, str], audit: Path, first: int) -> None:
    """Every receipt that the audit log tells of is here, and is that one."""
    for number, raw in lines(audit, MAX_ENTRY_BYTES):
        entry = entry_of(raw)
        if entry is None:
            raise Unusable(f"{audit}: line {number} is no entry: check the audit log first")
        n = entry["fields"].get("receipt")
        if entry["event"] != "epoch_erased" or type(n) is not int or n < first:
            continue
        if hashes.get(n) != entry["fields"].get("receipt_hash"):
            what = "is another one here" if n in hashes else "is missing here"
            found.tell(f"told {n}", f"receipt {n}, which line {number} of the audit log tells of, {what}")
        if found.full:
            return


# --- Command ------------------------------------------------------------------------------------------------


def load_key(path: Path) -> ec.EllipticCurvePublicKey:
    """P-256 public key from a PEM key or certificate; raises Unusable."""
    pem = _small(path)
    try:
        key = (
            load_pem_x509_certificate(pem).public_key() if b"CERTIFICATE" in pem else load_pem_public_key(pem)
        )
    except (ValueError, UnsupportedAlgorithm, InvalidVersion) as error:
        raise Unusable(f"{path} is no PEM public key or certificate") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Unusable(f"{path} is no P-256 key")
    return key


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key in DER, 64 hex; its first 16 are the key id of FORMAT.md."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A kept checkpoint; raises Unusable."""
    said = parsed(_small(path).removesuffix(b"\n"))
    if said is None or set(said) != CHECKPOINT or type(said["n"]) is not int:
        raise Unusable(f"{path} is no checkpoint: export it again")
    return said


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SMALL_FILE_BYTES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        key = load_key(options.key)
        if options.what == "audit":
            kept = load_checkpoint(options.checkpoint) if options.checkpoint else None
            found = check_audit(options.file, key, kept)
            summary = f"{found.count} entries, {found.checkpoints} checkpoints, {found.unsigned} entries after the last"
        else:
            found = check_receipts(options.file, key, options.first, options.audit)
            summary = f"{found.count} receipts"
    except (OSError, Unusable) as error:
        sys.stderr.write(f"cannot check: {error}\n")
        return 2
    for problem in found.problems:
        sys.stdout.write(f"WRONG  {problem.text}\n")
    sys.stdout.write(f"checked with the key {fingerprint(key)}\n{summary}, {len(found.problems)} problems\n")
    return 1 if found.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    audit = commands.add_parser("audit", help="an audit log")
    receipts = commands.add_parser("receipts", help="a chain of deletion receipts")
    for command in (audit, receipts):
        command.add_argument("file", type=Path)
        command.add_argument("--key", type=Path, required=True, help="who signed it, PEM")
    audit.add_argument("--checkpoint", type=Path, help="a checkpoint that was kept elsewhere")
    receipts.add_argument("--first", type=int, default=0, help="number of the first receipt, if not 0")
    receipts.add_argument("--audit", type=Path, help="the device's audit log, which tells of each receipt")
    return parser


if __name__ == "__main__":
    sys.exit(main())
