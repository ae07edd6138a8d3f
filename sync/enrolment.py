# SPDX-License-Identifier: Apache-2.0
"""The enrolment bundle: what an agency gives a device, and how either side signs and verifies it.

The bundle is one canonical JSON document ``{"bundle": {...}, "key_id": "...", "signature": "..."}``. The
signature is the agency CA's (ECDSA P-256, SHA-256) over the label and the canonical bytes of ``bundle``.
A verifier, in this order:

1. refuses more than ``EnrolmentLimits.bundle_bytes``;
2. refuses bytes that are not the canonical form of what they parse to (one document has one spelling);
3. refuses a bundle outside the schema (unknown fields, bounds, keys that are not P-256, wrong key ids);
4. when a CA is pinned, refuses every other CA (``UntrustedBundleError``);
5. checks the signature with the key of the CA certificate in the bundle;
6. checks that this CA issued the device certificate, and that it names the device (CN, OU = device);
7. when told the time, refuses a bundle whose offer has run out or whose device certificate has.

Without a pin the CA is taken from the bundle itself: the caller must show its fingerprint to a person.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sync.certificates import (
    DEVICE_ID_PATTERN,
    MAX_CERTIFICATE_BYTES,
    OU_DEVICE,
    certificate_key,
    fingerprint,
    key_id,
    load_certificate,
    load_public_key,
    public_pem,
    subject_of,
)
from sync.errors import SyncError
from sync.hotlists.codes import category_of
from sync.hotlists.policy import SHIPS_BLOCKED

BUNDLE_LABEL = b"wayside/enrolment/1\0"


@dataclass(frozen=True, slots=True)
class EnrolmentLimits:
    """Bounds on what an enrolment may bring."""

    bundle_bytes: int = 64 * 1024  # the whole signed document
    recipients: int = 16
    list_keys: int = 8
    categories: int = 64  # in each of the three sets


LIMITS = EnrolmentLimits()


class EnrolmentError(SyncError, ValueError):
    """An enrolment document was refused; the message says what to do."""


class InvalidBundleError(EnrolmentError):
    """The document is malformed, altered or contradicts itself: ask the office for a new bundle."""


class UntrustedBundleError(EnrolmentError):
    """The bundle is from another agency CA than the one this device trusts."""


class ExpiredBundleError(EnrolmentError):
    """The bundle or its certificate has run out: ask the office for a new bundle."""


def canonical(document: object) -> bytes:
    """The one JSON spelling that is signed: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


Pem = Annotated[str, Field(max_length=MAX_CERTIFICATE_BYTES)]
Category = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._/-]{1,64}$")]
CategorySet = Annotated[tuple[Category, ...], Field(max_length=LIMITS.categories)]
TimeUs = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RecipientKey(_Document):
    """One agency key that may open what the device seals, and for which purpose."""

    purpose: Literal["reads", "hits"]
    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    public_pem: Pem

    @model_validator(mode="after")
    def _id_names_the_key(self) -> Self:
        if key_id(load_public_key(self.public_pem)) != self.key_id:
            raise ValueError("key_id does not name public_pem")
        return self

    @classmethod
    def of(cls, purpose: Literal["reads", "hits"], public_key: ec.EllipticCurvePublicKey) -> Self:
        """The entry of a public key."""
        return cls(purpose=purpose, key_id=key_id(public_key), public_pem=public_pem(public_key))


class Retention(_Document):
    """The agency's retention policy: 3 minutes to 5 years."""

    seconds: int = Field(ge=180, le=5 * 366 * 86400)
    version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    # of the signed policy that this is; 0: the agency's first
    number: int = Field(default=0, ge=0, lt=1 << 53)


class Position(_Document):
    """Where the device stands, in degrees (WGS 84)."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    source: Literal["survey", "gnss", "operator"] = "survey"


class Placement(_Document):
    """What the device is called and where it was hung; `position` is None on a mobile unit."""

    deployment: Literal["fixed", "mobile"] = "fixed"
    camera: str = Field(default="camera-1", pattern=DEVICE_ID_PATTERN)
    position: Position | None = None
    note: str = Field(default="", max_length=200)


class Agency(_Document):
    """The agency that owns the device."""

    name: str = Field(min_length=1, max_length=120)
    ori: str = Field(default="", max_length=16)


class CategoryPolicy(_Document):
    """What happens with matches by list category; a category in no set alerts as `enabled` does."""

    enabled: CategorySet = ()
    silent: CategorySet = ()
    blocked: CategorySet = ("N",)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        every = (*self.enabled, *self.silent, *self.blocked)
        if len(set(every)) != len(every):
            raise ValueError("a category stands in more than one set")
        return self

    @model_validator(mode="after")
    def _silence_opens_nothing(self) -> Self:
        if any(category_of(name) in SHIPS_BLOCKED for name in self.silent):
            raise ValueError("a category that ships blocked is not opened by silence: enable or block it")
        return self


class EnrolmentBundle(_Document):
    """Everything a device needs to work for one agency. Times in Unix microseconds UTC."""

    v: Literal[1] = 1
    bundle_id: str = Field(pattern=DEVICE_ID_PATTERN)
    issued_us: TimeUs
    expires_us: TimeUs  # the last moment at which the bundle may be installed
    device_id: str = Field(pattern=DEVICE_ID_PATTERN)
    device_cert_pem: Pem
    ca_pem: Pem
    office_url: str = Field(max_length=300)
    recipients: tuple[RecipientKey, ...] = Field(max_length=LIMITS.recipients)
    list_keys: tuple[Pem, ...] = Field(min_length=1, max_length=LIMITS.list_keys)
    retention: Retention
    placement: Placement = Placement()
    agency: Agency
    categories: CategoryPolicy = CategoryPolicy()

    @field_validator("office_url")
    @classmethod
    def _https_only(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("office_url must be https://host[:port][/path]")
        return value.rstrip("/")

    @field_validator("device_cert_pem", "ca_pem")
    @classmethod
    def _is_certificate(cls, value: str) -> str:
        load_certificate(value)
        return value

    @field_validator("list_keys")
    @classmethod
    def _are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pem in value:
            load_public_key(pem)
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if {recipient.purpose for recipient in self.recipients} != {"reads", "hits"}:
            raise ValueError("recipients must name at least one key for reads and one for hits")
        if self.expires_us <= self.issued_us:
            raise ValueError("expires_us must be after issued_us")
        return self

    @property
    def ca(self) -> x509.Certificate:
        """The agency CA certificate."""
        return load_certificate(self.ca_pem)

    @property
    def ca_fingerprint(self) -> str:
        """SHA-256 of the CA's public key, 64 hex characters."""
        return fingerprint(certificate_key(self.ca))

    @property
    def device_certificate(self) -> x509.Certificate:
        """The device's certificate."""
        return load_certificate(self.device_cert_pem)

    @property
    def device_key(self) -> ec.EllipticCurvePublicKey:
        """The public key that the certificate binds to the device."""
        return certificate_key(self.device_certificate)

    def recipients_for(self, purpose: Literal["reads", "hits"]) -> tuple[RecipientKey, ...]:
        """The recipient keys of one purpose, in order."""
        return tuple(recipient for recipient in self.recipients if recipient.purpose == purpose)


