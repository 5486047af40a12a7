"""Semantic likeness: logs whose pictures an encoder finds alike, whatever moves and whenever. Advice, and no proof.

A copy holds the same evidence; logs that are alike only show the same kind of thing, as far as an encoder can tell, and
episodes of one task on one rig are all alike to some degree. So what is found here stands apart from copies: a contract
acts on it only where its section ``[duplicates.alike]`` says so, and leaks count only where somebody asks.

Pictures are encoded twice a second. What all pictures of all compared logs share is taken off; then each picture of the
camera with fewer looks for the nearest one of the other camera, in any order, and the mean of these cosines is the
likeness. Cameras pair with the one that is most alike, of the log with fewer cameras. Source: SemDeDup (Abbas 2023),
with the mean nearest neighbour of two sets in place of one vector an item.

Shape legend: N pictures of all cameras of all logs, D vector length, C neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.encoders import Encoder
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import FloatArray
from worldgate.data.duplicates import reports
from worldgate.data.duplicates.clusters import choose, join
from worldgate.data.duplicates.index import nearest
from worldgate.data.duplicates.rules import AlikeConfig, Keep
from worldgate.data.ingest import Shelf
from worldgate.data.search.embeddings import encoded
from worldgate.record.workspace import Workspace

EVENT = "duplicates.alike"
KIND = "alike"

_Cameras = Mapping[str, FloatArray]
"""Camera -> (N, D) unit vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Two logs that an encoder finds alike."""

    first: str
    second: str
    """Digests of the logs."""
    score: float
    why: str
    """Which cameras, and how alike each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Logs that likenesses connect, directly or through others; any two of them need not be alike."""

    logs: tuple[str, ...]
    """Digests, in the order of ingest."""
    kept: str
    """The one that would be kept, were they copies; empty where nobody asked."""
    least: float
    """The lowest likeness that connects them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeLeak:
    """Logs that look alike on two sides of a split; whether that is a leak, a person says."""

    likeness: Likeness
    first_split: str
    second_split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeReport:
    """What an encoder finds alike among some logs."""

    logs: tuple[str, ...]
    encoder: str
    encoder_digest: str
    likenesses: tuple[Likeness, ...]
    """The most alike first."""
    groups: tuple[Group, ...]
    config: AlikeConfig


def find(
    ws: Workspace,
    encoder: Encoder,
    logs: Sequence[str] | None = None,
    *,
    keep: Keep | None = None,
    config: AlikeConfig | None = None,
    progress: Progress = silent,
    shelf: Shelf | None = None,
) -> AlikeReport:
    """Find logs that look alike to an encoder, and record what was found; the same answer is recorded once.

    Args:
        ws: the workspace.
        encoder: anybody's; what it encoded once is kept in the cache under its digest.
        logs: digests; None: all.
        keep: name in each group the log that would be kept by this; None: none.
        config: what counts as alike.
        progress: called after every log.
        shelf: of this workspace.

    Raises:
        NotFound: no such log, or its bytes are gone.
    """
    shelf, rules = shelf or Shelf(ws), config or AlikeConfig()
    chosen = reports.chosen(shelf, logs)
    raw: dict[str, Mapping[str, FloatArray]] = {}
    for log in chosen:
        raw[log] = {camera: vectors for camera, (_, vectors) in encoded(shelf, log, encoder).items()}
        progress(len(raw), len(chosen), shelf.record(log).name)
    found = sorted(alike(raw, rules), key=lambda x: (-x.score, x.first, x.second))
    groups = tuple(
        Group(
            logs=group,
            kept=choose(group, keep, shelf.records, {}) if keep is not None else "",
            least=min(x.score for x in found if x.first in group),
        )
        for group in join(chosen, found)
    )
    report = AlikeReport(
        logs=chosen,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        likenesses=tuple(found),
        groups=groups,
        config=rules,
    )
    body = {
        "likenesses": len(found),
        "groups": len(groups),
        "encoder": encoder.name,
        "encoder_digest": encoder.digest,
        "config": rules,
    }
    reports.keep(ws, shelf, report, kind=KIND, event=EVENT, logs=chosen, body=body)
    return report


def alike(raw: Mapping[str, _Cameras], config: AlikeConfig) -> Iterator[Likeness]:
    """Pairs of logs that are alike.

    Args:
        raw: log -> camera -> (N, D) vectors as an encoder gave them.
        config: what counts.
    """
    logs = list(raw)
    seen = _centred(raw)
    parts = [(place, vectors) for place, log in enumerate(logs) for vectors in seen[log].values()]
    if not parts:
        return
    base = np.concatenate([vectors for _, vectors in parts])
    owner = np.concatenate([np.full(len(vectors), place, dtype=np.int64) for place, vectors in parts])
    rows, cosines = nearest(base, owner, base, owner, config.nearest)
    there = (rows >= 0) & (cosines >= config.least)
    pairs = {(int(owner[a]), int(owner[rows[a, c]])) for a, c in zip(*np.nonzero(there), strict=True)}
    for first, second in sorted({(min(pair), max(pair)) for pair in pairs}):
        score, why = likeness(seen[logs[first]], seen[logs[second]])
        if score >= config.least:
            yield Likeness(first=logs[first], second=logs[second], score=round(score, 4), why=why)


def likeness(first: _Cameras, second: _Cameras) -> tuple[float, str]:
    """The mean likeness over the cameras of the log with fewer, and which ones they are."""
    fewer, more = (first, second) if len(first) <= len(second) else (second, first)
    found = []
    for name, vectors in fewer.items():
        score, other = max((_near(vectors, others), other) for other, others in more.items())
        found.append((score, name if name == other else f"{name} as {other}"))
    return float(np.mean([score for score, _ in found])), "; ".join(f"{name} {score:.2f}" for score, name in found)


def _near(a_ND: FloatArray, b_ND: FloatArray) -> float:
    """Mean cosine of each vector of the shorter to its nearest of the longer."""
    cosines = a_ND @ b_ND.T if len(a_ND) <= len(b_ND) else b_ND @ a_ND.T
    return float(cosines.max(axis=1).mean())


def _centred(raw: Mapping[str, _Cameras]) -> dict[str, _Cameras]:
    """Unit vectors without what all share; pictures that show no more than that, and cameras of such, are left out."""
    every = [vectors for cameras in raw.values() for vectors in cameras.values()]
    if not every:
        return {log: {} for log in raw}
    shared = np.concatenate(every).mean(axis=0, dtype=np.float64).astype(np.float32)
    longest = max(float(np.linalg.norm(vectors - shared, axis=1).max(initial=0.0)) for vectors in every)
    found: dict[str, _Cameras] = {}
    for log, cameras in raw.items():
        held = {}
        for camera, vectors in cameras.items():
            apart = vectors - shared
            lengths = np.linalg.norm(apart, axis=1)
            told = lengths > 1e-6 * longest
            if told.any():
                held[camera] = apart[told] / lengths[told, None]
        found[log] = held
    return found


def leaks(likenesses: Sequence[Likeness], split_of: Mapping[str, str]) -> Iterator[AlikeLeak]:
    """Likenesses between logs of two splits; logs without a split do not count."""
    for like, first, second in reports.crossing(likenesses, split_of):
        yield AlikeLeak(likeness=like, first_split=first, second_split=second)
