# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from storage.spool import Spool
from sync.agent import AgentConfig, AgentHooks, SyncAgent
from sync.alarms import MAX_TOPICS, Alarms
from sync.budget import BudgetLimits
from sync.errors import BadList
from sync.hotlists.envelope import open_envelope, sign_envelope
from sync.hotlists.store import ListStore
from sync.limits import ListLimits
from sync.office_sim import OfficeSim
from sync.schema import SignedDocument
from sync.wire import Response
from tests.sync.factories import HOUR_US, NOW_US, document, entry
from tests.sync.links import Clock, TestBox, spool

KEY = ec.generate_private_key(ec.SECP256R1())


class Rig:
    """The real agent, spools and list store against the office in memory."""

    def __init__(self, folder: Path, faults: str = "", *, health: Any = dict, **config: Any) -> None:
        self.office = OfficeSim(KEY, now_us=NOW_US + 5, faults=faults)
        self.clock = Clock()
        self.hits = spool(folder / "hits")
        self.receipts = Spool.open(folder / "receipts")
        self.store = ListStore(folder / "lists", TestBox())
        self.alarms: list[tuple[str, Mapping[str, Any]]] = []
        self.times: list[tuple[int, int]] = []
        self.documents: list[tuple[str, bytes]] = []
        self.files = folder / "segments"
        self.files.mkdir()
        hooks = AgentHooks(
            alarm=lambda event, fields: self.alarms.append((event, fields)),
            office_time=lambda at, by: self.times.append((at, by)),
            document=self._document,
            health=health,
            find_segment=lambda name: path if (path := self.files / name).exists() else None,
        )
        self.agent = SyncAgent(
            AgentConfig(device_id="dev-1", boot_id="boot-1", software="test", **config),
            self.office,
            self.hits,
            self.store,
            list_keys=(KEY.public_key(),),
            receipts=self.receipts,
            hooks=hooks,
            monotonic=self.clock,
        )

    def _document(self, kind: str, signed: bytes) -> bool:
        body, _ = open_envelope(kind, signed, [KEY.public_key()], max_bytes=1000)
        if body == b"old":
            raise BadList("an older one")
        self.documents.append((kind, body))
        return kind == "config"

    def alarmed(self, event: str) -> int:
        return sum(name == event for name, _ in self.alarms)

    def step(self, after_s: float = 0.0) -> None:
        self.clock.now_s += after_s
        self.agent.step(NOW_US)

    def lists(self) -> dict[str, int]:
        return {name: item.version for name, item in self.store.installed().items()}

    def halted(self) -> bool:
        return bool(self.agent.status.halted)

    def link_up(self) -> bool:
        return self.agent.status.link_up

    def paths(self) -> list[str]:
        return [path for _, path in self.office.requests]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_one_step_does_all_that_is_due_hits_first(rig: Rig) -> None:
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.receipts.put("r1", b"{}", kind="receipt")
    rig.office.publish(document())
    rig.step()
    assert rig.paths() == ["/v1/hits", "/v1/receipts", "/v1/heartbeat", "/v1/hotlists", "/v1/hotlists/leads"]
    assert rig.office.hits == {"h1": b"sealed"}
    assert rig.office.receipts == {"r1": b"{}"}
    status = rig.agent.status
    assert (status.link_up, status.halted, status.hits_sent, status.lists_installed) == (True, "", 1, 1)
    rig.step(1)
    assert len(rig.office.requests) == 5  # nothing else is due


def test_the_heartbeat_tells_lists_and_brings_the_time(rig: Rig) -> None:
    rig.office.publish(document())
    rig.step()
    rig.step(60)
    beat = rig.office.heartbeats[-1]
    assert [(item.list_id, item.version, item.stale) for item in beat.lists] == [("leads", 3, False)]
    assert (beat.device_id, beat.boot_id, beat.uptime_s) == ("dev-1", "boot-1", 60)
    assert rig.times[-1] == (NOW_US + 5, 1)


def test_strange_health_does_not_silence_the_device(tmp_path: Path) -> None:
    rig = Rig(tmp_path, health=lambda: {"counters": {"reads": -1}})
    rig.step()
    assert rig.office.heartbeats[0].problems == ("health values out of bounds",)


def test_lists_update_by_delta_and_vanish_with_the_manifest(rig: Rig) -> None:
    entries = [entry(f"ZZ{at:03d}") for at in range(50)]
    rig.office.publish(document(entries))
    rig.office.publish(document(list_id="sos"))
    rig.step()
    assert rig.lists() == {"leads": 3, "sos": 3}
    rig.office.publish(document(entries[1:], version=4))
    rig.office.withdraw("sos")
    rig.step(120)
    assert rig.lists() == {"leads": 4}
    assert "/v1/hotlists/leads?from=3" in rig.paths()
    assert "/v1/hotlists/leads" not in rig.paths()[-1:]
    rig.step(120)
    assert rig.paths()[-1] == "/v1/hotlists"  # unchanged: one request, no list


