# SPDX-License-Identifier: Apache-2.0
"""The three services as processes: each waits for what it needs, answers on its status socket, ends on SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from firmware.config import DeviceConfig
from firmware.errors import NotEnrolledError
from firmware.logs import configure_logs
from firmware.status import StatusServer, socket_path
from firmware.wiring import EyeParts, provision_parts
from firmware.wiring_sync import SyncParts
from provisioning.errors import IdentityError
from storage.errors import KeyringMissingError

ENROLMENT_POLL_S = 1.0
T = TypeVar("T")

log = structlog.get_logger(__name__)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _when_enrolled(make: Callable[[], T], stop: threading.Event, data_dir: Path) -> T | None:
    """Waits until the technician has enrolled the device; None when stopped before."""
    said = False
    while not stop.is_set():
        try:
            return make()
        except (NotEnrolledError, IdentityError, KeyringMissingError) as error:
            if not said:
                log.warning("waiting", reason=str(error), folder=str(data_dir))
                said = True
            stop.wait(ENROLMENT_POLL_S)
    return None


def run_eye(config: DeviceConfig, tap_fd: int | None) -> int:
    """The eye: camera to sealed read and hit."""
    configure_logs(config.log_level, "eye")
    stop = _stop_on_signals()
    parts = _when_enrolled(lambda: EyeParts(config, tap_fd), stop, config.data_dir)
    if parts is None:
        return 0
    status = StatusServer(socket_path(config.data_dir, "eye"), parts.status)
    log.info("eye_started", boot_id=parts.boot_id)
    try:
        parts.run(stop)
    finally:
        parts.close()
        status.close()
    log.info("eye_stopped", **parts.eye.rates())
    return 0


def run_sync(config: DeviceConfig) -> int:
    """The wire: lists in, hits and receipts out, the pull service."""
    configure_logs(config.log_level, "sync")
    stop = _stop_on_signals()
    parts = _when_enrolled(lambda: SyncParts(config), stop, config.data_dir)
    if parts is None:
        return 0
    status = StatusServer(socket_path(config.data_dir, "sync"), parts.status)
    log.info("sync_started", pull_port=parts.pull_port)
    try:
        parts.run(stop)
    finally:
        parts.close()
        status.close()
    log.info("sync_stopped")
    return 0


def run_provision(config: DeviceConfig) -> int:
    """The technician's serial link."""
    configure_logs(config.log_level, "provision")
    stop = _stop_on_signals()
    agent, snapshot = provision_parts(config)
    status = StatusServer(socket_path(config.data_dir, "provision"), snapshot)
    log.info("provision_started", port=config.provision.port)
    try:
        agent.run(stop)
    finally:
        status.close()
    log.info("provision_stopped")
    return 0
