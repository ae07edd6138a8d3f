# SPDX-License-Identifier: Apache-2.0
"""One session with a device over a port: open, look at its key, then ask."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from provisioning.conversation import LaptopEnd
from provisioning.errors import CommandRefused, LinkError, LinkTimeout, SessionError
from provisioning.ports import Port, open_port
from provisioning.session import PeerCertificate, laptop_context
from provisioning.types import TlsFiles
from sync.enrolment import canonical

OPEN_TIMEOUT_S = 10.0  # seconds for the whole of opening, retries included
OPEN_ATTEMPTS = 10
TRY_S = 1.0  # seconds for one attempt to open a session
CALL_TIMEOUT_S = 30.0  # seconds for one answer
SELFTEST_TIMEOUT_S = 180.0  # seconds: a self-test may wait for a camera or a modem
_READ_S = 0.1


class DeviceClient:
    """A session with the device. Compare `peer` with what is remembered before the first `call`."""

    def __init__(
        self,
        port: str | Path | int,
        technician: TlsFiles | None = None,
        *,
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> None:
        """Opens port and session; raises LinkError."""
        self._context = laptop_context(technician)
        self._port: Port = open_port(port)
        self._number = 0
        try:
            self._end = self._open(time.monotonic() + open_timeout_s)
        except LinkError:
            self._port.close()
            raise

    @property
    def peer(self) -> PeerCertificate:
        """What the device showed."""
        return self._end.peer()

    def call(
        self,
        command: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> dict[str, object]:
        """The result of one command; raises CommandRefused or LinkError."""
        self._number += 1
        request = {"id": self._number, "command": command, "params": dict(params or {})}
        self._port.write(self._end.request(canonical(request)))
        self._pump(self._end, time.monotonic() + timeout_s, messages=True)
        return _result(self._end.messages.pop(0), self._number)

    def close(self) -> None:
        """Ends the session and gives the port back."""
        try:
            self._port.write(self._end.close())
        except LinkError:
            pass  # the device notices by itself
        finally:
            self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, ends: float) -> LaptopEnd:
        cause: LinkError | None = None
        for _ in range(OPEN_ATTEMPTS):
            end = LaptopEnd(self._context, secrets.randbits(32))
            try:
                self._port.write(end.start())
                self._pump(end, min(ends, time.monotonic() + TRY_S), messages=False)
            except (LinkTimeout, SessionError) as error:
                cause = error
                if time.monotonic() >= ends:
                    break
            else:
                return end
        raise LinkTimeout("no Wayside device answers on this port") from cause

    def _pump(self, end: LaptopEnd, ends: float, *, messages: bool) -> None:
        while not (end.messages if messages else end.ready):
            if time.monotonic() >= ends:
                raise LinkTimeout("the device does not answer")
            data = self._port.read(_READ_S)
            if not data:
                end.idle()
            elif answer := end.feed(data):
                self._port.write(answer)


def _result(message: bytes, number: int) -> dict[str, object]:
    try:
        answer = json.loads(message)
        if answer["ok"] is True and answer["id"] == number:
            return dict(answer["result"])
        error = answer["error"]
        refused = CommandRefused(str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError, RecursionError) as broken:
        raise SessionError("the device gave an answer that this version does not understand") from broken
    raise refused
