# SPDX-License-Identifier: Apache-2.0
"""Makes the segment vectors, byte for byte the same each time: `python tests/storage/vector_maker.py`.

A vector is a file of `name: value` lines, an empty line, then the segment in hex, 64 digits a line; FORMAT.md
says what the lines mean. It is written by the second implementation, not by the product.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent))

import independent_reader as other
import independent_writer as writer

FOLDER = Path(__file__).parents[1] / "vectors" / "storage"
FORMAT = Path(__file__).parents[2] / "storage" / "FORMAT.md"
PAYLOADS = [b"first record", b"", "third: é ü".encode()]
SHARE = hashlib.sha256(b"share").digest()
WRONG_SHARE = hashlib.sha256(b"another share").digest()
EPOCH = 491_000


def fixed_key(name: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


AGENCY, DEVICE, FORGER = fixed_key("agency"), fixed_key("device"), fixed_key("forger")
SECOND = fixed_key("a second agency")


def fields(seq: int = 0, kind: str = "reads", **changed: object) -> dict[str, object]:
    return {
        "boot_id": "boot-1",
        "device_id": "pole-7",
        "epoch": EPOCH,
        "kind": kind,
        "opened_us": EPOCH * 3_600_000_000 + 1,
        "prev": "0" * 64,
        "run_id": "0011223344556677",
        "segment_id": f"{EPOCH}-{kind}-0011223344556677-{seq}",
        "seq": seq,
        "signer": other.key_id(DEVICE.public_key()),
        **changed,
    }


def segment(
    payloads: list[bytes],
    seq: int = 0,
    *,
    more: tuple[ec.EllipticCurvePrivateKey, ...] = (),
    spoilt: bool = False,
    **changed: object,
) -> writer.Made:
    ephemeral = [fixed_key(f"ephemeral{seq}"), fixed_key("another ephemeral")]
    keys = [AGENCY.public_key(), *(key.public_key() for key in more)]
    return writer.make_segment(
        fields(seq, **changed),
        payloads,
        secret=hashlib.sha256(b"secret%d" % seq).digest(),
        share=SHARE,
        recipients=list(zip(keys, ephemeral, strict=False)),
        device=DEVICE,
        spoilt=spoilt,
    )


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def forged_footer(made: writer.Made, signer: ec.EllipticCurvePrivateKey, seal: bytes = b"") -> bytes:
    """The same footer signed by `signer`, with another seal if one is given."""
    raw = made.footer[11 : 11 + int.from_bytes(made.footer[9:11], "big")]
    tag = made.records[-1][-16:]
    return writer.make_footer(made, raw, tag, len(made.records), signer, seal=seal)


# what is wrong in each, for the table in FORMAT.md
WHAT = {
    "good": "nothing",
    "good-empty": "nothing: no records",
    "good-images": "nothing: images",
    "good-tiny": "nothing: the worked example",
    "good-first-of-two": "nothing: two recipients, opened by the first",
    "good-second-of-two": "nothing: the same segment, opened by the second",
    "good-checksum-bit": "a bit of a frame's checksum, which a reader with the key leaves aside",
    "good-unclosed": "nothing: no footer",
    "empty-file": "it has no bytes",
    "wrong-magic": "magic",
    "wrong-version": "version 2",
    "truncated-header": "cut in the header",
    "header-too-long": "the JSON's length is over its bound",
    "header-not-canonical": "white space in the JSON",
    "header-out-of-bounds": "epoch -1, signed by the device",
    "signature-too-long": "the signature's length is over its bound",
    "header-bit": "one character of the header",
    "header-bit-no-device-key": "the same, read without the device's key",
    "wrong-recipient": "the private key is of another",
    "wrapped-bit": "a bit of the wrapped secret, signed by the device",
    "wrong-share": "the share is of another epoch",
    "commitment-bit": "a bit of the commitment",
    "body-bit": "a bit of record 0",
    "tag-bit": "a bit of the tag of record 0, which record 1 is bound to",
    "swapped-records": "records 0 and 1 have changed places",
    "removed-record": "record 1 is missing",
    "foreign-record": "record 1 is of another segment",
    "foreign-last-record": "the last record is of another segment",
    "removed-last-record": "the last record is missing",
    "record-too-short": "a record is shorter than a tag",
    "record-too-long": "a record's length is over its bound",
    "unknown-frame": "a frame of type 0x58",
    "cut-tail": "cut in record 2: the two before it open",
    "cut-footer": "cut in the footer",
    "footer-bit": "a bit of the footer's JSON",
    "footer-forged": "the footer is signed by another key",
    "footer-seal": "the footer's seal is 16 zeros, signed by the device",
    "bytes-after-footer": "a record after the footer",
}


@dataclass(frozen=True)
class Case:
    """A segment and what a reader says of it."""

    expect: str  # a code of refusal, or good, unclosed, damaged
    data: bytes
    records: int = 0
    salvaged: str = "-"
    problems: str = "-"
    closed: str = "no"
    share: bytes = SHARE
    private: ec.EllipticCurvePrivateKey = AGENCY
    device: str = other.point(DEVICE.public_key()).hex()

    def meta(self) -> dict[str, str]:
        return {
            "expect": self.expect,
            "records": str(self.records),
            "salvaged": self.salvaged,
            "problems": self.problems,
            "closed": self.closed,
            "share": self.share.hex(),
            "private_key": f"{self.private.private_numbers().private_value:064x}",
            "device_key": self.device,
        }


def vectors() -> dict[str, tuple[dict[str, str], bytes]]:
    cases = {**opening(), **refused(), **damaged()}
    return {name: (case.meta(), case.data) for name, case in cases.items()}


def opening() -> dict[str, Case]:
    made, two = segment(PAYLOADS), segment(PAYLOADS, more=(SECOND,))
    crc_at = len(made.header) + 5
    return {
        "good": Case("good", made.bytes(), 3, closed="yes"),
        "good-empty": Case("good", segment([]).bytes(), 0, closed="yes"),
        "good-images": Case("good", segment(PAYLOADS, kind="images").bytes(), 3, closed="yes"),
        "good-tiny": Case("good", tiny().bytes(), 1, closed="yes"),
        "good-first-of-two": Case("good", two.bytes(), 3, closed="yes"),
        "good-second-of-two": Case("good", two.bytes(), 3, closed="yes", private=SECOND),
        "good-checksum-bit": Case("good", flipped(made.bytes(), crc_at), 3, closed="yes"),
        "good-unclosed": Case("unclosed", made.header + b"".join(made.records), 3),
    }


def refused() -> dict[str, Case]:
    made = segment(PAYLOADS)
    good, at = made.bytes(), len(made.signed)
    return {
        "empty-file": Case("magic", b""),
        "wrong-magic": Case("magic", b"WAYSEGX\n" + good[8:]),
        "wrong-version": Case("version", good[:8] + b"\0\2" + good[10:]),
        "truncated-header": Case("header", good[:200]),
        "header-too-long": Case("header", good[:10] + (16_385).to_bytes(4, "big") + good[14:]),
        "header-not-canonical": Case("header", good.replace(b'"kind":"reads"', b'"kind": "read"', 1)),
        "header-out-of-bounds": Case("header", segment(PAYLOADS, epoch=-1).bytes()),
        "signature-too-long": Case("header", good[:at] + (81).to_bytes(2, "big") + good[at + 2 :]),
        "header-bit": Case("signature", good.replace(b"pole-7", b"pole-6", 1)),
        "header-bit-no-device-key": Case("wrapped", good.replace(b"pole-7", b"pole-6", 1), device="-"),
        "wrong-recipient": Case("recipient", good, private=FORGER),
        "wrapped-bit": Case("wrapped", segment(PAYLOADS, spoilt=True).bytes()),
        "wrong-share": Case("share", good, share=WRONG_SHARE),
        "commitment-bit": Case("share", flipped(good, len(made.header) - 1)),
    }


def damaged() -> dict[str, Case]:
    made, foreign = segment(PAYLOADS), segment(PAYLOADS, seq=1)
    good, head, (a, b, c), foot = made.bytes(), made.header, made.records, made.footer
    body_bit, tag_bit, whole = len(head) + 9, len(head) + len(a) - 1, head + a + b + c
    too_long = b"R" + (16_777_233).to_bytes(4, "big") + bytes(24)
    return {
        "body-bit": _damage(flipped(good, body_bit), 0, "record 0", "1 2", closed=True),
        "tag-bit": _damage(flipped(good, tag_bit), 0, "record 0, record 1", "2", closed=True),
        "swapped-records": _damage(head + b + a + c + foot, 0, "record 0, record 1, record 2", closed=True),
        "removed-record": _damage(head + a + c + foot, 1, "record 1, footer-count"),
        "foreign-record": _damage(
            head + a + foreign.records[1] + c + foot, 1, "record 1, record 2", closed=True
        ),
        "foreign-last-record": _damage(head + a + b + foreign.records[2] + foot, 2, "record 2, footer-count"),
        "removed-last-record": _damage(head + a + b + foot, 2, "footer-count"),
        "record-too-short": _damage(head + a + writer.frame(0x52, bytes(15)) + b, 1, "frame 1"),
        "record-too-long": _damage(head + a + too_long, 1, "frame 1"),
        "unknown-frame": _damage(head + a + writer.frame(0x58, bytes(20)) + b, 1, "frame 1"),
        "cut-tail": _damage(whole[:-3], 2, "cut 2"),
        "cut-footer": _damage(good[:-3], 3, "cut 3"),
        "footer-bit": _damage(flipped(good, len(whole) + 11), 3, "footer"),
        "footer-forged": _damage(whole + forged_footer(made, FORGER), 3, "footer-signature"),
        "footer-seal": _damage(whole + forged_footer(made, DEVICE, bytes(16)), 3, "footer-seal"),
        "bytes-after-footer": _damage(good + a, 3, "after-footer"),
    }


def _damage(data: bytes, records: int, problems: str, salvaged: str = "-", *, closed: bool = False) -> Case:
    return Case("damaged", data, records, salvaged, problems, "yes" if closed else "no")


def tiny() -> writer.Made:
    """The segment of the worked example in FORMAT.md."""
    return segment([b"hi"], boot_id="b", device_id="d", opened_us=1, run_id="r", segment_id="s")


def _rows(data: bytes) -> str:
    return "\n".join(f"    {data[at : at + 32].hex()}" for at in range(0, len(data), 32))


def worked_example() -> str:
    """The section of FORMAT.md that shows each part of one segment."""
    made = tiny()
    record, foot = made.records[0], made.footer
    size = int.from_bytes(foot[9:11], "big")
    seal_at, number = 11 + size, int.from_bytes(made.signed[10:14], "big")
    wrapped = made.signed.partition(b'"wrapped":"')[2][:226].decode()
    parts = [
        ("given: share", SHARE),
        ("given: private key of the recipient", AGENCY.private_numbers().private_value.to_bytes(32, "big")),
        ("given: public key of the device, as a point", other.point(DEVICE.public_key())),
        ("bytes 0 to 13: magic, version 1, length of the JSON (" + str(number) + ")", made.signed[:14]),
        ("the JSON", made.signed[14:]),
        ("length of the signature, the signature", made.header[len(made.signed) : -32]),
        ("commitment", made.commitment),
        ("frame head of record 0: type, length, CRC-32", record[:9]),
        ("ciphertext of `hi`", record[9:-16]),
        ("tag_0", record[-16:]),
        ("frame head of the footer", foot[:9]),
        ("length of the footer's JSON, the JSON", foot[9:seal_at]),
        ("seal", foot[seal_at : seal_at + 16]),
        ("length of the signature, the signature", foot[seal_at + 16 : -12]),
        ("size of the footer frame, trailer", foot[-12:]),
        ("computed: header_hash", made.digest),
        (
            "computed: segment_secret, from the member wrapped " + wrapped[:8] + "…",
            hashlib.sha256(b"secret0").digest(),
        ),
        ("computed: segment_key", made.key),
        ("computed: nonce of record 0", bytes(12)),
        ("computed: aad of record 0", made.digest + b"R" + bytes(8) + bytes(16)),
        ("computed: nonce of the seal", bytes(11) + b"\1"),
    ]
    return "\n".join(f"    # {what}\n{_rows(data)}" for what, data in parts) + "\n"


def vector_table() -> str:
    """The rows of FORMAT.md: vector, what is wrong in it, what a reader says."""
    said = {name: meta for name, (meta, _) in vectors().items()}
    rows = [
        f"| `{name}` | {WHAT[name]} | {said[name]['expect']}"
        + (f": {said[name]['problems']} |" if said[name]["problems"] != "-" else " |")
        for name in said
    ]
    head = ["", "| vector | what is wrong in it | `expect` and `problems` |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", ""])


def with_generated(text: str) -> str:
    """FORMAT.md with its two generated parts as they should be."""
    for what, part in (("example", "\n" + worked_example() + "\n"), ("vectors", vector_table())):
        begin, end = f"<!-- {what} -->\n", f"<!-- end of the {what} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + part + end + rest.partition(end)[2]
    return text


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
    FORMAT.write_text(with_generated(FORMAT.read_text()))
