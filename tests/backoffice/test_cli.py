# SPDX-License-Identifier: Apache-2.0
"""The commands as a clerk uses them: exit codes, JSON, files, and the server as a process."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from office_world import MadeDevice, make_correction, make_csr, make_hit, seal_hit

from backoffice import cli, devices, keys, lists
from backoffice.audit import Audit, AuditUnavailable
from backoffice.cli_lists import expiry
from backoffice.errors import BadRequest
from backoffice.hits import Decision, HitStore, Reason, Verdict
from backoffice.office import Office, day_of
from backoffice.people import Role
from storage.atomic import locked
from storage.audit import Checkpoint, read_entries, verify_audit
from sync.certificates import certificate_key, load_certificate, subject_of
from sync.enrolment import verify_bundle
from sync.hotlists.listfile import verify_list, verify_manifest
from sync.limits import MAX_PLATE_CHARS

LEADS = (
    b"660JEM  WIPCSTOLEN VYR/05 VMA/DODG VMO/MAG VST/4D VCO/RED     DOT/010315 LDS/V16A0661 \n"
    b"        IL PC        \n"
)


def run(root: Path, *words: str) -> int:
    return cli.main(["--data", str(root), *words])


def out_json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_init_makes_an_office_that_only_its_user_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(keys.PASSPHRASE_VARIABLE, raising=False)
    root = tmp_path / "office"
    assert run(root, "init", "--agency", "Prairie Town PD", "--json") == 0
    made = out_json(capsys)[0]
    assert len(str(made["password"])) >= 12
    for path in [*root.glob("pki/*.key"), *root.glob("keys/*.key"), root / "office.json"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert run(root, "init", "--agency", "Again") == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert run(root, "keys", "list", "--json") == 0
    listed = out_json(capsys)
    assert [key["purpose"] for key in listed] == ["reads", "hits", "lists", "audit"]
    assert not any(key["encrypted"] for key in listed)


def test_a_passphrase_encrypts_the_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "office"
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "a long sentence")
    assert run(root, "init", "--agency", "A") == 0
    for name in ("keys/reads.key", "keys/hits.key", "keys/lists.key", "pki/ca.key", "pki/office.key"):
        assert keys.is_encrypted((root / name).read_bytes()), name
    assert run(root, "lists", "publish") == 0
    for wrong in ("", "another sentence"):
        monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, wrong)
        assert run(root, "open", "--purpose", "test", "--reason", "a test", "--case", "1") == 3
        assert run(root, "serve", "--device-port", "0", "--page-port", "0") == 3
    assert keys.PASSPHRASE_VARIABLE in capsys.readouterr().err


def test_exit_codes(tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    root = office.layout.root
    assert run(tmp_path / "nowhere", "keys", "list") == 1
    with pytest.raises(SystemExit) as ended:
        run(root, "fly")
    assert ended.value.code == 2
    assert run(root, "pull", "pole-9", "--url", "https://127.0.0.1:9") == 1
    assert run(root, "--as", "nobody", "lists", "publish") == 3
    assert run(root, "devices", "enrol", "--csr", "/no/such", "--out", "x", "--office-url", "https://h") == 4
    assert "init" in capsys.readouterr().err


def test_enrol_list_revoke(tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    root = office.layout.root
    csr, bundle = tmp_path / "csr.pem", tmp_path / "bundle.json"
    csr.write_bytes(make_csr("pole-7", "device", ec.generate_private_key(ec.SECP256R1())))
    where = ("--office-url", "https://10.0.0.5:8443", "--position", "40.3", "-88.1", "--camera", "north")
    assert run(root, "devices", "enrol", "--csr", str(csr), "--out", str(bundle), *where) == 0
    made = verify_bundle(bundle.read_bytes(), now_us=office.clock())
    assert (made.device_id, made.office_url, made.placement.camera) == (
        "pole-7",
        "https://10.0.0.5:8443",
        "north",
    )
    far = ("--position", "91", "0")
    assert run(root, "devices", "enrol", "--csr", str(csr), "--out", str(bundle), *far) == 1
    assert run(root, "devices", "revoke", "pole-7", "--reason", "stolen") == 0
    capsys.readouterr()
    assert run(root, "devices", "list", "--json") == 0
    assert out_json(capsys)[0]["revoked_reason"] == "stolen"


def test_lists(tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    root, feed = office.layout.root, tmp_path / "ISPLITH.TXT"
    feed.write_bytes(LEADS)
    assert run(root, "lists", "add", "--id", "leads", "--layout", "leads", str(feed), "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["entries"] == 1
    assert "line 2" in said.err
    assert run(root, "lists", "publish", "--json") == 0
    assert out_json(capsys)[0]["version"] == 1
    manual = ("--plate", "ab?123", "--reason", "seen near the school", "--expires", "12h", "--state", "IL")
    assert run(root, "lists", "manual", *manual) == 0
    capsys.readouterr()
    assert run(root, "lists", "list", "--json") == 0
    assert {(item["list_id"], item["version"]) for item in out_json(capsys)} == {("leads", 1), ("manual", 1)}
    public = (keys.load_purpose_public(office.layout, keys.LISTS),)
    data = (office.layout.lists / "manual" / "v1.signed").read_bytes()
    entry = verify_list(data, public, floor_version=1, now_us=office.clock()).entries[0]
    assert (entry.plate, entry.state, entry.reason) == ("AB?123", "IL", "seen near the school")
    assert run(root, "lists", "add", "--id", "x", "--layout", "nonsense", str(feed)) == 1
    assert run(root, "lists", "add", "--id", "X!", "--layout", "leads", str(feed)) == 1


@pytest.mark.parametrize(
    ("plate", "reason", "expires"),
    [
        ("AB1234", " ", "1h"),
        ("AB1234", "x", "31d"),
        ("AB1234", "x", "2001-01-01T00:00"),
        ("AB1234", "x", "soon"),
        ("*", "x", "1h"),
        ("A" * (MAX_PLATE_CHARS + 1), "x", "1h"),
    ],
)
def test_manual_entries_that_are_refused(plate: str, reason: str, expires: str, office: Office) -> None:
    words = ("--plate", plate, "--reason", reason, "--expires", expires)
    assert run(office.layout.root, "lists", "manual", *words) == 1


def test_expiry() -> None:
    assert expiry("30m", 0) == 1_800_000_000
    assert expiry("2026-01-01T00:00", 0) == expiry("2026-01-01T01:00+01:00", 0) == 1_767_225_600_000_000
    with pytest.raises(BadRequest):
        expiry("", 0)


def test_users_and_audit(tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    root = office.layout.root
    assert run(root, "users", "add", "eve", "--role", "auditor", "--trained-on", "2020-02-02", "--json") == 0
    assert out_json(capsys)[0]["role"] == "auditor"
    assert run(root, "users", "add", "eve", "--role", "operator") == 1
    assert run(root, "--as", "eve", "users", "add", "mallory", "--role", "administrator") == 3
    assert run(root, "users", "trained", "eve", "--on", "2026-01-02") == 0
    assert run(root, "users", "reset", "eve") == 0
    capsys.readouterr()
    assert run(root, "users", "list", "--json") == 0
    assert [user["name"] for user in out_json(capsys)] == ["admin", "eve"]
    assert run(root, "--as", "eve", "audit", "verify", "--json") == 0
    out = tmp_path / "export"
    assert run(root, "--as", "eve", "audit", "export", "--out", str(out)) == 0
    fields = json.loads((out / "checkpoint.json").read_bytes())
    public = keys.load_purpose_public(office.layout, keys.AUDIT)
    report = verify_audit(out / "audit.jsonl", public, checkpoint=Checkpoint.from_fields(fields))
    assert report.ok
    assert run(root, "audit", "check", str(out)) == 0
    asked = ["audit", "audit.jsonl", "--key", "audit.pub", "--checkpoint", "checkpoint.json"]
    offline = subprocess.run([sys.executable, "-I", "verify_audit.py", *asked], cwd=out, check=False)
    assert offline.returncode == 0
    text = (out / "audit.jsonl").read_text().replace("eve", "eva", 1)
    (out / "audit.jsonl").write_text(text)
    assert run(root, "audit", "check", str(out)) == 1


def test_an_edited_audit_log_is_found(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    path = office.layout.audit
    assert run(office.layout.root, "lists", "publish") == 0
    assert run(office.layout.root, "audit", "verify") == 0
    path.write_bytes(path.read_bytes().replace(b"admin", b"nimda", 1))
    assert run(office.layout.root, "audit", "verify") == 1
    assert "does not follow" in capsys.readouterr().err


def test_a_manual_entry_publishes_nothing_else(
    tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """A supervisor's plate goes out at once; a feed that a clerk is still preparing does not."""
    root, feed = office.layout.root, tmp_path / "ISPLITH.TXT"
    feed.write_bytes(LEADS)
    run(root, "lists", "add", "--id", "leads", "--layout", "leads", str(feed))
    assert run(root, "lists", "publish") == 0
    run(
        root, "lists", "add", "--id", "leads", "--layout", "leads", str(feed)
    )  # a next version, not published
    run(root, "lists", "add", "--id", "draft", "--layout", "leads", str(feed))
    assert run(root, "lists", "manual", "--plate", "AB1234", "--reason", "x", "--expires", "1h") == 0
    capsys.readouterr()
    assert run(root, "lists", "list", "--json") == 0
    assert {(item["list_id"], item["version"]) for item in out_json(capsys)} == {("leads", 1), ("manual", 1)}
    public = (keys.load_purpose_public(office.layout, keys.LISTS),)
    manifest = verify_manifest(lists.manifest(office)[0], public, floor_version=0, now_us=office.clock())
    assert {(item.list_id, item.version) for item in manifest.lists} == {("leads", 1), ("manual", 1)}


