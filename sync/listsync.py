# SPDX-License-Identifier: Apache-2.0
"""Hot lists from the office: the manifest, each list that changed (by delta when that works), removals."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from sync.errors import AuthRejected, BadList, BadReply, ListError, TransportError
from sync.hotlists.delta import apply_delta
from sync.hotlists.listfile import verify_manifest
from sync.hotlists.store import ListStore
from sync.limits import ListLimits
from sync.schema import ListManifest, ManifestItem
from sync.wire import HOTLISTS, Transport, expect

log = structlog.get_logger(__name__)
DEFAULT_LIMITS = ListLimits()


@dataclass(slots=True)
class ListSyncReport:
    """What one look at the manifest changed."""

    unchanged: bool = False
    installed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


class ListSync:
    """Brings the store to what the signed manifest says."""

    def __init__(
        self,
        transport: Transport,
        store: ListStore,
        keys: Sequence[ec.EllipticCurvePublicKey],
        limits: ListLimits = DEFAULT_LIMITS,
    ) -> None:
        self._transport = transport
        self._store = store
        self._keys = keys
        self._limits = limits

    def step(self, now_us: int) -> ListSyncReport:
        """One look; raises TransportError or ListError when the manifest itself cannot be had or trusted."""
        self._store.bind(self._keys)
        floor, etag = self._store.manifest()
        headers = {"If-None-Match": etag} if etag else {}
        answer = self._transport.get(HOTLISTS, headers, max_bytes=self._limits.max_manifest_bytes)
        if answer.status == 404 and floor == 0:
            log.info("no_list_published_yet")
            return ListSyncReport(unchanged=True)
        expect(answer, 200, 304)
        if answer.status == 304:
            if not etag:
                raise BadReply("the office says unchanged, but nothing was asked about")
            return ListSyncReport(unchanged=True)
        manifest = verify_manifest(
            answer.body, self._keys, floor_version=floor, now_us=now_us, limits=self._limits
        )
        report = self._apply(manifest, now_us)
        # Without the ETag the whole manifest comes again at the next look, and with it what failed now.
        new_etag = "" if report.problems else answer.headers.get("etag", "")
        self._store.accept_manifest(manifest.version, new_etag)
        return report

    def _apply(self, manifest: ListManifest, now_us: int) -> ListSyncReport:
        report = ListSyncReport()
        held = self._store.installed()
        for item in manifest.lists:
            if item.list_id in held and held[item.list_id].sha256 == item.sha256:
                continue
            try:
                self._fetch_and_install(
                    item, held[item.list_id].version if item.list_id in held else None, now_us
                )
                report.installed.append(item.list_id)
            except AuthRejected:
                raise
            except (TransportError, ListError) as error:
                log.error("hot_list_not_installed", list_id=item.list_id, reason=str(error))
                report.problems.append((item.list_id, str(error)))
        on_disk = held.keys() | self._store.files()
        for list_id in sorted(on_disk - {item.list_id for item in manifest.lists}):
            self._store.remove(list_id)
            report.removed.append(list_id)
        return report

    def _fetch_and_install(self, item: ManifestItem, held_version: int | None, now_us: int) -> None:
        if item.size > self._limits.max_list_bytes:
            raise BadList(
                f"{item.list_id} has {item.size} bytes, at most {self._limits.max_list_bytes} allowed"
            )
        signed = self._by_delta(item, held_version)
        if signed is None:
            signed = self._get(f"{HOTLISTS}/{item.list_id}", item.size)
        if len(signed) != item.size or hashlib.sha256(signed).hexdigest() != item.sha256:
            raise BadList(f"{item.list_id}: the list is not the one that the manifest names")
        self._store.install(signed, self._keys, now_us, list_id=item.list_id)

    def _by_delta(self, item: ManifestItem, held_version: int | None) -> bytes | None:
        """The next version by delta, or None when the whole list has to be fetched."""
        base = None if held_version is None else self._store.signed(item.list_id)
        if base is None:
            return None
        answer = self._get(f"{HOTLISTS}/{item.list_id}?from={held_version}", self._limits.max_delta_bytes)
        if answer.startswith(b"wayside-signed/1 list\n"):
            return answer
        try:
            return apply_delta(base, answer, self._limits)
        except ListError as error:
            log.warning("delta_not_used", list_id=item.list_id, reason=str(error))
            return None

    def _get(self, path: str, max_bytes: int) -> bytes:
        return expect(self._transport.get(path, max_bytes=max_bytes), 200).body
