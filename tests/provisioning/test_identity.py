# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning import identity as module
from provisioning.errors import IdentityError, InstallRefused
from provisioning.identity import (
    BUNDLE_FILE,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    MAX_KEY_BYTES,
    SELF_FILE,
    Identity,
    default_device_id,
    install_bundle,
    reset,
)
from storage.atomic import write_atomic
from sync.certificates import fingerprint, read_csr
from sync.enrolment import ExpiredBundleError, InvalidBundleError, UntrustedBundleError


@pytest.fixture
def device(tmp_path: Path) -> Identity:
    return Identity.create(tmp_path / "identity", "pole-7")


def enrol(device: Identity, agency: Any, **changes: Any) -> Identity:
    return device.install(agency.bundle(device.csr(), **changes), confirmed_ca=agency.fingerprint)


def test_a_new_identity_is_private_and_stays_the_same(device: Identity) -> None:
    assert stat.S_IMODE((device.folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(device.folder.stat().st_mode) == 0o700
    again = Identity.load(device.folder)
    assert (again.device_id, again.fingerprint, again.enrolled) == ("pole-7", device.fingerprint, False)
    assert Identity.open(device.folder, "ignored").device_id == "pole-7"


def test_nothing_of_the_key_shows_in_its_repr(device: Identity) -> None:
    assert "PRIVATE" not in repr(device)
    assert "key=" not in repr(device)


def test_the_request_names_device_and_key(device: Identity) -> None:
    request = read_csr(device.csr())
    assert (request.device_id, fingerprint(request.public_key)) == ("pole-7", device.fingerprint)


def test_the_default_name_comes_from_the_board_or_from_chance(tmp_path: Path) -> None:
    serial = tmp_path / "serial-number"
    serial.write_bytes(b"10000000abcdef01\0")
    board = default_device_id([tmp_path / "none", serial])
    assert board == default_device_id([serial])
    assert "abcdef01" not in board
    assert default_device_id([]) != default_device_id([])


def test_a_second_identity_is_refused(device: Identity) -> None:
    with pytest.raises(IdentityError, match="already"):
        Identity.create(device.folder)


def test_a_bad_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="a-z"):
        Identity.create(tmp_path / "x", "Pole 7")


def test_enrolment_survives_a_restart(device: Identity, agency: Any) -> None:
    enrolled = enrol(device, agency)
    again = Identity.load(device.folder)
    assert again.bundle == enrolled.bundle
    assert again.certificate_pem != device.certificate_pem
    files = again.tls_files()
    assert files.certificate.read_text() == again.certificate_pem
    assert files.ca.read_text() == agency.ca_pem


def test_tls_files_need_an_enrolment(device: Identity) -> None:
    with pytest.raises(IdentityError, match="not enrolled"):
        device.tls_files()


def test_the_first_agency_must_be_confirmed(device: Identity, agency: Any, other_agency: Any) -> None:
    data = agency.bundle(device.csr())
    for confirmed in (None, other_agency.fingerprint):
        with pytest.raises(InstallRefused, match="confirm"):
            device.install(data, confirmed_ca=confirmed)
    assert not Identity.load(device.folder).enrolled


def test_another_agency_is_refused_until_a_reset(device: Identity, agency: Any, other_agency: Any) -> None:
    enrolled = enrol(device, agency)
    with pytest.raises(UntrustedBundleError):
        enrol(enrolled, other_agency)
    assert Identity.load(device.folder).bundle == enrolled.bundle
    reset(device.folder)
    fresh = Identity.open(device.folder, "pole-7")
    assert fresh.fingerprint != device.fingerprint
    assert enrol(fresh, other_agency).enrolled


def test_the_same_agency_may_renew_without_asking(device: Identity, agency: Any) -> None:
    enrolled = enrol(device, agency)
    renewed = enrolled.install(agency.bundle(device.csr(), office_url="https://new.example"))
    assert renewed.bundle is not None
    assert renewed.bundle.office_url == "https://new.example"


def test_an_older_bundle_is_refused(device: Identity, agency: Any) -> None:
    old = agency.bundle(device.csr())
    enrolled = enrol(device, agency)
    with pytest.raises(InstallRefused, match="older"):
        enrolled.install(old)


def test_a_bundle_for_another_key_or_name_is_refused(device: Identity, agency: Any, tmp_path: Path) -> None:
    for name in ("pole-7", "pole-8"):
        stranger = Identity.create(tmp_path / f"stranger-{name}", name)
        with pytest.raises(InstallRefused, match="another device"):
            device.install(agency.bundle(stranger.csr()), confirmed_ca=agency.fingerprint)


def test_an_expired_offer_is_refused_when_the_time_is_known(device: Identity, agency: Any) -> None:
    data = agency.bundle(device.csr())
    with pytest.raises(ExpiredBundleError):
        device.install(data, confirmed_ca=agency.fingerprint, now_us=agency.now_us + 8 * 86_400_000_000)
    assert device.install(data, confirmed_ca=agency.fingerprint, now_us=None).enrolled


def test_an_altered_bundle_changes_nothing(device: Identity, agency: Any) -> None:
    data = agency.bundle(device.csr()).replace(b"127.0.0.1", b"127.0.0.2")
    with pytest.raises(InvalidBundleError):
        device.install(data, confirmed_ca=agency.fingerprint)
    assert not (device.folder / BUNDLE_FILE).exists()


def test_install_bundle_works_without_the_link(device: Identity, agency: Any) -> None:
    data = agency.bundle(device.csr())
    assert install_bundle(device.folder, data, confirmed_ca=agency.fingerprint).enrolled


def _foreign_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder, key)


