# SPDX-License-Identifier: Apache-2.0
"""The commands that a technician's laptop may give, as JSON requests and answers. No IO but the identity folder.

Request ``{"id": 1, "command": "install", "params": {...}}``; answer ``{"id": 1, "ok": true, "result": {...}}`` or
``{"id": 1, "ok": false, "error": {"code": "...", "message": "...", "permanent": true}}``.

Who may: before enrolment whoever holds the cable. Afterwards `hello`, `csr`, `selftest` and the short `status`
stay open, `install` proves itself by the pinned agency's signature, and the full `status` and `reset` need a
certificate of that agency with OU = technician.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from provisioning import identity as identities
from provisioning.errors import BadRequest, Forbidden, IdentityError, InstallRefused, ProvisioningError
from provisioning.identity import Identity
from provisioning.selftest import MAX_CHECKS, SelfTests
from provisioning.types import Peer
from storage.errors import StorageError
from sync.certificates import OU_TECHNICIAN
from sync.enrolment import LIMITS, EnrolmentError, canonical

PROTOCOL_VERSION = 1
log = structlog.get_logger(__name__)


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


P = TypeVar("P", bound=_Params)


class NoParams(_Params):
    """A command without parameters."""


class InstallParams(_Params):
    """The signed bundle as text, and the CA fingerprint that the technician confirmed on first use."""

    document: str = Field(max_length=LIMITS.bundle_bytes)
    confirm_ca: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class SelftestParams(_Params):
    """Which self-tests to run; none means all."""

    names: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=MAX_CHECKS)


class ResetParams(_Params):
    """The device id again, so that a reset cannot be sent to the wrong device."""

    confirm: str = Field(max_length=64)


class Request(_Params):
    """One request of the laptop."""

    id: int = Field(ge=0, lt=1 << 31)
    command: str = Field(max_length=32)
    params: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the firmware gives: the time (None: never set), facts for `status`, and who wants to know of changes."""

    now_us: Callable[[], int | None] = lambda: None
    facts: Callable[[], Mapping[str, object]] = dict
    on_enrolled: Callable[[Identity], None] = lambda _identity: None
    on_reset: Callable[[], None] = lambda: None  # see handover.forget_agency; runs before the identity goes
    version: str = ""


