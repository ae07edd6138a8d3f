# SPDX-License-Identifier: Apache-2.0
"""The checker that an agency runs by itself: it and the product name the same places, on vectors and on any edit."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chain_maker
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import DEVICE_KEY

from storage.audit import CHECKPOINT_EVERY, AuditLog, Checkpoint, verify_audit
from storage.offline import CHECKER, HOLD_CHECKER
from storage.offline import verify_audit as offline
from storage.primitives import canonical_json
from storage.receipts import check_receipts

FILES = sorted(chain_maker.FOLDER.glob("*.txt"))
PUBLIC = chain_maker.DEVICE.public_key()
SAID = {
    r"line (\d+) is (?:no entry|no receipt|cut)": "unreadable {}",
    r"line (\d+) does not follow": "follow {}",
    r"checkpoint at entry (\d+)|entry (\d+) is a malformed checkpoint": "checkpoint {}",
    r"the given checkpoint is not signed": "kept",
    r"entry (-?\d+) of the checkpoint is missing": "missing {}",
    r"receipt (-?\d+) is not signed": "signature {}",
    r"receipts (-?\d+) to (-?\d+) are missing": "missing {}-{}",
    r"receipt (-?\d+) is there twice": "order {}",
    r"receipt (-?\d+) does not follow": "replaced {}",
    r"receipt (\d+), which entry": "told {}",
}


def code_of(problem: str) -> str:
    for pattern, code in SAID.items():
        match = re.match(pattern, problem)
        if match:
            return code.format(*[group for group in match.groups() if group is not None])
    raise AssertionError(problem)


def product(kind: str, path: Path, key: ec.EllipticCurvePublicKey, kept: dict | None) -> list[str]:
    if kind == "audit":
        checkpoint = Checkpoint.from_fields(kept) if kept else None
        return [code_of(text) for text in verify_audit(path, key, checkpoint=checkpoint).problems]
    return [code_of(text) for text in check_receipts(path, key).problems]


def script(kind: str, path: Path, key: ec.EllipticCurvePublicKey, kept: dict | None) -> list[str]:
    found = offline.check_audit(path, key, kept) if kind == "audit" else offline.check_receipts(path, key)
    return [problem.code for problem in found.problems]


@pytest.mark.parametrize("path", [CHECKER, HOLD_CHECKER], ids=lambda path: path.name)
def test_it_imports_only_python_and_cryptography(path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").split(".")[0])
    assert imported <= {"cryptography", *sys.stdlib_module_names}


def test_the_vectors_are_what_their_maker_makes() -> None:
    made = {name: chain_maker.encode(*vector) for name, vector in chain_maker.vectors().items()}
    assert {path.stem: path.read_bytes() for path in FILES} == made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_product_and_checker_name_the_places_of_each_vector(path, tmp_path) -> None:
    meta, data = chain_maker.decode(path.read_bytes())
    file = tmp_path / "chain.jsonl"
    file.write_bytes(data)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(meta["key"]))
    kept = None if meta.get("checkpoint", "-") == "-" else json.loads(meta["checkpoint"])
    expected = [] if meta["problems"] == "-" else meta["problems"].split(", ")
    assert script(meta["kind"], file, key, kept) == expected
    assert product(meta["kind"], file, key, kept) == expected


def test_what_the_log_tells_of_shows_a_chain_that_was_cut_at_its_end(tmp_path) -> None:
    good = chain_maker.chain()
    chain, log = tmp_path / "receipts.jsonl", tmp_path / "audit.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in chain_maker.told(good)))
    chain.write_bytes(b"".join(line + b"\n" for line in good))
    assert offline.check_receipts(chain, PUBLIC, audit=log).problems == []
    chain.write_bytes(b"".join(line + b"\n" for line in good[:2]))
    assert offline.check_receipts(chain, PUBLIC).problems == []  # by itself it looks whole
    found = offline.check_receipts(chain, PUBLIC, audit=log)
    assert [problem.code for problem in found.problems] == ["told 2", "told 3"]
    assert [code_of(text) for text in check_receipts(chain, PUBLIC, audit=log).problems] == [
        "told 2",
        "told 3",
    ]
    chain.write_bytes(b"".join(line + b"\n" for line in chain_maker.chain(epoch=1)))
    found = offline.check_receipts(chain, PUBLIC, audit=log)
    assert "is another one here" in found.problems[0].text
    chain.write_bytes(b"".join(line + b"\n" for line in good[2:]))
    assert offline.check_receipts(chain, PUBLIC, 2, log).problems == []
    log.write_bytes(b"rubbish\n")
    with pytest.raises(offline.Unusable):
        offline.check_receipts(chain, PUBLIC, 2, log)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an agency would: a copy of the one file, elsewhere, in a Python that finds nothing of ours."""
    copy = folder / "verify_audit.py"
    shutil.copy(CHECKER, copy)
    command = [sys.executable, "-I", str(copy), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_it_runs_by_itself_on_what_the_product_wrote(tmp_path) -> None:
    log = AuditLog.open(tmp_path / "audit.jsonl", DEVICE_KEY)
    for n in range(CHECKPOINT_EVERY + 3):
        log.append("searched", {"n": n, "reason": 'é "\\ \u2028 \x01', "seconds": n / 7})
    kept = log.checkpoint()
    (tmp_path / "audit.pub").write_bytes(pem(DEVICE_KEY))
    (tmp_path / "checkpoint.json").write_bytes(canonical_json(kept.as_fields()) + b"\n")
    asked = ("audit", "audit.jsonl", "--key", "audit.pub", "--checkpoint", "checkpoint.json")
    done = run(tmp_path, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    signer, summary = done.stdout.splitlines()
    assert re.fullmatch(rf"checked with the key {kept.key_id}[0-9a-f]{{48}}", signer)
    assert summary == "69 entries, 2 checkpoints, 0 entries after the last, 0 problems"
    whole = (tmp_path / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "audit.jsonl").write_bytes(b"".join([*whole[:9], *whole[10:40]]))
    done = run(tmp_path, *asked)
    assert done.returncode == 1
    assert "line 10 (n = 10) does not follow line 9" in done.stdout
    assert "entry 67 of the kept checkpoint is missing; the log has 40 entries" in done.stdout
    for bad in (("audit", "nowhere", "--key", "audit.pub"), ("audit", "audit.jsonl", "--key", "audit.jsonl")):
        done = run(tmp_path, *bad)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("cannot check: ")


def test_it_checks_receipts_by_itself(tmp_path) -> None:
    a, _, c, d = chain_maker.chain()
    (tmp_path / "receipts.jsonl").write_bytes(b"".join(line + b"\n" for line in (a, c, d)))
    (tmp_path / "device.pub").write_bytes(pem(chain_maker.DEVICE))
    done = run(tmp_path, "receipts", "receipts.jsonl", "--key", "device.pub")
    assert done.returncode == 1
    wrong, _, summary = done.stdout.splitlines()
    assert wrong == "WRONG  receipts 1 to 1 are missing before line 2"
    assert summary == "3 receipts, 1 problems"


def test_keys_and_checkpoints_that_are_none(tmp_path) -> None:
    path = tmp_path / "file"
    for raw in (
        b"",
        b"no pem",
        pem(ec.generate_private_key(ec.SECP384R1())),
        b"-----BEGIN CERTIFICATE-----\n",
    ):
        path.write_bytes(raw)
        with pytest.raises(offline.Unusable):
            offline.load_key(path)
    for raw in (b"", b"[]", b"{}", b"{" * 9000):
        path.write_bytes(raw)
        with pytest.raises(offline.Unusable):
            offline.load_checkpoint(path)


LOG = b"".join(line + b"\n" for line in chain_maker.log())
EDIT = st.tuples(
    st.integers(0, len(LOG)),
    st.integers(0, 3),
    st.one_of(
        st.just(b""), st.binary(max_size=2), st.sampled_from([b"1", b"\n", b'"n":', *chain_maker.log()])
    ),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDIT, max_size=3), st.booleans())
def test_product_and_checker_say_the_same_of_any_edit(tmp_path, edits, with_kept) -> None:
    data = LOG
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    path = tmp_path / "audit.jsonl"
    path.write_bytes(data)
    kept = chain_maker.checkpoint(chain_maker.log(), chain_maker.DEVICE) if with_kept else None
    assert product("audit", path, PUBLIC, kept) == script("audit", path, PUBLIC, kept)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 9), st.floats(), st.text(max_size=2), st.just([])
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["at_us", "event", "fields", "n", "prev", "more"]), VALUES)
def test_product_and_checker_say_the_same_of_any_entry(tmp_path, name, value) -> None:
    entry = {"at_us": 1, "event": "x", "fields": {}, "n": 0, "prev": chain_maker.GENESIS, name: value}
    path = tmp_path / "audit.jsonl"
    path.write_bytes(
        json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    )
    assert product("audit", path, PUBLIC, None) == script("audit", path, PUBLIC, None)


