# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import PolicyNeedsReason, UnknownCategory
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.fold import CONFUSABLE, align, fold
from sync.hotlists.listfile import Mode
from sync.hotlists.match import Match, Matcher
from sync.hotlists.policy import CategoryRule, MatchPolicy
from sync.schema import CharReading, HitRecord, MatchKind, StateAgreement, hit_id
from tests.sync.factories import HOUR_US, NOW_US, chars, entry, hot_list, read_record


def match(plate: str, read: str, state: str | None = "IL", **changes: object) -> list[Match]:
    return Matcher([hot_list([entry(plate, **changes)])]).match(read, state, now_us=NOW_US)


@pytest.mark.parametrize(
    ("listed", "read", "kind"),
    [
        ("ZZ10021", "ZZ10021", MatchKind.EXACT),
        ("ZZ10021", "zz 100-21", MatchKind.EXACT),
        ("ZZ10021", "ZZ1OO21", MatchKind.FOLDED),
        ("ZZ1OO21", "ZZ10021", MatchKind.FOLDED),
        ("ZB10021", "Z810021", MatchKind.FOLDED),
        ("ZZ10021", "2Z10021", MatchKind.FOLDED),
        ("SS10021", "5SI0021", MatchKind.FOLDED),
        ("G610021", "6G1002I", MatchKind.FOLDED),
        ("QD10021", "DQ10021", MatchKind.FOLDED),
        ("ZZ1??21", "ZZ1AB21", MatchKind.WILDCARD),
        ("ZZ1??21", "Z21ABZI", MatchKind.WILDCARD_FOLDED),
        ("ZZ1*", "ZZ1", MatchKind.WILDCARD),
        ("ZZ1*", "ZZ10021", MatchKind.WILDCARD),
        ("*021", "ZZ10021", MatchKind.WILDCARD),
        ("*1002*", "ZZ10021", MatchKind.WILDCARD),
        ("*1O02*", "ZZ10021", MatchKind.WILDCARD_FOLDED),
        ("Z*0?1", "ZZ10021", MatchKind.WILDCARD),
    ],
)
def test_kinds(listed: str, read: str, kind: MatchKind) -> None:
    (found,) = match(listed, read)
    assert found.kind is kind
    assert bool(found.differences) is (kind in {MatchKind.FOLDED, MatchKind.WILDCARD_FOLDED})


@pytest.mark.parametrize(
    ("listed", "read"),
    [
        ("ZZ10021", "ZZ10071"),  # 2 and 7: the misread behind wrongful stops never folds
        ("ZZ10071", "ZZ10021"),
        ("ZZ10021", "ZZ1002"),
        ("ZZ1002", "ZZ10021"),
        ("ZZ1??21", "ZZ1A21"),
        ("ZZ1*", "ZZ2001"),
        ("*021", "ZZ10022"),
        ("ZZ10021", ""),
        ("ZZ10021", "ZZ10021ZZ10021"),
        ("ZZ1?021", "*******"),
    ],
)
def test_misses(listed: str, read: str) -> None:
    assert match(listed, read) == []


def test_a_folded_match_says_which_characters_and_why() -> None:
    (found,) = match("ZZB0021", "ZZ8OO21")
    assert [(d.pos, d.read, d.listed) for d in found.differences] == [
        (2, "8", "B"),
        (3, "O", "0"),
        (4, "O", "0"),
    ]
    assert found.differences[0].why == "8 and B look alike"
    assert "feeds write O as 0" in found.differences[1].why
    assert "position 3: read 8, listed B" in found.explanation


def test_the_state_is_said_and_never_suppresses() -> None:
    for state, agreement, words in (
        ("IL", StateAgreement.AGREES, "state agrees (IL)"),
        ("WI", StateAgreement.DIFFERS, "STATE DIFFERS: read WI, listed IL"),
        (None, StateAgreement.UNKNOWN, "state unknown: read none, listed IL"),
    ):
        (found,) = match("ZZ10021", "ZZ10021", state)
        assert found.state_agreement is agreement
        assert words in found.explanation


def test_a_code_that_is_no_state_is_unknown_not_different() -> None:
    lists = [hot_list([entry("ZZ1", state="XX")])]
    (found,) = Matcher(lists).match("ZZ1", "IL", now_us=NOW_US)
    assert found.state_agreement is StateAgreement.UNKNOWN
    assert "listed XX" in found.explanation


def test_age_and_staleness_are_said() -> None:
    fresh = hot_list()
    stale = hot_list(list_id="old", as_of_us=NOW_US - 25 * HOUR_US)
    found = {m.list_id: m for m in Matcher([fresh, stale]).match("AB12345", "IL", now_us=NOW_US)}
    assert (found["leads"].stale, found["leads"].list_age_s) == (False, 3600)
    assert (found["old"].stale, found["old"].list_age_s) == (True, 25 * 3600)
    assert "stale" in found["old"].explanation
    assert "stale" not in found["leads"].explanation


