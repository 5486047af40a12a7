"""Measure prompts: each window imagined under every kind of prompt, under the empty one and under one from elsewhere.

The other episode's prompt comes from the held-out episode half the list away, or the next one whose prompt differs; for
a text that is the next one with another text. All rollouts of a window draw the same random numbers.

Shape legend: B samples, K steps, D state channels, F features.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import Array, BoolArray, FloatArray
from worldgate.core.worlds import Capability, Frame, WorldModel, require, rollout
from worldgate.data import clips
from worldgate.evidence.baselines import wrap
from worldgate.evidence.evaluation.measures import FeatureExtractor
from worldgate.evidence.evaluation.readouts import Pooled
from worldgate.evidence.evaluation.references import References
from worldgate.evidence.evaluation.scores import energy_score
from worldgate.evidence.evaluation.sums import Estimate, advantage, estimate
from worldgate.evidence.prompting.kinds import KINDS, NULL, PromptKind
from worldgate.evidence.prompting.report import PromptRow, Prompts
from worldgate.evidence.prompts import Asked, cut, recorded, text_of
from worldgate.evidence.windows import FrameReader, Tracks, circular, read_tracks

STATES = "states"
"""All state streams together, as the stream of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsConfig:
    """How prompts are measured."""

    seconds: float = 1.0
    """Horizon."""
    windows: int = 2
    """Most windows cut from one episode, evenly spread."""
    samples: int = 8
    """Futures a prompt."""
    kinds: tuple[str, ...] = ()
    """Of :data:`worldgate.evidence.prompting.KINDS`; empty: all that the model takes."""
    seed: int = 0
    level: float = 0.05
    """One-sided level of each bound."""
    resamples: int = 2000
    """Of episodes."""
    references: int = 24
    """Most training episodes that errors are scaled by."""

    def __post_init__(self) -> None:
        if min(self.windows, self.resamples, self.references) < 1 or self.samples < 2 or self.seconds <= 0:
            raise UsageError("windows and resamples are 1 or more, samples 2, seconds above 0", got=self)


Scores = Mapping[str, FloatArray]
"""Stream -> (K,) energy score at each step; NaN where the prompt shows the answer."""


def measure(
    model: WorldModel,
    episodes: Sequence[Episode],
    config: PromptsConfig | None = None,
    *,
    references: Sequence[Episode] = (),
    features: FeatureExtractor | None = None,
    dataset: str = "",
    progress: Progress = silent,
    read_frames: FrameReader = clips.pictures,
) -> Prompts:
    """Measure what every kind of prompt is worth to a model, on held-out episodes.

    Args:
        model: one that takes partial prompts.
        episodes: held out from its training; all of one origin.
        config: horizon, windows, samples, kinds.
        references: of its training split, whose spread errors are told in; without them that of ``episodes``.
        features: of pictures; by default pooled pixels.
        dataset: digest of the dataset.
        progress: called after each episode.
        read_frames: how pictures of a camera are read.

    Raises:
        CapabilityMissing: a model that needs all rows of its context.
        UsageError: fewer than two episodes, or none long enough.
        NotFound: an unknown kind of prompt.
        DataRefused: episodes of several origins, or that do not fit the model.
    """
    config = config or PromptsConfig()
    require(model, Capability.PARTIAL, have="flow and masked")
    if len({e.id for e in episodes}) < 2:
        raise UsageError("a prompt from another episode needs another episode", got=len(episodes))
    if len({e.origin for e in (*episodes, *references)}) > 1:
        raise DataRefused("real, simulated and imagined episodes never mix")
    begun = time.perf_counter()
    kinds, refused = _kinds(model, episodes, config)
    held = References(references or episodes, model.spec, read_frames, config.references)
    run = _Run(model, config, kinds, _Scale(held, features or Pooled()))
    sums: _Sums = {}
    tracks = [read_tracks(episode, model.spec, read_frames) for episode in episodes]
    for number, mine in enumerate(tracks):
        for start in run.starts(mine):
            for key, pair in run.window(number, tracks, start).items():
                of_key = sums.setdefault(key, {})
                of_key[number] = of_key.get(number, np.zeros(2)) + pair
        progress(number + 1, len(tracks), mine.episode.name)
    if not sums:
        raise UsageError("no episode is long enough", got=f"{run.steps} steps", hint="a smaller --seconds")
    return Prompts(
        subject=model.spec.digest,
        origin=episodes[0].origin,
        dataset=dataset or model.spec.dataset,
        steps=run.steps,
        samples=config.samples,
        windows=run.windows,
        episodes=tuple(e.id for e in episodes),
        level=config.level,
        features=run.scale.features.name,
        not_measured=refused,
        rows=tuple(_rows(sums, kinds, config)),
        seconds=round(time.perf_counter() - begun, 3),
    )


