# SPDX-License-Identifier: Apache-2.0
"""The whole appliance as a person starts it: reads, hits, sealed, pulled, opened, and nothing left in clear."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .conftest import WAYSIDE, Run, demo, hits_at_office

pytestmark = pytest.mark.timeout(400)


def test_reads_and_hits_arrive_and_everything_opens_as_it_was_sealed(first_run: Run) -> None:
    s = first_run.summary
    assert first_run.code == 0, first_run.out
    assert s["reads"] >= 6
    assert s["hits"] >= 1
    assert s["hits uploaded"] == s["hits"] == len(hits_at_office(first_run.folder))
    assert s["records sealed"] >= 3 * s["reads"]  # read, crop and scene
    assert s["of this run, equal to what the eye saw"] == f"{s['records sealed']} of {s['records sealed']}"
    assert s["services restarted"] == 0


def test_reads_agree_with_the_truth(first_run: Run) -> None:
    s = first_run.summary
    exact = int(str(s["truth: read exactly (O as 0, I as 1)"]).split()[0])
    assert exact >= 0.6 * s["truth: plates that passed"], first_run.out


def test_no_plate_text_lies_in_clear_on_the_device(first_run: Run) -> None:
    listed = re.findall(r"^(\w{5,8}) ", (first_run.folder / "ISPLITH.TXT").read_text(), re.MULTILINE)
    read = re.findall(r"  read  (\w{5,8}) ", first_run.out)
    texts = {*listed, *read, *(vehicle["plate"] for vehicle in first_run.truth)}
    texts = {text for text in texts if len(text) >= 5}  # shorter ones appear by chance in any random bytes
    assert len(texts) >= 8
    files = [path for path in first_run.device.rglob("*") if path.is_file()]
    assert len(files) >= 8
    for path in [*files, *(first_run.folder / "logs").glob("*.log")]:
        content = path.read_bytes().upper()
        found = [text for text in texts if text.encode() in content]
        assert not found, path


def test_the_device_holds_no_key_that_opens_a_read(first_run: Run) -> None:
    keys = [first_run.folder / "office" / "keys" / f"{purpose}.key" for purpose in ("reads", "hits")]
    everything = b"".join(p.read_bytes() for p in first_run.device.rglob("*") if p.is_file())
    for path in keys:
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        assert key.private_numbers().private_value.to_bytes(32, "big") not in everything
        assert path.read_bytes().splitlines()[2] not in everything  # base64 of the second half


def test_office_and_device_witness_each_others_logs(first_run: Run) -> None:
    log = first_run.device / "audit.jsonl"
    office = [WAYSIDE + "-office", "--data", str(first_run.folder / "office"), "audit"]
    enrolment = json.loads((first_run.device / "identity" / "enrolment.json").read_bytes())
    subprocess.run([*office, "verify", "--witness", str(log)], check=True)
    subprocess.run([*office, "device", enrolment["bundle"]["device_id"], str(log)], check=True)


def test_a_second_start_resumes(first_run: Run) -> None:
    enrolment = first_run.device / "identity" / "enrolment.json"
    before, opened = enrolment.read_bytes(), first_run.summary["records opened by the office"]
    hits = set(hits_at_office(first_run.folder))
    again = demo(first_run.folder, "--duration", "12")
    assert again.code == 0, again.out
    assert enrolment.read_bytes() == before
    assert again.summary["records opened by the office"] >= opened
    assert hits <= set(hits_at_office(first_run.folder))


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "ports.json").write_text(json.dumps({"device": port, "pages": 0, "pull": 0}))
        done = demo(folder, "--duration", "3")
    assert done.code != 0
    assert "port" in done.out


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = demo(tmp_path / "run", "--images", str(tmp_path / "none"))
    assert done.code != 0
    assert "no such folder" in done.out