def test_two_writers_of_the_manual_list(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "PUBLISH_WAIT_S", 0.05)
    entry = lists.Manual("AB1234", "x", office.clock() + 10**9)
    (office.layout.lists / "manual").mkdir(exist_ok=True)
    with locked(office.layout.lists / "manual" / "lock", 1.0) as free:
        assert free
        with pytest.raises(BadRequest):
            lists.add_manual(office, entry)
    with locked(office.layout.lists / "lock", 1.0) as free:
        assert free
        with pytest.raises(BadRequest):
            lists.publish(office)
    assert not (office.layout.lists / "manual" / "draft.json").exists()


def test_hits_list(office: Office, device: MadeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    early = make_hit(at_us=office.clock())
    correction = make_correction(early)
    for hit in (early, correction):
        store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    root = office.layout.root
    assert run(root, "hits", "list", "--json") == 1
    assert run(root, "hits", "list", "--json", "--purpose", "test", "--case", "1", "--reason", " ") == 1
    assert capsys.readouterr().out == ""
    opened = ("hits", "list", "--json", "--purpose", "test", "--case", "25-1", "--reason", "an audit")
    assert run(root, *opened) == 0
    last = list(read_entries(office.layout.audit))[-2:]
    assert [entry.event for entry in last] == ["hits_open", "hits_opened"]
    assert (last[0].fields["case"], last[1].fields["records"]) == ("25-1", 2)
    found = {item["hit_id"]: item for item in out_json(capsys)}
    first = found[early.hit_id]
    assert (first["device"], first["raised_us"], first["received_us"]) == (
        "pole-1",
        early.raised_us,
        office.clock(),
    )
    assert (first["decision"], first["superseded_by"]) == (None, correction.hit_id)
    assert (first["text"], first["plate"]) == ("AB8120", "ABB120")
    assert found[correction.hit_id]["supersedes"] == early.hit_id
    assert run(root, "hits", "list") == 0
    table = capsys.readouterr().out
    assert early.hit_id in table
    assert "AB8120" not in table
    assert audited(office)[-1] == "hits_listed"
    store.decide(early.hit_id, "admin", Verdict(Decision.REJECTED, False, False, Reason.STALE_ENTRY))
    assert run(root, *opened) == 0
    assert "rejected" in {item["decision"] for item in out_json(capsys)}


def test_a_technicians_certificate(
    tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    root, csr, out = office.layout.root, tmp_path / "csr.pem", tmp_path / "garcia.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    csr.write_bytes(make_csr("garcia", "technician", key))
    words = ("devices", "technician", "--csr", str(csr), "--out", str(out), "--name")
    assert run(root, *words, "garcia") == 0
    certificate = load_certificate(out.read_text())
    assert subject_of(certificate.subject) == ("garcia", "technician")
    assert certificate_key(certificate).public_numbers() == key.public_key().public_numbers()
    certificate.verify_directly_issued_by(keys.load_authority(office.layout).certificate)
    assert audited(office)[-2:] == ["technician_certify", "technician_certified"]
    assert run(root, *words, "other") == 1
    csr.write_bytes(make_csr("garcia", "device", key))
    assert run(root, *words, "garcia") == 1  # a device's request is not a person's
    csr.write_bytes(b"nonsense")
    assert run(root, *words, "garcia") == 1
    assert run(root, *words, "Not An Id") == 1
    office.people.add("tech", Role.TECHNICIAN, day_of(office.clock()), office.clock())
    assert run(root, "--as", "tech", *words, "garcia") == 3  # only an administrator names technicians
    assert "administrator" in capsys.readouterr().err


def audited(office: Office) -> list[str]:
    return [entry.event for entry in read_entries(office.layout.audit)]


def test_nothing_is_done_that_cannot_be_recorded(
    tmp_path: Path, office: Office, device: MadeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, csr, feed = office.layout.root, tmp_path / "csr.pem", tmp_path / "ISPLITH.TXT"
    csr.write_bytes(make_csr("pole-7", "device", ec.generate_private_key(ec.SECP256R1())))
    feed.write_bytes(LEADS)
    before = [(person.name, person.trained_on, person.session_epoch) for person in office.people.all()]

    def refuse(*_: object, **__: object) -> None:
        raise AuditUnavailable("the disk is full")

    monkeypatch.setattr(Audit, "record", refuse)
    out = str(tmp_path / "out")
    for words in (
        ("devices", "enrol", "--csr", str(csr), "--out", out, "--office-url", "https://h"),
        ("devices", "technician", "--csr", str(csr), "--out", out, "--name", "pole-7"),
        ("devices", "revoke", "pole-1", "--reason", "stolen"),
        ("devices", "request", "pole-1", "seg-1"),
        ("users", "add", "eve", "--role", "auditor"),
        ("users", "reset", "admin"),
        ("users", "trained", "admin", "--on", "2026-01-02"),
        ("lists", "add", "--id", "leads", "--layout", "leads", str(feed)),
        ("lists", "manual", "--plate", "AB1234", "--reason", "x", "--expires", "1h"),
        ("lists", "publish"),
        ("hits", "list"),
        ("receipts", "verify"),
    ):
        assert run(root, *words) == 4, words
    assert [d.device_id for d in devices.all_devices(office) if d.revoked_us is None] == ["pole-1"]
    assert not devices.wants_segment(office, "pole-1", "seg-1")
    assert [(p.name, p.trained_on, p.session_epoch) for p in office.people.all()] == before
    assert not list(office.layout.lists.glob("*/draft.json"))
    assert not Path(out).exists()


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "init", "serve", "keys", "devices", "lists", "pull", "open", "search", "users", "audit", "hits", "receipts",
        "verify-receipts", "hold",
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main(["--data", "x", command, "--help"])
        assert ended.value.code == 0
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "exit codes" in capsys.readouterr().out


# --- the server as a process -------------------------------------------------------------------------


def start(root: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    command = [sys.executable, "-m", "backoffice.cli", "--data", str(root), "serve"]
    process = subprocess.Popen(
        [*command, "--device-port", "0", "--page-port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, json.loads(process.stdout.readline())


def finish(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    code = process.wait(15)
    assert process.stdout
    process.stdout.close()
    return code


def test_serve_says_where_it_listens_and_ends_cleanly(office: Office, device: MadeDevice) -> None:
    hit = make_hit()
    process, ready = start(office.layout.root)
    try:
        assert ready["event"] == "ready"
        link = device.transport(ready["device_url"])
        body = seal_hit(office, hit)
        assert link.post("/v1/hits", body, {"X-Wayside-Id": hit.hit_id}).status == 201
        link.close()
        os.kill(process.pid, signal.SIGKILL)  # what was acknowledged must be there at the next start
        process.wait(10)
    finally:
        process.kill()
        assert process.stdout
        process.stdout.close()
    again, ready = start(office.layout.root)
    try:
        link = device.transport(ready["device_url"])
        assert link.post("/v1/hits", body, {"X-Wayside-Id": hit.hit_id}).status == 200
        link.close()
        started = time.monotonic()
        assert finish(again) == 0
        assert time.monotonic() - started < 8
    finally:
        again.kill()
    assert not office.layout.serving.exists()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # cheroot leaves the socket to the collector
def test_a_taken_port_is_exit_code_4(office: Office, server: dict[str, str]) -> None:
    port = server["device_url"].rpartition(":")[2]
    assert run(office.layout.root, "serve", "--device-port", port, "--page-port", "0") == 4
