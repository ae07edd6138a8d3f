# SPDX-License-Identifier: Apache-2.0
"""Structured logs: one JSON object a line on stderr, configured once. No plate, key or token ever reaches a line.

Three nets, each enough for its case: fields whose *name* says that they hold a secret are dropped; values that
*look* like key material are masked; and texts that the eye has just read are masked wherever they appear.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

FORBIDDEN_FIELDS = frozenset(
    {
        "plate",
        "text",
        "token",
        "key",
        "private_key",
        "secret",
        "share",
        "password",
        "passphrase",
        "entry",
        "chars",
    }
)
MASK = "[withheld]"
MAX_REMEMBERED = 4096  # texts
REMEMBERED_S = (
    3600.0  # seconds: then no line tells of that vehicle any more, and its text need not stay in RAM
)
MIN_REMEMBERED_LENGTH = 3  # shorter texts would mask ordinary words
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|$)", re.DOTALL)
_BLOB = re.compile(r"(?<![0-9A-Za-z+/_-])(?:[0-9a-fA-F]{48,}|[0-9A-Za-z+/_-]{60,}={0,2})")

Event = MutableMapping[str, Any]


class Withheld:
    """The texts that must not be logged: the last few thousand that the eye read within the last hour."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._texts: OrderedDict[str, float] = OrderedDict()  # with when each was last read
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Remembers one text (upper and lower case are the same)."""
        if len(text) < MIN_REMEMBERED_LENGTH:
            return
        with self._lock:
            self._texts[text.upper()] = self._monotonic()
            self._texts.move_to_end(text.upper())
            while len(self._texts) > MAX_REMEMBERED:
                self._texts.popitem(last=False)

    def forget_old(self) -> None:
        """Drops what was read longer than REMEMBERED_S ago."""
        oldest_s = self._monotonic() - REMEMBERED_S
        with self._lock:
            while self._texts and next(iter(self._texts.values())) <= oldest_s:
                self._texts.popitem(last=False)

    def mask(self, value: str) -> str:
        """`value` with every remembered text and everything that looks like key material replaced."""
        value = _BLOB.sub(MASK, _PEM.sub(MASK, value))
        with self._lock:
            texts = [text for text in self._texts if text in value.upper()]
        for text in sorted(texts, key=len, reverse=True):
            value = re.sub(re.escape(text), MASK, value, flags=re.IGNORECASE)
        return value


WITHHELD = Withheld()


def withhold_secrets(_logger: object, _method: str, event: Event) -> Event:
    """The structlog processor; walks nested values too."""
    return {name: _clean(name, value) for name, value in event.items()}


def _clean(name: str, value: object) -> object:
    if name.lower() in FORBIDDEN_FIELDS:
        return MASK
    if isinstance(value, str):
        return WITHHELD.mask(value)
    if isinstance(value, bytes):
        return MASK
    if isinstance(value, dict):
        return {WITHHELD.mask(str(k)): _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [_clean(name, v) for v in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return WITHHELD.mask(str(value))


def configure_logs(level: str, service: str, stream: TextIO | None = None) -> None:
    """Sets up structlog and the standard library's logging alike. Call it once, at a service's start."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        withhold_secrets,
    ]
    out = stream or sys.stderr
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
