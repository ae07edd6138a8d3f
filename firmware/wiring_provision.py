# SPDX-License-Identifier: Apache-2.0
"""Composes the technician's link: the agent on the serial port, the device's self-tests, what a reset destroys."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from firmware.clock import DeviceClock
from firmware.config import DeviceConfig, StorageConfig
from firmware.enrolled import LIST_BOX, open_keyring, open_service_watchdog
from firmware.status import ask, own_use
from provisioning.agent import ProvisionAgent
from provisioning.commands import Hooks
from provisioning.handover import forget_agency
from provisioning.selftest import CheckFailed, SelfTests, identity_check
from storage.audit import AuditLog
from storage.layout import DataLayout
from sync.hotlists.store import ListStore


def provision_parts(config: DeviceConfig) -> tuple[ProvisionAgent, Callable[[], dict[str, object]]]:
    """The technician's link with the device's self-tests, and what it says of itself."""
    layout = DataLayout(config.data_dir)
    clock = DeviceClock(layout.root / "clock.json")
    watchdog = open_service_watchdog()
    selftests = SelfTests()
    selftests.register("identity", identity_check(layout.identity))
    for service in ("eye", "sync"):
        selftests.register(service, _answers(layout, service))
    hooks = Hooks(
        now_us=clock.now_us,
        facts=lambda: _facts(layout),
        on_reset=lambda: _forget(config.storage, layout),
        version=metadata.version("wayside"),
    )
    agent = ProvisionAgent(
        config.provision.port, layout.identity, selftests=selftests, hooks=hooks, on_alive=watchdog.feed
    )

    def snapshot() -> dict[str, object]:
        identity = agent.commands.identity
        return {
            "service": "provision",
            **own_use(),
            "port": str(config.provision.port),
            "device_id": identity.device_id,
            "state": "enrolled" if identity.enrolled else "waiting for a technician",
        }

    return agent, snapshot


def _answers(layout: DataLayout, service: str) -> Callable[[], str]:
    """A self-test: the service answers on its status socket."""

    def check() -> str:
        if ask(layout.root, service) is None:
            raise CheckFailed(f"{service} does not answer: `systemctl status wayside-{service}`")
        return f"{service} answers"

    return check


def _forget(config: StorageConfig, layout: DataLayout) -> None:
    """Destroys what belongs to the agency that the device leaves; the eye and sync then start anew by themselves."""
    keyring = open_keyring(config, layout, read_only=False)
    audit = AuditLog.open_or_begin(layout.audit, None)
    forget_agency(layout, keyring, ListStore(layout.lists, keyring.box(LIST_BOX)), audit)


def _facts(layout: DataLayout) -> dict[str, object]:
    """What the technician's `status` shows: counters and states, never a text."""
    return {service: ask(layout.root, service) for service in ("eye", "sync")}
