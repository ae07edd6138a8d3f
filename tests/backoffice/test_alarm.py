# SPDX-License-Identifier: Apache-2.0
"""A new hit is announced on every open page, to the eye and the ear, without reloading: in a real browser."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from flask.testing import FlaskClient
from office_world import Clock, MadeDevice, log_in, make_correction, make_hit, seal_hit

from backoffice.hits import HitStore
from backoffice.office import Office, day_of
from backoffice.pages.alarm_pages import MAX_TOLD
from backoffice.people import TRAINING_LIFETIME_DAYS, Role
from backoffice.tls import plain_server
from storage.audit import read_entries
from sync.hotlists.entry import Category
from sync.schema import HitRecord

Put = Callable[[HitRecord], str]


@pytest.fixture
def put(office: Office, store: HitStore, device: MadeDevice) -> Put:
    def stored(hit: HitRecord) -> str:
        store.put(hit.hit_id, hit.read.device_id, seal_hit(office, hit))
        return hit.hit_id

    return stored


def new_hit(clock: Clock, read_id: str = "r-1", category: Category = Category.STOLEN_VEHICLE) -> HitRecord:
    clock.forward(1)
    hit = make_hit(read_id=read_id, at_us=clock())
    return hit.model_copy(
        update={"entry": hit.entry.__class__(**{**_fields(hit.entry), "category": category})}
    )


def _fields(entry: object) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__slots__}  # type: ignore[attr-defined]


# --- what is told ----------------------------------------------------------------------------------


def test_an_open_hit_is_told_without_its_plate(client: FlaskClient, put: Put, clock: Clock) -> None:
    hit = new_hit(clock)
    put(hit)
    log_in(client)
    reply = client.get("/alarm")
    assert reply.json == {
        "open": 1,
        "alerts": [{"id": hit.hit_id, "received_us": clock(), "words": "stolen vehicle"}],
        "taken_back": [],
    }
    assert hit.read.text not in reply.text
    assert hit.entry.plate not in reply.text


def test_what_is_silent_decided_or_taken_back_is_not_announced(
    client: FlaskClient, put: Put, clock: Clock
) -> None:
    silent, early = new_hit(clock, "r-1"), new_hit(clock, "r-2")
    put(silent.model_copy(update={"match": silent.match.model_copy(update={"silent": True})}))
    put(early)
    put(make_correction(early))
    log_in(client)
    reply = client.get("/alarm").json
    assert reply is not None
    assert reply["alerts"] == []
    assert reply["taken_back"] == [early.hit_id]


def test_the_newest_of_many_are_told(client: FlaskClient, put: Put, clock: Clock) -> None:
    ids = [put(new_hit(clock, f"r-{number}")) for number in range(MAX_TOLD + 3)]
    log_in(client)
    reply = client.get("/alarm").json
    assert reply is not None
    assert [told["id"] for told in reply["alerts"]] == ids[:2:-1]
    assert reply["open"] == MAX_TOLD + 3


def test_asking_is_neither_an_access_nor_a_sign_of_life(
    client: FlaskClient, office: Office, clock: Clock
) -> None:
    log_in(client)
    before = len(list(read_entries(office.layout.audit)))
    for _ in range(200):
        clock.forward(10)
        last = client.get("/alarm").status_code
    assert len(list(read_entries(office.layout.audit))) == before
    assert last == 302  # logged out for want of hands


def test_who_may_not_see_hits_hears_of_none(client: FlaskClient, office: Office) -> None:
    office.people.add("ada", Role.AUDITOR, day_of(office.clock()), office.clock(), "another password of it")
    assert client.get("/alarm").status_code == 302
    log_in(client, "ada", "another password of it")
    assert client.get("/alarm").status_code == 403
    page = client.get("/devices").text
    assert "announce.js" not in page
    assert 'id="alarm"' not in page


def test_a_page_of_somebody_whose_training_lapsed_does_not_ask(client: FlaskClient, clock: Clock) -> None:
    log_in(client)
    assert "announce.js" in client.get("/devices").text
    clock.forward(86_400 * (TRAINING_LIFETIME_DAYS + 2))
    log_in(client)
    assert "announce.js" not in client.get("/devices").text


@pytest.mark.parametrize("path", ["/hits", "/devices", "/lists", "/password"])
def test_every_page_announces(path: str, client: FlaskClient) -> None:
    log_in(client)
    page = client.get(path).text
    assert 'role="alert"' in page
    assert 'id="sound"' in page
    assert "Sound muted" in page  # what is true before the script has run


# --- over a socket, in a browser -------------------------------------------------------------------


@pytest.fixture
def url(client: FlaskClient) -> Iterator[str]:
    """The pages on a real port, already logged in."""
    log_in(client)
    held = client.get_cookie("wayside_office")
    assert held
    app = client.application

    def logged_in(environ: dict[str, object], start: object) -> object:
        environ["HTTP_COOKIE"] = f"wayside_office={held.value}"
        return app.wsgi_app(environ, start)  # type: ignore[arg-type]

    server = plain_server("127.0.0.1", 0, logged_in, 16_384)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}"
    server.stop()
    thread.join()


def test_pages_over_a_socket(url: str, put: Put, clock: Clock) -> None:
    hit_id = put(new_hit(clock))
    for path in (
        "hits",
        f"hits/{hit_id}",
        "static/office.css",
        "static/live.js",
        "static/announce.js",
        "alarm",
    ):
        with urllib.request.urlopen(f"{url}/{path}") as answer:  # noqa: S310
            assert answer.status == 200


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    folder = tmp_path / "chromium"
    folder.mkdir()
    with Browser(folder) as made:
        yield made


SHOWN = "!document.getElementById('alarm').hidden"
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.mark.slow
@in_a_browser
def test_a_new_hit_is_seen_and_heard_on_the_list(browser: Browser, url: str, put: Put, clock: Clock) -> None:
    old = put(new_hit(clock, "r-0"))
    browser.open(f"{url}/hits")
    browser.wait("document.title.startsWith('(1)')")
    assert not browser.value(SHOWN)  # what was there already is on the list, and no news
    assert browser.text("#sound") == "Sound muted: turn on"
    browser.click("#sound")
    browser.wait("document.getElementById('sound').innerText === 'Sound on: mute'")
    assert browser.value("document.getElementById('sound').getAttribute('aria-pressed')") == "true"
    browser.value("delete document.documentElement.dataset.played")
    hit_id = put(new_hit(clock, "r-1", Category.FELONY_VEHICLE))
    browser.wait(SHOWN)
    assert browser.text("#alarm-text") == "New hit: felony vehicle. Verify before acting."
    assert browser.value("document.title").startswith("NEW HIT (2) Hits")
    assert browser.value("document.documentElement.dataset.played") == "880 1174"
    browser.wait(
        f"document.querySelector('[data-hit=\"{hit_id}\"] .tag.new')"
    )  # in words, not by colour alone
    assert browser.value(f"document.querySelectorAll('[data-hit=\"{old}\"] .tag.new').length") == 0
    browser.click("#alarm-seen")
    browser.wait(f"!({SHOWN})")
    assert browser.value("document.title").startswith("(2) Hits")
    assert browser.value("document.querySelectorAll('.tag.new').length") == 0


@pytest.mark.slow
@in_a_browser
def test_it_is_announced_on_every_page_until_it_is_looked_at(
    browser: Browser, url: str, put: Put, clock: Clock
) -> None:
    browser.open(f"{url}/devices")
    browser.wait("sessionStorage.getItem('wayside-alarm')")
    hit_id = put(new_hit(clock))
    browser.wait(SHOWN)
    assert browser.text("#alarm-text").endswith("(The sound is muted.)")
    browser.open(f"{url}/lists")  # going elsewhere does not end it
    browser.wait(SHOWN)
    browser.click("#alarm-look")
    browser.wait(f"location.pathname === '/hits/{hit_id}' && document.readyState === 'complete'")
    browser.wait("sessionStorage.getItem('wayside-alarm').includes('opened')")
    browser.open(f"{url}/devices")
    browser.wait("document.title.startsWith('(1)')")
    assert not browser.value(SHOWN)


@pytest.mark.slow
@in_a_browser
def test_a_hit_that_is_taken_back_is_announced_too(
    browser: Browser, url: str, put: Put, clock: Clock
) -> None:
    browser.open(f"{url}/hits")
    browser.wait("sessionStorage.getItem('wayside-alarm')")
    early = new_hit(clock)
    put(early)
    browser.wait(SHOWN)
    clock.forward(1)
    put(make_correction(early))
    browser.wait("document.getElementById('alarm-text').innerText.startsWith('Taken back')")
    assert "Do not act on it" in browser.text("#alarm-text")
    assert browser.value("document.getElementById('alarm').className") == "alarm back"
    assert browser.value("document.getElementById('alarm-look').pathname") == f"/hits/{early.hit_id}"


@pytest.mark.slow
@in_a_browser
def test_muting_is_remembered_and_said(browser: Browser, url: str) -> None:
    browser.open(f"{url}/hits")
    browser.wait("!document.getElementById('sound').hidden")
    browser.click("#sound")
    browser.wait("document.getElementById('sound').innerText === 'Sound on: mute'")
    browser.open(f"{url}/devices")
    browser.wait("!document.getElementById('sound').hidden")
    # a browser gives sound only to a page that was touched: until then the button does not say "on"
    browser.wait("document.getElementById('sound').innerText === 'Sound waits for a click'")
    browser.click("h1, h2, main")
    browser.wait("document.getElementById('sound').innerText === 'Sound on: mute'")
    browser.click("#sound")
    browser.wait("document.getElementById('sound').innerText === 'Sound muted: turn on'")
    browser.open(f"{url}/hits")
    browser.wait("!document.getElementById('sound').hidden")
    assert browser.text("#sound") == "Sound muted: turn on"


@pytest.mark.slow
@in_a_browser
def test_nothing_moves_for_who_does_not_want_it(browser: Browser, url: str, put: Put, clock: Clock) -> None:
    moves = "getComputedStyle(document.querySelector('#alarm .sign')).animationName"
    browser.open(f"{url}/hits")
    browser.wait("sessionStorage.getItem('wayside-alarm')")
    put(new_hit(clock))
    browser.wait(SHOWN)
    assert browser.value(moves) == "pulse"
    browser.reduced_motion()
    browser.wait(f"{moves} === 'none'")
    assert browser.value(SHOWN)


@pytest.mark.slow
@in_a_browser
def test_an_office_that_is_gone_is_said(browser: Browser, url: str, client: FlaskClient) -> None:
    browser.open(f"{url}/devices")
    browser.wait("sessionStorage.getItem('wayside-alarm')")
    browser.send("Network.enable")
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.send("Network.emulateNetworkConditions", **offline)
    browser.wait(SHOWN)
    assert "No connection" in browser.text("#alarm-text")
    browser.send("Network.emulateNetworkConditions", **{**offline, "offline": False})
    browser.wait(f"!({SHOWN})")
