"""Whether a rollout follows its actions: read back what was commanded, by inverse dynamics fitted on real data.

The read-out takes three consecutive rows to the action in between, ``a_t ~ f(z_{t-1}, z_t, z_{t+1})``, by ridge
regression on real training rows. Four figures, over all steps up to each horizon, action channels in training
deviations:

* ``action_r2``: 1 - squared error / variance of the actions read from a contender's rows. ``real`` is the ceiling,
  ``hold`` what a still picture gives: where actions are places, much of an action can be told from where the arm is,
  so this alone proves little.
* ``action_r2_shuffled``: the same against actions that were not given: the floor.
* ``action_following``: from one prompt the model is rolled out twice, under the recorded actions a and under other
  ones b. Correlation of ``f(rollout b) - f(rollout a)`` with ``b - a``. What the context tells cancels; a model that
  ignores its actions has 0, whatever its pictures look like. Beside it, ``real``: the same over pairs of real
  stretches that began alike, with what the read-out leaves in it.
* ``action_gain``: slope of the same; 1 follows fully, 0 not at all.
* ``still_motion``: how far states move under the action of standing still, in training deviations, from half of the
  window on, when what moved before has come to rest. Which action that is, whatever actions mean here (places, speeds,
  torques), the read-out says: the one between three equal rows. Beside it how far the ``real`` window moved meanwhile.

Sources: inverse dynamics as a judge of generated video, UniPi (NeurIPS 2023), and governance of the gap, W3; the
paired form is ours.

Shape legend: B samples, K steps, T rows, F numbers of a row, A action channels.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Frame
from worldgate.evidence.baselines import wrap
from worldgate.evidence.evaluation.embedding import Embedding, embeddings, require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, Reading, Setup, Watcher, Window
from worldgate.evidence.evaluation.readouts import MOST_ROWS, Readout, fit_readout
from worldgate.evidence.windows import Tracks

CARD = {
    "line": "actions read back from rollouts by inverse dynamics fitted on real data, against the actions given",
    "inputs": "actions; states or frames; training episodes",
    "source": "UniPi, arXiv 2302.00111; governance of the gap, W3",
}

FORCES = frozenset({"N", "Nm", "N m"})
"""Units of what changes without anything moving."""


def build(setup: Setup) -> ActionFollowing:
    """From the states together and from every camera.

    Raises:
        NotMeasured: the model takes no actions, or there are no training episodes.
    """
    require(setup.spec.action is not None and setup.spec.action.shape != (0,), "the model takes no actions")
    return ActionFollowing(setup, embeddings(setup))


def triples(rows_TF: FloatArray) -> FloatArray:
    """(T - 2, 3F): the row before, its change, and the change after, for rows 1 to T - 2."""
    before, now, after = rows_TF[:-2], rows_TF[1:-1], rows_TF[2:]
    return np.concatenate([now, now - before, after - now], axis=1)


class ActionFollowing:
    """The measure."""

    def __init__(self, setup: Setup, found: list[Embedding]) -> None:
        self.setup, self.embeddings = setup, found
        commanded = np.concatenate([a[np.isfinite(a).all(axis=1)] for a in setup.references.actions()])
        deviation = commanded.std(axis=0)
        self.moves = deviation > 1e-9 * np.maximum(np.abs(commanded).max(axis=0, initial=0.0), 1e-300)
        require(bool(self.moves.any()), "the actions of the training episodes never change")
        self.middle, self.deviation = commanded.mean(axis=0), np.where(self.moves, deviation, 1.0)
        self.readouts = {e.label: self._fit(e) for e in found}
        self.moving = [s.name for s in setup.spec.states if s.unit not in FORCES] if setup.spec.states else []
        still = [_still_info(name) for name in self.moving]
        self.figures = (*(info for e in found for info in _infos(e.label)), *still)

    def _fit(self, embedding: Embedding) -> Readout:
        inputs, outputs = [], []
        for tracks in self.setup.references.tracks:
            rows = self.setup.references.rows(tracks, 1, MOST_ROWS)
            if tracks.actions is not None and len(rows):
                before, now, after = (embedding.at(tracks, rows + k) for k in (-1, 0, 1))
                inputs.append(np.concatenate([now, now - before, after - now], axis=1))
                outputs.append(self.unit(np.asarray(tracks.actions[rows], np.float64)))
        return fit_readout(inputs, outputs, seed=self.setup.config.seed)

    def unit(self, actions_KA: FloatArray) -> FloatArray:
        """Actions in training deviations, constant channels left out."""
        return np.asarray(((actions_KA - self.middle) / self.deviation)[:, self.moves])

    def standing(self, window: Window) -> FloatArray:
        """(A,) the action that belongs to no motion at the last known row, channels that never changed as they were."""
        readout = self.readouts["states"]
        embedding = next(e for e in self.embeddings if not e.camera)
        rows = embedding.rows({name: window.known(name, 1) for name in window.tracks.states}, {})
        out = self.middle.copy()
        out[self.moves] += readout(triples(np.repeat(rows, 3, axis=0)))[0] * self.deviation[self.moves]
        return np.asarray(out)

    def watch(self, window: Window) -> Watcher:
        """Sums along the window."""
        return _Watch(self, window)


def _infos(label: str) -> list[FigureInfo]:
    return [
        FigureInfo(name=f"{label}/action_r2", unit="1", better="higher", reduction="r2", note="real is the ceiling"),
        FigureInfo(
            name=f"{label}/action_r2_shuffled",
            unit="1",
            better="target",
            reduction="r2",
            note="against actions that were not given: the floor of action_r2",
            detail=True,
        ),
        FigureInfo(
            name=f"{label}/action_following",
            unit="1",
            better="higher",
            reduction="correlation",
            note="0: ignores its actions; real: pairs of real stretches that began alike",
        ),
        FigureInfo(
            name=f"{label}/action_gain",
            unit="1",
            better="target",
            target=1.0,
            reduction="slope",
            note="0: ignores its actions, 1: follows them fully",
        ),
    ]


def _still_info(stream: str) -> FigureInfo:
    note = "under the action of standing still, in training deviations; real: under its own actions"
    return FigureInfo(name=f"{stream}/still_motion", unit="1", better="lower", stream=stream, note=note, detail=True)


class _Watch:
    """One window; sums grow with every step and are told at the horizons."""

    def __init__(self, measure: ActionFollowing, window: Window) -> None:
        self.measure, self.window = measure, window
        self.tail: dict[tuple[str, str], list[FloatArray]] = {}
        self.sums: dict[tuple[str, str], FloatArray] = {}

    def see(self, chunk: Chunk) -> list[Reading]:
        own = self.measure.unit(chunk.actions)
        donor = self.window.donor
        foreign = None
        if donor is not None:
            foreign = self.measure.unit(np.asarray(donor.actions[chunk.first : chunk.first + chunk.steps], np.float64))
        bounds = [0, *(k + 1 for _, k in chunk.at(self.measure.setup.horizons))]
        told: list[Reading] = []
        read = self._read(chunk)
        for low, high in pairwise(bounds):
            self._add(read, own, foreign, low, high)
            told += self._tell(chunk.first + high)
        self._add(read, own, foreign, bounds[-1], chunk.steps)
        return told

    def close(self) -> list[Reading]:
        window, setup = self.window, self.measure.setup
        if window.donor is None or "states" not in self.measure.readouts or window.steps < 2:
            return []
        driven = np.repeat(self.measure.standing(window)[None], window.steps, axis=0)
        said = window.roll(window.steps, samples=setup.samples, seed=window.seed, actions=driven)
        half, out = window.steps // 2, []
        for stream in self.measure.moving:
            scale, first = window.scales[stream], window.start + 1
            real = np.asarray(window.tracks.states[stream][first : first + window.steps], np.float64)
            for who, path_KD in (("model", np.asarray(said.states[stream], np.float64).mean(axis=0)), ("real", real)):
                moved = wrap(path_KD[-1] - path_KD[half - 1], window.circular[stream]) / scale.std
                sums = (float(np.linalg.norm(moved[scale.moves])), 1.0)
                out.append(Reading(figure=f"{stream}/still_motion", contender=who, sums=sums))
        return out

    def _read(self, chunk: Chunk) -> dict[tuple[str, str], FloatArray]:
        """(label, contender) -> (B, K, A) actions read; ``pair`` is the real stretch that lent its actions."""
        found: dict[tuple[str, str], FloatArray] = {}
        for embedding in self.measure.embeddings:
            for who in ("model", "hold", "other", "real"):
                view = chunk.views.get(who)
                if view is not None and embedding.holds(view):
                    found[embedding.label, who] = self._actions(embedding, who, view)
            if self.window.donor is not None and not embedding.camera:
                states = {
                    k: v[chunk.first + 1 : chunk.first + 1 + chunk.steps][None]
                    for k, v in self.window.donor.states.items()
                }
                found[embedding.label, "pair"] = self._actions(embedding, "pair", Frame(states=states))
        return found

    def _actions(self, embedding: Embedding, who: str, view: Frame) -> FloatArray:
        count = len(next(iter((view.frames if embedding.camera else view.states).values())))
        key = (embedding.label, who)
        tails = self.tail.get(key) or [self._past(embedding, who)] * count
        rows = [np.concatenate([tails[b], embedding.sample(view, b)]) for b in range(count)]
        self.tail[key] = [r[-2:] for r in rows]
        readout = self.measure.readouts[embedding.label]
        return np.stack([readout(triples(r)) for r in rows])

    def _past(self, embedding: Embedding, who: str) -> FloatArray:
        """(2, F) the last two known rows."""
        window, donor = self.window, self.window.donor
        if who == "pair":
            assert donor is not None
            first = {k: np.repeat(v[:1], 2, axis=0) for k, v in donor.states.items()}
            return embedding.rows(first, {})
        tracks: Tracks = window.tracks
        states = {k: window.known(k) for k in tracks.states}
        return embedding.rows(states, {k: window.known_frames(k) for k in tracks.frames})

    def _add(
        self,
        read: dict[tuple[str, str], FloatArray],
        own: FloatArray,
        foreign: FloatArray | None,
        low: int,
        high: int,
    ) -> None:
        if low >= high:
            return
        for (label, who), said in read.items():
            part = said[:, low:high]
            if who in {"model", "hold", "real"}:
                self._grow(f"{label}/action_r2", who, _r2_sums(part, own[low:high]))
                if foreign is not None:
                    self._grow(f"{label}/action_r2_shuffled", who, _r2_sums(part, foreign[low:high]))
            if foreign is None or who not in {"other", "pair"}:
                continue
            base = read[label, "model" if who == "other" else "real"]
            apart = part.mean(axis=0) - base[:, low:high].mean(axis=0)
            given = foreign[low:high] - own[low:high]
            teller = "model" if who == "other" else "real"
            self._grow(f"{label}/action_following", teller, _pair_sums(apart, given))
            self._grow(f"{label}/action_gain", teller, np.array([(given**2).sum(), (given * apart).sum()]))

    def _grow(self, figure: str, who: str, sums: FloatArray) -> None:
        key = (figure, who)
        self.sums[key] = self.sums[key] + sums if key in self.sums else sums

    def _tell(self, step: int) -> list[Reading]:
        return [
            Reading(figure=figure, contender=who, sums=tuple(float(v) for v in sums), step=step)
            for (figure, who), sums in self.sums.items()
        ]


def _r2_sums(said_BKA: FloatArray, given_KA: FloatArray) -> FloatArray:
    """(n, squared error, y, yy) of each future by itself, futures counted as one."""
    error = ((said_BKA - given_KA) ** 2).mean(axis=0).sum()
    return np.array([given_KA.size, error, given_KA.sum(), (given_KA**2).sum()])


def _pair_sums(said: FloatArray, given: FloatArray) -> FloatArray:
    return np.array([said.size, said.sum(), given.sum(), (said**2).sum(), (given**2).sum(), (said * given).sum()])
