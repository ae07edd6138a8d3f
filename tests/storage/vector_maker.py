# SPDX-License-Identifier: Apache-2.0
"""Makes the storage vectors, byte for byte the same each time: `python tests/storage/vector_maker.py`.

A vector is a file of `name: value` lines, an empty line, then the segment in hex, 64 digits a line. `expect` is
`good` or the one thing that is wrong. It is written by the second implementation, not by the product.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent))

import independent_reader as other

FOLDER = Path(__file__).parents[1] / "vectors" / "storage"
PAYLOADS = [b"first record", b"", "third: é ü".encode()]
SHARE = hashlib.sha256(b"share").digest()
WRONG_SHARE = hashlib.sha256(b"another share").digest()
EPOCH = 491_000


def fixed_key(name: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


AGENCY, DEVICE, FORGER = fixed_key("agency"), fixed_key("device"), fixed_key("forger")


def fields(seq: int = 0) -> dict[str, object]:
    return {
        "boot_id": "boot-1",
        "device_id": "pole-7",
        "epoch": EPOCH,
        "kind": "reads",
        "opened_us": EPOCH * 3_600_000_000 + 1,
        "prev": "0" * 64,
        "run_id": "0011223344556677",
        "segment_id": f"{EPOCH}-reads-0011223344556677-{seq}",
        "seq": seq,
        "signer": other.key_id(DEVICE.public_key()),
    }


def segment(payloads: list[bytes], seq: int = 0) -> other.Made:
    return other.make_segment(
        fields(seq),
        payloads,
        secret=hashlib.sha256(b"secret%d" % seq).digest(),
        share=SHARE,
        recipient=AGENCY.public_key(),
        ephemeral=fixed_key(f"ephemeral{seq}"),
        device=DEVICE,
    )


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def forged_footer(made: other.Made, signer: ec.EllipticCurvePrivateKey, seal: bytes = b"") -> bytes:
    """The same footer signed by `signer`, with another seal if one is given."""
    raw_size = int.from_bytes(made.footer[9:11], "big")
    raw, good_seal = made.footer[11 : 11 + raw_size], made.footer[11 + raw_size : 27 + raw_size]
    digest = hashlib.sha256(made.header[:-32]).digest()
    signature = other.sign(signer, "segment-footer", digest + raw)
    body = (
        raw_size.to_bytes(2, "big")
        + raw
        + (seal or good_seal)
        + len(signature).to_bytes(2, "big")
        + signature
    )
    return other.frame(0x46, body + (9 + len(body) + 12).to_bytes(4, "big") + b"WAYSEND\n")


def vectors() -> dict[str, tuple[dict[str, str], bytes]]:
    made, empty, foreign = segment(PAYLOADS), segment([]), segment(PAYLOADS, seq=1)
    good, head, records = made.bytes(), made.header, made.records
    body_bit, tag_bit = len(head) + 9, len(head) + len(records[0]) - 1
    cases = {
        "good": ("good", "3", good),
        "good-empty": ("good", "0", empty.bytes()),
        "good-unclosed": ("unclosed", "3", head + b"".join(records)),
        "wrong-magic": ("magic", "0", b"WAYSEGX\n" + good[8:]),
        "wrong-version": ("version", "0", good[:8] + b"\0\2" + good[10:]),
        "truncated-header": ("header", "0", good[:200]),
        "header-not-canonical": ("header", "0", good.replace(b'"kind":"reads"', b'"kind": "read"', 1)),
        "header-bit": ("signature", "0", good.replace(b"pole-7", b"pole-6", 1)),
        "wrong-share": ("share", "0", good),
        "wrong-recipient": ("recipient", "0", good),
        "commitment-bit": ("share", "0", flipped(good, len(head) - 1)),
        "body-bit": ("damaged", "0", flipped(good, body_bit)),
        "tag-bit": ("damaged", "0", flipped(good, tag_bit)),
        "swapped-records": ("damaged", "0", head + records[1] + records[0] + records[2] + made.footer),
        "removed-record": ("damaged", "1", head + records[0] + records[2] + made.footer),
        "foreign-record": ("damaged", "1", head + records[0] + foreign.records[1] + records[2] + made.footer),
        "removed-last-record": ("damaged", "2", head + b"".join(records[:2]) + made.footer),
        "cut-tail": ("damaged", "2", (head + b"".join(records))[:-3]),
        "footer-forged": ("damaged", "3", head + b"".join(records) + forged_footer(made, FORGER)),
        "footer-seal": ("damaged", "3", head + b"".join(records) + forged_footer(made, DEVICE, bytes(16))),
        "bytes-after-footer": ("damaged", "3", good + records[0]),
    }
    out = {}
    for name, (expect, count, data) in cases.items():
        meta = {
            "expect": expect,
            "records": count,
            "share": (WRONG_SHARE if name == "wrong-share" else SHARE).hex(),
            "private_key": f"{_number(FORGER if name == 'wrong-recipient' else AGENCY):064x}",
            "device_key": other.point(DEVICE.public_key()).hex(),
        }
        out[name] = (meta, data)
    return out


def _number(key: ec.EllipticCurvePrivateKey) -> int:
    return key.private_numbers().private_value


def encode(meta: dict[str, str], data: bytes) -> str:
    digits = data.hex()
    lines = [digits[at : at + 64] for at in range(0, len(digits), 64)]
    return "".join(f"{name}: {value}\n" for name, value in meta.items()) + "\n" + "\n".join(lines) + "\n"


def decode(text: str) -> tuple[dict[str, str], bytes]:
    head, _, body = text.partition("\n\n")
    return dict(line.split(": ", 1) for line in head.splitlines()), bytes.fromhex(body)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (meta, data) in vectors().items():
        (FOLDER / f"{name}.txt").write_text(encode(meta, data))
