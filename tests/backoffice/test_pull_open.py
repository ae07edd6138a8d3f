# SPDX-License-Identifier: Apache-2.0
"""A real store on the device's side, its real pull service, the office's pull, open and search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from office_world import NOW, MadeDevice, make_device, make_read

from backoffice import cli, device_link, devices, keys, pull
from backoffice.errors import BadRequest, DeviceUnreachable, DeviceUntrusted, Refused
from backoffice.known_epochs import known_epochs
from backoffice.office import Office, day_of
from backoffice.opening import Opener
from backoffice.people import Role
from backoffice.pull import open_keyring
from backoffice.search import Purpose, Query, make_query, matches, search
from storage.audit import read_entries
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import Recipient, SegmentKind, epoch_of
from sync.pull import PullService, TlsFiles
from sync.schema import ImageKind, ImageRecord, MatchKind

HOUR_US = 3_600_000_000


class Pole:
    """A device's store and pull service, real files and real TLS."""

    def __init__(self, office: Office, device: MadeDevice, root: Path) -> None:
        self.device = device
        self.layout = DataLayout(root)
        self.keyring = Keyring.open(self.layout.keyring, FileRootOfTrust(self.layout.trust))
        self.recipient = Recipient.of(keys.load_purpose_public(office.layout, keys.READS))
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.written: list[bytes] = []
        self.boot = 0
        self.store = self.open_store()
        self.service = PullService(
            "127.0.0.1",
            0,
            TlsFiles(device.cert_path, device.key_path, device.ca_path),
            self.layout.store,
            self.keyring.peek,
            lambda event, fields: self.events.append((event, fields)),
            device_id=device.device_id,
        )
        self.service.start()

    def open_store(self) -> Store:
        self.boot += 1
        return Store.open(
            self.layout.store,
            keyring=self.keyring,
            recipients=[self.recipient],
            signer=self.device.key,
            device_id=self.device.device_id,
            boot_id=f"boot-{self.boot}",
        )

    def write(self, text: str, at_us: int = NOW) -> None:
        number = len(self.written)
        read = make_read(self.device.device_id, f"r-{number}", text, at_us).encode()
        image = ImageRecord(
            read_id=f"r-{number}", kind=ImageKind.CROP, media_type="image/jpeg", data=b"\xff" * 900
        )
        self.store.append(SegmentKind.READS, read, at_us=at_us)
        self.store.append(SegmentKind.IMAGES, image.encode(), at_us=at_us)
        self.store.commit()
        self.written += [read, image.encode()]

    def url(self) -> str:
        return f"https://127.0.0.1:{self.service.port}"

    def digests(self) -> list[str]:
        return sorted(hashlib.sha256(body).hexdigest() for body in self.written)


@pytest.fixture
def pole(office: Office, device: MadeDevice, tmp_path: Path) -> Iterator[Pole]:
    made = Pole(office, device, tmp_path / "device-data")
    yield made
    made.service.stop()
    made.store.close()


def opened(office: Office) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    return sorted(record.sha256 for record in Opener(office, problems.append).records()), problems


