# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from storage.atomic import write_atomic
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from sync.errors import BadList, BadSignature, ListError, ListExpired, ListStoreError, RollbackRefused
from sync.hotlists.listfile import ListDocument, sign_list
from sync.hotlists.store import ListStore
from tests.sync.factories import HOUR_US, NOW_US, document, entry
from tests.sync.links import TestBox

KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = (KEY.public_key(),)


def signed(version: int = 3, **changes: object) -> bytes:
    return sign_list(document([entry(f"ZZ{version}")], version=version, **changes), KEY)


@pytest.fixture
def store(tmp_path: Path) -> ListStore:
    return ListStore(tmp_path / "lists", TestBox())


def versions(store: ListStore) -> list[tuple[str, int]]:
    return [(item.list_id, item.version) for item in store.load(KEYS, NOW_US)]


def test_what_is_installed_can_be_loaded_by_another_process(store: ListStore, tmp_path: Path) -> None:
    assert store.install(signed(), KEYS, NOW_US).version == 3
    other = ListStore(tmp_path / "lists", TestBox())
    assert [item.entries[0].plate for item in other.load(KEYS, NOW_US)] == ["ZZ3"]
    assert other.signed("leads") == signed() or other.signed("leads")  # ECDSA is not deterministic
    assert other.installed()["leads"].version == 3


def test_nothing_lies_there_in_clear(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(), KEYS, NOW_US)
    for path in (tmp_path / "lists").iterdir():
        data = path.read_bytes()
        assert b"ZZ3" not in data
        assert b"wayside-signed" not in data
        assert path.stat().st_mode & 0o077 == 0


def test_the_floor_outlives_the_list(store: ListStore) -> None:
    store.install(signed(5), KEYS, NOW_US)
    with pytest.raises(RollbackRefused):
        store.install(signed(4), KEYS, NOW_US)
    store.remove("leads")
    assert versions(store) == []
    with pytest.raises(RollbackRefused):
        store.install(signed(4), KEYS, NOW_US)
    store.install(signed(5), KEYS, NOW_US)
    assert versions(store) == [("leads", 5)]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"nonsense", BadList),
        (sign_list(document(), ec.generate_private_key(ec.SECP256R1())), BadSignature),
        (signed(9, expires_us=NOW_US), ListExpired),
    ],
)
def test_a_refused_list_changes_nothing(store: ListStore, data: bytes, error: type[ListError]) -> None:
    store.install(signed(3), KEYS, NOW_US)
    before = store.generation()
    with pytest.raises(error):
        store.install(data, KEYS, NOW_US)
    with pytest.raises(BadList, match="not other"):
        store.install(signed(4), KEYS, NOW_US, list_id="other")
    assert store.generation() == before
    assert versions(store) == [("leads", 3)]


def test_the_generation_moves_with_every_change(store: ListStore) -> None:
    seen = {store.generation()}
    store.install(signed(3), KEYS, NOW_US)
    seen.add(store.generation())
    store.install(signed(4), KEYS, NOW_US)
    seen.add(store.generation())
    assert store.generation() == store.generation()
    store.remove("leads")
    seen.add(store.generation())
    assert len(seen) == 4


def test_expired_and_rolled_back_files_are_reported_not_matched(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(3), KEYS, NOW_US)
    old = (tmp_path / "lists" / "leads.wlist").read_bytes()
    store.install(signed(4), KEYS, NOW_US)
    (tmp_path / "lists" / "leads.wlist").write_bytes(old)  # somebody puts the old file back
    report = store.load_report(KEYS, NOW_US)
    assert (report.lists, [name for name, _ in report.problems]) == ([], ["leads"])
    store.install(signed(4), KEYS, NOW_US)
    late = store.load_report(KEYS, NOW_US + 25 * HOUR_US)
    assert late.lists == []
    assert "expired" in late.problems[0][1]


def test_a_list_cannot_pose_as_another(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(3), KEYS, NOW_US)
    (tmp_path / "lists" / "leads.wlist").rename(tmp_path / "lists" / "sos.wlist")
    assert store.load_report(KEYS, NOW_US).problems[0][0] == "sos"


def test_damage_is_reported_and_the_rest_still_matched(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(3), KEYS, NOW_US)
    store.install(signed(1, list_id="sos"), KEYS, NOW_US)
    (tmp_path / "lists" / "sos.wlist").write_bytes(b"x" * 50)
    for name in ("lists.state", "lists.state.copy"):
        (tmp_path / "lists" / name).write_bytes(b"x" * 50)
    report = store.load_report(KEYS, NOW_US)
    assert [item.list_id for item in report.lists] == ["leads"]
    assert [name for name, _ in report.problems] == ["*", "sos"]
    assert store.signed("sos") is None
    store.install(signed(4), KEYS, NOW_US)  # and the next install makes the state whole again
    assert store.installed()["leads"].version == 4


def test_another_key_opens_nothing(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(3), KEYS, NOW_US)
    thief = ListStore(tmp_path / "lists", TestBox(b"x" * 32))
    assert thief.load(KEYS, NOW_US) == []


