# SPDX-License-Identifier: Apache-2.0
"""`wayside-tech` as a technician runs it, against a real agent on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioning.agent import ProvisionAgent
from provisioning.errors import OfficeFailed, ProvisioningError, UntrustedPeer
from provisioning.host import cli, office
from provisioning.host.known import KnownDevices, default_path
from provisioning.identity import Identity
from provisioning.session import PeerCertificate

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(pty_agent: tuple[ProvisionAgent, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against the agent with --json; the exit code and the object printed."""

    def call(command: str, *arguments: str, known: str = "known.json") -> tuple[int, Any]:
        port = [] if command == "forget" else ["--port", str(pty_agent[1])]
        capsys.readouterr()
        code = cli.main([command, *arguments, *port, "--known", str(tmp_path / known), "--json"])
        printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return code, json.loads(printed[-1])

    return call


def enrolled(agent: ProvisionAgent, agency: Any) -> None:
    identity = agent.commands.identity
    agent.commands.identity = identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)


def test_a_new_device_is_pinned_and_met_again(run: Run, pty_agent: tuple[ProvisionAgent, Path]) -> None:
    code, refused = run("hello")
    assert (code, refused["error"]["exit"]) == (2, 2)  # nobody to ask in a test
    code, result = run("hello", "--yes")
    assert (code, result["device_id"]) == (0, pty_agent[0].commands.identity.device_id)
    assert run("hello")[0] == 0


def test_another_key_under_a_known_name_is_refused(
    run: Run, pty_agent: tuple[ProvisionAgent, Path], tmp_path: Path
) -> None:
    name = pty_agent[0].commands.identity.device_id
    (tmp_path / "known.json").write_text(json.dumps({name: "0" * 64}))
    code, result = run("hello", "--yes")
    assert (code, result["error"]["code"]) == (4, "UntrustedPeer")
    assert run("forget", name) == (0, {"device_id": name, "was_known": True})
    assert run("hello", "--yes")[0] == 0


def test_enrolment_by_files(
    run: Run, pty_agent: tuple[ProvisionAgent, Path], agency: Any, tmp_path: Path
) -> None:
    csr, bundle = tmp_path / "device.csr", tmp_path / "bundle.json"
    code, result = run("enrol", "--csr-out", str(csr), "--yes")
    assert (code, result["installed"]) == (0, False)
    bundle.write_bytes(agency.bundle(csr.read_bytes()))
    wrong = run("enrol", "--bundle-in", str(bundle), "--ca-fingerprint", "0" * 64)
    assert (wrong[0], pty_agent[0].commands.identity.enrolled) == (4, False)
    spoken = " ".join(agency.fingerprint[at : at + 4] for at in range(0, 64, 4)).upper()
    code, result = run("enrol", "--bundle-in", str(bundle), "--ca-fingerprint", spoken)
    assert (code, result["installed"], result["agency"]) == (0, True, agency.title)
    assert run("status")[1]["enrolled"] is True


def test_a_bundle_of_another_agency_or_device_is_refused(
    run: Run, pty_agent: tuple[ProvisionAgent, Path], agency: Any, other_agency: Any, tmp_path: Path
) -> None:
    agent = pty_agent[0]
    enrolled(agent, agency)
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(other_agency.bundle(agent.commands.identity.csr()))
    assert run("enrol", "--bundle-in", str(bundle), "--yes")[1]["error"]["code"] == "refused"
    stranger = Identity.create(tmp_path / "stranger")
    bundle.write_bytes(agency.bundle(stranger.csr()))
    assert run("enrol", "--bundle-in", str(bundle), "--yes")[1]["error"]["code"] == "InstallRefused"
    bundle.write_bytes(b"{}")
    assert run("enrol", "--bundle-in", str(bundle), "--yes")[0] == 1
    assert run("enrol", "--bundle-in", str(tmp_path / "none"), "--yes")[0] == 1


def test_selftest_tells_failure_by_its_exit_code(run: Run, pty_agent: tuple[ProvisionAgent, Path]) -> None:
    code, result = run("selftest", "--yes")
    assert (code, result["ok"], result["results"][0]["name"]) == (0, True, "identity")
    (pty_agent[0].commands.identity.folder / "device.key").chmod(0o644)
    code, result = run("selftest", "identity")
    assert (code, result["ok"]) == (1, False)


