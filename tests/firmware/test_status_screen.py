# SPDX-License-Identifier: Apache-2.0
"""The status screen fits a terminal of 80 by 24 on the worst day, and says what to do."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from firmware.health import Condition, Finding, Health, well
from firmware.status_screen import all_well, status_screen

NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
PARTS = ("camera", "lamp", "gnss", "clock", "power", "watchdog", "alert_outputs", "eye", "disk")
EYE: dict[str, Any] = {
    "device_id": "dev-1a2b3c4d5e6f7a8b",
    "deployment": "mobile",
    "fps_now": 14.9,
    "ms_p50": 12.1,
    "ms_p95": 19.4,
    "lag_ms_p95": 61.0,
    "stages": {"grey": 0.4, "detect": 6.2, "corners": 1.1, "read": 2.4, "state": 0.9},
    "queue": 1,
    "queue_frames": 2,
    "dropped": 12,
    "camera_dropped": 3,
    "pictures_given_up": 4,
    "tracks": 13_211,
    "reads": 12_876,
    "hits": 17,
    "hits_owed": 0,
    "sealed": 38_628,
    "records_lost": 0,
    "light": {"night": True, "exposure_us": 900, "gain": 4.0, "lamp": 0.6},
    "place": {"lat": 40.3084, "lon": -88.1559, "accuracy_m": 4.0, "source": "gnss"},
    "gnss": {"fix": True, "satellites": 9, "accuracy_m": 4.2, "from_survey_m": None},
    "time_us": NOW_US,
    "time_uncertainty_us": 100_000,
    "time_sources": ["system", "gnss", "office"],
    "deletion_late_s": 0,
    "power": {"temperature_c": 61.3, "battery_v": 12.4, "given_up": "given up: scene pictures"},
    "rss_mb": 212.4,
    "cpu_s": 8123.0,
    "uptime_s": 20_000.0,
    "disk_free_mb": 12_345,
    "epochs": 49,
    "oldest_epoch": "2026-11-20 11:00 UTC",
    "root_of_trust": "file (best effort)",
    "retention_days": 2.0,
    "retention_policy": "two-days",
    "retention_number": 1,
    "lists": [{"list_id": "leads-sample", "version": 12, "age_s": 7_300, "stale": False}],
}
SYNC: dict[str, Any] = {
    "link": "up",
    "last_contact_us": NOW_US - 20_000_000,
    "waiting": 0,
    "uploaded": 17,
    "set_aside": 0,
    "modem": {"registered": True, "operator": "Sample Mobile", "rsrp_dbm": -91.0, "signal_dbm": -71.0},
}


def _shown(found: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(status_screen(found, NOW_US))
    return out.getvalue().splitlines()


def _found(health: Health, sync: Health | None = None) -> dict[str, Mapping[str, Any] | None]:
    eye = {**EYE, "health": health.snapshot()}
    link = {**SYNC, "health": (sync or Health()).snapshot()}
    return {"eye": eye, "sync": link, "provision": {"device_id": "dev-1a2b3c4d5e6f7a8b"}}


def _all_well() -> Health:
    health = Health()
    for part in PARTS:
        health.report(well(part), NOW_US - HOUR_US)
    return health


def test_a_good_day_says_so_first_and_shows_every_figure() -> None:
    assert all_well(_found(_all_well()))
    lines = _shown(_found(_all_well()))
    text = "\n".join(lines)
    assert lines[1] == "everything works"
    assert "alert outputs 13:13" in text
    for figure in (
        "12876 reads",
        "14.9 frames/s",
        "detect 6.2",
        "1 of 2 wait",
        "queue 12, camera 3",
        "lamp 60%",
    ):
        assert figure in text
    for figure in (
        "1/1111 s",
        "±4 m (gnss); 9 satellites ±4 m",
        "±0.1 s by system, gnss, office",
        "61.3 °C",
        "12.4 V",
        "Sample Mobile, -91 dBm",
    ):
        assert figure in text
    for figure in ("12.3 GB free", "49 keys", "v12 2 h old", "given up: scene pictures", "17 sent"):
        assert figure in text
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_a_bad_day_tells_what_to_do_and_still_fits() -> None:
    health, sync = _all_well(), Health()
    advice = "check the cable, then the supply"
    for part, code in (("camera", "frozen"), ("lamp", "dead"), ("gnss", "moved"), ("power", "battery_low")):
        health.report(Finding(part, Condition.FAILED, code, advice), NOW_US)
    sync.report(Finding("modem", Condition.DEGRADED, "not_registered", advice), NOW_US - 30 * HOUR_US)
    assert not all_well(_found(health, sync))
    lines = _shown(_found(health, sync))
    assert lines[1].split() == ["camera", "FROZEN", "14:13", *advice.split()]
    assert any(line.startswith("modem         NOT REGISTERED Sep 20") for line in lines)
    assert sum(advice in line for line in lines) == 5
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_parts_that_are_not_fitted_are_no_fault() -> None:
    health = Health()
    health.report(Finding("gnss", Condition.ABSENT), NOW_US)
    text = "\n".join(_shown(_found(health)))
    assert "not fitted  gnss" in text
    assert "everything works" in text


def test_services_that_do_not_run_are_the_first_thing_told() -> None:
    assert not all_well({"eye": None, "sync": SYNC})
    lines = _shown({"eye": None, "sync": SYNC, "provision": None})
    assert lines[1].split()[:3] == ["eye", "NOT", "RUNNING"]
    assert "systemctl start wayside-eye" in lines[1]
    assert any("wayside-provision" in line for line in lines)


def test_figures_that_nothing_measures_are_said_plainly() -> None:
    bare = {**EYE, "light": None, "place": None, "power": None, "disk_free_mb": None, "lists": []}
    text = "\n".join(_shown({"eye": {**bare, "time_sources": []}, "sync": None, "provision": None}))
    for figure in ("exposes by itself", "place not known", "no sensors", "not readable", "not confirmed"):
        assert figure in text


def test_a_disk_that_is_behind_or_lets_pictures_go_says_so() -> None:
    eye = {**EYE, "disk_wait_s": 31.0, "pictures_gave_way": 240}
    text = "\n".join(_shown({"eye": eye, "sync": None, "provision": None}))
    assert "31 s BEHIND, 240 pictures gave way" in text
    assert "BEHIND" not in "\n".join(
        _shown({"eye": {**EYE, "disk_wait_s": 0.2}, "sync": None, "provision": None})
    )


def test_brackets_are_text_and_no_markup() -> None:
    health = _all_well()
    health.report(Finding("lamp", Condition.FAILED, "busy", "name another pin in [illuminator]"), NOW_US)
    found = _found(health)
    modem = {"registered": True, "operator": "[red]Mobile[/red]", "rsrp_dbm": None, "signal_dbm": None}
    text = "\n".join(_shown({**found, "sync": {**SYNC, "modem": modem}}))
    assert "another pin in [illuminator]" in text
    assert "[red]Mobile[/red], signal unknown" in text
