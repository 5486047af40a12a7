"""Contacts: whether the tool touches when it really did, and when contacts begin.

The truth is the size of the recorded force on the tool, ``contact_n`` and more counts as touching, pauses of up to
``contact_pause_s`` belong to a contact. A model that predicts the force is read the same way, of the mean of its
futures (drawn noise has a size of its own, and would touch all the time); from other states and from pictures contact
is read by a ridge read-out fitted on real training rows, whose own figures on real held-out rows stand as ``real``:
the ceiling. A model that tells the probability of contact itself is taken at its word, touching from 0.5 on; ``hold``
is then the recorded contact of the last known row, which such a model is not shown.

* ``contact_f1``: of rows that touch, at each horizon.
* ``brier`` and ``ece``, of a probability alone: its mean squared error, and the mean distance between what was said
  and how often it was so, over ten bins (Naeini, Cooper and Hauskrecht, AAAI 2015).
* ``onset_f1``: of contacts that begin, over whole windows; an imagined and a real onset match if they are at most
  ``contact_tolerance_s`` apart, each is used once, nearest first.
* ``onset_error``: mean absolute distance in time of the matched ones; ``onset_bias``: the mean with its sign, late is
  above 0; ``onset_late``: their median lateness in rows. Their grain is the row: 100 ms at 10 Hz.

Source: event matching with a tolerance as in Mesaros, Heittola and Virtanen, Applied Sciences 6 (2016), section 3;
governance of the gap, W4.

Shape legend: B samples, K steps, T rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worldgate.core.streams import BoolArray, FloatArray
from worldgate.core.worlds import CONTACT, Frame
from worldgate.evidence.evaluation.embedding import Embedding, embeddings, require
from worldgate.evidence.evaluation.measures import (
    WHOLE,
    Chunk,
    FigureInfo,
    NotMeasured,
    Reading,
    Setup,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.readouts import MOST_ROWS, Readout, fit_readout
from worldgate.evidence.evaluation.truth import touching

CARD = {
    "line": "contact at each horizon and the onsets of contacts: F1 and timing, from forces or read-outs",
    "inputs": "states with a force, other states, or frames; recorded forces",
    "source": "governance of the gap, W4; Mesaros et al., Applied Sciences 6 (2016)",
}


BINS = 10


def build(setup: Setup) -> Contact:
    """From the predicted force, else from the other states, and from every camera.

    Raises:
        NotMeasured: no force was recorded, or nothing tells contact.
    """
    recorded = [n for n, rows in setup.streams.items() if rows.info.unit == "N" and rows.info.shape == (3,)]
    require(bool(recorded), "no stream of the episodes is a force in three directions [N]")
    return Contact(setup, tellers(setup, recorded[0]))


@dataclass(frozen=True, slots=True)
class Teller:
    """One way to tell contact: (K,) scores of the mean of the futures, touching from ``least`` on."""

    label: str
    score: Callable[[Frame], FloatArray]
    holds: Callable[[Frame], bool]
    least: float
    chance: bool = False
    """Whether the scores are probabilities."""


def tellers(setup: Setup, force: str) -> list[Teller]:
    """Every way that the model's predictions allow.

    Raises:
        NotMeasured: none.
    """
    found: list[Teller] = []
    if any(s.name == CONTACT for s in setup.spec.reads):
        found.append(Teller(CONTACT, _chance, lambda frame: CONTACT in frame.states, 0.5, chance=True))
    if any(s.name == force for s in setup.spec.states):
        found.append(
            Teller(
                force,
                lambda frame: np.asarray(
                    np.linalg.norm(np.asarray(frame.states[force], np.float64).mean(axis=0), axis=1)
                ),
                lambda frame: force in frame.states,
                setup.config.contact_n,
            )
        )
    if setup.fitted:
        for embedding in embeddings(setup):
            if embedding.camera or not found:
                found.append(_fitted(setup, embedding))
    if not found:
        raise NotMeasured("the model predicts no force, and there are no training episodes to fit a read-out on")
    return found


def _chance(frame: Frame) -> FloatArray:
    return np.asarray(np.asarray(frame.states[CONTACT], np.float64)[..., 0].mean(axis=0))


def _fitted(setup: Setup, embedding: Embedding) -> Teller:
    inputs, outputs = [], []
    for tracks, truth in zip(setup.references.tracks, setup.references.truths, strict=True):
        touch = truth.touch(setup.config.contact_n, _pause(setup))
        rows = setup.references.rows(tracks, 0, MOST_ROWS)
        if touch is not None and len(rows):
            inputs.append(embedding.at(tracks, rows))
            outputs.append(touch[rows].astype(np.float64)[:, None])
    if len(inputs) < 2 or not 0 < np.mean([o.mean() for o in outputs]) < 1:
        raise NotMeasured("the training episodes do not show both contact and none")
    readout: Readout = fit_readout(inputs, outputs, seed=setup.config.seed)
    least = _best_least(readout(np.concatenate(inputs))[:, 0], np.concatenate(outputs)[:, 0] > 0.5)

    def score(frame: Frame) -> FloatArray:
        count = len(next(iter((frame.frames if embedding.camera else frame.states).values())))
        return np.asarray(np.mean([readout(embedding.sample(frame, b))[:, 0] for b in range(count)], axis=0))

    return Teller(embedding.label, score, embedding.holds, least)


def _pause(setup: Setup) -> int:
    """Rows up to which a pause belongs to a contact."""
    return round(setup.config.contact_pause_s * setup.rate_hz)


def _best_least(score_N: FloatArray, real_N: BoolArray) -> float:
    """The score from which on training rows are best told to touch, by F1."""
    tried = np.quantile(score_N, np.linspace(0.02, 0.98, 49))
    hits = np.array([(real_N & (score_N >= least)).sum() for least in tried], np.float64)
    said = np.array([(score_N >= least).sum() for least in tried], np.float64)
    return float(tried[int(np.argmax(2.0 * hits / (said + real_N.sum())))])


class Contact:
    """The measure."""

    def __init__(self, setup: Setup, found: list[Teller]) -> None:
        self.setup, self.tellers = setup, found
        tolerance = f"onsets within {setup.config.contact_tolerance_s * 1e3:g} ms match"
        figures = []
        for teller in found:
            figures += [
                FigureInfo(name=f"{teller.label}/contact_f1", unit="1", better="higher", reduction="f1"),
                FigureInfo(name=f"{teller.label}/onset_f1", unit="1", better="higher", reduction="f1", note=tolerance),
                FigureInfo(name=f"{teller.label}/onset_error", unit="ms", better="target", note="of matched onsets"),
                FigureInfo(
                    name=f"{teller.label}/onset_bias",
                    unit="ms",
                    better="target",
                    target=0.0,
                    note="above 0: late",
                    detail=True,
                ),
                FigureInfo(
                    name=f"{teller.label}/onset_late",
                    unit="rows",
                    better="target",
                    target=0.0,
                    reduction="middle",
                    note="median lateness of matched onsets",
                    detail=True,
                ),
            ]
            if teller.chance:
                figures.append(FigureInfo(name=f"{teller.label}/brier", unit="1", better="lower"))
                figures.append(
                    FigureInfo(name=f"{teller.label}/ece", unit="1", better="lower", reduction="calibration")
                )
        self.figures = tuple(figures)

    def watch(self, window: Window) -> Watcher:
        """Keeps one truth value a step and contender."""
        return _Watch(self, window)


class _Watch:
    def __init__(self, measure: Contact, window: Window) -> None:
        self.measure, self.window = measure, window
        self.said: dict[tuple[str, str], list[BoolArray]] = {}
        self.real = window.truth.touch(measure.setup.config.contact_n, _pause(measure.setup))

    def see(self, chunk: Chunk) -> list[Reading]:
        out: list[Reading] = []
        if self.real is None:
            return out
        row = self.window.start + chunk.first + 1
        truth = self.real[row : row + chunk.steps]
        for teller in self.measure.tellers:
            for who in ("model", "hold", "velocity", "real"):
                view = chunk.views[who]
                if teller.chance and who == "hold":
                    score = np.full(chunk.steps, float(self.real[self.window.start]))
                elif teller.holds(view):
                    score = teller.score(view)
                else:
                    continue
                out += self._chances(teller, who, score, truth, chunk)
                found = np.asarray(score >= teller.least)
                self.said.setdefault((teller.label, who), []).append(found)
                for step, k in chunk.at(self.measure.setup.horizons):
                    sums = _confusion(found[k : k + 1], truth[k : k + 1])
                    out.append(Reading(figure=f"{teller.label}/contact_f1", contender=who, sums=sums, step=step))
        return out

    def _chances(
        self, teller: Teller, who: str, score_K: FloatArray, truth_K: BoolArray, chunk: Chunk
    ) -> list[Reading]:
        out: list[Reading] = []
        for step, k in chunk.at(self.measure.setup.horizons) if teller.chance else ():
            said, real = float(score_K[k]), float(truth_K[k])
            sums = np.zeros((BINS, 3))
            sums[min(int(said * BINS), BINS - 1)] = 1.0, said, real
            spoken = tuple(float(v) for v in sums.ravel())
            squared = ((said - real) ** 2, 1.0)
            out.append(Reading(figure=f"{teller.label}/brier", contender=who, sums=squared, step=step))
            out.append(Reading(figure=f"{teller.label}/ece", contender=who, sums=spoken, step=step))
        return out

    def close(self) -> list[Reading]:
        out: list[Reading] = []
        if self.real is None:
            return out
        setup, start = self.measure.setup, self.window.start
        truth = onsets(self.real[start : start + 1 + self.window.steps])
        for (label, who), parts in self.said.items():
            path = np.concatenate([self.real[start : start + 1], *parts])
            closed = touching(path.astype(np.float64), 0.5, _pause(setup))
            hits, late_s = match(onsets(closed), truth, setup.config.contact_tolerance_s * setup.rate_hz)
            found = len(onsets(closed))
            sums = (float(hits), float(found - hits), float(len(truth) - hits))
            ms = np.asarray(late_s) / setup.rate_hz * 1e3
            out += [
                Reading(figure=f"{label}/onset_f1", contender=who, sums=sums, step=WHOLE),
                Reading(
                    figure=f"{label}/onset_error",
                    contender=who,
                    sums=(float(np.abs(ms).sum()), float(hits)),
                    step=WHOLE,
                ),
                Reading(figure=f"{label}/onset_bias", contender=who, sums=(float(ms.sum()), float(hits)), step=WHOLE),
                Reading(figure=f"{label}/onset_late", contender=who, sums=_spread(late_s, _reach(setup)), step=WHOLE),
            ]
        return out


def _reach(setup: Setup) -> int:
    """Rows that a matched onset may lie off."""
    return math.floor(setup.config.contact_tolerance_s * setup.rate_hz + 1e-9)


def _spread(late: list[float], reach: int) -> tuple[float, ...]:
    """Counts of onsets that are late by -reach to reach rows."""
    return tuple(float(n) for n in np.bincount([round(v) + reach for v in late], minlength=2 * reach + 1))


def _confusion(said: BoolArray, real: BoolArray) -> tuple[float, float, float]:
    return float((said & real).sum()), float((said & ~real).sum()), float((~said & real).sum())


def onsets(touch_T: BoolArray) -> FloatArray:
    """Rows at which contact begins; the first row is what was known."""
    return np.flatnonzero(touch_T[1:] & ~touch_T[:-1]).astype(np.float64) + 1.0


def match(said: FloatArray, real: FloatArray, tolerance: float) -> tuple[int, list[float]]:
    """How many onsets match one to one, nearest pairs first, and by how much each is late, in rows."""
    pairs = sorted((abs(s - r), i, j) for i, s in enumerate(said) for j, r in enumerate(real))
    used_said: set[int] = set()
    used_real: set[int] = set()
    late: list[float] = []
    for apart, i, j in pairs:
        if apart > tolerance + 1e-9 or i in used_said or j in used_real:
            continue
        used_said.add(i)
        used_real.add(j)
        late.append(float(said[i] - real[j]))
    return len(late), late