def test_reset_with_a_technician_certificate(
    run: Run, pty_agent: tuple[ProvisionAgent, Path], agency: Any, tmp_path: Path
) -> None:
    enrolled(pty_agent[0], agency)
    name = pty_agent[0].commands.identity.device_id
    assert run("reset", "--confirm", name, "--yes")[1]["error"]["code"] == "forbidden"
    person = agency.person(tmp_path / "people")
    arguments = ["--confirm", name, "--cert", str(person.certificate), "--key", str(person.key)]
    assert run("reset", "--cert", str(person.certificate), "--confirm", name)[0] == 2
    assert run("reset", *arguments)[0] == 0
    assert run("hello", "--yes")[1]["enrolled"] is False


def test_no_device_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["hello", "--port", str(tmp_path / "none"), "--known", str(tmp_path / "known")])
    assert code == 3
    assert "cable" in capsys.readouterr().err


def test_people_read_lines_that_cannot_drive_their_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    results = [{"name": "camera", "ok": False, "detail": "\x1b[2Jclean", "ms": 1.0}, "nonsense"]
    cli._show({"device_id": "pole-7", "note": "a\x1b[31mb", "ok": False, "results": results}, as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "device_id: pole-7\n" in out
    assert 'FAIL camera: "\\u001b[2Jclean"\n' in out


@pytest.mark.parametrize("arguments", [[], ["enrol", "--port", "x"], ["hello"], ["dance"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_help_names_every_command_and_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "provisioning.host.cli", "--help"], capture_output=True, text=True, check=True
    )
    for word in ("hello", "status", "selftest", "enrol", "reset", "forget", "exit codes"):
        assert word in done.stdout


# --- remembered devices ------------------------------------------------------------------------------


def test_the_file_of_known_devices_is_private_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownDevices(tmp_path / "state" / "known.json")
    peer = PeerCertificate("pole-7", "device", "a" * 64, "")
    assert known.check(peer) is False
    known.remember(peer)
    assert known.check(peer) is True
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert (known.forget("pole-7"), known.forget("pole-7")) == (True, False)
    with pytest.raises(UntrustedPeer, match="name"):
        known.check(PeerCertificate("\x1b[2J", "device", "a" * 64, ""))
    for damage in (b"{", b"[]", b'{"a":1}'):
        known.path.write_bytes(damage)
        with pytest.raises(ProvisioningError, match="damaged"):
            known.check(peer)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_path() == Path("/state/wayside-tech/known-devices.json")


# --- a back office on the same laptop ----------------------------------------------------------------


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_real_office_on_this_laptop_enrols_the_device(
    run: Run, pty_agent: tuple[ProvisionAgent, Path], tmp_path: Path
) -> None:
    data = tmp_path / "office"
    start = [office.find_command(), "--data", str(data)]
    made = ["init", "--agency", "Joliet Police Department", "--url", "https://127.0.0.1:8443"]
    subprocess.run([*start, *made], capture_output=True, check=True, timeout=60)
    code, result = run("enrol", "--office-data", str(data), "--yes")
    assert (code, result["installed"], result["agency"]) == (0, True, "Joliet Police Department")
    bundle = Identity.load(pty_agent[0].commands.identity.folder).bundle
    assert bundle is not None
    assert bundle.office_url == "https://127.0.0.1:8443"
    assert bundle.ca_fingerprint == result["ca_fingerprint"]


def test_what_the_office_says_is_passed_on(tmp_path: Path) -> None:
    refusing = script(tmp_path / "a", "echo 'no such office: run init' >&2; exit 3")
    with pytest.raises(OfficeFailed, match="run init"):
        office.issue(tmp_path, b"csr", command=refusing)
    with pytest.raises(OfficeFailed, match="no bundle"):
        office.issue(tmp_path, b"csr", command=script(tmp_path / "b", "exit 0"))
    with pytest.raises(OfficeFailed, match="exit code 7"):
        office.issue(tmp_path, b"csr", command=script(tmp_path / "c", "exit 7"))
    with pytest.raises(OfficeFailed, match="cannot be run"):
        office.issue(tmp_path, b"csr", command=str(tmp_path / "none"))


def test_a_missing_office_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OfficeFailed, match="--csr-out"):
        office.find_command()
    assert os.environ["PATH"] == str(tmp_path)
