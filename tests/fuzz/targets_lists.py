# SPDX-License-Identifier: Apache-2.0
"""Targets in sync: feeds in every layout, mapping files, signed lists, manifests and deltas."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from storage.primitives import canonical_json
from sync.certificates import key_id
from sync.errors import (
    BadList,
    BadMapping,
    BadSignature,
    DeltaMismatch,
    LayoutError,
    ListExpired,
    RollbackRefused,
)
from sync.hotlists import layouts
from sync.hotlists.delta import apply_delta, make_delta
from sync.hotlists.entry import Category
from sync.hotlists.envelope import join_envelope, open_envelope, sign_envelope
from sync.hotlists.fold import align
from sync.hotlists.listfile import encode_document, sign_list, verify_list, verify_manifest
from sync.hotlists.mapping import FeedMapping, load_mapping
from sync.hotlists.store import _State as ListStoreState
from sync.limits import ListLimits
from sync.schema import ListManifest, ManifestItem
from tests.fuzz.engine import Target
from tests.fuzz.held import AGENCY, ANY_SIGNATURE, NOW_US
from tests.fuzz.sources import Source, either, exactly, json_like, mutated, wrapped
from tests.sync.factories import document, entry

DATA = Path(__file__).parents[1] / "sync" / "data"
LIMITS = ListLimits(max_entries=50, max_problems=20, max_star_entries=5)
PUBLIC = AGENCY.public_key()

# --- feeds ------------------------------------------------------------------------------------------------------

_MAPPING_TOML = (DATA / "mapping.toml").read_bytes()
_FIXED_TOML = (
    b'format = "fixed"\nheader = false\n[columns]\nplate = [0, 8]\nstate = [8, 10]\nexpires = [10, 20]\n'
)
_MAPPINGS = {"mapped": load_mapping(_MAPPING_TOML), "mapped-fixed": load_mapping(_FIXED_TOML)}
_WORDS = (
    b";",
    b",",
    b"\t",
    b'"',
    b"STOLEN",
    b"DATE",
    b"TOTAL RECORD 1",
    b"9999-12-31",
    b"0001-01-01",
    b"*",
    b"?",
    b"0H",
)
_FEEDS = {
    "leads": "leads.txt",
    "sos": "sos.txt",
    "ncic": "ncic.txt",
    "california": "california.tbl",
    "california-svs": "california.tbl",
    "california-sfr": "california.tbl",
    "california-slr": "california.tbl",
    "genetec": "genetec.csv",
    "mapped": "mapped.csv",
}


def _layout(name: str, mapping: FeedMapping | None) -> Callable[[bytes], object]:
    def parse(data: bytes) -> bool:
        found = layouts.parse(name, data, mapping, LIMITS)
        assert found.records == len(found.entries) + found.dropped  # no line is lost
        return bool(found.entries)

    return parse


def _lines_of(feed: bytes) -> Source:
    return mutated(
        feed,
        *(feed.splitlines(keepends=True)[0] + line for line in feed.splitlines(keepends=True)),
        tokens=_WORDS,
    )


_FEED_TARGETS = (
    *(
        Target(
            f"layout-{name}",
            _layout(name, _MAPPINGS.get(name)),
            _lines_of((DATA / file).read_bytes()),
            (LayoutError,),
        )
        for name, file in _FEEDS.items()
    ),
    Target(
        "layout-mapped-fixed",
        _layout("mapped", _MAPPINGS["mapped-fixed"]),
        mutated(b"ZZ12345 IL2026-12-31\nAB99   IN\n", tokens=_WORDS),
        (LayoutError,),
    ),
    Target(
        "mapping",
        load_mapping,
        mutated(
            _MAPPING_TOML,
            _FIXED_TOML,
            tokens=(b"[columns]\n", b"plate = ", b"[[", b"'''", b"1979-05-27", b"inf", b"a.b = 1\n"),
        ),
        (BadMapping,),
    ),
)

# --- signed lists -------------------------------------------------------------------------------------------------

_ENTRIES = [entry(), entry("ZZ?9*", state=None, category=Category.SCOFFLAW, expires_us=NOW_US + 5)]
_DOCUMENT = document(_ENTRIES, categories={Category.SCOFFLAW: "silent"})
_LIST = encode_document(_DOCUMENT)
_SIGNED = sign_list(_DOCUMENT, AGENCY)
_NEXT = sign_list(document([entry(), entry("NEW123")], version=4), AGENCY)
_MANIFEST = ListManifest(
    version=3,
    issued_us=NOW_US,
    expires_us=NOW_US * 2,
    lists=(
        ManifestItem(
            list_id="leads", version=3, size=len(_SIGNED), sha256=hashlib.sha256(_SIGNED).hexdigest()
        ),
    ),
).encode()
_DELTA = make_delta(_SIGNED, _NEXT)
LIST_HEAD = f"{key_id(PUBLIC)} {base64.b64encode(bytes(70)).decode()}"
_STATE = canonical_json(
    {"changes": "a1", "etag": "x", "floors": {"leads": 3}, "manifest_version": 3, "trusted": ["0" * 16]}
)


def _list(key: ec.EllipticCurvePublicKey) -> Callable[[bytes], object]:
    return lambda data: verify_list(data, (key,), floor_version=2, now_us=NOW_US, limits=LIMITS)


def _manifest(data: bytes) -> object:
    return verify_manifest(data, (ANY_SIGNATURE,), floor_version=2, now_us=NOW_US)


def _delta(data: bytes) -> object:
    return apply_delta(_SIGNED, data, LIMITS)


def _leading_right(data: bytes) -> bytes:
    """A delta that names the hash of what it really leads to, as an office that means harm would."""
    try:
        change = json.loads(data)
        held = {item["entry_id"]: item for item in json.loads(_LIST)["entries"]}
        for name in change["remove"]:
            held.pop(name, None)
        held |= {str(item.get("entry_id")): item for item in change["put"]}
        body = canonical_json(change["head"] | {"entries": [item for _, item in sorted(held.items())]})
        change["to_sha256"] = hashlib.sha256(join_envelope("list", change["signature"], body)).hexdigest()
        return canonical_json(change)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return data


def _pattern(data: bytes) -> object:
    pattern, _, text = data.decode("latin-1").partition("\n")
    return align(pattern[:12], text[:12])


_LIST_ERRORS = (BadList, BadSignature, RollbackRefused, ListExpired)
_LIST_WORDS = ('"enabled"', '"blocked"', '"scofflaw"', '"AB12345"', str(NOW_US + 1))
_LIST_TARGETS = (
    Target(
        "list",
        _list(ANY_SIGNATURE),
        either(
            wrapped(json_like(_LIST, words=_LIST_WORDS), lambda body: join_envelope("list", LIST_HEAD, body)),
            mutated(join_envelope("list", LIST_HEAD, _LIST)),
        ),
        _LIST_ERRORS,
    ),
    Target("list-signature", _list(PUBLIC), either(mutated(_SIGNED), exactly(_SIGNED)), _LIST_ERRORS),
    Target(
        "manifest",
        _manifest,
        wrapped(json_like(_MANIFEST), lambda body: join_envelope("manifest", LIST_HEAD, body)),
        _LIST_ERRORS,
    ),
    Target(
        "signed-document",
        lambda data: open_envelope("config", data, (ANY_SIGNATURE,), max_bytes=10_000),
        mutated(join_envelope("config", LIST_HEAD, b'{"v":1}'), sign_envelope("config", b"{}", AGENCY)),
        _LIST_ERRORS,
    ),
    Target(
        "delta",
        _delta,
        either(wrapped(json_like(_DELTA), _leading_right), json_like(_DELTA), mutated(_DELTA)),
        (BadList, DeltaMismatch),
    ),
    Target("list-state", ListStoreState.decode, either(json_like(_STATE), mutated(_STATE)), (ValueError,)),
    Target(
        "pattern", _pattern, mutated(b"AB?12*\nAB0125", b"*O0*\nABO0", tokens=(b"*", b"?", b"O", b"0", b"\n"))
    ),
)

TARGETS = (*_FEED_TARGETS, *_LIST_TARGETS)
