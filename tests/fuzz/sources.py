# SPDX-License-Identifier: Apache-2.0
"""Where inputs come from: mutations of seeds that know bytes, JSON and lines, and the wrapping that keeps them valid.

A source makes one input from a random generator. It costs some microseconds, so that a million take seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from json.decoder import scanstring
from random import Random
from typing import Final, TypeVar

Source = Callable[[Random], bytes]
Wrap = Callable[[bytes], bytes]
T = TypeVar("T")

TOKENS: Final = (
    *rb"""-1 1e999 NaN null true [] {} " \ud800 ' , : = _ 0x10 1_0 +1 .5 1e5 -0 99999999999999999999 ../ %00""".split(),
    *(b"\0", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\n", b"\r\n", b"\x1a", b" ", b"\xef\xbb\xbf"),
    *(
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xd9\xa1",
        b"\xc2\xb2",
    ),  # a surrogate, an overlong zero, foreign digits
)
HEAVY_TOKENS: Final = (b"9" * 5000, b"[" * 20_000, b'{"a":' * 5000, b"A" * 70_000, b"\n" * 3000, b"-" * 3000)
_ODD_JSON: Final = r"""
    null true false 0 1 -1 1.5 -0.0 1e999 -1e999 1e308 NaN Infinity "" [] {} 9007199254740993 9223372036854775807
    9223372036854775808 -9223372036854775809 1000000000000000000000000000000 "\ud800" "\u0000" "é" "\u017f" "²" "٣" "-1"
    "1_0" "2025-02-30" [null] [[]] [{}] {"":{}} [1,1] {"a":1,"a":2} "*" "?" "../x" [true,-1] "\n"
"""
JSON_VALUES: Final = tuple(_ODD_JSON.split())
HEAVY_JSON_VALUES: Final = (
    *("9" * 5000, "[" * 20_000 + "]" * 20_000, "[" * 900 + "]" * 900, "[" * 300 + "]" * 300),
    *('{"a":' * 3000 + "1" + "}" * 3000, "{" + '"a":1,' * 300 + '"b":1}', "[" + "1," * 5000 + "1]"),
    *('"' + "A" * 70_000 + '"', '"' + "A" * 70 + '"', '"' + "\\ud800" * 2000 + '"'),
)
HEAVY: Final = 0.01  # share of mutations that insert something long or deep


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of `items`; half the cost of `choice`."""
    return items[int(rng.random() * len(items))]


def exactly(*seeds: bytes) -> Source:
    """The seeds themselves, unchanged."""
    return lambda rng: pick(rng, seeds)


def noise(most: int) -> Source:
    """Random bytes, at most so many."""
    return lambda rng: rng.randbytes(int(rng.random() * most))


def mutated(*seeds: bytes, tokens: Sequence[bytes] = ()) -> Source:
    """A seed with one to four changes that know nothing of its format; `tokens` are words of it."""
    words = (*tokens, *tokens, *TOKENS)

    def make(rng: Random) -> bytes:
        data = bytearray(pick(rng, seeds))
        for _ in range(1 + int(rng.random() * rng.random() * 5)):
            pick(rng, _CHANGES)(data, rng, words)
        if rng.random() < 0.1:
            data[_place(data, rng) :] = _tail(pick(rng, seeds), rng)
        return bytes(data)

    return make


def joined(source: Source, most: int, between: bytes = b"") -> Source:
    """One to `most` inputs of a source after each other."""

    def make(rng: Random) -> bytes:
        return between.join(source(rng) for _ in range(1 + int(rng.random() * most)))

    return make


def either(*sources: Source) -> Source:
    """Any of the sources."""
    return lambda rng: pick(rng, sources)(rng)


def wrapped(source: Source, wrap: Wrap) -> Source:
    """What a source makes, made valid where it would be refused at once: lengths, checksums, signatures."""
    return lambda rng: wrap(source(rng))


def _place(data: bytes | bytearray, rng: Random) -> int:
    return int(rng.random() * (len(data) + 1))


def _tail(data: bytes, rng: Random) -> bytes:
    return data[_place(data, rng) :]


_Change = Callable[[bytearray, Random, Sequence[bytes]], None]


def _flip(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    if data:
        data[int(rng.random() * len(data))] ^= 1 << int(rng.random() * 8)


def _set(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    if data:
        data[int(rng.random() * len(data))] = int(rng.random() * 256)


def _cut(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    at = _place(data, rng)
    del data[at : at + 1 + int(rng.random() * rng.random() * 40)]


def _end(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    del data[_place(data, rng) :]


def _insert(data: bytearray, rng: Random, words: Sequence[bytes]) -> None:
    word = pick(rng, HEAVY_TOKENS) if rng.random() < HEAVY * 4 else pick(rng, words)
    at = _place(data, rng)
    data[at:at] = word


def _overwrite(data: bytearray, rng: Random, words: Sequence[bytes]) -> None:
    at, word = _place(data, rng), pick(rng, words)
    data[at : at + len(word)] = word


def _repeat(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    at = _place(data, rng)
    times = 1 + int(rng.random() * (200 if rng.random() < HEAVY else 3))
    data[at:at] = data[at : at + 1 + int(rng.random() * 40)] * times


def _number(data: bytearray, rng: Random, _words: Sequence[bytes]) -> None:
    size = 1 << int(rng.random() * 4)
    at = _place(data, rng)
    value = pick(rng, (0, 1, 2, 0x7F, 0x80, len(data), (1 << 8 * size) - 1, 1 << (8 * size - 1)))
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(
        size, "big" if rng.random() < 0.7 else "little"
    )


_CHANGES: Final[tuple[_Change, ...]] = (
    _flip,
    _flip,
    _set,
    _set,
    _cut,
    _end,
    _insert,
    _overwrite,
    _repeat,
    _number,
)


class _Text:
    """A JSON text with where its values and its members lie."""

    def __init__(self, seed: bytes) -> None:
        self.text = seed.decode()
        self.values: list[tuple[int, int]] = []
        self.members: list[tuple[int, int]] = []  # of an object or a list, without the comma
        self.keys: list[tuple[int, int]] = []
        self._value(0)

    def _value(self, at: int) -> int:
        start, text = at, self.text
        if text[at] == '"':
            at = scanstring(text, at + 1)[1]
        elif text[at] in "{[":
            at = self._members(at)
        else:
            while at < len(text) and text[at] not in ",]} \n":
                at += 1
        self.values.append((start, at))
        return at

    def _members(self, at: int) -> int:
        keyed, at = self.text[at] == "{", self._blank(at + 1)
        while self.text[at] not in "]}":
            start = at
            if keyed:
                at = scanstring(self.text, at + 1)[1]
                self.keys.append((start, at))
                at = self._blank(self._blank(at) + 1)
            at = self._value(at)
            self.members.append((start, at))
            at = self._blank(at)
            if self.text[at] == ",":
                at = self._blank(at + 1)
        return at + 1

    def _blank(self, at: int) -> int:
        while self.text[at] in " \n":
            at += 1
        return at


def json_like(*seeds: bytes, words: Sequence[str] = ()) -> Source:
    """A JSON seed with one to three of its values, members or keys changed; still JSON most of the time, and canonical
    where the seed was and the place allows. `words` are JSON values that the format knows.
    """
    texts = [_Text(seed) for seed in seeds]
    known = (*words, *JSON_VALUES)
    others = [text.text[a:b] for text in texts for a, b in text.values if b - a < 400]

    def make(rng: Random) -> bytes:
        held = pick(rng, texts)
        text, before = held.text, len(held.text) + 1
        for _ in range(1 + int(rng.random() * rng.random() * 4)):
            text, before = _edit(held, text, before, rng, known, others)
        return text.encode("utf-8", "surrogatepass")

    return make


def _edit(
    held: _Text, text: str, before: int, rng: Random, known: Sequence[str], others: Sequence[str]
) -> tuple[str, int]:
    """One change left of `before`, so that earlier ones keep their places; the text, and where this one began."""
    kind = rng.random()
    spans = (
        held.values
        if kind < 0.7 or not held.members
        else held.members
        if kind < 0.9
        else held.keys or held.values
    )
    last = bisect_right(spans, before, key=lambda span: span[1]) if spans is not held.values else len(spans)
    start, end = spans[int(rng.random() * max(1, last))]
    if end > before:
        return text, before
    old = text[start:end]
    if kind < 0.45:
        new = _value(rng, known, others)
    elif kind < 0.7 or spans is held.keys:
        new = _scalar(old, rng)
    elif kind < 0.8:
        new = ",".join([old] * (2 + int(rng.random() * (40 if rng.random() < HEAVY * 3 else 2))))
    else:
        return _without(text, start, end), max(0, start - 1)
    return text[:start] + new + text[end:], start


def _value(rng: Random, known: Sequence[str], others: Sequence[str]) -> str:
    if rng.random() < HEAVY:
        return pick(rng, HEAVY_JSON_VALUES)
    return pick(rng, known) if rng.random() < 0.6 or not others else pick(rng, others)


def _without(text: str, start: int, end: int) -> str:
    """The text without a member and one comma beside it."""
    if text[end : end + 1] == ",":
        return text[:start] + text[end + 1 :]
    return text[: start - 1 if text[start - 1] == "," else start] + text[end:]


def _scalar(old: str, rng: Random) -> str:
    """A string or number with one character changed; anything else within quotes."""
    if len(old) > 2 and old[0] == '"':
        at = 1 + int(rng.random() * (len(old) - 2))
        return old[:at] + pick(rng, "aZ09-_ .é*\u2028") + old[at + int(rng.random() * 2) : -1] + '"'
    if old and old[-1].isdigit():
        return pick(
            rng, (old + "0", "-" + old, old[:-1] or "0", old + ".5", old + "e400", str(rng.getrandbits(54)))
        )
    return f'"{old}"' if '"' not in old else "null"
