# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.commands import Commands, Hooks
from provisioning.errors import BadRequest
from provisioning.identity import BUNDLE_FILE, KEY_FILE, Identity
from provisioning.selftest import (
    MAX_CHECKS,
    MAX_DETAIL_CHARS,
    MAX_TIMEOUT_S,
    CheckFailed,
    SelfTests,
    identity_check,
)
from provisioning.types import Peer
from sync.enrolment import LIMITS

NOBODY, TECHNICIAN = Peer(), Peer("pat", "technician")


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    Identity.create(tmp_path / "identity", "pole-7")
    tests = SelfTests()
    tests.register("identity", identity_check(tmp_path / "identity"))
    hooks = Hooks(now_us=lambda: None, facts=lambda: {"temperature_c": 41.5}, version="0.1.0")
    return Commands(tmp_path / "identity", tests, hooks)


def ask(commands: Commands, command: str, peer: Peer = NOBODY, **params: object) -> Any:
    message = json.dumps({"id": 3, "command": command, "params": params}).encode()
    answer = json.loads(commands.handle(message, peer))
    assert answer["id"] == 3
    return answer


def enrol(commands: Commands, agency: Any) -> Any:
    document = agency.bundle(commands.identity.csr()).decode()
    return ask(commands, "install", document=document, confirm_ca=agency.fingerprint)


def test_hello_says_who_it_is(commands: Commands) -> None:
    result = ask(commands, "hello")["result"]
    assert (result["device_id"], result["enrolled"], result["agency"]) == ("pole-7", False, None)
    assert result["fingerprint"] == commands.identity.fingerprint
    assert result["commands"] == ["hello", "csr", "install", "status", "selftest", "reset"]


def test_install_enrols_and_tells_the_firmware(commands: Commands, agency: Any, tmp_path: Path) -> None:
    told: list[str] = []
    hooks = Hooks(on_enrolled=lambda identity: told.append(identity.device_id))
    commands = Commands(tmp_path / "identity", SelfTests(), hooks)
    answer = enrol(commands, agency)
    assert answer["result"]["ca_fingerprint"] == agency.fingerprint
    assert told == ["pole-7"]
    assert ask(commands, "hello")["result"]["agency"] == agency.title


def test_a_refused_bundle_says_what_to_do(commands: Commands, agency: Any, other_agency: Any) -> None:
    enrol(commands, agency)
    answer = enrol(commands, other_agency)
    assert answer["error"]["code"] == "refused"
    assert "reset" in answer["error"]["message"]
    assert answer["error"]["permanent"] is True


def test_status_is_short_for_strangers_once_enrolled(commands: Commands, agency: Any) -> None:
    before = ask(commands, "status")["result"]
    assert before["facts"] == {"temperature_c": 41.5}
    enrol(commands, agency)
    short = ask(commands, "status")["result"]
    assert set(short) == {"device_id", "enrolled", "clock_us", "full", "agency", "camera"}
    full = ask(commands, "status", TECHNICIAN)["result"]
    assert full["enrolment"]["office_url"] == "https://127.0.0.1:8443"
    assert full["enrolment"]["retention"] == {"seconds": 2_592_000, "version": "30d.1", "number": 0}


@pytest.mark.parametrize("peer", [NOBODY, Peer("pole-9", "device"), Peer("office", "office")])
def test_reset_needs_a_technician_once_enrolled(commands: Commands, agency: Any, peer: Peer) -> None:
    enrol(commands, agency)
    assert ask(commands, "reset", peer, confirm="pole-7")["error"]["code"] == "forbidden"
    assert commands.identity.enrolled