def test_an_expired_list_matches_nothing() -> None:
    matcher = Matcher([hot_list()])
    assert matcher.match("AB12345", None, now_us=NOW_US + 24 * HOUR_US - 1)
    assert matcher.match("AB12345", None, now_us=NOW_US + 24 * HOUR_US) == []


def test_entries_match_only_while_they_are_valid() -> None:
    bounded = {"effective_us": NOW_US, "expires_us": NOW_US + 10}
    matcher = Matcher([hot_list([entry("ZZ1", **bounded)])])
    at = {now: bool(matcher.match("ZZ1", None, now_us=NOW_US + now)) for now in (-1, 0, 10, 11)}
    assert at == {-1: False, 0: True, 10: True, 11: False}


def test_a_calibration_record_matches_and_says_so() -> None:
    (found,) = match("ZZCAL01", "ZZCAL01", category=Category.CALIBRATION)
    assert found.calibration
    assert "calibration record" in found.explanation


def test_immigration_is_blocked_until_somebody_gives_a_reason() -> None:
    lists = [hot_list([entry("ZZ1", category=Category.IMMIGRATION_VIOLATOR, code="N"), entry("ZZ2")])]
    matcher = Matcher(lists)
    assert matcher.match("ZZ1", "IL", now_us=NOW_US) == []
    assert matcher.blocked == {Category.IMMIGRATION_VIOLATOR: 1}
    assert matcher.indexed == 1
    for mode in (Mode.ENABLED, Mode.SILENT):
        with pytest.raises(PolicyNeedsReason):
            MatchPolicy((CategoryRule(Category.IMMIGRATION_VIOLATOR, mode, reason="  "),))
    rule = CategoryRule(Category.IMMIGRATION_VIOLATOR, Mode.ENABLED, "order 17", "chief", NOW_US)
    assert Matcher(lists, MatchPolicy((rule,))).match("ZZ1", "IL", now_us=NOW_US)


@pytest.mark.parametrize(
    ("code", "layout"), [("N", "ncic"), ("IMMIGRATION", "mapped"), ("Deported felon", "genetec")]
)
def test_a_mapping_cannot_smuggle_immigration_in(code: str, layout: str) -> None:
    listed = hot_list([entry("ZZ1", category=Category.STOLEN_VEHICLE, code=code)], layout=layout)
    assert Matcher([listed]).match("ZZ1", "IL", now_us=NOW_US) == []


def test_the_stricter_of_policy_and_list_counts() -> None:
    item = entry("ZZ1", category=Category.SCOFFLAW, code="")
    silent = {Category.SCOFFLAW: Mode.SILENT}
    for rules, categories, expected in (
        ((), {}, Mode.ENABLED),
        ((), silent, Mode.SILENT),
        ((CategoryRule(Category.SCOFFLAW, Mode.ENABLED),), silent, Mode.SILENT),
        ((CategoryRule(Category.SCOFFLAW, Mode.BLOCKED),), silent, Mode.BLOCKED),
    ):
        found = Matcher([hot_list([item], categories=categories)], MatchPolicy(rules)).match(
            "ZZ1", None, now_us=NOW_US
        )
        assert [m.silent for m in found] == ([] if expected is Mode.BLOCKED else [expected is Mode.SILENT])


def test_policies_from_settings() -> None:
    policy = MatchPolicy.from_settings(enabled={"N": "order 17"}, silent=["scofflaw"], blocked=["X"])
    modes = {rule.category: rule.mode for rule in policy.rules}
    assert modes == {
        Category.IMMIGRATION_VIOLATOR: Mode.ENABLED,
        Category.SCOFFLAW: Mode.SILENT,
        Category.SEX_OFFENDER: Mode.BLOCKED,
    }
    for mode in (Mode.ENABLED, Mode.SILENT):
        with pytest.raises(PolicyNeedsReason):
            MatchPolicy((CategoryRule(Category.IMMIGRATION_VIOLATOR, mode, reason=" "),))
    assert MatchPolicy.from_settings(silent=["N"]).rules == ()  # silence does not open what ships blocked
    with pytest.raises(PolicyNeedsReason):
        MatchPolicy.from_settings(enabled={"N": ""})
    with pytest.raises(UnknownCategory, match="scofflaw"):
        MatchPolicy.from_settings(silent=["nope"])


def probability(listed: str, readings: tuple[CharReading, ...], **changes: object) -> float | None:
    text = "".join(char.c for char in readings)
    lists = [hot_list([entry(listed)], **changes)]
    (found,) = Matcher(lists).match(text, None, chars=readings, now_us=NOW_US)
    return found.probability


