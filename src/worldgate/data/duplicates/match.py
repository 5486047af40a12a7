"""Matches: what the comparison of two logs comes to, as a kind, two spans, an offset and scores.

Numbers speak by the streams of the log that has fewer of them: at least half must run alike, or hold the same rows.
Beside like numbers, pictures speak by the best pair of cameras. A programme that an arm repeats gives like numbers and
other pictures: so where both logs show motion and no camera agrees, like numbers are no copy, unless they are the same
to the bit. Without like numbers, pictures speak by all cameras that move, laid over each other as exactly as they can
be (:mod:`.refine`): one task done again looks nearly alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np

from worldgate.data.duplicates.refine import UNEXPLAINED, refine, sure, worth
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import TICK_NS, Film, Sketch
from worldgate.data.duplicates.verify import Overlay, films, numbers, union
from worldgate.data.duplicates.voting import Candidate, candidates

_SEEN: Final = 12
"""Ticks of motion from which a camera can contradict."""
_CONTRADICTS: Final = 0.25
"""Coverage below which pictures contradict like numbers, and numbers like pictures."""
_BITS: Final = 0.9
"""Share of equal rows from which a stream is called the same to the bit."""
_DOUBT: Final = 0.5
"""Part of what may else stay unexplained, where numbers say that these are two motions: perhaps they were changed."""
_GUESS: Final = 0.15
"""Coarse difference of the best camera above which such a pair is not refined."""
_LIKELY: Final = 3.0
"""Part of what may stay unexplained of a copy, up to which a pair is doubtful and no other event."""
_COHORT: Final = 5
"""Least other comparisons of two logs by which a doubtful pair is settled."""
_LONELY: Final = 10.0
"""How many times further apart all of those must be."""
_CLOSEST: Final = 0.02
"""Differences below this are one and the same."""

_Filmed: TypeAlias = tuple[Film, Film, Overlay]
"""A camera of the first log, the one of the second that fits it best, and how."""
_Shown: TypeAlias = tuple[list[Overlay], bool, float | None]
"""What cameras show one event, none where they show two, or might only while numbers say otherwise; whether they surely
do; and how far they are apart."""


class MatchKind(StrEnum):
    """What two logs have in common."""

    EXACT = "exact"
    """Every stream says the same, message by message."""
    RE_ENCODED = "re-encoded"
    """Numbers and pictures run alike: another codec, size, crop, brightness, cut or clock."""
    STATE_ACTION = "state-action"
    """Numbers run alike; there are no pictures to compare, or the numbers are the same to the bit."""
    PICTURES = "pictures"
    """Only pictures run alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The same evidence in two logs."""

    first: str
    second: str
    """Digests of the logs."""
    kind: MatchKind
    first_ns: tuple[int, int]
    second_ns: tuple[int, int]
    """Half-open spans, each on its log's own clock."""
    offset_ns: int
    """Instants of the second minus those of the first."""
    numbers: float
    """Share of the shorter one's motion that runs alike in numbers; 0: none or not compared."""
    pictures: float
    """The same of pictures."""
    score: float
    """The greater of both."""
    why: str
    """In words: streams, crop, what is the same to the bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the comparison of two logs at one offset comes to."""

    match: Match | None
    sure: bool = True
    """Whether the two logs alone are enough to say so."""
    apart: float | None = None
    """Where pictures alone speak: what stays unexplained, from 0 to 2."""


def matches(names: Sequence[str], sketches: Sequence[Sketch], config: MatchConfig) -> list[Match]:
    """Every pair of logs that hold the same evidence."""
    weighed = []
    for pair in candidates(sketches, config):
        ends = (pair.first, pair.second)
        told = _weigh((names[ends[0]], names[ends[1]]), (sketches[ends[0]], sketches[ends[1]]), pair, config)
        weighed.append((ends, told))
    return settle(weighed)


def settle(weighed: Sequence[tuple[tuple[int, int], Weighed]]) -> list[Match]:
    """The matches that count among all comparisons of a set of logs, by their places.

    A doubtful pair, which shows too little motion to tell a copy from a repetition, counts where other logs come
    nowhere near its two: then nothing is repeated here.
    """
    others: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for number, (ends, told) in enumerate(weighed):
        if told.apart is not None and not (told.match is not None and told.sure):
            for log in ends:
                others[log].append((number, told.apart))

    def lonely(number: int, ends: tuple[int, int], apart: float) -> bool:
        rest = [far for log in ends for other, far in others[log] if other != number]
        return len(rest) >= _COHORT and min(rest) >= _LONELY * max(apart, _CLOSEST)

    return [
        told.match
        for number, (ends, told) in enumerate(weighed)
        if told.match is not None and (told.sure or lonely(number, ends, told.apart or 0.0))
    ]


