# SPDX-License-Identifier: Apache-2.0
"""The page of legal holds: who waits for whom, and that approving there is the same act as at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hold_world import DAY_US, Road, choice, events, held, holds, reads_of, staff
from office_world import Clock, MadeDevice, log_in, token

from backoffice.hold_file import HoldState
from backoffice.office import Office
from storage.errors import DiskFullError
from storage.types import EPOCH_US, epoch_of


@pytest.fixture
def asked(office: Office, device: MadeDevice, tmp_path: Path, clock: Clock) -> str:
    road = Road(office, device, tmp_path / "device-data")
    road.see("r-0", "AB1000", epoch_of(clock() - 28 * DAY_US) * EPOCH_US)
    road.pulled()
    staff(office)
    return holds(office).request(choice("pole-1/r-0")).hold.hold_id


def press(client: FlaskClient, hold_id: str, what: str, reason: str = "") -> int:
    data = {"csrf": token(client, "/holds"), "reason": reason}
    return client.post(f"/holds/{hold_id}/{what}", data=data).status_code


def test_a_hold_is_approved_and_ended_on_the_page(client: FlaskClient, office: Office, asked: str) -> None:
    assert client.get("/holds", follow_redirects=True).request.path == "/login"
    log_in(client, "sergeant")
    page = client.get("/holds").text
    assert 'Holds <span class="tag">1</span>' in page
    assert "hours</span> unless it is approved" in page
    assert "AB1000" not in page
    assert client.post(f"/holds/{asked}/approve").status_code == 403  # no token of the form
    assert press(client, asked, "approve") == 302
    assert set(reads_of(held(office, asked))) == {"r-0"}
    page = client.get("/holds").text
    assert "images: 2, reads: 1" in page
    assert "Ask for its end" in page
    assert press(client, asked, "release") == 400  # no reason
    assert press(client, asked, "release", "the case is <b>closed</b>") == 302
    page = client.get("/holds").text
    assert "You asked for this" in page
    assert "&lt;b&gt;closed&lt;/b&gt;" in page
    assert press(client, asked, "approve") == 403
    assert press(client, asked, "keep", "appeal") == 302
    assert press(client, asked, "release", "closed") == 302
    client.post("/logout", data={"csrf": token(client, "/holds")})
    log_in(client, "chief")
    assert press(client, asked, "approve") == 302
    assert holds(office).get(asked).state is HoldState.ENDED
    assert press(client, asked, "approve") == 409
    assert events(office, asked)[-2:] == ["hold_end", "hold_ended"]
    assert office.audit.verify().ok


def test_who_asked_and_other_roles_see_no_button(client: FlaskClient, office: Office, asked: str) -> None:
    log_in(client, "doyle")
    page = client.get("/holds").text
    assert "You asked for this" in page
    assert f"/holds/{asked}/approve" not in page
    assert press(client, asked, "approve") == 403
    assert press(client, asked, "drop", "a mistake") == 302
    assert holds(office).get(asked).state is HoldState.DROPPED
    assert press(client, "nosuch", "drop", "x") == 404
    client.post("/logout", data={"csrf": token(client, "/holds")})
    log_in(client, "auditor")
    assert client.get("/holds").status_code == 403


def test_a_damaged_document_is_shown(client: FlaskClient, office: Office, asked: str) -> None:
    (office.layout.holds / asked / "hold.json").write_text("{}")
    log_in(client, "sergeant")
    assert f"{asked}:" in client.get("/holds").text
    assert client.get("/hits").status_code == 200


def test_a_disk_that_fails_is_told_and_the_hold_can_be_approved_again(
    client: FlaskClient, office: Office, asked: str
) -> None:
    log_in(client, "sergeant")
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> None:
            raise DiskFullError("the disk is full: free some space")

        patch.setattr("backoffice.hold_sealing.source_proof", full)
        patch.setattr("backoffice.hold_sealing.CaseWriter.finish", full)
        assert press(client, asked, "approve") == 503
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backoffice.pages.hold_pages.Holds.approve", _unplugged)
        response = client.post(f"/holds/{asked}/approve", data={"csrf": token(client, "/holds")})
    assert (response.status_code, "Input/output error" in response.text) == (503, True)
    assert "approve it again, it goes on" in client.get("/holds").text
    assert press(client, asked, "approve") == 302
    assert set(reads_of(held(office, asked))) == {"r-0"}


def _unplugged(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_the_menu_reads_a_document_again_only_when_it_changed(
    client: FlaskClient, office: Office, asked: str
) -> None:
    log_in(client, "sergeant")
    assert 'Holds <span class="tag">1</span>' in client.get("/hits").text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backoffice.hold_file.HoldFolder.load", _unplugged)
        assert 'Holds <span class="tag">1</span>' in client.get("/hits").text
    holds(office).drop(asked, "a mistake")
    assert "Holds <span" not in client.get("/hits").text
