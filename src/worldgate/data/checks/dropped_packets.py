"""Dropped packets: messages that were sent and are not there, however the log shows it.

*Periods*: a step of two or more periods that no shorter step before or after makes up for; a late message is made up
for, a lost one is not. *Sequence numbers*: a channel that counts messages and skips. *Dropouts* that the recorder
wrote down itself, as PX4's ULog does. *Batches*: messages that wait somewhere and arrive in bursts with one stamp:
nothing is lost, but their times are. Streams without an even period have no missing periods; their gaps are for
``gaps``.

Shape legend: N messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from worldgate.core.streams import NUMERIC, Finding, IntArray, Kind, Log, Stream
from worldgate.core.times import MILLISECOND
from worldgate.data.checks._signals import name_of
from worldgate.data.checks._spans import columns, marked, merge, period_ns, sampled

CARD = {
    "line": "lost messages by missing periods, sequence numbers and recorded dropouts, and batched stamps",
    "inputs": "every sampled stream, counters, and events of dropouts",
}

_EVEN = 0.2
"""Median stray of the steps, as a share of the period, up to which a stream has a period at all."""
_AROUND = 3
"""Steps on either side that may make up for a late message."""
_SCHEDULE = 0.15
"""Losses above this come in rows too; single ones throughout are a recorder that thins out by a schedule of its own."""
_LEAST = 60
"""Messages below which no share of batches is taken: topics that are sent when something changes."""
_COUNTERS = frozenset({"seq", "sequence", "counter", "frame_id", "frame_number", "frame_index", "packet", "msg_id"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How much may be lost."""

    most: float = 0.0
    """Share of a stream's messages that may be missing by its period."""
    lost: int = 0
    """Numbers that a counter may skip."""
    dropouts: int = 0
    """Dropouts that the recorder may have noted."""
    batched: float = 0.05
    """Share of messages that may follow the one before at once, within a tenth of a period."""
    streams: tuple[str, ...] = ()
    """Only these; empty: all."""


def check(log: Log, config: Config) -> tuple[Finding, ...]:
    """Find lost messages; the value is their share or count, or the longest dropout in ms."""
    streams = [s for s in sampled(log, config.streams) if len(s) > 4]
    found = [f for s in streams for f in (*_periods(s, config), *_batches(s, config), *_counters(s, config))]
    return (*found, *_dropouts(log, config))


def _periods(stream: Stream, config: Config) -> Iterator[Finding]:
    times = np.sort(stream.times_ns)
    steps = np.diff(times)
    period = _period(stream, steps)
    if period == 0 or float(np.median(np.abs(steps - period))) > _EVEN * period:
        return
    missing = missing_after(times, period)
    count = int(missing.sum())
    share = count / (len(times) + count)
    if share <= config.most or (share > _SCHEDULE and missing.max() == 1 and not stream.info.rate_hz):
        return
    late = missing > 0
    yield Finding(
        check="dropped_packets",
        stream=stream.info.name,
        message=(
            f"{count} messages are missing by the period of {period / MILLISECOND:.3f} ms, "
            f"up to {int(missing.max())} in a row"
        ),
        value=share,
        limit=config.most,
        unit="share of messages",
        spans_ns=merge(times[:-1][late], times[1:][late]),
    )


def _period(stream: Stream, steps: IntArray) -> int:
    """The stream's own median step, for a declared rate that it does not keep is another fault; repeats left out."""
    positive = steps[steps > 0]
    return int(np.median(positive)) if len(positive) else 0


def missing_after(times_ns: IntArray, period_ns: int) -> IntArray:
    """(N - 1,) messages missing between each and the next.

    What a step has over a period, less what its neighbours fall short of theirs: a late message is followed by short
    steps, a lost one is not. Windows of several lengths are averaged, so that no single late message decides.
    """
    over = np.diff(times_ns) / period_ns - 1.0
    late = over >= 0.5
    usual = np.concatenate([[0.0], np.cumsum(np.where(late, 0.0, over))])
    at = np.flatnonzero(late)
    beside = [
        usual[np.minimum(at + 1 + wide, len(over))] - usual[np.maximum(at - wide, 0)] for wide in range(_AROUND + 1)
    ]
    missing = np.zeros(len(over), np.int64)
    missing[at] = np.maximum(np.rint(over[at] + np.mean(beside, axis=0)), 0.0).astype(np.int64)
    return missing


def _batches(stream: Stream, config: Config) -> Iterator[Finding]:
    if len(stream) < _LEAST:
        return
    times = np.sort(stream.times_ns)
    usual = period_ns(stream.info, times) or 1
    mean = (times[-1] - times[0]) / (len(times) - 1)
    at_once = np.diff(times) < 0.1 * max(min(usual, mean), 1.0)
    share = float(at_once.mean())
    if share > config.batched:
        yield Finding(
            check="dropped_packets",
            stream=stream.info.name,
            message=f"{share:.0%} of the messages follow another at once: batches, without times of their own",
            value=share,
            limit=config.batched,
            unit="share of messages",
            spans_ns=marked(times, np.append(at_once, False), usual),
        )


def _counters(stream: Stream, config: Config) -> Iterator[Finding]:
    if stream.info.kind not in NUMERIC:
        return
    values = columns(stream)
    for channel in range(values.shape[1]):
        name = name_of(stream.info, channel) if stream.info.names else stream.info.name
        if name.lower().rpartition(".")[2] not in _COUNTERS or not np.isfinite(values[:, channel]).all():
            continue
        steps = np.diff(values[:, channel])
        if np.median(steps) != 1.0:
            continue
        skips = np.where(steps > 1, steps - 1, 0.0)
        lost = int(skips.sum())
        if lost > config.lost:
            order = stream.times_ns
            at = skips > 0
            yield Finding(
                check="dropped_packets",
                stream=stream.info.name,
                message=f"{name} skips {lost} numbers in {int(at.sum())} places",
                value=float(lost),
                limit=float(config.lost),
                unit="messages",
                spans_ns=merge(np.minimum(order[:-1], order[1:])[at], np.maximum(order[:-1], order[1:])[at]),
            )


def _dropouts(log: Log, config: Config) -> Iterator[Finding]:
    """What the recorder noted: the reader's findings of dropouts, and events of a stream named after them."""
    for noted in log.findings:
        count = max(len(noted.spans_ns), 1)
        if noted.check == "dropout" and count > config.dropouts:
            told = replace(noted, check="dropped_packets", stream=noted.stream or "log")
            yield replace(told, value=float(count), limit=float(config.dropouts), unit="dropouts")
    for info in log.streams():
        if info.kind is not Kind.EVENT or "dropout" not in info.name.lower():
            continue
        stream = log.read(info.name)
        lengths = np.asarray([_duration_ms(str(text)) for text in stream.array])
        if len(stream) > config.dropouts:
            ends = stream.times_ns + np.maximum(lengths * MILLISECOND, 1).astype(np.int64)
            yield Finding(
                check="dropped_packets",
                stream=info.name,
                message=(
                    f"{len(stream)} dropouts noted by the recorder, {lengths.sum() / 1e3:.3f} s in all, "
                    f"the longest {lengths.max():.0f} ms"
                ),
                value=float(len(stream)),
                limit=float(config.dropouts),
                unit="dropouts",
                spans_ns=merge(stream.times_ns, ends),
            )


def _duration_ms(text: str) -> float:
    """Of one event; 0 where it does not say."""
    try:
        return max(0.0, float(json.loads(text)["duration_ms"]))
    except (ValueError, KeyError, TypeError):
        return 0.0