def compare(
    names: tuple[str, str], pair: tuple[Sketch, Sketch], candidate: Candidate, config: MatchConfig
) -> Match | None:
    """Compare two logs at the candidate's offsets; the best match that these two alone are enough for, or None."""
    found = _weigh(names, pair, candidate, config)
    return found.match if found.sure else None


def _weigh(names: tuple[str, str], pair: tuple[Sketch, Sketch], candidate: Candidate, config: MatchConfig) -> Weighed:
    first, second = pair
    if first.exact and first.exact == second.exact:
        return Weighed(match=_exact(names, first, second))
    found = [_at_offset(names, pair, offset, config) for offset in candidate.offsets_ns]
    certain = [w for w in found if w.match is not None and w.sure]
    if certain:
        return max(certain, key=lambda w: w.match.score if w.match is not None else 0.0)
    told = [w for w in found if w.apart is not None]
    return min(told, key=lambda w: (w.match is None, w.apart), default=Weighed(match=None))


def _exact(names: tuple[str, str], first: Sketch, second: Sketch) -> Match:
    held = {item.content: item for item in second.parts}
    offset = next((held[item.content].start_ns - item.start_ns for item in first.parts if item.content in held), 0)
    start = min((item.start_ns for item in first.parts), default=0)
    end = max((item.start_ns + len(item) * TICK_NS for item in first.parts), default=start)
    return Match(
        first=names[0],
        second=names[1],
        kind=MatchKind.EXACT,
        first_ns=(start, end),
        second_ns=(start + offset, end + offset),
        offset_ns=offset,
        numbers=1.0 if first.numbers else 0.0,
        pictures=1.0 if first.films else 0.0,
        score=1.0,
        why=f"all {len(first.exact)} streams say the same",
    )


def _at_offset(names: tuple[str, str], pair: tuple[Sketch, Sketch], offset_ns: int, config: MatchConfig) -> Weighed:
    run, offset_ns = _numbers(pair, offset_ns, config)
    filmed = _pictures(pair, offset_ns, config)
    seen = [coarse for _, _, coarse in filmed]
    alike = [o for o in run if o.coverage >= config.coverage or o.copied >= config.coverage]
    by_numbers = bool(run) and 2 * len(alike) >= len(run)
    shown, certain, apart = [o for o in seen if o.coverage >= config.coverage], True, None
    if not by_numbers:
        shown, certain, apart = _exactly(pair, filmed, run, config)
    copied = bool(run) and 2 * len([o for o in run if o.copied >= config.coverage]) >= len(run)
    contradicts = any(o.moving >= _SEEN for o in seen) and max(o.coverage for o in seen) < _CONTRADICTS
    if not shown and (not by_numbers or (contradicts and not copied)):
        return Weighed(match=None, apart=apart)
    kind = MatchKind.PICTURES if not by_numbers else MatchKind.RE_ENCODED if shown else MatchKind.STATE_ACTION
    counted = [*(alike if by_numbers else []), *shown]
    best = max(counted, key=lambda o: (o.coverage, o.first))
    start, end = union(counted)
    share = float(np.mean([max(o.coverage, o.copied) for o in run])) if by_numbers else 0.0
    pictures = max((o.coverage for o in shown), default=0.0)
    offset = (alike[0] if by_numbers else best).offset_ns
    match = Match(
        first=names[0],
        second=names[1],
        kind=kind,
        first_ns=(start, end),
        second_ns=(start + offset, end + offset),
        offset_ns=offset,
        numbers=round(share, 4),
        pictures=round(pictures, 4),
        score=round(max(share, pictures), 4),
        why=_words(alike if by_numbers else [], shown, len(run)),
    )
    return Weighed(match=match, sure=certain, apart=apart)


def _moves_otherwise(run: Sequence[Overlay]) -> bool:
    """Whether numbers that move in both logs say that these are two motions."""
    moving = [o for o in run if o.moving >= _SEEN]
    return bool(moving) and max(o.coverage for o in moving) < _CONTRADICTS


