# SPDX-License-Identifier: Apache-2.0
"""Values that cross the module borders of provisioning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the PEM files that a TLS client or server of the enrolled device loads."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one self-test: `detail` says what was seen or what to do; `ms` is its duration."""

    name: str
    ok: bool
    detail: str
    ms: float


@dataclass(frozen=True, slots=True)
class Peer:
    """The laptop at the other end: the name and role of its certificate, empty when it showed none."""

    name: str = ""
    role: str = ""
