# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flask.testing import FlaskClient
from office_world import PASSWORD, Clock, MadeDevice, MadeOffice, make_device

from backoffice import keys, lists, people
from backoffice.hits import HitStore
from backoffice.office import Created, Office, create
from backoffice.pages.app import create_pages
from backoffice.server import OfficeServer, Ports
from backoffice.settings import Settings
from sync.transport import HttpsTransport


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time_ns() // 1000)


@pytest.fixture(autouse=True, scope="session")
def cheap_passwords() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "SCRYPT", "scrypt:256:8:1")
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Created]:
    """An office made once; each test works on a copy."""
    root = tmp_path_factory.mktemp("template") / "office"
    settings = Settings(agency="Prairie Town PD", device_url="https://127.0.0.1:1")
    created = create(root, settings, time.time_ns() // 1000)
    office = Office.open(root)
    lists.publish(office)
    office.close()
    return root, created


@pytest.fixture
def made(tmp_path: Path, clock: Clock, template: tuple[Path, Created]) -> Iterator[MadeOffice]:
    root = tmp_path / "office"
    shutil.copytree(template[0], root)
    office = Office.open(root, clock)
    yield MadeOffice(office, template[1], clock)
    office.close()


@pytest.fixture
def office(made: MadeOffice) -> Office:
    return made.office


@pytest.fixture
def device(office: Office, tmp_path: Path) -> MadeDevice:
    return make_device(office, tmp_path / "pole-1")


@pytest.fixture
def server(office: Office) -> Iterator[dict[str, str]]:
    running = OfficeServer(office, Ports(device_port=0, page_port=0))
    urls = running.start()
    yield urls
    running.stop()


@pytest.fixture
def link(server: dict[str, str], device: MadeDevice) -> Iterator[HttpsTransport]:
    transport = device.transport(server["device_url"])
    yield transport
    transport.close()


@pytest.fixture
def store(office: Office) -> HitStore:
    return HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))


@pytest.fixture
def client(office: Office, store: HitStore) -> FlaskClient:
    office.people.set_password("admin", PASSWORD)
    return create_pages(office, store).test_client()
