# SPDX-License-Identifier: Apache-2.0
"""What the product writes opens without the product; and on any bytes both readers say the same."""

from __future__ import annotations

import ast
import random
import sys
from pathlib import Path

import independent_reader as other
import independent_writer as writer
import pytest
import two_readers
import vector_maker
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, T0

from storage.keyring_file import pack, unpack
from storage.store import Store
from storage.types import Recipient, SegmentKind, StoreLimits

PUBLIC = DEVICE_KEY.public_key()
HERE = Path(__file__).parent
KINDS = list(SegmentKind)


@pytest.mark.parametrize("name", ["independent_reader.py", "independent_writer.py", "vector_maker.py"])
def test_it_imports_nothing_of_the_product(name) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse((HERE / name).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    roots = {module.split(".")[0] for module in imported}
    allowed = {"cryptography", "independent_reader", "independent_writer", *sys.stdlib_module_names}
    assert roots <= allowed - {"importlib", "runpy", "ctypes", "subprocess"}
    assert not any("hpke" in module for module in imported)


def opened(world, info, key=AGENCY_KEY) -> other.Opened:
    share = world.keyring(read_only=True).peek(info.epoch)
    return other.open_segment(info.path.read_bytes(), share, key, PUBLIC)


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_what_the_product_wrote(world, kind) -> None:
    payloads = [random.Random(7).randbytes(size) for size in (0, 1, 200, 8 << 10, 60 << 10)]
    store = world.store()
    for payload in payloads:
        store.append(kind, payload, at_us=T0)
    store.close()
    (info,) = store.segments()
    found = opened(world, info)
    assert (found.records, found.problems, found.closed) == (payloads, [], True)
    assert (found.header["kind"], found.header["epoch"]) == (kind.value, HOUR)


def test_every_recipient_opens_it_and_nobody_else(world) -> None:
    both = [Recipient.of(key.public_key()) for key in (AGENCY_KEY, OTHER_KEY)]
    ids = {"device_id": "pole-7", "boot_id": "boot-1"}
    store = Store.open(world.store_root, keyring=world.keyring(), recipients=both, signer=DEVICE_KEY, **ids)
    store.append(KINDS[0], b"for both", at_us=T0)
    store.close()
    (info,) = store.segments()
    assert opened(world, info).records == opened(world, info, OTHER_KEY).records == [b"for both"]
    with pytest.raises(other.Refused, match="recipient"):
        opened(world, info, DEVICE_KEY)


def test_an_unfinished_segment_gives_every_whole_record(world) -> None:
    store = world.store()
    for n in range(4):
        store.append(KINDS[0], b"read %d" % n, at_us=T0)
    store.commit()
    (info,) = store.segments()
    data, share = info.path.read_bytes(), world.keyring(read_only=True).peek(HOUR)
    found = other.open_segment(data, share, AGENCY_KEY, PUBLIC)
    assert (found.records, found.problems, found.closed) == ([b"read %d" % n for n in range(4)], [], False)
    torn = other.open_segment(data[:-1], share, AGENCY_KEY, PUBLIC)
    assert (torn.records, torn.problems) == ([b"read %d" % n for n in range(3)], ["cut 3"])


def test_the_segments_of_a_run_are_linked(world) -> None:
    store = world.store(limits=StoreLimits(max_segment_bytes=3000))
    for _ in range(3):
        store.append(KINDS[0], bytes(1500), at_us=T0)
    store.close()
    read = [other.read_header(info.path.read_bytes()) for info in store.segments()]
    assert [header["seq"] for header, *_ in read] == [0, 1, 2]
    assert [header["prev"] for header, *_ in read[1:]] == [digest.hex() for *_, digest, _ in read[:-1]]


def test_it_opens_the_keyring_and_its_boxes(world) -> None:
    keyring = world.keyring()
    mine = keyring.share(HOUR)
    keyring.import_share("pole-8", HOUR + 1, bytes(range(32)))
    boxed = keyring.box("lists").seal(b"a list", b"aad")
    data = (world.root / "keyring" / "keyring.wkr").read_bytes()
    kek = (world.root / "trust" / f"{other.keyring_slot(data)}.slot").read_bytes()
    box_key, shares = other.open_keyring(data, kek)
    assert shares == {"self": {HOUR: mine}, "pole-8": {HOUR + 1: bytes(range(32))}}
    assert other.open_box(boxed, box_key, "lists", b"aad") == b"a list"
    assert unpack(data).open(kek).box_key == box_key
    again = pack(unpack(data).open(kek), kek=kek, slot="s", root="file", generation=2)
    assert other.open_keyring(again, kek) == (box_key, shares)
    with pytest.raises(other.Refused, match="keyring"):
        other.open_keyring(data, bytes(32))


MADE = vector_maker.segment([b"record %d" % i for i in range(3)])
DATA = MADE.bytes()
EDIT = st.tuples(
    st.integers(0, len(DATA)),
    st.sampled_from([0, 1, 1, 4, len(MADE.records[0])]),
    st.one_of(st.just(b""), st.binary(max_size=3), st.sampled_from([*MADE.records, MADE.footer])),
)


def both_say(data: bytes, *, device=vector_maker.DEVICE) -> None:
    key = device.public_key() if device else None
    asked = (data, vector_maker.SHARE, vector_maker.AGENCY, key)
    assert two_readers.product(*asked) == two_readers.independent(*asked)


@settings(max_examples=300)
@given(st.lists(EDIT, max_size=3), st.sampled_from([vector_maker.DEVICE, None]))
def test_both_readers_say_the_same_of_any_edit(edits, device) -> None:
    data = DATA
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    both_say(data, device=device)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1 << 64),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
)


@settings(max_examples=200)
@given(st.sampled_from([*vector_maker.fields(), "more"]), VALUES, st.booleans())
def test_both_readers_say_the_same_of_any_header_that_the_device_signed(name, value, gone) -> None:
    """The signature is right, so what is left to refuse is the content."""
    header = {**vector_maker.fields(), name: value}
    if gone:
        del header[name]
    try:
        made = writer.make_segment(
            header,
            [b"x"],
            secret=bytes(32),
            share=vector_maker.SHARE,
            recipients=[(vector_maker.AGENCY.public_key(), vector_maker.SECOND)],
            device=vector_maker.DEVICE,
        )
    except (KeyError, ValueError):  # no opened_us for the footer, or no JSON
        return
    both_say(made.bytes())


@settings(max_examples=200)
@given(st.sampled_from(["body_sha256", "closed_us", "last_tag", "records", "more"]), VALUES)
def test_both_readers_say_the_same_of_any_footer_that_the_device_sealed(name, value) -> None:
    raw = MADE.footer[11 : 11 + int.from_bytes(MADE.footer[9:11], "big")]
    try:
        changed = other.canonical({**(other.parsed(raw) or {}), name: value})
    except ValueError:
        return
    tag = MADE.records[-1][-16:]
    foot = writer.make_footer(MADE, changed, tag, len(MADE.records), vector_maker.DEVICE)
    both_say(MADE.header + b"".join(MADE.records) + foot)