def test_statuses_tell_age_and_staleness(store: ListStore) -> None:
    store.install(signed(3), KEYS, NOW_US)
    (fresh,) = store.statuses(NOW_US)
    assert (fresh.list_id, fresh.version, fresh.age_s, fresh.stale) == ("leads", 3, 3600, False)
    assert store.statuses(NOW_US + 25 * HOUR_US)[0].stale


@pytest.mark.parametrize(("survives", "loaded", "floor"), [(0, 3, 3), (1, 4, 3), (2, 4, 4), (3, 4, 4)])
def test_a_crash_at_each_write_leaves_a_usable_store(
    store: ListStore, monkeypatch: pytest.MonkeyPatch, survives: int, loaded: int, floor: int
) -> None:
    store.install(signed(3), KEYS, NOW_US)
    real, left = write_atomic, [survives]

    def failing(path: Path, data: bytes) -> None:
        if left[0] == 0:
            raise OSError("power lost")
        left[0] -= 1
        real(path, data)

    monkeypatch.setattr("sync.hotlists.store.write_atomic", failing)
    if survives < 3:
        with pytest.raises(ListStoreError):
            store.install(signed(4), KEYS, NOW_US)
    else:
        store.install(signed(4), KEYS, NOW_US)
    monkeypatch.setattr("sync.hotlists.store.write_atomic", real)
    assert versions(store) == [("leads", loaded)]
    document_floor: ListDocument = store.install(signed(floor), KEYS, NOW_US).document
    assert document_floor.version == floor
    with pytest.raises(RollbackRefused):
        store.install(signed(floor - 1), KEYS, NOW_US)


def another_agency() -> tuple[ec.EllipticCurvePrivateKey, tuple[ec.EllipticCurvePublicKey, ...]]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, (key.public_key(),)


def test_a_new_agency_is_not_held_to_the_floors_of_the_old_one(store: ListStore) -> None:
    store.bind(KEYS)
    store.install(signed(50), KEYS, NOW_US)
    store.install(signed(7, list_id="sos"), KEYS, NOW_US)
    store.accept_manifest(99, '"99"')
    before = store.generation()
    key, keys = another_agency()
    assert store.bind(keys)
    assert store.generation() != before
    assert store.manifest() == (0, "")
    assert store.installed() == {}
    assert store.statuses(NOW_US) == ()
    store.install(sign_list(document(version=1), key), keys, NOW_US)
    assert [(item.list_id, item.version) for item in store.load(keys, NOW_US)] == [("leads", 1)]
    with pytest.raises(RollbackRefused):
        store.install(sign_list(document(version=0), key), keys, NOW_US)


def test_floors_outlive_a_change_of_keys_that_shares_one(store: ListStore) -> None:
    key, keys = another_agency()
    for trusted in (KEYS, KEYS + keys, keys):
        assert not store.bind(trusted)
        if trusted is KEYS:
            store.install(signed(50), KEYS, NOW_US)
    with pytest.raises(RollbackRefused):
        store.install(sign_list(document(version=49), key), keys, NOW_US)


def test_floors_earned_before_any_binding_belong_to_the_keys_that_signed(store: ListStore) -> None:
    store.install(signed(50), KEYS, NOW_US)
    assert not store.bind(KEYS)
    assert versions(store) == [("leads", 50)]
    assert store.bind(another_agency()[1])
    assert store.installed() == {}


def test_reset_forgets_everything(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(5), KEYS, NOW_US)
    before = store.generation()
    store.reset()
    assert list((tmp_path / "lists").glob("*.wlist")) == []
    assert store.generation() != before
    assert store.install(signed(1), KEYS, NOW_US).version == 1


def test_the_generation_stands_still_while_the_lists_do(store: ListStore) -> None:
    store.install(signed(3), KEYS, NOW_US)
    before = store.generation()
    store.accept_manifest(4, '"4"')
    assert store.generation() == before


def test_damage_of_the_state_loses_no_floor(store: ListStore, tmp_path: Path) -> None:
    store.install(signed(5), KEYS, NOW_US)
    (tmp_path / "lists" / "lists.state").write_bytes(b"x" * 50)
    with pytest.raises(RollbackRefused):
        store.install(signed(4), KEYS, NOW_US)
    assert versions(store) == [("leads", 5)]
    assert store.files() == {"leads"}


def test_it_works_with_the_keyrings_own_box(tmp_path: Path) -> None:
    root = FileRootOfTrust(tmp_path / "trust")
    keyring = Keyring.open(tmp_path / "keyring", root)
    keyring.box("hot-lists")
    writer = ListStore(tmp_path / "lists", keyring.box("hot-lists"))
    writer.install(signed(3), KEYS, NOW_US)
    keyring.share(1)
    keyring.destroy([1])  # a rewritten keyring keeps its boxes
    reader = Keyring.open(tmp_path / "keyring", root, read_only=True)
    assert versions(ListStore(tmp_path / "lists", reader.box("hot-lists"))) == [("leads", 3)]
