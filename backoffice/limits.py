# SPDX-License-Identifier: Apache-2.0
"""Bounds on what devices and people send to the office, by name and with their units."""

from __future__ import annotations

from dataclasses import dataclass

from storage.receipts import MAX_RECEIPT_BYTES
from sync.limits import MAX_DOCUMENT_BYTES, MAX_HIT_BYTES, WireLimits

SEAL_OVERHEAD_BYTES = 8 * 1024  # the envelope around a hit: one wrapped key for each recipient, a tag


@dataclass(frozen=True, slots=True)
class OfficeLimits:
    """Bounds of the device port and of the pages."""

    hit_bytes: int = MAX_HIT_BYTES + SEAL_OVERHEAD_BYTES  # bytes, POST /v1/hits
    document_bytes: int = MAX_DOCUMENT_BYTES  # bytes, heartbeats
    receipt_bytes: int = MAX_RECEIPT_BYTES  # bytes, one deletion receipt
    chunk_bytes: int = WireLimits().chunk_bytes  # bytes, one PUT of a segment
    segment_bytes: int = 1024 * 1024 * 1024  # bytes, one whole segment
    form_bytes: int = 16 * 1024  # bytes, a form of the pages
    header_bytes: int = 32 * 1024  # bytes, all headers of a request
    connection_timeout_s: float = 10.0  # seconds without a byte, TLS handshake included
    poll_s: float = 0.2  # seconds between looks at idle connections; also the wait at a stop
    threads: int = 12  # requests served at the same time on each port
    max_threads: int = 24  # ... at most
    heartbeat_late_s: int = 300  # seconds after which the pages call a device late
    session_idle_s: int = 30 * 60  # seconds without a request that end a login
    session_total_s: int = 12 * 3600  # seconds: one shift; then log in again
    hits_per_page: int = 50


LIMITS = OfficeLimits()