def test_a_held_list_that_cannot_be_read_is_fetched_whole(rig: Rig, tmp_path: Path) -> None:
    rig.office.publish(document())
    rig.step()
    (tmp_path / "lists" / "leads.wlist").write_bytes(b"damaged")
    rig.office.publish(document(version=4))
    rig.step(120)
    assert rig.lists() == {"leads": 4}
    assert rig.paths()[-1] == "/v1/hotlists/leads"


def test_one_bad_list_does_not_keep_the_others_out(rig: Rig) -> None:
    rig.office.publish(document(expires_us=NOW_US - HOUR_US))
    rig.office.publish(document(list_id="sos"))
    rig.step()
    assert rig.lists() == {"sos": 3}
    assert rig.alarms[-1][0] == "hot_list_not_installed"
    assert [name for name, _ in rig.agent.status.list_problems] == ["leads"]
    rig.office.publish(document(version=4))
    rig.step(120)
    assert rig.lists() == {"leads": 4, "sos": 3}


def test_a_manifest_of_a_stranger_is_an_alarm(rig: Rig) -> None:
    rig.office.publish(document())
    rig.office.list_key = ec.generate_private_key(ec.SECP256R1())
    rig.step()
    assert rig.lists() == {}
    assert ("lists_refused" in {event for event, _ in rig.alarms}) is True


def test_an_older_manifest_is_refused(rig: Rig) -> None:
    rig.office.publish(document())
    rig.office.publish(document(version=4))
    rig.step()
    rig.office._manifest_version = 1
    rig.step(120)
    assert rig.lists() == {"leads": 4}
    assert "below" in rig.agent.status.last_error


def test_before_anything_is_published_there_is_nothing_to_fail(rig: Rig) -> None:
    rig.office.handle = lambda *_: Response(404)  # type: ignore[method-assign]
    rig.agent._due["heartbeat"] = 1e9
    rig.step()
    assert rig.agent.status.last_error == ""


@pytest.mark.parametrize("fault", ["a", "f"])
def test_a_refusal_stops_everything_alarms_and_is_asked_about_later(tmp_path: Path, fault: str) -> None:
    rig = Rig(tmp_path, fault)
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.step()
    assert rig.halted()
    assert rig.alarms[0][0] == "office_refuses_device"
    for _ in range(20):
        rig.step(10)
    assert len(rig.office.requests) == 1
    rig.office.faults = fault
    rig.step(900)
    assert rig.paths()[-1] == "/v1/heartbeat"
    assert rig.halted()
    rig.step(900)
    assert not rig.halted()
    rig.step()
    assert rig.office.hits == {"h1": b"sealed"}
    assert rig.hits.pending() == []


def test_a_dead_link_is_reported_and_recovers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "rrrr")
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.step()
    assert not rig.link_up()
    assert "hits" in rig.agent.status.last_error or "lists" in rig.agent.status.last_error
    for _ in range(10):
        rig.step(15)
    assert rig.link_up()
    assert rig.office.hits == {"h1": b"sealed"}


def test_an_item_refused_for_good_is_set_aside_with_an_alarm(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "g")
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.step()
    assert [item.id for item in rig.hits.quarantined()] == ["h1"]
    assert ("upload_refused_for_good", {"what": "hits", "count": 1}) in rig.alarms
    beat = rig.office.heartbeats[-1]
    assert beat.waiting["hits_set_aside"] == 1
    assert any("set aside" in problem for problem in beat.problems)


def test_what_was_set_aside_is_tried_once_more_after_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.hits.failed("h1", "refused", permanent=True)
    rig.step()
    assert rig.office.hits == {"h1": b"sealed"}
    assert ("requeued", {"what": "hits", "count": 1}) in rig.alarms
    assert "hits_set_aside" not in rig.office.heartbeats[-1].waiting
    rig.hits.put("h2", b"sealed", kind="hit")
    rig.hits.failed("h2", "refused", permanent=True)
    rig.step(1)
    assert rig.hits.quarantined_count() == 1  # once, at the start


