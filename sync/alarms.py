# SPDX-License-Identifier: Apache-2.0
"""Alarms that stand: each is told when it begins or changes, not at every look that still finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_TOPICS = 256  # remembered; the oldest is forgotten first, and would be told again


class Alarms:
    """`send` tells an alarm and returns whether it was kept; one that was not is told again at the next look."""

    def __init__(self, send: Callable[[str, Mapping[str, Any]], bool]) -> None:
        self._send = send
        self._standing: dict[str, tuple[str, dict[str, Any]]] = {}

    def once(self, event: str, fields: Mapping[str, Any]) -> None:
        """Something happened: told every time."""
        self._send(event, fields)

    def stand(self, topic: str, event: str, fields: Mapping[str, Any]) -> None:
        """Something is wrong with `topic`: told unless this very alarm stands already."""
        alarm = (event, dict(fields))
        if self._standing.get(topic) != alarm and self._send(event, fields):
            self._standing.pop(topic, None)
            self._standing[topic] = alarm
            if len(self._standing) > MAX_TOPICS:
                del self._standing[next(iter(self._standing))]

    def clear(self, topic: str) -> None:
        """It is well again: the next alarm of this topic is told, even when it is the same."""
        self._standing.pop(topic, None)

    def keep_only(self, prefix: str, topics: set[str]) -> None:
        """Clear the topics with a prefix that are not among `topics`."""
        for topic in [name for name in self._standing if name.startswith(prefix) and name not in topics]:
            self.clear(topic)