_Sums = dict[tuple[str, str, str], dict[int, FloatArray]]
"""(kind, stream, contender) -> episode -> (total, weight)."""


def _kinds(
    model: WorldModel, episodes: Sequence[Episode], config: PromptsConfig
) -> tuple[dict[str, PromptKind], dict[str, str]]:
    """The kinds that can be measured, and why the others cannot."""
    odd = sorted(set(config.kinds) - set(KINDS))
    if odd:
        raise NotFound("no such kind of prompt", got=odd[0], hint=f"one of {', '.join(KINDS)}")
    texts = {text_of(e.facts, model.spec.text) for e in episodes}
    made: dict[str, PromptKind] = {}
    refused: dict[str, str] = {}
    for name, kind in KINDS.items():
        if config.kinds and name not in config.kinds:
            continue
        why = kind.lacking(model.spec, model.capabilities)
        if not why and kind.text and len(texts) < 2:
            why = "all held-out episodes have the same text"
        if why:
            refused[name] = why
        else:
            made[name] = kind
    return made, refused


class _Scale:
    """What brings errors of all streams to comparable size."""

    def __init__(self, references: References, features: FeatureExtractor) -> None:
        self.features, spec = features, references.spec
        self.states = {s.name: references.scale(s.name, s.unit) for s in spec.states}
        self.turning: dict[str, BoolArray] = {
            s.name: np.asarray(
                circular([t.states[s.name] for t in references.tracks], s.unit if "," not in s.unit else "")
            )
            | self.states[s.name].circular
            for s in spec.states
        }
        self.spread = {c.name: self._spread(references, c.name) for c in spec.cameras}

    def _spread(self, references: References, camera: str) -> FloatArray:
        """(F,) deviation of the features over real pictures."""
        held = [t.frames[camera] for t in references.tracks]
        spread = np.concatenate([self.features(f[:: max(1, len(f) // 16)]) for f in held]).std(axis=0)
        return np.asarray(np.where(spread > 1e-9, spread, 1.0))

    def scores(self, said: Frame, tracks: Tracks, start: int) -> dict[str, FloatArray]:
        """Of samples against what happened after row ``start``."""
        out: dict[str, FloatArray] = {}
        apart = []
        for name, scale in self.states.items():
            values = np.asarray(said.states[name], np.float64)
            real = np.asarray(tracks.states[name][start + 1 : start + 1 + values.shape[1]], np.float64)
            off = wrap(values - real, self.turning[name]) / scale.std
            apart.append(off[..., scale.moves])
        if apart:
            joined_BKD = np.concatenate(apart, axis=-1)
            out[STATES] = self._each(joined_BKD, np.zeros(joined_BKD.shape[1:]))
        for camera, spread in self.spread.items():
            shown_BK: Array = said.frames[camera]
            real_K = tracks.frames[camera][start + 1 : start + 1 + shown_BK.shape[1]]
            seen = self.features(shown_BK.reshape(-1, *shown_BK.shape[2:])).reshape(*shown_BK.shape[:2], -1)
            out[camera] = self._each(seen / spread, self.features(real_K) / spread)
        return out

    @staticmethod
    def _each(samples_BKD: FloatArray, real_KD: FloatArray) -> FloatArray:
        return np.array([energy_score(samples_BKD[:, k], real) for k, real in enumerate(real_KD)])


class _Run:
    """The state of one measurement."""

    def __init__(
        self, model: WorldModel, config: PromptsConfig, kinds: Mapping[str, PromptKind], scale: _Scale
    ) -> None:
        self.model, self.config, self.kinds, self.scale = model, config, kinds, scale
        self.steps = max(2, round(config.seconds * model.spec.rate_hz))
        self.windows = 0
        least = {kind.less for kind in kinds.values()} - {NULL, *kinds}
        have, spec = model.capabilities, model.spec
        self.all = dict(kinds) | {name: KINDS[name] for name in least if not KINDS[name].lacking(spec, have)}

    def starts(self, tracks: Tracks) -> list[int]:
        """Where the windows of an episode stand."""
        return tracks.starts(self.model.spec, self.steps, self.config.windows)[0]

    def window(self, number: int, tracks: Sequence[Tracks], start: int) -> dict[tuple[str, str, str], FloatArray]:
        """(kind, stream, contender) -> (total, weight) over the steps that both leave open."""
        mine, seed = tracks[number], self.config.seed + 1000 * number + start
        empty = Asked(rows=0, states=False, actions=False)
        null = self._imagined(mine, start, empty, mine, start, seed)
        right = {
            name: self._imagined(mine, start, self._asked(kind, mine), mine, start, seed)
            for name, kind in self.all.items()
        }
        out: dict[tuple[str, str, str], FloatArray] = {}
        self.windows += 1
        for name, kind in self.kinds.items():
            against = {"null": null}
            other = self._other(number, tracks, kind)
            if other is not None:
                there, at = other
                against["wrong"] = self._imagined(there, at, self._asked(kind, there), mine, start, seed)
            if kind.less in right:
                against["less"] = right[kind.less]
            for stream, error in right[name].items():
                for contender, held in against.items():
                    both = np.isfinite(error) & np.isfinite(held[stream])
                    count = float(both.sum())
                    out[name, stream, contender] = np.array([held[stream][both].sum(), count])
                    out[name, stream, f"beside {contender}"] = np.array([error[both].sum(), count])
        return out

    def _asked(self, kind: PromptKind, tracks: Tracks) -> Asked:
        return kind.asked(self.steps, text_of(tracks.episode.facts, self.model.spec.text))

    def _other(self, number: int, tracks: Sequence[Tracks], kind: PromptKind) -> tuple[Tracks, int] | None:
        """Another episode and a row of it whose prompt says something else; None: there is none."""
        mine = self._asked(kind, tracks[number])
        for away in range(len(tracks) - 1):
            there = tracks[(number + len(tracks) // 2 + away) % len(tracks)]
            said = self._asked(kind, there)
            shows = kind.rows != 0 or kind.ahead or kind.actions
            if there is tracks[number] or not (shows or said.text != mine.text):
                continue
            starts = self.starts(there)
            if starts:
                return there, starts[number % len(starts)]
        return None

    def _imagined(self, source: Tracks, row: int, asked: Asked, real: Tracks, start: int, seed: int) -> Scores:
        """Scores of samples under a prompt cut from ``source``, against what happened in ``real``."""
        prompt = cut(source, self.model.spec, row, asked)
        drive = recorded(source, row, self.steps) if asked.actions else None
        said = rollout(self.model, prompt, drive, samples=self.config.samples, seed=seed, horizon=self.steps).frame
        scores = self.scale.scores(said, real, start)
        for camera in self.scale.spread:
            for step in asked.ahead:
                scores[camera][step - 1] = np.nan
        return scores


def _rows(sums: _Sums, kinds: Mapping[str, PromptKind], config: PromptsConfig) -> Iterator[PromptRow]:
    def found(key: tuple[str, str, str]) -> Estimate:
        return estimate(sums.get(key, {}), "mean", level=config.level, resamples=config.resamples, seed=config.seed)

    def over(kind: str, stream: str, contender: str) -> Estimate:
        ours, theirs = (sums.get((kind, stream, who), {}) for who in (f"beside {contender}", contender))
        return advantage(
            ours, theirs, "mean", relative=True, level=config.level, resamples=config.resamples, seed=config.seed
        )

    for name, kind in kinds.items():
        for stream in dict.fromkeys(s for k, s, _ in sums if k == name):
            yield PromptRow(
                kind=name,
                stream=stream,
                error=found((name, stream, "beside null")),
                null=found((name, stream, "null")),
                over_null=over(name, stream, "null"),
                over_wrong=over(name, stream, "wrong"),
                less=kind.less,
                over_less=over(name, stream, "less") if (name, stream, "less") in sums else None,
            )