def _wrong_curve(folder: Path) -> None:
    _write_key(folder, ec.generate_private_key(ec.SECP384R1()))


def _write_key(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / KEY_FILE).write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))


DAMAGE: dict[str, Any] = {
    "key gone": lambda d: (d / KEY_FILE).unlink(),
    "key readable by all": lambda d: (d / KEY_FILE).chmod(0o644),
    "key garbage": lambda d: (d / KEY_FILE).write_bytes(b"garbage"),
    "key too large": lambda d: (d / KEY_FILE).write_bytes(b"x" * (MAX_KEY_BYTES + 1)),
    "key of another": _foreign_key,
    "key of another curve": _wrong_curve,
    "certificate garbage": lambda d: (d / SELF_FILE).write_bytes(b"\xff\xfe"),
    "bundle garbage": lambda d: (d / BUNDLE_FILE).write_bytes(b"{}"),
    "bundle empty": lambda d: (d / BUNDLE_FILE).write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_with_its_file(device: Identity, agency: Any, damage: str) -> None:
    enrol(device, agency)
    DAMAGE[damage](device.folder)
    with pytest.raises(IdentityError, match=str(device.folder)):
        Identity.load(device.folder)


def test_a_bundle_of_another_device_is_not_taken_from_disk(
    device: Identity, agency: Any, tmp_path: Path
) -> None:
    stranger = Identity.create(tmp_path / "stranger", "pole-7")
    (device.folder / BUNDLE_FILE).write_bytes(agency.bundle(stranger.csr()))
    with pytest.raises(IdentityError, match="another device"):
        Identity.load(device.folder)


class Crash(BaseException):
    pass


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> None:
    """Dies at the n-th atomic replacement, before or after it took place."""
    real, count = write_atomic, iter(range(100))

    def write(path: Path, data: bytes, mode: int = 0o600) -> None:
        now = next(count)
        if now == step and not after:
            raise Crash
        real(path, data, mode)
        if now == step:
            raise Crash

    monkeypatch.setattr(module, "write_atomic", write)


@pytest.mark.parametrize(
    ("step", "after", "enrolled"),
    [(0, False, "old"), (0, True, "new"), (1, False, "new"), (1, True, "new")],
)
def test_a_crash_while_installing_leaves_old_or_new(
    device: Identity, agency: Any, monkeypatch: pytest.MonkeyPatch, step: int, after: bool, enrolled: str
) -> None:
    old = enrol(device, agency)
    data = agency.bundle(device.csr(), bundle_id="the-new-one")
    crash_at(monkeypatch, step, after=after)
    with pytest.raises(Crash):
        old.install(data)
    monkeypatch.undo()
    now = Identity.load(device.folder)
    assert now.bundle is not None
    assert (now.bundle.bundle_id == "the-new-one") == (enrolled == "new")
    files = now.tls_files()
    assert files.certificate.read_text() == now.bundle.device_cert_pem
    assert files.ca.read_text() == now.bundle.ca_pem


@pytest.mark.parametrize(("step", "after"), [(0, False), (0, True), (1, False), (1, True)])
def test_a_crash_while_creating_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    folder = tmp_path / "identity"
    crash_at(monkeypatch, step, after=after)
    with pytest.raises(Crash):
        Identity.open(folder, "pole-7")
    monkeypatch.undo()
    assert Identity.open(folder, "pole-7").device_id == "pole-7"


@pytest.mark.parametrize("survivors", range(6))
def test_a_cut_reset_can_be_repeated_or_goes_on(device: Identity, agency: Any, survivors: int) -> None:
    enrol(device, agency)
    order = (BUNDLE_FILE, SELF_FILE, KEY_FILE, CERTIFICATE_FILE, CA_FILE)
    for name in order[:survivors]:
        (device.folder / name).unlink()
    assert Identity.open(device.folder, "pole-7").enrolled == (survivors == 0)
    reset(device.folder)
    assert list(device.folder.iterdir()) == []
    reset(device.folder.with_name("never-was"))
