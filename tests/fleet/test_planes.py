"""The compiled timelines against brute force over every possible world."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.fleet.planes import Fact, Form, compile_timeline, contradictions

RELEASES = ("r1", "r2", "r3")
TIMES = range(-6, 30)


def labels(timeline, t):
    (segment,) = timeline.at(t)
    return segment.releases | (frozenset() if segment.covered else {None})


def open_fact(release, at, err=0):
    return Fact(form=Form.OPEN, release=release, from_ns=at, err_ns=err)


def span(release, a, b, err=0):
    return Fact(form=Form.SPAN, release=release, from_ns=a, to_ns=b, err_ns=err)


def boot(release, number, a, alive, err=0):
    return Fact(form=Form.BOOT, release=release, from_ns=a, to_ns=alive, err_ns=err, boot=number)


def worlds_of_open(facts, t):
    """Labels in every world where each start lies anywhere in its window."""
    found = set()
    for starts in itertools.product(*(range(f.from_ns - f.err_ns, f.from_ns + f.err_ns + 1) for f in facts)):
        begun = [(s, f.release) for s, f in zip(starts, facts, strict=True) if s <= t]
        latest = max((s for s, _ in begun), default=None)
        found |= {None} if latest is None else {r for s, r in begun if s == latest}
    return found


open_facts = st.lists(
    st.builds(open_fact, st.sampled_from(RELEASES), st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=4
)


@given(open_facts)
@settings(deadline=None, max_examples=150)
def test_open_facts_give_exactly_the_releases_of_all_possible_worlds(facts):
    timeline = compile_timeline(facts)
    unique = sorted(set(facts))
    for t in TIMES:
        assert labels(timeline, t) == worlds_of_open(unique, t)


def worlds_of_boots(facts, t):
    """Labels in every world where starts keep the order of their counts and lie after the last sign of life before."""
    ordered = sorted(facts, key=lambda f: f.boot)
    windows = [range(f.from_ns - f.err_ns, f.from_ns + f.err_ns + 1) for f in ordered]
    found = set()
    for starts in itertools.product(*windows):
        lives = [f.to_ns - f.err_ns for f in ordered]
        if any(b < max(a, life) for (a, b), life in zip(itertools.pairwise(starts), lives, strict=False)):
            continue
        begun = [f for s, f in zip(starts, ordered, strict=True) if s <= t]
        if not begun:
            found.add(None)
            continue
        latest = begun[-1]
        followed = any(f.boot == latest.boot + 1 for f in ordered)
        sure = followed or t < latest.to_ns - latest.err_ns
        maybe = followed or t <= latest.to_ns + latest.err_ns
        found |= ({latest.release} if maybe else set()) | (set() if sure else {None})
    return found


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_boots_never_leave_out_a_possible_release(data):
    numbers = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True))
    facts = []
    for n in sorted(numbers):
        at = data.draw(st.integers(0, 20))
        facts.append(
            boot(
                data.draw(st.sampled_from(RELEASES)),
                n,
                at,
                at + data.draw(st.integers(0, 4)),
                data.draw(st.integers(0, 2)),
            )
        )
    timeline = compile_timeline(facts)
    possible = {t: worlds_of_boots(facts, t) for t in TIMES}
    if not possible[0]:  # no world fits: a clock lied, so nothing is certain where the liars speak
        assert list(contradictions(facts))
        return
    for t in TIMES:
        got = labels(timeline, t)
        assert possible[t] <= got or (None in got and possible[t] - {None} <= got | when_a_gap(got))


def when_a_gap(got):
    """An UNKNOWN claims nothing, so it excludes no release."""
    return set(RELEASES) if got == {None} else set()


def random_history(rng, length):
    """True switches of one arm, and the facts that clocks with bounded error make of them."""
    t, truth, facts = 0, [], []
    for _ in range(length):
        t += rng.randint(5, 400)
        release = rng.choice(RELEASES)
        truth.append((t, release))
    for number, ((start, release), following) in enumerate(
        zip(truth, [*(s for s, _ in truth[1:]), t + 400], strict=True), start=1
    ):
        err = rng.choice((0, 1, 20, 120))
        if rng.random() < 0.15:
            continue  # its receipt never arrived
        alive = rng.randint(start, following - 1)
        skew = rng.randint(-err, err)
        facts.append(boot(release, number, start + skew, max(start + skew, alive + rng.randint(-err, err)), err))
        if rng.random() < 0.3:  # a second receipt of the same boot, later
            later = rng.randint(alive, following - 1)
            again = start + rng.randint(-err, err)
            facts.append(boot(release, number, again, max(again, later + rng.randint(-err, err)), err))
    return truth, facts


def true_release(truth, t):
    running = [r for s, r in truth if s <= t]
    return running[-1] if running else None


def wrong_but_certain(seed, histories, queries):
    rng = random.Random(seed)
    wrong = certain = asked = 0
    for _ in range(histories):
        truth, facts = random_history(rng, rng.randint(1, 25))
        rng.shuffle(facts)
        timeline = compile_timeline(facts)
        for _ in range(queries):
            t = (
                rng.randint(-50, truth[-1][0] + 500)
                if rng.random() < 0.5
                else rng.choice(truth)[0] + rng.randint(-3, 3)
            )
            got = labels(timeline, t)
            asked += 1
            if len(got) == 1 and None not in got:
                certain += 1
                wrong += got != {true_release(truth, t)}
    return wrong, certain, asked


def test_twenty_thousand_queries_are_never_wrong_but_certain():
    wrong, certain, asked = wrong_but_certain(seed=7, histories=200, queries=100)
    assert asked == 20_000
    assert wrong == 0
    assert certain > 5_000, "a projection that never commits would pass for the wrong reason"


@pytest.mark.slow
def test_a_million_queries_are_never_wrong_but_certain():
    wrong, certain, asked = wrong_but_certain(seed=8, histories=5_000, queries=200)
    assert (wrong, asked) == (0, 1_000_000)
    assert certain > 250_000


@given(
    open_facts,
    st.lists(st.builds(span, st.sampled_from(RELEASES), st.integers(0, 9), st.integers(9, 20))),
    st.randoms(),
)
@settings(deadline=None, max_examples=60)
def test_order_and_repetition_of_facts_do_not_matter(opens, spans, rng):
    facts = [*opens, *spans, *opens]
    shuffled = list(facts)
    rng.shuffle(shuffled)
    assert compile_timeline(facts) == compile_timeline(shuffled) == compile_timeline(set(facts))


def test_a_recording_covers_its_span_and_nothing_else():
    timeline = compile_timeline([span("r1", 10, 20, err=2)])
    assert labels(timeline, 7) == {None}
    assert labels(timeline, 9) == labels(timeline, 11) == {"r1", None}
    assert labels(timeline, 12) == labels(timeline, 17) == {"r1"}
    assert labels(timeline, 18) == labels(timeline, 21) == {"r1", None}
    assert labels(timeline, 22) == {None}


def test_a_missing_boot_receipt_leaves_a_hole():
    timeline = compile_timeline([boot("r1", 1, 10, 15), boot("r1", 3, 30, 40)])
    assert labels(timeline, 12) == {"r1"}
    assert labels(timeline, 20) == {None}
    assert labels(timeline, 35) == {"r1"}


def test_consecutive_receipts_leave_no_hole():
    timeline = compile_timeline([boot("r1", 1, 10, 10), boot("r2", 2, 30, 40, err=3)])
    assert labels(timeline, 26) == {"r1"}
    assert labels(timeline, 30) == {"r1", "r2"}
    assert labels(timeline, 34) == {"r2"}


def test_the_count_orders_boots_whose_clock_errors_overlap():
    timeline = compile_timeline([boot("r1", 1, 10, 10, err=5), boot("r2", 2, 11, 30, err=5)])
    assert labels(timeline, 20) == {"r2"}


def test_a_clock_that_stepped_back_makes_nothing_certain():
    facts = [boot("r1", 1, 100, 200), boot("r2", 2, 50, 60)]
    timeline = compile_timeline(facts)
    assert all(None in labels(timeline, t) for t in range(0, 300))
    assert list(contradictions(facts)) == ["times of boots 1, 2 contradict their count: the robot's clock stepped back"]


def test_two_receipts_of_one_boot_that_disagree_make_it_ambiguous():
    facts = [boot("r1", 4, 10, 20), boot("r2", 4, 10, 20)]
    assert labels(compile_timeline(facts), 15) == {"r1", "r2"}
    assert list(contradictions(facts)) == ["receipts of boot 4 name 2 releases"]


def test_a_query_with_an_error_reads_every_segment_it_touches():
    timeline = compile_timeline([open_fact("r1", 0), open_fact("r2", 100)])
    assert [sorted(s.releases) for s in timeline.at(95, 10)] == [["r1"], ["r2"]]
    assert [sorted(s.releases) for s in timeline.at(50, 10)] == [["r1"]]
    assert [sorted(s.releases) for s in timeline.at(95, 5)] == [["r1"], ["r2"]]
