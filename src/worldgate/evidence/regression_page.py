"""The page of a regression: what differs, where and when, with intervals over episodes and what it cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from worldgate.core.digest import short
from worldgate.core.errors import UsageError
from worldgate.core.report import Section, Table, figure, write_report
from worldgate.evidence.exact import shown
from worldgate.evidence.regression_table import Regression, Replayed, interval, moments, ranked, world_interval

_NEW, _OLD, _APART = ("#0072b2", "-"), ("#e69f00", "--"), ("#6e6e6e", ":")
_LISTED = 20


def write_page(
    path: Path, made: Regression, *, names: Mapping[str, str] | None = None, learned: frozenset[str] = frozenset()
) -> Path:
    """Write the page; replaced if it exists, because a report is derived data.

    Args:
        path: the HTML file.
        made: what came of the episodes.
        names: digest -> what people call a release or model.
        learned: ids of episodes that a release learned from; they do not count in bounds.
    """
    called = {**{d: short(d) for d in (made.subject, made.baseline, made.world_model) if d}, **(names or {})}
    against = f" and with {called[made.baseline]}" if made.baseline else ""
    return write_report(
        path,
        title=f"Recorded episodes through {called[made.subject]}",
        lead=f"What {called[made.subject]} would have commanded in {len(made.episodes)} recorded episodes, compared "
        f"with what was commanded{against}.",
        notice=f"{made.origin} episodes. {made.caveat}",
        sections=[
            _summary(made, called, learned),
            _by_episode(made, learned),
            _by_moment(made),
            *([_world(made, called)] if made.world_model else []),
            _limits(made),
        ],
    )


def _summary(made: Regression, called: Mapping[str, str], learned: frozenset[str]) -> Section:
    words = [
        "An error is the root mean square over action channels, each in units of its own recorded spread; 1 is as far "
        "off as a guess of the mean."
    ]
    if learned:
        words.append(f"{len(learned)} of {len(made.episodes)} episodes were learned from and do not count below.")
    try:
        found = interval(made, leave=learned)
    except UsageError as error:
        return Section(title="Against the old release", words=(*words, f"No bound: {error.what}."))
    row = (
        f"{called[made.subject]} / {called[made.baseline]}",
        shown(found.estimate),
        f"{found.lower} to {found.upper}",
        str(found.n),
    )
    worse, better = float(found.lower) > 1, float(found.upper) < 1
    verdict = (
        "farther from the recordings" if worse else "closer to the recordings" if better else "no difference shown"
    )
    return Section(
        title="Against the old release",
        verdict=verdict,
        tone="bad" if worse else "neutral",
        words=tuple(words),
        tables=(Table(headings=("error ratio", "estimate", "95 % bounds", "episodes"), rows=(row,)),),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _by_episode(made: Regression, learned: frozenset[str]) -> Section:
    rows = tuple(
        (
            row.name,
            row.site,
            str(row.rows),
            str(row.skipped),
            _number(row.new.mean),
            _number(row.old.mean if row.old else None),
            _number(row.apart.mean if row.apart else None),
            "learned from" if row.episode in learned else "",
        )
        for row in ranked(made)
    )
    headings = ("episode", "site", "rows", "left out", "new - recorded", "old - recorded", "new - old", "")
    worst = ranked(made)[:3]
    pictures = [
        figure(_curve(made, row), alt=f"Error by time in {row.name}", caption=f"{row.name}, {made.origin}")
        for row in worst
    ]
    return Section(
        title="By episode",
        words=("The episode where the release is farthest behind the old one stands first.",),
        tables=(Table(headings=headings, rows=rows[:_LISTED], caption=_more(len(rows))),),
        pictures=tuple(pictures),
    )


def _curve(made: Regression, row: Replayed) -> Figure:
    drawn = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = drawn.add_subplot()
    lines = [("new, from the recording", row.new, _NEW)]
    lines += [("old, from the recording", row.old, _OLD)] if row.old else []
    lines += [("new, from old", row.apart, _APART)] if row.apart else []
    for label, trace, (colour, dash) in lines:
        values = np.array([np.nan if v is None else v for v in trace.moments])
        times = np.arange(len(values)) * made.config.moment_s
        axes.step(times, values, where="post", label=label, color=colour, linestyle=dash)
    axes.set_xlabel("time in the episode [s]")
    axes.set_ylabel("error [spreads]")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{made.origin}, open loop", loc="left", fontsize=9)
    axes.legend(fontsize=8)
    return drawn


def _by_moment(made: Regression) -> Section:
    found = moments(made)
    rows = tuple((m.name, f"{m.start_s:g}", _number(m.new), _number(m.old), _number(m.apart)) for m in found[:_LISTED])
    return Section(
        title="By moment",
        words=(f"Moments of {made.config.moment_s:g} s, the one where the release is farthest behind first.",),
        tables=(
            Table(
                headings=("episode", "from [s]", "new - recorded", "old - recorded", "new - old"),
                rows=rows,
                caption=_more(len(found)),
            ),
        ),
    )


def _world(made: Regression, called: Mapping[str, str]) -> Section:
    rows, worst = [], []
    for stream in sorted({stream for row in made.episodes for stream in row.world}):
        try:
            found = world_interval(made, stream)
            rows.append((stream, shown(found.estimate), f"{found.lower} to {found.upper}", str(found.n)))
        except UsageError as error:
            rows.append((stream, "-", error.what, "0"))
        worst += _worst_windows(made, stream)
    return Section(
        title=f"What {called[made.world_model]} would have seen",
        words=(
            "imagined: the recorded actions went in, and the predictions are compared with what happened over the next "
            f"{made.config.horizon_s:g} s. Below 1 is closer than holding the last known row.",
        ),
        tables=(
            Table(headings=("stream", "error / last row held", "95 % bounds", "episodes"), rows=tuple(rows)),
            Table(
                headings=("stream", "episode", "from [s]", "error", "last row held"),
                rows=tuple(row for _, row in sorted(worst, key=lambda item: -item[0])[:_LISTED]),
                caption="Where it was farthest off, against holding.",
            ),
        ),
    )


def _worst_windows(made: Regression, stream: str) -> list[tuple[float, tuple[str, ...]]]:
    """(excess over holding, row of the table)."""
    found: list[tuple[float, tuple[str, ...]]] = []
    for row in made.episodes:
        if stream not in row.world:
            continue
        pairs = zip(row.world[stream].moments, row.hold[stream].moments, strict=True)
        for number, (model, hold) in enumerate(pairs):
            if model is not None and hold is not None:
                start = f"{number * made.config.moment_s:g}"
                found.append((model - hold, (stream, row.name, start, _number(model), _number(hold))))
    return found


def _limits(made: Regression) -> Section:
    words: Sequence[str] = (
        made.caveat,
        "A release that stays close to every recording may still drift off once its own actions move the arm; one that "
        "differs may do better. Only trials under a plan can show success.",
        "The recorded action is not the only good one: where several would do, a difference is no fault.",
        "Intervals are over episodes, by the bootstrap; they hold for episodes like these and no others.",
    )
    return Section(title="What this does not show", words=tuple(words))


def _more(count: int) -> str:
    return f"{_LISTED} of {count}; the document holds all" if count > _LISTED else ""
