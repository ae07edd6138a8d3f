# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.agent import AgentTimes, ProvisionAgent
from provisioning.types import TlsFiles
from sync.certificates import fingerprint, public_pem, read_csr
from sync.enrolment import Agency, EnrolmentBundle, RecipientKey, Retention, sign_bundle

FAST = AgentTimes(read_s=0.05, reopen_s=0.05)
DAY_US = 86_400_000_000


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(cn: str, ou: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, cn),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou),
        ]
    )


@dataclass
class FakeAgency:
    """A real CA with its keys, outside any office."""

    title: str = "Joliet Police Department"
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.ca_pem = self.issue("agency-ca", "ca", self.key.public_key(), is_ca=True)
        self.serial = 0

    @property
    def now_us(self) -> int:
        return int(self.now.timestamp() * 1e6)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key.public_key())

    def issue(self, cn: str, ou: str, public_key: Any, *, is_ca: bool = False) -> str:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(cn, ou))
            .issuer_name(_name("agency-ca", "ca"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def bundle(self, csr: bytes, **changes: Any) -> bytes:
        request = read_csr(csr)
        self.serial += 1
        fields: dict[str, Any] = {
            "bundle_id": f"bundle-{self.serial}",
            "issued_us": self.now_us + self.serial,
            "expires_us": self.now_us + 7 * DAY_US,
            "device_id": request.device_id,
            "device_cert_pem": self.issue(request.device_id, "device", request.public_key),
            "ca_pem": self.ca_pem,
            "office_url": "https://127.0.0.1:8443",
            "recipients": (
                RecipientKey.of("reads", new_key().public_key()),
                RecipientKey.of("hits", new_key().public_key()),
            ),
            "list_keys": (public_pem(new_key().public_key()),),
            "retention": Retention(seconds=2_592_000, version="30d.1"),
            "agency": Agency(name=self.title),
        }
        return sign_bundle(EnrolmentBundle(**(fields | changes)), self.key)

    def person(self, folder: Path, name: str = "pat", role: str = "technician") -> TlsFiles:
        folder.mkdir(parents=True, exist_ok=True)
        key = new_key()
        files = TlsFiles(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")
        files.certificate.write_text(self.issue(name, role, key.public_key()))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


class Cable:
    """A pseudo-terminal pair whose device end has a stable path, so that it can be unplugged and plugged in."""

    def __init__(self, folder: Path) -> None:
        self.device_path = folder / "ttyGS0"
        self.master = -1
        self.plug()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        fresh = self.device_path.with_suffix(".new")
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self.device_path)
        self._slave, self.master = slave, master

    def unplug(self) -> None:
        self.device_path.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.master >= 0:
            self.unplug()


@pytest.fixture(scope="session")
def agency() -> FakeAgency:
    return FakeAgency()


@pytest.fixture(scope="session")
def other_agency() -> FakeAgency:
    return FakeAgency("Another Sheriff")


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path)
    yield cable
    cable.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., ProvisionAgent]]:
    """Starts an agent in a thread; all are stopped at the end."""
    running: list[tuple[threading.Event, threading.Thread]] = []

    def start(port: Any, folder: Path, **options: Any) -> ProvisionAgent:
        agent = ProvisionAgent(port, folder, times=FAST, **options)
        stop = threading.Event()
        thread = threading.Thread(target=agent.run, args=(stop,), daemon=True)
        thread.start()
        running.append((stop, thread))
        return agent

    yield start
    for stop, thread in running:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def pty_agent(tmp_path: Path, serve: Callable[..., ProvisionAgent]) -> tuple[ProvisionAgent, Path]:
    """An agent that made its own pseudo-terminal, and the path that a laptop opens."""
    link = tmp_path / "ttyACM0"
    agent = serve(f"pty:{link}", tmp_path / "identity")
    wait_for(link.is_symlink)
    return agent, link


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.01)
