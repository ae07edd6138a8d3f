# SPDX-License-Identifier: Apache-2.0
"""Writes tests/sync/data/vectors: one signed list a file, each with what a reader has to say to it.

A vector is a text header (`key: value`), a line `---`, and the bytes. The signing key is the P-256 key with the
private value 1 (`trusted`) or 2 (`stranger`); a signature is random, so a new run writes new bytes.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.envelope import sign_envelope
from sync.hotlists.listfile import ListDocument, encode_document, sign_list

FOLDER = Path(__file__).parent / "data" / "vectors"
TRUSTED = ec.derive_private_key(1, ec.SECP256R1())
STRANGER = ec.derive_private_key(2, ec.SECP256R1())
NOW_US = 1_790_000_000_000_000
DOCUMENT = ListDocument(
    list_id="leads",
    version=7,
    created_us=NOW_US,
    as_of_us=NOW_US,
    expires_us=NOW_US + 86_400_000_000,
    entries=(
        ListEntry(
            entry_id="a1", plate="ZZ10021", state="IL", category=Category.STOLEN_VEHICLE, code="STOLEN"
        ),
        ListEntry(
            entry_id="a2", plate="ZZ2?0*", state=None, category=Category.AMBER_ALERT, reason="grey van"
        ),
    ),
)


def vectors() -> dict[str, tuple[dict[str, str], bytes]]:
    """Name to header and bytes."""
    good, body = sign_list(DOCUMENT, TRUSTED), encode_document(DOCUMENT)
    twice = body.replace(b'"entry_id":"a2"', b'"entry_id":"a1"')
    wide = body.replace(b"ZZ2?0*", b"Z?????")
    extra = body.replace(b'"list_id"', b'"extra":1,"list_id"')
    number = body.replace(b'"version":7', b'"version":"7"')
    return {
        "good": ({"expect": "ok"}, good),
        "floor-reached": ({"expect": "ok", "floor": "7"}, good),
        "rollback": ({"expect": "RollbackRefused", "floor": "8"}, good),
        "expired": ({"expect": "ListExpired", "now_us": str(DOCUMENT.expires_us)}, good),
        "another-list": ({"expect": "BadList", "list_id": "sos"}, good),
        "stranger": ({"expect": "BadSignature"}, sign_list(DOCUMENT, STRANGER)),
        "altered": ({"expect": "BadSignature"}, good.replace(b"ZZ10021", b"ZZ10022")),
        "cut": ({"expect": "BadSignature"}, good[:-1]),
        "another-kind": ({"expect": "BadList"}, sign_envelope("manifest", body, TRUSTED)),
        "relabelled": (
            {"expect": "BadSignature"},
            sign_envelope("manifest", body, TRUSTED).replace(b"manifest", b"list", 1),
        ),
        "entry-twice": ({"expect": "BadList"}, sign_envelope("list", twice, TRUSTED)),
        "pattern-too-wide": ({"expect": "BadList"}, sign_envelope("list", wide, TRUSTED)),
        "extra-field": ({"expect": "BadList"}, sign_envelope("list", extra, TRUSTED)),
        "text-for-number": ({"expect": "BadList"}, sign_envelope("list", number, TRUSTED)),
    }


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (header, data) in vectors().items():
        head = "".join(f"{key}: {value}\n" for key, value in header.items())
        (FOLDER / f"{name}.vector").write_bytes(head.encode() + b"---\n" + data)


if __name__ == "__main__":
    main()