def test_what_the_device_wrote_is_what_the_office_opens(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.write("XYZ789", NOW + HOUR_US)
    pole.store.close()
    report = pull.pull(office, "pole-1", pole.url())
    assert (report.segments, report.fetched, report.shares) == (4, 4, 2)
    assert not report.problems
    digests, problems = opened(office)
    assert digests == pole.digests()
    assert problems == []
    assert {event for event, _ in pole.events} == {"segment_pulled", "shares_given"}
    assert known_epochs(office, "pole-1") == {epoch_of(NOW), epoch_of(NOW) + 1}  # each must end in a receipt


def test_a_second_pull_fetches_what_grew_and_nothing_else(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pull.pull(office, "pole-1", pole.url())
    assert pull.pull(office, "pole-1", pole.url()).bytes == 0
    before = sum(path.stat().st_size for _, path in _segments(office))
    pole.write("AB1235")
    report = pull.pull(office, "pole-1", pole.url())
    after = sum(path.stat().st_size for _, path in _segments(office))
    assert 0 < report.bytes == after - before
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    assert opened(office) == (pole.digests(), [])


def test_a_cut_transfer_resumes(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    for _, path in _segments(office):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pull.pull(office, "pole-1", pole.url())
    assert opened(office) == (pole.digests(), [])


def test_a_held_copy_is_never_cut_or_replaced(office: Office, pole: Pole) -> None:
    """A stolen or damaged device may list any size: what is held stays, and the pull says so."""
    pole.write("AB1234")
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    held = {path: path.read_bytes() for _, path in _segments(office)}
    for info in pole.store.segments():
        info.path.write_bytes(info.path.read_bytes()[: info.size // 2])
    report = pull.pull(office, "pole-1", pole.url())
    assert {path: path.read_bytes() for _, path in _segments(office)} == held
    assert len(report.problems) == 2
    assert "is kept" in report.problems[0]
    assert opened(office) == (pole.digests(), [])


def test_nothing_is_added_to_a_held_copy_that_has_its_footer(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    for info in pole.store.segments():
        info.path.write_bytes(info.path.read_bytes() + b"added later")
    report = pull.pull(office, "pole-1", pole.url())
    assert (len(report.problems), report.bytes) == (2, 0)
    assert opened(office) == (pole.digests(), [])


def test_shares_come_first_then_reads_then_images(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.write("XYZ789", NOW + HOUR_US)
    pole.store.close()
    kinds = {info.segment_id: info.kind for info in pole.store.segments()}
    pull.pull(office, "pole-1", pole.url())
    assert [event for event, _ in pole.events] == ["shares_given", *["segment_pulled"] * 4]
    order = [kinds[str(fields["segment"])] for _, fields in pole.events[1:]]
    assert order == [SegmentKind.READS, SegmentKind.READS, SegmentKind.IMAGES, SegmentKind.IMAGES]


@pytest.mark.parametrize("how", ["connection breaks", "range refused"])
def test_one_failing_segment_does_not_end_the_pull(
    how: str, office: Office, pole: Pole, tmp_path: Path
) -> None:
    pole.write("AB1234")
    pole.write("XYZ789", NOW + HOUR_US)
    pole.store.close()
    first = next(info for info in pole.store.segments() if info.kind is SegmentKind.READS)
    empty = tmp_path / "empty"
    empty.touch()
    real = pole.service.find

    def find(segment_id: str) -> Path | None:
        if segment_id != first.segment_id:
            return real(segment_id)
        if how == "range refused":
            return empty
        raise OSError(5, "Input/output error")

    pole.service.find = find  # type: ignore[method-assign]
    report = pull.pull(office, "pole-1", pole.url())
    assert (report.fetched, report.shares) == (3, 2)
    assert len(report.problems) == 1
    assert first.segment_id in report.problems[0]
    pole.service.find = real  # type: ignore[method-assign]
    assert pull.pull(office, "pole-1", pole.url()).problems == []
    assert opened(office) == (pole.digests(), [])


def test_a_device_that_goes_away_leaves_what_was_fetched(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.store.close()
    real = pole.service.find

    def find(segment_id: str) -> Path | None:
        pole.service._server.socket.close()
        raise OSError(5, "Input/output error")

    pole.service.find = find  # type: ignore[method-assign]
    report = pull.pull(office, "pole-1", pole.url())
    pole.service.find = real  # type: ignore[method-assign]
    assert (report.shares, report.fetched) == (1, 0)
    assert report.problems


def test_every_new_connection_is_checked(office: Office, pole: Pole, tmp_path: Path) -> None:
    """The device is checked at a reconnect, too: not whoever answers at its address by then."""
    pole.write("AB1234")
    pole.store.close()
    device = devices.get_device(office, "pole-1")
    make_device(office, tmp_path / "pole-2", "pole-2")
    with device_link.connected(office, device, pole.url()) as client:
        client.segments()
        transport = client._transport
        assert isinstance(transport, device_link.PinnedTransport)
        transport.close()
        transport.device = devices.get_device(office, "pole-2")
        with pytest.raises(DeviceUntrusted):
            client.segments()


def test_without_the_share_nothing_opens(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.store.close()
    pole.keyring.destroy([epoch_of(NOW)])
    report = pull.pull(office, "pole-1", pole.url())
    assert report.missing_epochs == [epoch_of(NOW)]
    digests, problems = opened(office)
    assert digests == []
    assert len(problems) == 2


def test_destroying_the_offices_share_ends_its_reads(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    open_keyring(office).destroy([epoch_of(NOW)], scope="pole-1")
    assert opened(office)[0] == []


def test_an_altered_segment_is_told(office: Office, pole: Pole) -> None:
    pole.write("AB1234")
    pole.write("AB1235")
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    path = next(path for _, path in _segments(office) if "reads" in path.name or path.stat().st_size < 4000)
    data = bytearray(path.read_bytes())
    data[-700] ^= 1
    path.write_bytes(data)
    digests, problems = opened(office)
    assert problems
    assert set(digests) < set(pole.digests())


# --- who is at the other end -------------------------------------------------------------------------


def test_another_device_at_the_address_is_refused(office: Office, pole: Pole, tmp_path: Path) -> None:
    make_device(office, tmp_path / "pole-2", "pole-2")
    with pytest.raises(DeviceUntrusted, match="pole-1"):
        pull.pull(office, "pole-2", pole.url())
    assert not list(office.layout.segments.glob("*/*"))


def test_the_offices_own_server_is_not_a_device(
    office: Office, device: MadeDevice, server: dict[str, str]
) -> None:
    with pytest.raises(DeviceUntrusted):
        pull.pull(office, "pole-1", server["device_url"])


def test_the_device_refuses_another_device(office: Office, pole: Pole, tmp_path: Path) -> None:
    other = make_device(office, tmp_path / "pole-2", "pole-2")
    link = other.transport(pole.url())
    from sync.transport import HttpsTransport

    link.close()
    link = HttpsTransport(pole.url(), other.cert_path, other.key_path, other.ca_path, server_name="pole-1")
    assert link.get("/v1/segments").status == 403
    link.close()


def test_refusals_before_any_connection(office: Office, device: MadeDevice) -> None:
    with pytest.raises(BadRequest):
        pull.pull(office, "pole-1", "http://127.0.0.1:1")
    with pytest.raises(DeviceUnreachable):
        pull.pull(office, "pole-1", "https://127.0.0.1:9")
    devices.revoke(office, "pole-1", "stolen")
    with pytest.raises(Refused):
        pull.pull(office, "pole-1", "https://127.0.0.1:9")


# --- search ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "kind"),
    [
        ("AB1234", "AB1234", MatchKind.EXACT),
        ("AB1234", "A81234", MatchKind.FOLDED),
        ("AB?234", "AB1234", MatchKind.WILDCARD),
        ("AB*", "A81234", MatchKind.WILDCARD_FOLDED),
        ("AB1234", "AB1235", None),
        ("AB?", "AB1234", None),
    ],
)
def test_matching(pattern: str, text: str, kind: MatchKind | None) -> None:
    found = matches(pattern, text)
    assert (found and found[0]) == kind


def query(pattern: str = "AB12*", reason: str = "hit and run", case: str = "25-1234") -> Query:
    return Query(pattern, Purpose.CRIMINAL_INVESTIGATION, reason, case)


@pytest.mark.parametrize("bad", [query("*"), query("A*"), query("A" * 13), query(reason=" "), query(case="")])
def test_a_search_says_why_and_is_not_too_wide(bad: Query) -> None:
    with pytest.raises(BadRequest):
        make_query(bad)


def test_search_finds_reads(office: Office, pole: Pole) -> None:
    for text in ("AB1234", "A81235", "XYZ789"):
        pole.write(text)
    pole.store.close()
    pull.pull(office, "pole-1", pole.url())
    problems: list[str] = []
    found = list(search(Opener(office, problems.append), make_query(query("ab-12*"))))
    assert [(item.read.text, item.kind) for item in found] == [
        ("AB1234", MatchKind.WILDCARD),
        ("A81235", MatchKind.WILDCARD_FOLDED),
    ]
    late = Query("AB12*", Purpose.TEST, "x", "y", since_us=NOW + 1)
    assert list(search(Opener(office, problems.append), make_query(late))) == []


# --- the commands ------------------------------------------------------------------------------------


def run(office: Office, *words: str) -> int:
    return cli.main(["--data", str(office.layout.root), *words])


def events(office: Office) -> list[str]:
    return [entry.event for entry in read_entries(office.layout.audit)]


def test_the_commands_pull_open_search(
    office: Office, pole: Pole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pole.write("AB1234")
    pole.store.close()
    out = tmp_path / "report.json"
    assert run(office, "pull", "pole-1", "--url", pole.url(), "--out", str(out)) == 0
    assert json.loads(out.read_bytes())[0]["shares"] == 1
    assert run(office, "pull", "--all", "--json") == 0  # the address is remembered
    capsys.readouterr()
    why = ("--purpose", "stolen-vehicle", "--reason", "dispatch asked", "--case", "25-1")
    assert run(office, "open", *why, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["sha256"] for line in lines) == pole.digests()
    assert {(line["device"], line["kind"]) for line in lines} == {("pole-1", "reads"), ("pole-1", "images")}
    assert {line["record"].get("text") for line in lines} == {"AB1234", None}
    assert run(office, "search", "--plate", "ab?234", *why, "--json") == 0
    assert json.loads(capsys.readouterr().out)["record"]["text"] == "AB1234"
    assert {"pull", "pulled", "open", "opened", "search", "searched"} <= set(events(office))
    assert run(office, "audit", "verify") == 0


def test_nothing_is_opened_without_a_reason(
    office: Office, pole: Pole, capsys: pytest.CaptureFixture[str]
) -> None:
    pole.write("AB1234")
    pull.pull(office, "pole-1", pole.url())
    with pytest.raises(SystemExit):
        run(office, "open", "--json")
    assert run(office, "open", "--purpose", "test", "--reason", " ", "--case", "25-1") == 1
    assert "AB1234" not in capsys.readouterr().out
    assert run(office, "open", "--purpose", "test", "--reason", "a drill", "--case", "25-1") == 0
    said = next(entry for entry in read_entries(office.layout.audit) if entry.event == "open")
    assert (said.fields["reason"], said.fields["case"], said.fields["purpose"]) == ("a drill", "25-1", "test")


def test_problems_are_exit_code_1(office: Office, pole: Pole, capsys: pytest.CaptureFixture[str]) -> None:
    pole.write("AB1234")
    pole.keyring.destroy([epoch_of(NOW)])
    assert run(office, "pull", "pole-1", "--url", pole.url()) == 1
    why = ("--purpose", "test", "--reason", "a test", "--case", "25-1")
    assert run(office, "open", *why, "--json") == 1
    assert "no share" in capsys.readouterr().err


def test_role_and_training_are_checked(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    import datetime as dt

    today = day_of(office.clock())
    office.people.add("auditor", Role.AUDITOR, today, office.clock())
    office.people.add("lapsed", Role.OPERATOR, today - dt.timedelta(days=367), office.clock())
    why = ("--plate", "AB1234", "--purpose", "test", "--reason", "x", "--case", "y")
    for name in ("auditor", "lapsed", "nobody"):
        assert run(office, "--as", name, "search", *why) == 3
    assert events(office).count("refused") == 3
    assert "training" in capsys.readouterr().err
    assert run(office, "--as", "auditor", "audit", "verify") == 0


def _segments(office: Office) -> list[tuple[str, Path]]:
    from backoffice.segments import SegmentFolder

    return list(SegmentFolder(office.layout.segments).all())