def test_probability_is_that_of_the_listed_characters() -> None:
    assert probability("ZZ1", chars("ZZ1", 0.9)) == pytest.approx(0.729)
    assert probability("ZZ0", chars("ZZO", 0.9, at2=("0", 0.3))) == pytest.approx(0.9 * 0.9 * 0.3)
    # nothing names the listed character: it gets its part of what is left over
    assert probability("ZZ0", chars("ZZO", 0.9)) == pytest.approx(0.9 * 0.9 * 0.1 / 35)
    assert probability("?Z*1", chars("ZZ881", 0.9)) == pytest.approx(0.81)
    assert match("ZZ1", "ZZ1")[0].probability is None


def test_in_a_feed_that_folds_a_zero_stands_for_either() -> None:
    readings = chars("ZZO", 0.9, at2=("0", 0.3))
    assert probability("ZZ0", readings, folds_o=True) == pytest.approx(0.9 * 0.9)
    assert probability("ZZO", readings, folds_o=True) == pytest.approx(0.9 * 0.9 * 0.7)


def test_an_unsure_character_is_told_even_when_all_agree() -> None:
    matcher = Matcher([hot_list([entry("ZZ7")])])
    (found,) = matcher.match("ZZ7", None, chars=chars("ZZ7", at2=("2", 0.4)), now_us=NOW_US)
    assert found.kind is MatchKind.EXACT
    assert [(d.pos, d.read, d.other) for d in found.doubts] == [(2, "7", "2")]
    assert "position 3: read 7 (60%), may be 2 (40%)" in found.explanation
    assert found.probability == pytest.approx(0.99 * 0.99 * 0.6)


def test_the_surest_comes_first() -> None:
    entries = [entry("ZZ?"), entry("2Z1"), entry("ZZ1", state="WI"), entry("ZZ1", entry_id="a", state="IL")]
    found = Matcher([hot_list(entries)]).match("ZZ1", "IL", now_us=NOW_US)
    assert [(m.kind, m.state_agreement) for m in found][:2] == [
        (MatchKind.EXACT, StateAgreement.AGREES),
        (MatchKind.EXACT, StateAgreement.DIFFERS),
    ]
    assert [m.kind for m in found][2:] == [MatchKind.FOLDED, MatchKind.WILDCARD]


def test_a_match_becomes_a_hit_that_survives_the_wire() -> None:
    (found,) = match("ZZ1OO21", "ZZ10021")
    hit = HitRecord(
        hit_id=hit_id("d", "r", found.list_id, found.entry.entry_id),
        read=read_record("ZZ10021"),
        match=found.to_record(),
        entry=found.entry,
        raised_us=NOW_US,
        probability=found.probability,
    )
    assert HitRecord.decode(hit.encode()) == hit
    assert hit.advice == "verify before acting"


ALPHABET = "ABDGILOQSZ0125678"
plate_texts = st.text(ALPHABET, min_size=2, max_size=8)


@settings(max_examples=50, deadline=None)
@given(plate_texts, plate_texts)
def test_plates_match_exactly_when_their_folded_forms_agree(listed: str, read: str) -> None:
    assert bool(match(listed, read)) is (fold(listed) == fold(read))


@settings(max_examples=50, deadline=None)
@given(plate_texts, st.data())
def test_a_read_matches_its_own_pattern(read: str, data: st.DataObject) -> None:
    pattern = list(read)
    for at in data.draw(st.sets(st.integers(0, len(read) - 1), max_size=max(0, len(read) - 2))):
        pattern[at] = data.draw(st.sampled_from("?*"))
    text = "".join(pattern)
    found = match(text, read)
    assert len(found) == 1
    assert found[0].kind in {MatchKind.EXACT, MatchKind.WILDCARD}
    assert found[0].differences == ()


def test_alignment_prefers_fewest_differences() -> None:
    assert align("*0*", "O0") == [None, "0"]
    assert align("A*B", "AB") == ["A", "B"]
    assert align("A*B", "AC") is None


def test_confusable_classes_do_not_overlap() -> None:
    together = "".join(CONFUSABLE)
    assert len(set(together)) == len(together)
    assert "7" not in together


def test_a_large_list_is_matched_within_a_millisecond() -> None:
    rng = random.Random(7)
    alphabet = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    names = {"".join(rng.choices(alphabet, k=7)) for _ in range(20_000)}
    many = [
        ListEntry(entry_id=f"e{at}", plate=name, state="IL", category=Category.STOLEN_VEHICLE)
        for at, name in enumerate(sorted(names))
    ]
    many += [
        entry(f"{a}{b}??{c}*", entry_id=f"s{a}{b}{c}".lower())
        for a in "XYZ"
        for b in "0123456789"
        for c in "ABCDE"
    ]
    matcher = Matcher([hot_list(many)])
    reads = ["".join(rng.choices(alphabet, k=7)) for _ in range(500)]
    started = time.process_time()
    for read in reads:
        matcher.match(read, "IL", now_us=NOW_US)
    assert (time.process_time() - started) / len(reads) < 0.001
