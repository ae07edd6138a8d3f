# SPDX-License-Identifier: Apache-2.0
"""Every bound on what sync accepts from outside, by name and with its unit."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RECORD_BYTES = 256 * 1024  # bytes, one encoded read
MAX_IMAGE_BYTES = 16 * 1024 * 1024  # bytes, one encoded picture
MAX_IMAGE_HEADER_BYTES = 4 * 1024  # bytes, JSON header of a picture record
MAX_HIT_BYTES = 2 * 1024 * 1024  # bytes, one encoded hit before sealing
MAX_CROP_BYTES = 1024 * 1024  # bytes, the JPEG crop inside a hit
MAX_DOCUMENT_BYTES = 256 * 1024  # bytes, heartbeat, its reply, share request, config documents
MAX_PLATE_CHARS = 12  # characters of a plate or of a listed pattern
MAX_ALTERNATIVES = 36  # other readings of one character
MAX_TEXT_CHARS = 500  # characters of one explanatory text field
MAX_NAME_CHARS = 64  # characters of an id, a source, a note's key
MAX_SHARE_EPOCHS = 2_048  # epochs in one share request (85 days of hours)
MAX_PULL_REQUESTS = 256  # segments in one heartbeat reply
MAX_HEALTH_FIELDS = 256  # counters or health values in one heartbeat
MAX_LISTS = 64  # lists in one manifest, or on one device


@dataclass(frozen=True, slots=True)
class ListLimits:
    """Bounds on hot lists, feed files, manifests and deltas."""

    max_feed_bytes: int = 64 * 1024 * 1024  # bytes, a feed file as imported at the office
    max_line_bytes: int = 4 * 1024  # bytes, one line of a feed file
    max_entries: int = 500_000  # entries in one list
    max_list_bytes: int = 192 * 1024 * 1024  # bytes, a signed list
    max_delta_bytes: int = 64 * 1024 * 1024  # bytes, a delta
    max_manifest_bytes: int = 64 * 1024  # bytes, a signed manifest
    max_star_entries: int = 2_000  # entries with `*` in one list: each costs a comparison per read
    max_problems: int = 10_000  # problems written out one by one; the rest is counted


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds on answers and times of the HTTPS link."""

    connect_timeout_s: float = 10.0  # seconds
    read_timeout_s: float = 30.0  # seconds without a byte
    total_timeout_s: float = 600.0  # seconds for one whole answer
    max_reply_bytes: int = 1024 * 1024  # bytes, any answer but a list
    chunk_bytes: int = 4 * 1024 * 1024  # bytes, one piece of a segment on the wire


@dataclass(frozen=True, slots=True)
class PullLimits:
    """Bounds on the device's pull service."""

    max_connections: int = 8  # connections served at the same time; more are closed at once
    socket_timeout_s: float = 30.0  # seconds without a byte, handshake included
    handshake_timeout_s: float = 10.0  # seconds for the whole handshake: until then a caller is a stranger
    max_body_bytes: int = 64 * 1024  # bytes, a request body
    max_linger_bytes: int = 1024 * 1024  # bytes of a refused body that are read and thrown away
    send_chunk_bytes: int = 64 * 1024  # bytes, one read of a segment file