def _numbers(pair: tuple[Sketch, Sketch], offset_ns: int, config: MatchConfig) -> tuple[list[Overlay], int]:
    """Each stream of the log with fewer, over the one of the other that fits best; and the offset they agree on."""
    first, second = pair
    turned = len(second.numbers) < len(first.numbers)
    found = []
    for item in second.numbers if turned else first.numbers:
        others = [o for o in (first if turned else second).numbers if o.width == item.width]
        laid = [numbers(o, item, offset_ns, config) if turned else numbers(item, o, offset_ns, config) for o in others]
        fitting = [o for o in laid if o is not None and (o.moving or o.copied)]
        if fitting:
            found.append(max(fitting, key=lambda o: (o.coverage, -o.error)))
    trusted = [o.offset_ns for o in found if o.coverage >= config.coverage]
    return found, int(np.median(trusted)) if trusted else offset_ns


def _pictures(
    pair: tuple[Sketch, Sketch], offset_ns: int, config: MatchConfig, *, unseen: bool = False
) -> list[_Filmed]:
    """Every camera of the log with fewer, over the one of the other that fits best; the first log's film first."""
    first, second = pair
    turned = len(second.films) < len(first.films)
    best = []
    for film in second.films if turned else first.films:
        pairs = [(other, film) for other in first.films] if turned else [(film, other) for other in second.films]
        laid = [(a, b, o) for a, b in pairs if (o := films(a, b, offset_ns, config, unseen=unseen))]
        if laid:
            covering = max(laid, key=lambda found: found[2].coverage)
            best.append(min(laid, key=lambda found: found[2].error) if unseen else covering)
    return best


def _exactly(
    pair: tuple[Sketch, Sketch], filmed: Sequence[_Filmed], run: Sequence[Overlay], config: MatchConfig
) -> _Shown:
    """The cameras laid over each other as exactly as they can be."""
    seen = [coarse for _, _, coarse in filmed]
    if not seen:
        return [], False, None
    far = float(np.mean([o.error for o in seen]))
    hopeful = [o for o in seen if worth(o)]
    doubted = _moves_otherwise(run)
    if not hopeful or (doubted and min(o.error for o in seen) > _GUESS):
        return [], False, far
    if len(hopeful) == len(seen):
        return _refined(filmed, doubted, config)
    # A glance may have turned the others away, and a camera that was not fitted must not outvote those that were.
    offset_ns = min(hopeful, key=lambda o: o.error).offset_ns
    found = _refined(_pictures(pair, offset_ns, config, unseen=True), doubted, config)
    return found if found[0] else ([], False, far)


def _refined(filmed: Sequence[_Filmed], doubted: bool, config: MatchConfig) -> _Shown:
    fine: list[Overlay] = []
    for first, second, coarse in filmed:
        fine.append(refine(first, second, coarse, config))
        if fine[-1].error > _LIKELY * UNEXPLAINED * len(filmed):
            return [], False, float(np.mean([o.error for o in fine]))
    apart = float(np.mean([o.error for o in fine]))
    certain = sure(fine, _DOUBT if doubted else 1.0)
    likely = certain or (apart <= _LIKELY * UNEXPLAINED and not doubted)
    covered = float(np.mean([o.coverage for o in fine])) >= config.coverage
    return (fine if likely and covered else []), certain, apart


def _words(alike: Sequence[Overlay], shown: Sequence[Overlay], streams: int) -> str:
    said = []
    close = [o for o in alike if o.copied < _BITS]
    if len(close) < len(alike):
        said.append(f"{len(alike) - len(close)} of {streams} numeric streams the same to the bit")
    if close:
        worst = max(o.error for o in close)
        said.append(f"{len(close)} of {streams} numeric streams within {100 * worst:.1f} % of their spread")
    for o in shown:
        name = o.first if o.first == o.second else f"{o.first} as {o.second}"
        crop = "" if o.scale == 1 else f", crop {100 * min(o.scale, 1 / o.scale):.0f} %"
        moved = f", shifted {100 * max(map(abs, o.shift)):.0f} %" if any(o.shift) else ""
        said.append(f"{name} correlates {1 - o.error:.2f}{crop}{moved}")
    return "; ".join(said)