class Commands:
    """Answers requests for one identity folder."""

    def __init__(
        self,
        folder: Path,
        selftests: SelfTests,
        hooks: Hooks | None = None,
        *,
        on_alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.identity, self._on_alive = Identity.open(folder), on_alive
        self._selftests, self._hooks = selftests, hooks or Hooks()
        self._table: dict[str, tuple[type[_Params], Callable[[Any, Peer], dict[str, object]]]] = {
            "hello": (NoParams, self._hello),
            "csr": (NoParams, self._csr),
            "install": (InstallParams, self._install),
            "status": (NoParams, self._status),
            "selftest": (SelftestParams, self._selftest),
            "reset": (ResetParams, self._reset),
        }

    def handle(self, message: bytes, peer: Peer) -> bytes:
        """The answer to one request; never raises for anything that a peer may send."""
        number, name = 0, ""
        try:
            request = _parse(Request, message)
            number, name = request.id, request.command
            answer = {"ok": True, "result": self._run(request, peer)}
        except (ProvisioningError, EnrolmentError, OSError) as error:
            answer = {"ok": False, "error": _explain(error)}
        log.info("technician_command", command=name if name in self._table else "unknown", ok=answer["ok"])
        return canonical({"id": number, **answer})

    def _run(self, request: Request, peer: Peer) -> dict[str, object]:
        if request.command not in self._table:
            raise BadRequest(f"unknown command; there are: {', '.join(self._table)}")
        model, command = self._table[request.command]
        try:
            params = canonical(request.params)
        except ValueError as error:  # a number that JSON does not have
            raise BadRequest("malformed or out of bounds: params") from error
        return command(_parse(model, params), peer)

    def _hello(self, _params: NoParams, _peer: Peer) -> dict[str, object]:
        bundle = self.identity.bundle
        return {
            "product": "wayside",
            "protocol": PROTOCOL_VERSION,
            "version": self._hooks.version,
            "device_id": self.identity.device_id,
            "fingerprint": self.identity.fingerprint,
            "enrolled": self.identity.enrolled,
            "agency": bundle.agency.name if bundle else None,
            "commands": list(self._table),
        }

    def _csr(self, _params: NoParams, _peer: Peer) -> dict[str, object]:
        return {"device_id": self.identity.device_id, "pem": self.identity.csr().decode()}

    def _install(self, params: InstallParams, _peer: Peer) -> dict[str, object]:
        self.identity = self.identity.install(
            params.document.encode(), now_us=self._hooks.now_us(), confirmed_ca=params.confirm_ca
        )
        bundle = self.identity.bundle
        if bundle is None:  # pragma: no cover - install returns the identity with its bundle
            raise IdentityError("the bundle was not installed")
        log.info("device_enrolled", device_id=bundle.device_id, bundle_id=bundle.bundle_id)
        self._hooks.on_enrolled(self.identity)
        return {
            "device_id": bundle.device_id,
            "bundle_id": bundle.bundle_id,
            "agency": bundle.agency.name,
            "ca_fingerprint": bundle.ca_fingerprint,
        }

    def _status(self, _params: NoParams, peer: Peer) -> dict[str, object]:
        bundle = self.identity.bundle
        status: dict[str, object] = {
            "device_id": self.identity.device_id,
            "enrolled": self.identity.enrolled,
            "clock_us": self._hooks.now_us(),
            "full": self._may(peer),
        }
        if bundle is not None:
            status |= {"agency": bundle.agency.name, "camera": bundle.placement.camera}
        if self._may(peer):
            status |= {"facts": dict(self._hooks.facts()), "enrolment": _enrolment(self.identity)}
        return status

    def _selftest(self, params: SelftestParams, _peer: Peer) -> dict[str, object]:
        results = self._selftests.run(params.names, on_alive=self._on_alive)
        return {"ok": all(result.ok for result in results), "results": [asdict(result) for result in results]}

    def _reset(self, params: ResetParams, peer: Peer) -> dict[str, object]:
        if not self._may(peer):
            raise Forbidden("reset needs a technician certificate of this device's agency")
        if params.confirm != self.identity.device_id:
            raise BadRequest("confirm the reset with this device's id")
        try:
            self._hooks.on_reset()
        except StorageError as error:
            raise IdentityError(
                f"what belongs to the agency could not be destroyed: {error}; try again"
            ) from error
        identities.reset(self.identity.folder)
        self.identity = Identity.open(self.identity.folder)
        log.warning("device_reset", device_id=self.identity.device_id)
        return {"device_id": self.identity.device_id, "fingerprint": self.identity.fingerprint}

    def _may(self, peer: Peer) -> bool:
        return not self.identity.enrolled or peer.role == OU_TECHNICIAN


def _enrolment(identity: Identity) -> dict[str, object] | None:
    bundle = identity.bundle
    if bundle is None:
        return None
    return {
        "bundle_id": bundle.bundle_id,
        "issued_us": bundle.issued_us,
        "ca_fingerprint": bundle.ca_fingerprint,
        "office_url": bundle.office_url,
        "recipients": [{"purpose": r.purpose, "key_id": r.key_id} for r in bundle.recipients],
        "retention": bundle.retention.model_dump(mode="json"),
        "placement": bundle.placement.model_dump(mode="json"),
        "certificate_ends": bundle.device_certificate.not_valid_after_utc.isoformat(),
    }


def _parse(model: type[P], data: bytes) -> P:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) or "request" for item in error.errors()}))
        raise BadRequest(f"malformed or out of bounds: {fields[:120]}") from error


def _explain(error: ProvisioningError | EnrolmentError | OSError) -> dict[str, object]:
    if isinstance(error, OSError):
        return {
            "code": "failed",
            "message": f"the device could not write ({error.strerror})",
            "permanent": False,
        }
    codes = {
        BadRequest: "bad-request",
        Forbidden: "forbidden",
        InstallRefused: "refused",
        IdentityError: "identity",
    }
    code = "refused" if isinstance(error, EnrolmentError) else codes.get(type(error), "failed")
    return {"code": code, "message": str(error), "permanent": error.permanent}