def test_reset_needs_the_device_id_and_makes_a_new_key(commands: Commands, agency: Any) -> None:
    enrol(commands, agency)
    assert ask(commands, "reset", TECHNICIAN, confirm="pole-8")["error"]["code"] == "bad-request"
    before = commands.identity.fingerprint
    result = ask(commands, "reset", TECHNICIAN, confirm="pole-7")["result"]
    assert result["fingerprint"] != before
    assert not commands.identity.enrolled


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"id":1}',
        b'{"id":-1,"command":"hello"}',
        b'{"id":1,"command":"hello","more":1}',
        b'{"id":1,"command":"hello","params":{"x":1}}',
        b'{"id":1,"command":"rm -rf"}',
        b'{"id":1,"command":"' + b"x" * 33 + b'"}',
        b'{"id":1,"command":"install","params":{"document":1}}',
        b'{"id":1,"command":"install","params":{"document":"","confirm_ca":"zz"}}',
        b'{"id":1,"command":"selftest","params":{"names":["nope"]}}',
        b'{"id":1,"command":"install","params":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"id":1,"command":"hello","params":{"\\ud800":1}}',
    ],
)
def test_a_bad_request_is_answered_and_changes_nothing(commands: Commands, message: bytes) -> None:
    answer = json.loads(commands.handle(message, NOBODY))
    assert answer["ok"] is False
    assert answer["error"]["code"] == "bad-request"


@settings(max_examples=50, deadline=None)
@given(message=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_answered(tmp_path_factory: pytest.TempPathFactory, message: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    assert json.loads(Commands(folder, SelfTests()).handle(message, NOBODY))["ok"] is False


def test_the_bundle_and_the_names_are_bounded(commands: Commands) -> None:
    large = ask(commands, "install", document="x" * (LIMITS.bundle_bytes + 1))
    assert large["error"]["code"] == "bad-request"
    many = ask(commands, "selftest", names=["identity"] * (MAX_CHECKS + 1))
    assert many["error"]["code"] == "bad-request"


def test_a_full_disk_is_a_temporary_failure(
    commands: Commands, agency: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("provisioning.identity.write_atomic", full)
    error = enrol(commands, agency)["error"]
    assert (error["code"], error["permanent"]) == ("failed", False)
    assert "No space" in error["message"]
    assert not Identity.load(commands.identity.folder).enrolled


def test_no_answer_and_no_log_holds_the_key(
    commands: Commands, agency: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = (commands.identity.folder / KEY_FILE).read_text().splitlines()[1]
    said = [enrol(commands, agency)]
    said += [ask(commands, name, TECHNICIAN) for name in ("hello", "csr", "status", "selftest", "reset")]
    (commands.identity.folder / KEY_FILE).write_text("garbage " + secret)
    said.append(ask(commands, "selftest"))
    out, err = capsys.readouterr()
    assert secret not in json.dumps(said) + out + err


# --- self-tests --------------------------------------------------------------------------------------


def test_selftests_report_each_by_name(commands: Commands) -> None:
    result = ask(commands, "selftest")["result"]
    assert result["ok"] is True
    assert result["results"][0]["name"] == "identity"
    assert result["results"][0]["detail"] == "pole-7, not enrolled"
    (commands.identity.folder / BUNDLE_FILE).write_text("garbage")
    assert ask(commands, "selftest", names=["identity"])["result"]["ok"] is False


def test_one_failure_stops_none_and_a_hang_is_cut() -> None:
    release = threading.Event()

    def failing() -> str:
        raise CheckFailed("clean the lens" + "!" * 500)

    def broken() -> str:
        raise OSError(5, "no camera")

    def hanging() -> str:
        release.wait(10)
        return "late"

    tests = SelfTests()
    tests.register("camera", failing)
    tests.register("bus", broken)
    tests.register("modem", hanging, timeout_s=0.05)
    tests.register("clock", lambda: "2026")
    results = {result.name: result for result in tests.run()}
    release.set()
    assert [r.ok for r in results.values()] == [False, False, False, True]
    assert len(results["camera"].detail) == MAX_DETAIL_CHARS
    assert results["modem"].detail == "no answer within 0.05 s"
    assert results["clock"].detail == "2026"


def test_the_registry_is_bounded_and_names_are_unique() -> None:
    tests = SelfTests()
    for number in range(MAX_CHECKS):
        tests.register(f"check-{number}", lambda: "ok")
    with pytest.raises(ValueError, match="64"):
        tests.register("one-more", lambda: "ok")
    with pytest.raises(BadRequest, match="no such"):
        tests.run(["other"])
    single = SelfTests()
    single.register("a", lambda: "")
    with pytest.raises(ValueError, match="already"):
        single.register("a", lambda: "")
    with pytest.raises(ValueError, match="60 s"):
        single.register("b", lambda: "", timeout_s=MAX_TIMEOUT_S + 1)
    fed: list[int] = []
    single.run(on_alive=lambda: fed.append(1))
    assert fed == [1]
