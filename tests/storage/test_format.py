# SPDX-License-Identifier: Apache-2.0
"""FORMAT.md says what the code does: its generated parts, its bounds, its labels and its errors."""

from __future__ import annotations

import re

import chain_maker
import independent_reader as other
import pytest
import vector_maker

from storage import audit, errors, keyring_file, receipts, seal
from storage import format as segment_format
from storage.primitives import WRAPPED_BYTES

TEXT = vector_maker.FORMAT.read_text()
FLAT = " ".join(TEXT.split())


def test_its_example_and_its_table_are_those_of_the_vectors() -> None:
    assert vector_maker.with_generated(TEXT) == TEXT


def test_the_example_alone_is_enough_to_open_it() -> None:
    example = TEXT.partition("<!-- example -->")[2].partition("<!-- end")[0]
    parts = [(block.partition("\n")[0], block.partition("\n")[2]) for block in example.split("    # ")[1:]]
    values = {name: bytes.fromhex(digits) for name, digits in parts}
    names = [name for name, _ in parts if not name.startswith(("given", "computed"))]
    data = b"".join(bytes.fromhex(digits) for name, digits in parts if name in names)
    share, scalar, device = (value for name, value in values.items() if name.startswith("given"))
    private = other.ec.derive_private_key(int.from_bytes(scalar, "big"), other.ec.SECP256R1())
    public = other.ec.EllipticCurvePublicKey.from_encoded_point(other.ec.SECP256R1(), device)
    opened = other.open_segment(data, share, private, public)
    assert (opened.records, opened.closed, opened.problems) == ([b"hi"], True, [])
    key, commitment = other.derive(
        next(value for name, value in values.items() if "segment_secret" in name),
        share,
        other.label("segment-key") + values["computed: header_hash"],
    )
    assert (key, commitment) == (values["computed: segment_key"], values["commitment"])


@pytest.mark.parametrize(
    ("says", "value"),
    [
        ("JSON has at most {} bytes", segment_format.MAX_HEADER_JSON_BYTES),
        ("signature at most {} bytes;", segment_format.MAX_SIGNATURE_BYTES),
        ("has 16 to {} bytes", segment_format.MAX_RECORD_BYTES + 16),
        ("a footer's at most {} bytes", segment_format.MAX_FOOTER_BYTES),
        ("the segment has at most {} bytes", segment_format.MAX_SEGMENT_BYTES),
        ("array of 1 to {} objects", segment_format.MAX_RECIPIENTS),
        ("65 + 32 + 16 = {} bytes", WRAPPED_BYTES),
        ("in this order: at most {} bytes (64 MiB", seal.MAX_ENVELOPE_BYTES),
        ("count 1 to {} and", seal.MAX_RECIPIENTS),
        ("The file has at most {} bytes", keyring_file.MAX_KEYRING_BYTES),
        ("first JSON at most {} bytes", keyring_file.MAX_HEADER_BYTES),
        ("One receipt a line (at most {} bytes)", receipts.MAX_RECEIPT_BYTES),
        ("One entry a line (at most {} bytes)", audit.MAX_ENTRY_BYTES),
        ("`event` has 1 to {} characters", audit.MAX_EVENT_CHARS),
    ],
)
def test_its_bounds_are_those_of_the_code(says, value) -> None:
    assert says.format(f"{value:,}".replace(",", " ")) in FLAT


def test_the_errors_it_names_exist() -> None:
    named = set(re.findall(r"`([A-Z]\w+Error)`", TEXT))
    assert len(named) > 10
    assert all(issubclass(getattr(errors, name), errors.StorageError) for name in named)


def test_it_names_every_place_that_a_vector_of_a_chain_has() -> None:
    told = {
        problem.split()[0]
        for meta, _ in chain_maker.vectors().values()
        for problem in meta["problems"].split(", ")
        if problem != "-"
    }
    assert {code for code in told if not re.search(rf"`{code}( [^`]+)?`", TEXT)} == set()


def test_it_names_every_label() -> None:
    root = vector_maker.FORMAT.parent
    used = {
        label
        for path in root.glob("*.py")
        for label in re.findall(r'(?:label|sign|signature_ok)\([^"\n]*"([a-z-]+)"', path.read_text())
    }
    assert used >= {"segment-key", "segment-secret", "segment-header", "receipt", "audit-checkpoint", "box"}
    assert {label for label in used if f'"{label}"' not in TEXT} == set()


ROOT = vector_maker.FORMAT.parents[1]
THREATS = (ROOT / "docs" / "security" / "threat-model.md").read_text()


def test_the_tests_that_the_threat_model_names_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", THREATS))
    assert len(named) > 30
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file() or f"\ndef {name}(" not in (ROOT / path).read_text()
    ]
    assert missing == []


@pytest.mark.parametrize(
    "attack",
    [
        "Pole stolen, powered off",
        "Pole stolen, running",
        "SD card cloned before expiry",
        "SD card cloned after expiry",
        "Malicious technician",
        "Hostile network",
        "Compromised back office",
        "Curious officer",
        "Subpoena after expiry",
    ],
)
def test_each_attack_has_a_row_with_a_test_or_says_that_none_shows_it(attack) -> None:
    (row,) = (line for line in THREATS.splitlines() if line.startswith(f"| **{attack}** |"))
    *_, closed, shown = row.removesuffix(" |").split(" | ")
    assert closed
    assert "`tests/" in shown


def test_the_vectors_that_the_threat_model_names_exist() -> None:
    forged = THREATS.partition("## What can be forged")[2].partition("\n## ")[0]
    files = {path.stem for path in (ROOT / "tests" / "vectors").rglob("*.txt")}
    named = set(re.findall(r"`([a-z-]+)`", forged))
    assert len(named) > 5
    assert named <= files
