# SPDX-License-Identifier: Apache-2.0
"""Serials to strike: the formats of the states and of other countries, and vanity texts.

A serial is a list of rows; a row is a list of tokens. Letters and digits are read; everything else is drawn and
not read: `-`, `.`, `*` (emblem), `<` (heart), ` ` (gap), `_` (half gap), `=` (writing of another script), `&` (its
numerals). A token of two or three characters is a stack of small letters, read from the top; one that starts with `~`
is small and stands in line (a year), with `!` light in a dark label (a code), with `%` below a sign of another script.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALL = _DIGITS + _LETTERS

# 9 is a digit, A a letter, X either, ~ two small digits, ! a code, % a small letter; other signs are drawn as they are.
US_FORMATS = (
    "9AAA999", "AAA9999", "AAA-9999", "AAA*9999", "AAA 9999", "AAA-999", "AAA*999", "AAA 999", "999-AAA",
    "999*AAA", "999 AAA", "AA-9999", "AA 99999", "AA-99999", "99999AA", "9999 AA", "A99-AAA", "A99*AAA",
    "AAA-A99", "AAA A99", "AAA*A99", "99A-AAA", "AA9 A99", "999-999", "999 999", "999999", "9AA A99",
    "AAA 99A", "A999999", "A99999", "9-99999", "99-A9999", "A9A-9A9", "999A99", "99 AA99", "AA999",
    "9999999", "AA*9999", "99AA9", "999-9999", "A 99999", "99999", "9999", "AAA999", "999AAA", "AA9999",
    "AA999A", "9A99999", "99A999", "A99 9AA", "AAAA999", "99999A9",
)  # fmt: skip
WORLD_FORMATS = {
    "eu": (
        "AA 999AA", "AA-999-AA", "A*AA 9999", "AA*AA 999", "AAA*A 999", "AA*A 9999", "A*A 99", "A_99_AAA",
        "AA_99_AAA", "B 999 AAA", "9999 AAA", "99-AAA-9", "AA-99-AA", "99-AA-99", "AAA-999", "AAA 999",
        "AAA 99A", "AA 999 99", "AA 99 999", "9-AAA-999", "99 AAA 99", "9A9 9999", "AA9999AA", "AA 9999",
        "999 AAA 99", "AA 99999", "A999AA 99", "AA_99999", "AAA_9999", "AA*99A", "A 9999 AA", "AAA 9AA9",
    ),
    "uk": (
        "AA99 AAA", "AA99AAA", "A999 AAA", "A99 AAA", "AAA 999A", "AAA 99A", "A9 AAA", "AAA 9A", "999 AAA",
        "A9 AA",
    ),
    "br": ("AAA-9999", "AAA-9999", "AAA 9999", "AAA*9999", "AAA9A99", "AA 9999"),
    "mid": (
        "AAA 999", "AAA-999", "AA-999", "AAA*999", "AA-99-AA", "99-999-99", "A 99999", "AAA 9999",
        "AAA9999A", "9 99999", "AA 99 AA", "AAA-99A", "AAAA*999", "AA 9999", "99-99", "ABC*999", "A*99999",
        "AAA*9999", "99*9999", "999-99-999",
    ),
    "india": ("AA99AA9999", "AA 99 A 9999", "AA 99 AA 9999", "AA 99_AA_9999", "AA99 A9999", "AA-99-AA-9999"),
    "gulf": (
        "!=99999", "!=9999", "! 99999", "!=999999", "A = 99999", "99 = 9999", "99999 =", "999999 =", "= 999999",
        "= 99999", "999 =", "9999 =", "9999 %", "99999 %", "A 99999 =", "99999*=", "999*&&&", "9999*&&&&",
    ),
    "pakistan": ("AAA-999", "AAA 999", "AAA 9999", "AA-999", "AAA-99-999", "AA 999"),
}  # fmt: skip
TWO_ROW_FORMATS = (
    "AAA/9999", "AAA/999", "AA 99/A 9999", "AA99A/A9999", "AA 99/AA 9999", "AA99/AAA", "AA99A/9999",
    "AA*99/999", "AAA/99A", "A*A/999", "AA/9999", "AAA-99/999", "99-99/999", "AA-99/AA-99", "AA 99/AA9999",
    "A9/AAA", "99/99-99", "AAA-~/9999", "AAA-~/999", "AAA_~/9999", "AAA-~/9999",
    "99 AA/9999", "99_AA/999", "99 A/9999", "99 AAA/999", "AAA/9999A", "AAA/999A", "=!/99999", "!=/9999", "AAA.~/9999",
)  # fmt: skip
PUNJAB_FORMATS = (
    "AAA -~/9999", "AAA -~/9999", "AAA -~/999", "AAA  ~/9999", "AAA   ~/9999", "AA  -~/9999", "AAA-~/9999",
    "AAA -~/9999", "AAA/9999", "AA -~/9999 A", "AAA _~/99", "AAA/999",
    "AAA .~/9999", "AAA .~/999", "AAA.~/9999", "AAA  .~/9999", "AAA.~/9", "AAA -~/9", "AAA -~/99",
)  # fmt: skip
_WORDS = (
    "LOVE", "MOM", "DAD", "GOLF", "RUN", "BOAT", "FISH", "SKI", "JEEP", "VETTE", "HOT", "ROD", "BMW",
    "FAST", "SLOW", "GIRL", "BOY", "KID", "DOG", "CAT", "PUP", "HOME", "MY", "THE", "FOR", "YOU", "ME",
    "US", "WE", "GO", "NO", "ONE", "TWO", "BIG", "RED", "BLUE", "WHT", "BLK", "SUN", "SEA", "SKY", "FLY",
    "JET", "ACE", "KING", "QUEEN", "QN", "STAR", "ROCK", "JAZZ", "BAND", "NURSE", "DOC", "DR", "LAW",
    "TAX", "IRS", "CPA", "GEEK", "NERD", "LINUX", "CODE", "HACK", "BYTE", "WIFI", "ROOT", "GAME", "WIN",
    "PLAY", "TOY", "CAR", "VAN", "TRUK", "MINI", "BUG", "VW", "AUDI", "MERC", "TESLA", "VOLT", "EV", "GAS",
    "OIL", "HYBRD", "GOD", "JESUS", "PRAY", "BLES", "HOPE", "FAITH", "PSALM", "JOHN", "ACTS", "LUKE",
    "MIKE", "BOB", "JIM", "ANN", "SUE", "KAT", "LIZ", "JEN", "AMY", "TOM", "DAN", "RON", "KEN", "HAPPY",
    "SMILE", "FUN", "JOY", "LIFE", "LIV", "LUV", "GR8", "L8R", "B4", "2DAY", "4EVER", "4U", "2GO", "IM",
    "UR", "IAM", "NOT", "CANT", "WONT", "WHAT", "WHO", "WHY", "HOW", "WOW", "YES", "OHIO", "TEXAN", "NAVY",
    "ARMY", "USMC", "USAF", "VET", "HERO", "COP", "FIRE", "TRI", "MARA", "SWIM", "BIKE", "HIKE", "YOGA",
    "DANC", "SING", "MUSC", "GUITR", "DRUM", "BASS", "PIZZA", "TACO", "BEER", "WINE", "CAFE", "LATTE",
    "CAKE", "PIE", "BACON", "EGG", "HAM", "CHZ", "MNKY", "BEAR", "WOLF", "LION", "TIGR", "HORSE", "COW",
    "PIG", "DUCK", "BIRD", "OWL", "MAX", "ZEN", "ZOOM", "VROOM", "ZIP", "QUIK", "QUAD", "JINX", "FOX",
    "HEX", "VIXEN", "EXEC", "JUMP", "JAM", "JUG", "SQUAD", "QUIZ", "WIZ", "BUZZ", "FUZZ", "RAZR",
)  # fmt: skip
_ONSETS = (*"BCDFGHJKLMNPRSTVWXYZ", "CH", "QU", "TR", "ST", "SH", "BR")
_SYLLABLES = tuple(onset + vowel for onset in _ONSETS for vowel in "AEIOUY")


@dataclass(frozen=True, slots=True)
class Serial:
    """Rows of tokens to draw, and the text that a reader shall give (only 0-9 and A-Z)."""

    rows: tuple[tuple[str, ...], ...]
    text: str


def serial_from(rows: list[list[str]]) -> Serial:
    """The serial of `rows`, its text collected from the tokens in reading order."""
    text = "".join(c for row in rows for token in row for c in token if c in _ALL)
    return Serial(tuple(tuple(row) for row in rows), text)


def _letter(rng: np.random.Generator) -> str:
    return _LETTERS[int(rng.integers(len(_LETTERS)))]


def fill(rng: np.random.Generator, pattern: str) -> list[list[str]]:
    """Tokens for a format: 9, A and X become random characters, `/` starts the next row."""
    rows: list[list[str]] = [[]]
    for sign in pattern:
        if sign == "/":
            rows.append([])
        elif sign == "~":
            rows[-1].append("~" + "".join(rng.choice(list(_DIGITS), 2)))
        elif sign == "!":
            code = (
                rng.choice(list(_DIGITS), int(rng.integers(1, 3))) if rng.random() < 0.8 else [_letter(rng)]
            )
            rows[-1].append("!" + "".join(code))
        elif sign == "%":
            rows[-1].append("%" + _letter(rng))
        elif sign in "9AX":
            pool = {"9": _DIGITS, "A": _LETTERS, "X": _ALL}[sign]
            rows[-1].append(pool[int(rng.integers(len(pool)))])
        else:
            rows[-1].append(sign)
    return rows


def _leet(rng: np.random.Generator, word: str) -> str:
    swaps = {"E": "3", "A": "4", "I": "1", "O": "0", "S": "5", "T": "7", "B": "8"}
    return "".join(swaps.get(c, c) if rng.random() < 0.12 else c for c in word)


def vanity_text(rng: np.random.Generator) -> str:
    """2 to 8 characters that look chosen: words, syllables, letters with a few digits."""
    kind, length = rng.random(), int(rng.choice([2, 3, 4, 5, 6, 7, 7, 7, 8]))
    if kind < 0.45:
        text = ""
        while len(text) < length:
            text += _WORDS[int(rng.integers(len(_WORDS)))]
    elif kind < 0.7:
        text = "".join(_SYLLABLES[int(rng.integers(len(_SYLLABLES)))] for _ in range(5))
        text = text[int(rng.integers(2)) :]
    elif kind < 0.78:
        text = _LETTERS[int(rng.integers(26))] * int(rng.integers(2, 4)) + "".join(
            rng.choice(list(_LETTERS), 6)
        )
    else:
        text = "".join(rng.choice(list(_LETTERS if rng.random() < 0.6 else _ALL), 8))
    return _leet(rng, text[:length])


def _vanity_rows(rng: np.random.Generator) -> list[list[str]]:
    row = list(vanity_text(rng))
    for _ in range(int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15]))):
        at = int(rng.integers(1, len(row)))
        row.insert(at, str(rng.choice([" ", " ", " ", "_", "-", "*", "<"])))
    return [row]


def _with_stack(rng: np.random.Generator, rows: list[list[str]]) -> list[list[str]]:
    pool = _LETTERS if rng.random() < 0.75 else _ALL
    stack, other = ("".join(rng.choice(list(pool), int(rng.choice([2, 2, 2, 3])))) for _ in range(2))
    row = [t for t in rows[0] if t != "*"][:5]
    if rng.random() < 0.12:
        return [[stack, "_", *row, "_", other]]
    return [[stack, "_", *row] if rng.random() < 0.75 else [*row, "_", stack]]


def us_serial(rng: np.random.Generator) -> Serial:
    """A US serial: a state's format, a vanity text, or one with stacked small letters."""
    kind = rng.random()
    if kind < 0.42:
        return serial_from(_vanity_rows(rng))
    if kind < 0.55:
        length = int(rng.integers(4, 8))
        return serial_from(fill(rng, "X" * length))
    rows = fill(rng, US_FORMATS[int(rng.integers(len(US_FORMATS)))])
    if kind > 0.8:
        rows = _with_stack(rng, rows)
    return serial_from(rows)


def world_serial(rng: np.random.Generator, region: str) -> Serial:
    """A serial in one of the formats of `region` (a key of WORLD_FORMATS, `two_row`, `punjab` or `titled`)."""
    two_rows = {"two_row": TWO_ROW_FORMATS, "punjab": PUNJAB_FORMATS, "titled": PUNJAB_FORMATS}
    formats = two_rows.get(region) or WORLD_FORMATS[region]
    return serial_from(fill(rng, formats[int(rng.integers(len(formats)))]))
