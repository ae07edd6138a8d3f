# SPDX-License-Identifier: Apache-2.0
"""The product's reader and the independent one, each asked the same; what they say in the codes of FORMAT.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import independent_reader as other
from cryptography.hazmat.primitives.asymmetric import ec

from storage.errors import (
    BadMagicError,
    HeaderDamagedError,
    NotARecipientError,
    SignatureInvalidError,
    StorageError,
    TooLargeError,
    UnsupportedVersionError,
    WrongKeyError,
    WrongShareError,
)
from storage.reader import read_segment

REFUSALS: dict[type[StorageError], str] = {
    TooLargeError: "size",
    BadMagicError: "magic",
    UnsupportedVersionError: "version",
    HeaderDamagedError: "header",
    SignatureInvalidError: "signature",
    NotARecipientError: "recipient",
    WrongKeyError: "wrapped",
    WrongShareError: "share",
}
PROBLEMS = {
    r"record (\d+) at byte \d+ is altered": "record {}",
    r"cut in record (\d+)": "cut {}",
    r"no record at byte \d+, where record (\d+) ": "frame {}",
    r"bytes follow the footer": "after-footer",
    r"the footer at byte \d+ is damaged": "footer",
    r"the footer counts": "footer-count",
    r"the footer is forged": "footer-seal",
    r"the footer is not signed": "footer-signature",
}


class Said(NamedTuple):
    refused: str
    records: Sequence[bytes] = ()
    salvaged: Sequence[tuple[int, bytes]] = ()
    problems: Sequence[str] = ()
    closed: bool = False


def product(
    data: bytes, share: bytes, private: ec.EllipticCurvePrivateKey, device: ec.EllipticCurvePublicKey | None
) -> Said:
    try:
        content = read_segment(data, share=share, private_key=private, verify_key=device)
    except StorageError as error:
        return Said(REFUSALS[type(error)])
    assert content.complete == (not content.problems)
    codes = [code_of(problem) for problem in content.problems]
    return Said("", content.records, list(content.salvaged), codes, content.closed)


def code_of(problem: str) -> str:
    for pattern, code in PROBLEMS.items():
        match = re.match(pattern, problem)
        if match:
            return code.format(*match.groups())
    raise AssertionError(problem)


def independent(
    data: bytes, share: bytes, private: ec.EllipticCurvePrivateKey, device: ec.EllipticCurvePublicKey | None
) -> Said:
    try:
        opened = other.open_segment(data, share, private, device)
    except other.Refused as refusal:
        return Said(str(refusal))
    return Said("", opened.records, opened.salvaged, opened.problems, opened.closed)
