"""What an evaluation measured in each held-out episode, with its site: the document that admission gates decide on.

Schema ``worldgate/site-gap/1``, kept beside ``worldgate/evaluation/1`` from the same run. Why a document of its own:
the evaluation is a report for people, with intervals as floating numbers over whatever episodes there were. A gate
decides for one site, may leave episodes of others out, and must be recomputable by somebody else's program. So this
holds no interval at all, only what each episode added to each gated figure (``sums``, whole numbers wherever something
is counted), the site it was recorded at, and whole-number features for the drift alarm. Every bound is taken anew.

A gap report (``worldgate/gap/1``) has the errors by step; this has everything else. Its figures are those of the seam
``metrics``, in the sums that :mod:`worldgate.evidence.evaluation.sums` names.

Shape legend: E episodes, T rows, D channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import NUMERIC, FloatArray, Origin
from worldgate.core.worlds import ModelSpec

if TYPE_CHECKING:  # a gate reads the document without what measures it
    from worldgate.evidence.evaluation.report import Evaluation
    from worldgate.evidence.evaluation.sums import Table

SCHEMA = "worldgate/site-gap/1"
GATED = (
    "/action_gain",
    "/action_r2",
    "/still_motion",
    "/counterfactual_gain",
    "/onset_f1",
    "/onset_late",
    "/coverage_90_drawn",
    "/coverage_90_claimed",
    "/optimism",
    "/pessimism",
    "/recall",
    "/force_crossings",
    "/clearance_crossings",
    "/occupied_iou",
    "/free_iou",
    "/path_error",
)
"""Ends of the figures that checks read; besides ``violations/...`` and ``same_seed``."""
SETTINGS = ("contact_n", "contact_tolerance_s", "force_limit_n", "clearance_limit_m")
"""Of the evaluation's configuration: whoever measures could choose them kindly, so checks hold them to the policy."""
CONTENDERS = ("model", "real")
GRAIN = 1024
"""Features are whole numbers: training deviations over this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What one episode added to one figure."""

    figure: str
    step: int
    """Steps ahead; 0: about whole windows."""
    contender: str
    """``model``, or ``real`` for the same figure of what really happened."""
    sums: tuple[float | None, ...]
    """None: not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSums:
    """One held-out episode."""

    episode: str
    log: str
    name: str
    site: str
    features: tuple[int, ...]
    rows: tuple[Sums, ...]

    def get(self, figure: str, step: int, contender: str) -> tuple[float | None, ...] | None:
        """Its sums; None where it measured nothing."""
        wanted = (figure, step, contender)
        return next((r.sums for r in self.rows if (r.figure, r.step, r.contender) == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One episode of the calibration set: those the model learned from, or was fitted to."""

    episode: str
    site: str
    features: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """The document."""

    schema: str = SCHEMA
    subject: str
    """Digest of the world model."""
    origin: Origin
    """Of the episodes."""
    dataset: str
    rate_hz: float
    horizons: tuple[int, ...]
    """Steps at which figures were taken, rising."""
    samples: int
    """Futures a window."""
    cameras: tuple[str, ...]
    """The model's: read-outs of pictures are judged only where there is no other."""
    nonfinite: int
    """Windows in which the model gave NaN or infinity."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """What was asked of the evaluation that a check must know: :data:`SETTINGS`."""
    layout: str = ""
    """Digest of the site's layout, where one was judged."""
    not_measured: Mapping[str, str]
    """Entry of the seam ``metrics`` -> why."""
    features: tuple[str, ...]
    """Names of the features of each episode."""
    episodes: tuple[EpisodeSums, ...]
    calibration: tuple[Calibrated, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "site report") -> SiteReport:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema, an episode or figure that stands twice, or features of the wrong number.
            ConfigError: unknown or missing fields.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a site report this version reads", got=tree.get("schema"), where=where)
        report = decode(cls, tree, where=where)
        ids = [e.episode for e in report.episodes]
        if len(set(ids)) < len(ids) or set(ids) & {c.episode for c in report.calibration}:
            raise DataRefused("an episode that stands twice", where=where, hint="it would count as two")
        looks = [e.features for e in report.episodes] + [c.features for c in report.calibration]
        if any(len(row) != len(report.features) for row in looks):
            raise DataRefused("features of the wrong number", got=[len(row) for row in looks][:3], where=where)
        for episode in report.episodes:
            keys = [(r.figure, r.step, r.contender) for r in episode.rows]
            if len(set(keys)) < len(keys):
                raise DataRefused("a figure that stands twice in one episode", got=episode.name, where=where)
        return report

    def at_sites(self, sites: Sequence[str]) -> SiteReport:
        """Only the episodes recorded at these sites; the calibration set stays."""
        return dataclasses.replace(self, episodes=tuple(e for e in self.episodes if e.site in sites))

    def step_of(self, seconds: float) -> int:
        """The step (from 1) at a horizon in seconds, rounded to the nearest."""
        return max(1, round(seconds * self.rate_hz))

    def figures(self, end: str, *, step: int) -> list[str]:
        """Names of the figures with this end that any episode measured at a step, by the model, in order."""
        names = {r.figure for e in self.episodes for r in e.rows if r.step == step and r.contender == "model"}
        return sorted(name for name in names if name.endswith(end))


