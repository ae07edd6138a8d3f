# SPDX-License-Identifier: Apache-2.0
"""Enrolment as the technician lives it: read the request, get the bundle, compare the agency, install."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioning.errors import InstallRefused, UntrustedPeer
from provisioning.host.client import DeviceClient
from sync.certificates import InvalidCsrError, fingerprint, read_csr
from sync.enrolment import EnrolmentBundle, verify_bundle

Confirm = Callable[[EnrolmentBundle], bool]
"""Shows the agency and its CA fingerprint to the technician; False stops."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A device's request, checked against the key of the session that carried it."""

    device_id: str
    fingerprint: str
    csr: bytes


def ask(client: DeviceClient) -> Asked:
    """The device's certificate request; raises UntrustedPeer when it is not of the session's own key."""
    csr = str(client.call("csr").get("pem", "")).encode()
    try:
        request = read_csr(csr)
    except InvalidCsrError as error:
        raise UntrustedPeer("the device's request is not genuine") from error
    if fingerprint(request.public_key) != client.peer.fingerprint or request.device_id != client.peer.name:
        raise UntrustedPeer("the device's request is not of the key that it shows")
    return Asked(request.device_id, client.peer.fingerprint, csr)


def check(data: bytes, asked: Asked) -> EnrolmentBundle:
    """The bundle, if it answers this request; raises EnrolmentError or InstallRefused."""
    bundle = verify_bundle(data)
    if bundle.device_id != asked.device_id or fingerprint(bundle.device_key) != asked.fingerprint:
        raise InstallRefused("the bundle was issued for another device")
    return bundle


def install(client: DeviceClient, data: bytes, asked: Asked, confirm: Confirm) -> dict[str, object]:
    """Installs a bundle after the technician has compared the agency; the device's answer."""
    bundle = check(data, asked)
    if not confirm(bundle):
        raise InstallRefused("stopped: the agency was not confirmed")
    return client.call("install", {"document": data.decode(), "confirm_ca": bundle.ca_fingerprint})
