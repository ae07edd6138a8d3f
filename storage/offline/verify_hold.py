# SPDX-License-Identifier: Apache-2.0
"""Check an exported legal hold with nothing but Python 3.11 and `cryptography`.

    python verify_hold.py FOLDER [--audit audit.jsonl]

It checks that every file is the one that `manifest.json` names; that the devices signed the headers and footers kept in
`proofs/`; and that every record names a segment so proven, and a place that this segment has. With an export of the
office's audit log it also looks for the entry that names this manifest; check that log itself with verify_audit.py.
The formats are in FORMAT.md ("Segment", "Legal hold"). That a record was part of its segment is the office's word and
is not checked: see README.txt. Exit code 0: all is sound; 1: something is wrong, each thing on a line; 2: it cannot be
read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate

MAX_MANIFEST_BYTES = 64 << 20
MAX_LINE_BYTES = 65_537
MAGIC = b"WAYSEGM\n\0\1"  # with the version, 1
PREFIX = len(MAGIC) + 4


class Unusable(Exception):
    """The folder cannot be checked at all; the text says why."""


def check(folder: Path, audit: Path | None = None) -> tuple[list[str], list[str]]:
    """(what is wrong, what was found sound), each for a person; raises Unusable and OSError."""
    raw = _bounded(folder / "manifest.json", MAX_MANIFEST_BYTES)
    try:
        manifest = json.loads(raw)
        wrong = [
            *_check_files(folder, manifest["files"]),
            *_check_records(folder, manifest["records"], manifest["proofs"], manifest["files"]),
        ]
        hold = str(manifest["hold"]["hold_id"])
        sound = [f"hold {hold}: {len(manifest['records'])} records, {len(manifest['files'])} files"]
        sound += [f"key of {device}: {fingerprint(key)}" for device, key in _keys(folder, manifest).items()]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Unusable(f"manifest.json is no manifest of a hold: {error}") from error
    digest = hashlib.sha256(raw).hexdigest()
    sound.append(f"manifest.json has the SHA-256 {digest}")
    if audit is not None and not _told(audit, hold, digest):
        wrong.append("the audit log has no entry hold_exported with the SHA-256 of this manifest")
    return wrong, sound


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unusable(f"{path} is over {limit} bytes")
    return data


def _check_files(folder: Path, files: dict[str, str]) -> list[str]:
    wrong = []
    for name, digest in files.items():
        path = folder / _inside(name)
        if not path.is_file():
            wrong.append(f"{name} is missing")
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                wrong.append(f"{name} is not the file that was exported")
    here = {str(path.relative_to(folder).as_posix()) for path in folder.glob("*/*")}
    return wrong + [f"{name} is not in the manifest" for name in sorted(here - set(files))]


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return path


def _check_records(
    folder: Path, records: list[dict[str, Any]], proofs: list[dict[str, Any]], files: dict[str, str]
) -> list[str]:
    wrong: list[str] = []
    counts: dict[tuple[str, str], int | None] = {}
    for proof in proofs:
        place = str(proof["device"]), str(proof["segment"])
        try:
            counts[place] = _check_proof(folder, proof)
        except InvalidSignature:
            wrong.append(f"proof of {'/'.join(place)}: the signature is not of this device")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
            wrong.append(f"proof of {'/'.join(place)}: it is not as FORMAT.md says: {error}")
    for record in records:
        where = f"{record['device']}/{record['segment']}:{record['index']}"
        if files.get(record["files"][0]) != record["sha256"]:
            wrong.append(f"{where}: {record['files'][0]} is not this record")
        if record["kind"] == "hits":
            continue
        place = record["device"], record["segment"]
        if place not in counts:
            wrong.append(f"{where}: nothing that its device signed is kept of its segment")
            continue
        count = counts[place]
        if count is not None and not 0 <= record["index"] < count:
            wrong.append(f"{where}: the segment has {count} records")
    return wrong


def _check_proof(folder: Path, proof: dict[str, Any]) -> int | None:
    """How many records the device says the segment has, None when it was not closed; raises when it is not proven."""
    said = json.loads((folder / _inside(proof["file"])).read_bytes())
    key = _key(folder, proof["device"])
    header = bytes.fromhex(said["header"])
    if header[: len(MAGIC)] != MAGIC:
        raise ValueError("no header of a segment")
    end = PREFIX + int.from_bytes(header[len(MAGIC) : PREFIX], "big")
    _verify(key, "segment-header", header[:end], header[end + 2 :])
    fields = json.loads(header[PREFIX:end])
    digest = hashlib.sha256(header).digest()
    if (fields["device_id"], fields["segment_id"]) != (proof["device"], proof["segment"]):
        raise ValueError("the header is of another segment")
    if digest.hex() != proof["header_sha256"]:
        raise ValueError("the manifest names another header")
    if not said["footer"]:
        return None
    footer = said["footer"].encode()
    _verify(key, "segment-footer", digest + footer, bytes.fromhex(said["footer_signature"]))
    return int(json.loads(footer)["records"])


def _verify(key: ec.EllipticCurvePublicKey, what: str, message: bytes, signature: bytes) -> None:
    key.verify(signature, b"wayside/" + what.encode() + b"/1\0" + message, ec.ECDSA(SHA256()))


def _keys(folder: Path, manifest: dict[str, Any]) -> dict[str, ec.EllipticCurvePublicKey]:
    return {
        device: _key(folder, device)
        for device in sorted({record["device"] for record in manifest["records"]})
    }


def _key(folder: Path, device: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_x509_certificate((folder / _inside(f"devices/{device}.pem")).read_bytes()).public_key()
    except (UnsupportedAlgorithm, InvalidVersion) as error:
        raise Unusable(f"the certificate of {device} is malformed") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Unusable(f"the certificate of {device} has no P-256 key")
    return key


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key in DER, 64 hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _told(audit: Path, hold: str, digest: str) -> bool:
    with audit.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            try:
                entry = json.loads(line)
                fields = entry["fields"]
                found = entry["event"] == "hold_exported" and fields["hold"] == hold
                if found and fields["manifest_sha256"] == digest:
                    return True
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--audit", type=Path, help="audit.jsonl of an export of the office's audit log")
    options = parser.parse_args(arguments)
    try:
        wrong, sound = check(options.folder, options.audit)
    except (OSError, Unusable) as error:
        sys.stderr.write(f"cannot check: {error}\n")
        return 2
    for line in wrong:
        sys.stdout.write(f"WRONG  {line}\n")
    for line in sound:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{len(wrong)} problems\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
