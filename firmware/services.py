# SPDX-License-Identifier: Apache-2.0
"""The three services as processes: each waits for what it needs, answers on its status socket, ends on SIGTERM."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import structlog

from firmware.config import DeviceConfig
from firmware.enrolled import open_service_watchdog
from firmware.errors import FirmwareError, NotEnrolledError
from firmware.logs import configure_logs
from firmware.status import StatusServer, socket_path
from firmware.wiring import EyeParts
from firmware.wiring_provision import provision_parts
from firmware.wiring_sync import SyncParts
from provisioning.errors import IdentityError
from storage.closed_memory import close_memory
from storage.errors import KeyringError, KeyringMissingError, RootOfTrustError

ENROLMENT_POLL_S = 1.0
RESTART_CODE = 75  # EX_TEMPFAIL: ended in order to be started again
FAILURE_CODE = 70  # EX_SOFTWARE
T = TypeVar("T")

log = structlog.get_logger(__name__)


def _start(config: DeviceConfig, service: str) -> None:
    """Logs, and a closed memory before any key is read."""
    configure_logs(config.log_level, service)
    memory = close_memory()
    log.info("memory_closed", locked=memory.locked, wiped=memory.wiped)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _guarded(run: Callable[[], int]) -> int:
    """The service's edge: what nobody caught is told by type and place, never by message (it may hold a text)."""
    try:
        return run()
    except (FirmwareError, KeyringError, RootOfTrustError) as error:
        # none of these names a text that was read
        log.error("service_failed", kind=type(error).__name__, reason=str(error))
        return FAILURE_CODE
    except Exception as error:  # noqa: BLE001 -- the edge
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        log.error("service_failed", kind=type(error).__name__, places=places)
        return FAILURE_CODE


def _when_enrolled(make: Callable[[], T], stop: threading.Event, data_dir: Path) -> T | None:
    """Waits until the technician has enrolled the device; None when stopped before."""
    watchdog = None  # it runs from its opening on, and the first start over a large store takes long
    said = ""
    while not stop.is_set():
        try:
            return make()
        except (NotEnrolledError, IdentityError, KeyringMissingError) as error:
            if str(error) != said:
                said = str(error)
                log.warning("waiting", reason=said, folder=str(data_dir))
            watchdog = watchdog or open_service_watchdog()
            watchdog.feed()
            stop.wait(ENROLMENT_POLL_S)
    if watchdog is not None:
        watchdog.close()
    return None


def run_eye(config: DeviceConfig, tap_fd: int | None) -> int:
    """The eye: camera to sealed read and hit."""
    _start(config, "eye")
    return _guarded(lambda: _eye(config, tap_fd))


def _eye(config: DeviceConfig, tap_fd: int | None) -> int:
    stop = _stop_on_signals()
    parts = _when_enrolled(lambda: EyeParts(config, tap_fd), stop, config.data_dir)
    if parts is None:
        return 0
    log.info("eye_started", boot_id=parts.boot_id)
    with ExitStack() as ends:
        ends.callback(parts.close)
        try:
            status = StatusServer(socket_path(config.data_dir, "eye"), parts.status)
            ends.callback(status.close)
        except OSError as error:  # a disk that is read-only takes no socket: plates are read all the same
            log.error("status_not_served", reason=str(error.strerror))
        parts.run(stop)
    log.info("eye_stopped", **parts.eye.rates())
    return RESTART_CODE if parts.enrolment_changed else 0


def run_sync(config: DeviceConfig) -> int:
    """The wire: lists in, hits and receipts out, the pull service."""
    _start(config, "sync")
    return _guarded(lambda: _sync(config))


def _sync(config: DeviceConfig) -> int:
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
    log.info("sync_stopped", asked=stop.is_set())
    return 0 if stop.is_set() and not parts.enrolment_changed else RESTART_CODE


def run_provision(config: DeviceConfig) -> int:
    """The technician's serial link."""
    _start(config, "provision")
    return _guarded(lambda: _provision(config))


def _provision(config: DeviceConfig) -> int:
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
