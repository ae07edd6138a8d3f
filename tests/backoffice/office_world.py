# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask.testing import FlaskClient

from backoffice import devices, keys
from backoffice.office import Created, Office
from storage.receipts import GENESIS, Receipt, ReceiptBody, sign_receipt
from storage.seal import seal
from storage.types import Recipient
from sync.enrolment import verify_bundle
from sync.hotlists.entry import Category, ListEntry, VehicleDescription
from sync.schema import (
    HIT_INFO,
    CharReading,
    Difference,
    HitRecord,
    MatchKind,
    MatchRecord,
    Position,
    ReadRecord,
    StateAgreement,
    hit_id,
)
from sync.transport import HttpsTransport

PASSWORD = "correct horse battery"
NOW = 1_763_800_000_000_000  # 2025-11-22
JPEG = b"\xff\xd8\xff\xe0" + b"\x00" * 64 + b"\xff\xd9"


class Clock:
    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def forward(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)


@dataclass(frozen=True)
class MadeOffice:
    office: Office
    created: Created
    clock: Clock


@dataclass(frozen=True)
class MadeDevice:
    device_id: str
    key: ec.EllipticCurvePrivateKey
    key_path: Path
    cert_path: Path
    ca_path: Path
    bundle: bytes

    def transport(self, url: str) -> HttpsTransport:
        return HttpsTransport(url, self.cert_path, self.key_path, self.ca_path)


def make_csr(name: str, unit: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def make_device(office: Office, folder: Path, device_id: str = "pole-1") -> MadeDevice:
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = make_csr(device_id, "device", key)
    _, bundle = devices.enrol(office, csr, devices.Enrolment("https://127.0.0.1:1"))
    content = verify_bundle(bundle)
    keys.write_private(folder / "device.key", key, None)
    (folder / "device.pem").write_text(content.device_cert_pem)
    (folder / "ca.pem").write_text(content.ca_pem)
    return MadeDevice(device_id, key, folder / "device.key", folder / "device.pem", folder / "ca.pem", bundle)


def make_read(
    device_id: str = "pole-1", read_id: str = "r-1", text: str = "AB8120", at_us: int = NOW
) -> ReadRecord:
    chars = tuple(
        CharReading(c=c, p=0.97 if c != "8" else 0.61, alt=(("B", 0.3),) if c == "8" else ()) for c in text
    )
    return ReadRecord(
        read_id=read_id,
        device_id=device_id,
        camera="camera-1",
        captured_us=at_us,
        time_uncertainty_us=40_000,
        time_sources=("gnss",),
        position=Position(lat=40.3108, lon=-88.1559, source="surveyed"),
        text=text,
        confidence=0.58,
        chars=chars,
        state=None,
        state_note="the state's name is too small to read",
        frames_seen=7,
        frames_agreed=6,
        box=(10.0, 20.0, 120.0, 60.0),
        corners=((10.0, 20.0), (130.0, 20.0), (130.0, 80.0), (10.0, 80.0)),
        width_px=120.0,
        ir=True,
    )


def make_hit(
    device_id: str = "pole-1", read_id: str = "r-1", at_us: int = NOW, crop: bytes = JPEG
) -> HitRecord:
    entry = ListEntry(
        entry_id="e-1",
        plate="ABB120",
        state="IL",
        category=Category.STOLEN_VEHICLE,
        code="STOLEN",
        vehicle=VehicleDescription(year="2015", make="DODG", colour="RED"),
        reason="reported <b>stolen</b>",
        source="LEADS",
    )
    return HitRecord(
        hit_id=hit_id(device_id, read_id, "leads", "e-1"),
        read=make_read(device_id, read_id, at_us=at_us),
        match=MatchRecord(
            kind=MatchKind.FOLDED,
            explanation="Matches after taking look-alike characters as equal: 8 read, B listed.",
            differences=(Difference(pos=2, read="8", listed="B", why="8 and B look alike"),),
            state_agreement=StateAgreement.UNKNOWN,
            list_id="leads",
            list_version=3,
            list_age_s=100_000,
            stale=True,
        ),
        entry=entry,
        crop_jpeg=crop,
        raised_us=at_us,
        probability=0.41,
    )


def seal_hit(office: Office, hit: HitRecord) -> bytes:
    recipient = Recipient.of(keys.load_purpose_public(office.layout, keys.HITS))
    return seal([recipient], hit.encode(), info=HIT_INFO, aad=hit.hit_id.encode())


def seal_raw(office: Office, plain: bytes, hit_id: str) -> bytes:
    """Any bytes sealed as a hit: what another version of the device software may send."""
    recipient = Recipient.of(keys.load_purpose_public(office.layout, keys.HITS))
    return seal([recipient], plain, info=HIT_INFO, aad=hit_id.encode())


def make_correction(early: HitRecord, text: str = "ABB127") -> HitRecord:
    """The follow-up that takes an early hit back."""
    return early.model_copy(
        update={
            "hit_id": hashlib.sha256(f"{early.hit_id}/corrected".encode()).hexdigest()[:32],
            "read": make_read(early.read.device_id, early.read.read_id, text, early.read.captured_us),
            "preliminary": False,
            "supersedes": early.hit_id,
            "correction": f"all frames together read {text}: not the listed plate",
        }
    )


def make_receipts(device: MadeDevice, count: int) -> list[Receipt]:
    """A chain of deletion receipts as the device signs them."""
    chain: list[Receipt] = []
    for n in range(count):
        body = ReceiptBody(
            device_id=device.device_id,
            n=n,
            prev=chain[-1].body.hash if chain else GENESIS,
            epoch=480_000 + n,
            erased_us=NOW,
            time_sources=("gnss", "office"),
            policy_seconds=86_400,
            policy_version="1",
            root_of_trust="file",
            best_effort=True,
            segments=(),
        )
        chain.append(sign_receipt(body, device.key))
    return chain


def with_id(hit: HitRecord, new_id: str) -> HitRecord:
    return hit.model_copy(update={"hit_id": new_id})


def token(client: FlaskClient, path: str = "/login") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def log_in(client: FlaskClient, name: str = "admin", password: str = PASSWORD) -> int:
    return client.post("/login", data={"csrf": token(client), "name": name, "password": password}).status_code