CHAIN = chain_maker.chain()
RECEIPT_EDIT = st.tuples(
    st.integers(0, sum(len(line) + 1 for line in CHAIN)),
    st.integers(0, 3),
    st.one_of(st.just(b""), st.binary(max_size=2), st.sampled_from([b"1", b"\n", b"z\n", *CHAIN])),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(CHAIN), st.lists(RECEIPT_EDIT, max_size=3))
def test_product_and_checker_say_the_same_of_any_chain(tmp_path, lines, edits) -> None:
    data = b"".join(line + b"\n" for line in lines)
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    path = tmp_path / "receipts.jsonl"
    path.write_bytes(data)
    assert product("receipts", path, PUBLIC, None) == script("receipts", path, PUBLIC, None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [*json.loads(CHAIN[0])["body"], "signature", "key_id", "closed", "records", "size", "kind"]
    ),
    VALUES,
)
def test_product_and_checker_say_the_same_of_any_receipt(tmp_path, name, value) -> None:
    receipt = json.loads(CHAIN[0])
    parts = receipt, receipt["body"], receipt["body"]["segments"][0]
    next(part for part in parts if name in part)[name] = value
    path = tmp_path / "receipts.jsonl"
    raw = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    path.write_bytes(raw + b"\n" + CHAIN[1] + b"\n")
    assert product("receipts", path, PUBLIC, None) == script("receipts", path, PUBLIC, None)


def test_lines_behind_a_damaged_one_are_still_checked(tmp_path) -> None:
    a, _, c, d = CHAIN
    path = tmp_path / "receipts.jsonl"
    for lines, expected in (
        ([a, b"rubbish", c, d], ["unreadable 2"]),
        ([a, b"rubbish", d], ["unreadable 2", "missing 1-2"]),
        ([a, b"rubbish", CHAIN[1], c, d], ["unreadable 2"]),
        ([b"", a, c], ["unreadable 1", "missing 1-1"]),
    ):
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        assert product("receipts", path, PUBLIC, None) == expected
        assert script("receipts", path, PUBLIC, None) == expected
    report = check_receipts(path, None)
    assert (report.receipts, report.damaged, len(report.segments)) == (2, 1, 2)
    assert check_receipts(tmp_path / "nowhere", PUBLIC).receipts == 0