def sign_bundle(bundle: EnrolmentBundle, ca_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signed document; raises InvalidBundleError when the key is not that of the bundle's own CA."""
    signer = fingerprint(ca_key.public_key())
    if signer != bundle.ca_fingerprint:
        raise InvalidBundleError("sign with the key of the CA certificate that the bundle carries")
    _check_issued(bundle)
    body = bundle.model_dump(mode="json")
    signature = ca_key.sign(BUNDLE_LABEL + canonical(body), ec.ECDSA(hashes.SHA256()))
    return canonical(
        {"bundle": body, "key_id": signer[:16], "signature": base64.b64encode(signature).decode()}
    )


def verify_bundle(data: bytes, *, pinned: str | None = None, now_us: int | None = None) -> EnrolmentBundle:
    """The bundle, after every step of the module's protocol.

    `pinned` is the CA `fingerprint` that is already trusted; None means trust on first use. `now_us` None
    skips the checks of time (a device whose clock was never set).
    """
    document = _parse(data)
    bundle = _schema(document["bundle"])
    if pinned is not None and bundle.ca_fingerprint != pinned:
        raise UntrustedBundleError(
            "the bundle is from another agency CA; reset the device to change agencies"
        )
    _check_signature(document, bundle)
    _check_issued(bundle)
    if now_us is not None:
        _check_time(bundle, now_us)
    return bundle


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > LIMITS.bundle_bytes:
        raise InvalidBundleError(f"the bundle is larger than {LIMITS.bundle_bytes} bytes")
    try:
        document = json.loads(data)
        spelled_canonically = canonical(document) == data.rstrip(b"\n")
    except (ValueError, RecursionError) as error:
        raise InvalidBundleError("the bundle is not JSON; copy the file again") from error
    if not spelled_canonically:
        raise InvalidBundleError("the bundle is not in canonical form; copy the file again, unedited")
    if not isinstance(document, dict) or set(document) != {"bundle", "key_id", "signature"}:
        raise InvalidBundleError("the document is not a signed enrolment bundle")
    if not isinstance(document["key_id"], str) or not isinstance(document["signature"], str):
        raise InvalidBundleError("key_id and signature must be text")
    return document


def _schema(body: object) -> EnrolmentBundle:
    try:
        return EnrolmentBundle.model_validate_json(canonical(body))
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) or "bundle" for item in error.errors()}))
        raise InvalidBundleError(f"the bundle breaks the schema at: {fields}") from error


def _check_signature(document: dict[str, Any], bundle: EnrolmentBundle) -> None:
    ca_key = certificate_key(bundle.ca)
    if document["key_id"] != key_id(ca_key):
        raise InvalidBundleError("the bundle is signed by another key than its CA's")
    try:
        signature = base64.b64decode(document["signature"], validate=True)
        ca_key.verify(signature, BUNDLE_LABEL + canonical(document["bundle"]), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise InvalidBundleError("the bundle was altered: its signature does not verify") from error


def _check_issued(bundle: EnrolmentBundle) -> None:
    certificate, authority = bundle.device_certificate, bundle.ca
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise InvalidBundleError("the device certificate was not issued by the bundle's CA") from error
    if not constraints.ca:
        raise InvalidBundleError("ca_pem is not the certificate of a CA")
    if subject_of(certificate.subject) != (bundle.device_id, OU_DEVICE):
        raise InvalidBundleError("the device certificate does not name this device in the role device")


def _check_time(bundle: EnrolmentBundle, now_us: int) -> None:
    if now_us > bundle.expires_us:
        raise ExpiredBundleError("the bundle has run out; ask the office for a new one")
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    if now > bundle.device_certificate.not_valid_after_utc:
        raise ExpiredBundleError("the device certificate has run out; ask the office for a new bundle")