def of(
    evaluation: Evaluation,
    table: Table,
    episodes: Sequence[Episode],
    references: Sequence[Episode] = (),
    *,
    site: str = "",
    layout: str = "",
) -> SiteReport:
    """Make the document from an evaluation and the table of sums that :func:`evaluate` filled.

    Args:
        evaluation: what was found.
        table: handed to ``evaluate`` as ``sums``.
        episodes: the same, in the same order.
        references: the calibration set: episodes of the training split.
        site: of episodes whose log names none.
        layout: digest of the site's layout, where one was judged.

    Raises:
        UsageError: other episodes than were evaluated.
    """
    facts = evaluation.facts
    if tuple(e.id for e in episodes) != facts.episodes:
        raise UsageError(
            "other episodes than were evaluated", got=len(episodes), hint=f"{len(facts.episodes)} in order"
        )
    held: list[list[Sums]] = [[] for _ in episodes]
    for figure, situation, step, contender in table.entries():
        if situation or contender not in CONTENDERS or not gated(figure):
            continue
        for number, sums in table.of((figure, situation, step, contender)).items():
            finite = tuple(float(v) if math.isfinite(v) else None for v in sums)
            held[number].append(Sums(figure=figure, step=step, contender=contender, sums=finite))
    names, found = features(facts.spec, episodes, references)
    rows = [
        EpisodeSums(
            episode=e.id,
            log=e.log,
            name=e.name,
            site=site_of(e, site),
            features=found[i],
            rows=tuple(sorted(held[i], key=lambda r: (r.figure, r.step, r.contender))),
        )
        for i, e in enumerate(episodes)
    ]
    known = [
        Calibrated(episode=e.id, site=site_of(e, site), features=found[len(episodes) + i])
        for i, e in enumerate(references)
    ]
    return SiteReport(
        subject=evaluation.subject,
        origin=facts.origin,
        dataset=facts.dataset,
        rate_hz=facts.spec.rate_hz,
        horizons=facts.horizons,
        samples=facts.samples,
        cameras=tuple(c.name for c in facts.spec.cameras),
        nonfinite=facts.nonfinite,
        settings={name: float(getattr(facts.config, name)) for name in SETTINGS},
        layout=layout,
        not_measured=facts.not_measured,
        features=names,
        episodes=tuple(rows),
        calibration=tuple(known),
    )


def gated(figure: str) -> bool:
    """Whether a check reads this figure."""
    return figure.endswith(GATED) or figure.startswith("violations/") or figure == "same_seed"


def site_of(episode: Episode, fallback: str) -> str:
    """Where it was recorded."""
    return str(episode.facts.get("site") or fallback)


def features(
    spec: ModelSpec, episodes: Sequence[Episode], references: Sequence[Episode]
) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """What each episode looks like: of each channel of states and actions its mean, spread and mean change.

    In deviations of the references (of the episodes, without any), held within six and rounded to whole 1/1024, so
    that distances are whole numbers for everyone.

    Returns:
        Names, and one row an episode, those of ``references`` last.
    """
    signals = [s.name for s in (*spec.states, *([spec.action] if spec.action else []))]
    everyone = (*episodes, *references)
    shared = [n for n in signals if all(n in e.streams and e.streams[n].info.kind in NUMERIC for e in everyone)]
    raw = [np.concatenate([_looks(e, n) for n in shared] or [np.zeros(0)]) for e in everyone]
    base = np.stack(raw[len(episodes) :] if references else raw)
    with np.errstate(invalid="ignore"):
        middle, spread = np.nan_to_num(np.nanmean(base, axis=0)), np.nan_to_num(np.nanstd(base, axis=0))
    scale = np.where(spread > 1e-9 * np.maximum(np.abs(middle), 1e-300), spread, 1.0)
    names = [
        f"{n}[{c}]/{kind}" for n in shared for kind in ("mean", "spread", "change") for c in range(_width(everyone, n))
    ]
    rows = [np.clip(np.nan_to_num((r - middle) / scale, nan=6.0), -6.0, 6.0) for r in raw]
    return tuple(names), [tuple(int(v) for v in np.rint(r * GRAIN)) for r in rows]


def _width(episodes: Sequence[Episode], stream: str) -> int:
    return int(np.prod(episodes[0].streams[stream].info.shape or (1,)))


def _looks(episode: Episode, stream: str) -> FloatArray:
    """(3 D,) mean, spread and mean change of each channel, over rows without a gap."""
    values = np.asarray(episode.array(stream), np.float64).reshape(len(episode), -1)
    good = ~episode.streams[stream].gap & np.isfinite(values).all(axis=1)
    if good.sum() < 2:
        return np.full(3 * values.shape[1], np.nan)
    kept = values[good]
    return np.concatenate([kept.mean(axis=0), kept.std(axis=0), np.abs(np.diff(kept, axis=0)).mean(axis=0)])