def test_health_that_cannot_be_had_does_not_stop_the_agent(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("no such folder")

    rig = Rig(tmp_path, health=broken)
    rig.step()
    assert rig.office.heartbeats[0].problems == ("health not available",)


def test_a_standing_alarm_is_told_once_and_again_when_it_comes_back(rig: Rig) -> None:
    rig.office.publish(document())
    good, rig.office.list_key = rig.office.list_key, ec.generate_private_key(ec.SECP256R1())
    for _ in range(5):
        rig.step(15)
    assert rig.alarmed("lists_refused") == 1
    rig.office.list_key = good
    rig.step(15)
    assert rig.lists() == {"leads": 3}
    rig.office.publish(document(version=4))
    rig.office.list_key = ec.generate_private_key(ec.SECP256R1())
    rig.step(120)
    rig.step(15)
    assert rig.alarmed("lists_refused") == 2


def test_a_failing_list_is_told_once(rig: Rig) -> None:
    rig.office.publish(document(expires_us=NOW_US - HOUR_US))
    for _ in range(3):
        rig.step(120)
    assert rig.alarmed("hot_list_not_installed") == 1
    rig.office.publish(document(version=4))
    rig.step(120)
    rig.office.publish(document(version=5, expires_us=NOW_US - HOUR_US))
    rig.step(120)
    assert rig.alarmed("hot_list_not_installed") == 2


def test_an_alarm_that_could_not_be_kept_is_told_again(tmp_path: Path) -> None:
    kept: list[str] = []
    full = [True]

    def send(event: str, _fields: Mapping[str, Any]) -> bool:
        if not full[0]:
            kept.append(event)
        return not full[0]

    alarms = Alarms(send)
    alarms.stand("lists", "lists_refused", {})
    full[0] = False
    for _ in range(2):
        alarms.stand("lists", "lists_refused", {})
    assert kept == ["lists_refused"]
    for at in range(2 * MAX_TOPICS):
        alarms.stand(f"t{at}", "x", {})
    alarms.stand("lists", "lists_refused", {})
    assert kept.count("lists_refused") == 2  # bounded: the oldest topic is forgotten first


def test_a_document_of_a_kind_that_nothing_here_acts_on_is_told_once(rig: Rig) -> None:
    rig.office.send_document("retention", b"{}")
    for _ in range(3):
        rig.step(60)
    assert [fields for event, fields in rig.alarms if event == "document_not_supported"] == [
        {"kind": "retention"}
    ]


def test_a_new_agency_starts_at_its_own_version_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = Rig(tmp_path / "old")
    for version in (3, 4, 5):
        old.office.publish(document(version=version))
        old.office.publish(document(version=version, list_id="sos"))
    old.step()
    key = ec.generate_private_key(ec.SECP256R1())
    office = OfficeSim(key, now_us=NOW_US)
    office.publish(document(version=1))
    office._manifest_version = 1
    agent = SyncAgent(
        AgentConfig(device_id="dev-1", boot_id="boot-2"),
        office,
        old.hits,
        old.store,
        list_keys=(key.public_key(),),
        monotonic=old.clock,
    )
    agent.step(NOW_US)
    assert old.lists() == {"leads": 1}
    assert "sos" not in old.store.files()
    assert office.heartbeats[0].lists == ()  # nothing of the old agency's is told to the new one


def test_the_hits_wait_ends_when_the_heartbeat_gets_through(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "r")
    rig.agent._due["heartbeat"] = rig.clock.now_s + 30
    rig.agent._due["lists"] = 1e9
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.step()
    rig.agent._hits.backoff._until = rig.clock.now_s + 300
    rig.step(30)
    rig.step(1)
    assert rig.office.hits == {"h1": b"sealed"}


def test_segments_are_pushed_in_pieces_and_resume(tmp_path: Path) -> None:
    rig = Rig(tmp_path, chunk_bytes=4)
    data = bytes(range(10))
    (rig.files / "seg-1").write_bytes(data)
    rig.office.pull_requests = ["seg-1", "seg-gone"]
    rig.step()
    rig.office.faults = "l"  # a piece arrives, its answer does not
    for _ in range(8):
        rig.step(2)
    assert bytes(rig.office.segments["seg-1"].data) == data
    assert rig.agent.status.segments_sent == 1
    assert rig.agent.segments.waiting == 0


def test_signed_documents_are_handed_on_and_others_refused(rig: Rig) -> None:
    rig.office.send_document("config", b"a = 1")
    forged = sign_envelope("config", b"a = 2", ec.generate_private_key(ec.SECP256R1()))
    rig.office.documents.append(SignedDocument(kind="config", signed=forged))
    rig.step()
    assert rig.documents == [("config", b"a = 1")]
    assert rig.alarms[-1][0] == "document_refused"


def test_a_document_that_the_device_refuses_is_told_once(rig: Rig) -> None:
    rig.office.send_document("config", b"old")
    for _ in range(3):
        rig.step(60)
    assert [fields for event, fields in rig.alarms if event == "document_refused"] == [
        {"kind": "config", "reason": "an older one"}
    ]


def test_over_budget_hits_still_go(tmp_path: Path) -> None:
    rig = Rig(tmp_path, budget=BudgetLimits(day_bytes=1))
    rig.hits.put("h1", b"sealed", kind="hit")
    rig.step()
    assert rig.paths() == ["/v1/hits"]
    assert "spent" in rig.agent.status.last_error


def test_it_runs_until_told_to_stop(tmp_path: Path) -> None:
    rig = Rig(tmp_path, poll_s=0.01)
    rig.hits.put("h1", b"sealed", kind="hit")
    stop = threading.Event()
    thread = threading.Thread(target=rig.agent.run, args=(stop, lambda: NOW_US))
    thread.start()
    while rig.hits.pending():
        stop.wait(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_list_bounds_are_kept(rig: Rig) -> None:
    rig.agent._lists._limits = ListLimits(max_list_bytes=10)
    rig.office.publish(document())
    rig.step()
    assert rig.lists() == {}
    assert "at most 10" in rig.agent.status.list_problems[0][1]
