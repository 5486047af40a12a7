"""An evaluation as a document: one row a figure, step and situation, with every contender and its interval.

Plain JSON (schema ``worldgate/evaluation/1``), put into the store and named by its digest. A value that is not
finite, or that nothing was measured for, is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Origin
from worldgate.core.worlds import ModelSpec
from worldgate.evidence.evaluation.measures import EvaluateConfig, FigureInfo, Measure, Verdict
from worldgate.evidence.evaluation.sums import Estimate, Table, advantage, estimate

SCHEMA = "worldgate/evaluation/1"
BASELINES = ("hold", "velocity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was evaluated, on what, and how."""

    spec: ModelSpec
    origin: Origin
    """Of the episodes."""
    dataset: str
    config: EvaluateConfig
    horizons: tuple[int, ...]
    """Steps ahead."""
    samples: int
    """Futures a window; 1 where the model's futures do not differ."""
    episodes: tuple[str, ...]
    references: int
    """Training episodes that were there to fit read-outs on."""
    windows: int
    skipped: int
    """Windows left out because alignment marked a gap or a value is not finite."""
    nonfinite: int
    """Windows in which the model gave NaN or infinity."""
    features: str
    """Of pictures, for distances between distributions."""
    not_measured: Mapping[str, str]
    """Entry of the seam ``metrics`` -> why it could not be taken."""
    situations: Mapping[str, int]
    """Situation -> windows in which it holds at some step."""
    rollout_steps: int
    rollout_seconds: float
    """Time in the model alone, other actions included."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure at one step."""

    figure: str
    unit: str
    better: str
    target: float | None
    step: int
    """0: about whole windows."""
    situation: str
    """Empty: all windows."""
    values: Mapping[str, Estimate]
    """Contender -> figure with interval."""
    baseline: str = ""
    """The better one of the baselines measured here."""
    advantage: Estimate | None = None
    """Over it: 1 - model / baseline of errors, model - baseline of scores; above 0 is better."""
    p: Mapping[str, float] = field(default_factory=dict)
    """Contender -> p of no difference from what happened, by permutation."""
    note: str = ""
    detail: bool = False
    """Left out of the table for people."""

    @property
    def meets_target(self) -> bool | None:
        """Whether the model's interval holds the target; None without one."""
        model = self.values.get("model")
        if self.target is None or model is None or model.lower is None or model.upper is None:
            return None
        return model.lower <= self.target <= model.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation found."""

    schema: str = SCHEMA
    subject: str
    """Digest of the model."""
    facts: Facts
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "evaluation") -> Evaluation:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
            ConfigError: unknown or missing fields.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not an evaluation this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)

    def row(self, figure: str, step: int = 0, situation: str = "") -> Row | None:
        """One row; None where it was not measured."""
        return next((r for r in self.rows if (r.figure, r.step, r.situation) == (figure, step, situation)), None)


def assemble(facts: Facts, table: Table, measures: Sequence[Measure]) -> Evaluation:
    """Turn sums into rows with intervals."""
    infos = {info.name: info for measure in measures for info in measure.figures}
    order = {name: i for i, name in enumerate(infos)}
    held: dict[tuple[str, str, int], list[str]] = {}
    for figure, situation, step, contender in table.entries():
        held.setdefault((figure, situation, step), []).append(contender)
    rows = [
        _row(infos[figure], table, (figure, situation, step), who, facts.config)
        for (figure, situation, step), who in held.items()
    ]
    verdicts = [v for measure in measures if hasattr(measure, "conclude") for v in measure.conclude()]
    rows += _tested(verdicts, infos)
    rows.sort(key=lambda r: (bool(r.situation), r.situation, order[r.figure], r.step))
    return Evaluation(subject=facts.spec.digest, facts=facts, rows=tuple(rows))


def _row(
    info: FigureInfo, table: Table, key: tuple[str, str, int], contenders: Sequence[str], config: EvaluateConfig
) -> Row:
    sums = {who: table.of((*key, who)) for who in contenders}
    values = {
        who: estimate(held, info.reduction, level=config.level, resamples=config.resamples, seed=config.seed)
        for who, held in sums.items()
    }
    known = [(found, who) for who in BASELINES if who in values and (found := values[who].value) is not None]
    best, gain = "", None
    if known and "model" in sums and info.better != "target":
        best = (min if info.better == "lower" else max)(known)[1]
        gain = advantage(
            sums["model"],
            sums[best],
            info.reduction,
            relative=info.better == "lower",
            level=config.level,
            resamples=config.resamples,
            seed=config.seed,
        )
    return Row(
        figure=info.name,
        unit=info.unit,
        better=info.better,
        target=info.target,
        situation=key[1],
        step=key[2],
        values=values,
        baseline=best,
        advantage=gain,
        note=info.note,
        detail=info.detail,
    )


def _tested(verdicts: Sequence[Verdict], infos: Mapping[str, FigureInfo]) -> list[Row]:
    """Rows of figures that are taken over all windows at once."""
    grouped: dict[tuple[str, int], list[Verdict]] = {}
    for verdict in verdicts:
        grouped.setdefault((verdict.figure, verdict.step), []).append(verdict)
    return [
        Row(
            figure=figure,
            unit=infos[figure].unit,
            better=infos[figure].better,
            target=infos[figure].target,
            situation="",
            step=step,
            values={v.contender: Estimate(value=v.value, episodes=v.episodes) for v in found},
            p={v.contender: v.p for v in found if v.p is not None},
            note=infos[figure].note,
            detail=infos[figure].detail,
        )
        for (figure, step), found in grouped.items()
    ]
