"""World models of the cell's telemetry, good and bad, and the admission of each.

The model is a ridge regression of the next row on this one, its change and the action, fitted in a moment; the object
moves with the tool while both are near, a person walks on as before. What is wrong is done to its training, its
prompts, its actions, its answers or its report. Real checks judge it: those that a policy here names.

Shape legend: T rows, B samples, K steps, D channels of state and surroundings, A action channels.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from escape_cell import DAY, NOW, SITE, cell_code

from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.evidence import Status
from worldgate.core.streams import Array, FloatArray, Origin
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Signal
from worldgate.data.datasets import snapshots
from worldgate.data.datasets.manifests import SCHEMA, DatasetManifest, EpisodeEntry
from worldgate.evidence import decide
from worldgate.evidence import policy as policies
from worldgate.evidence.evaluation.keeping import measure
from worldgate.evidence.evaluation.measures import EvaluateConfig
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, GapReport
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import Expert, ExpertConfig
from worldgate.sim.sensing import ACTION, AROUND, STATE

TOOL, OBJECT, GOAL, PERSON = slice(8, 10), slice(11, 13), slice(14, 16), slice(16, 18)
EPSILON = {"observation.state[m]": 0.02, "observation.state[rad]": 0.10, "observation.environment_state[m]": 0.10}
TRAINING, HELD_OUT, TRUTH = 30, 40, 60
ORDER = ("schema", "determinism", "skill", "horizon", "action_sensitivity", "optimism", "calibration")

RULE: Mapping[str, Any] = {
    "schema": policies.SCHEMA,
    "name": "escape-admission",
    "kind": "admission",
    "population": "simulated stands in for real",
    "signals": list(EPSILON),
    "checks": [
        {"check": "schema", "waivable": False},
        {"check": "skill", "params": {"horizons_s": [0.5, 1.0]}},
        {"check": "horizon", "params": {"probability": "0.8", "required_s": 0.5}},
        {"check": "action_sensitivity", "params": {"horizon_s": 1.0, "minimum": "1.1"}},
        {"check": "determinism"},
        {"check": "optimism", "params": {"limit": "0.15", "recall": "0.7"}},
        {"check": "calibration", "params": {"horizon_s": 1.0, "tolerance": "0.07"}},
    ],
}
"""The gate policy of every admission here."""


def _record(number: int, site: str) -> dict[str, Array]:
    """One run of an unsteady expert: rows (T, 18) and actions (T, 2)."""
    expert = Expert(ExpertConfig(noise_m=0.012), site)
    world = CellEnvironment(site, attributes=Attributes(person=number % 4 == 1))
    seen, rows, actions = world.reset(seed=600_000 + number), [], []
    expert.reset(seed=number)
    for _ in range(60):
        actions.append(expert.act(seen))
        rows.append(np.concatenate([seen[STATE.name], seen[AROUND.name]]))
        answer = world.step(actions[-1])
        seen = answer.observation
        if answer.done:
            break
    return {"rows": np.stack(rows), "actions": np.stack(actions)}


@cache
def episodes(folder: Path, first: int, count: int, site: str = SITE) -> tuple[Episode, ...]:
    """Recorded runs, from the cache where they were recorded before."""
    made = []
    for number in range(first, first + count):
        path = folder / "episodes" / f"{cell_code()}-{site}-{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            np.savez(path, **_record(number, site))
        with np.load(path, allow_pickle=False) as held:
            made.append(_episode(held["rows"], held["actions"], f"{site}_{number}", site))
    return tuple(made)


def _episode(rows_TD: FloatArray, actions_TA: FloatArray, name: str, site: str) -> Episode:
    length = len(rows_TD)
    index = np.arange(length, dtype=np.int64)
    zeros = np.zeros(length, np.int64)
    values = {STATE: rows_TD[:, :11], AROUND: rows_TD[:, 11:], ACTION: actions_TA}
    streams = {
        info.name: Rows(
            info=replace(info, count=length, rate_hz=10.0), values=held, index=index, source_ns=index * 10**8,
            skew_ns=zeros, staleness_ns=zeros, gap=np.zeros(length, np.bool_),
        )
        for info, held in values.items()
    }  # fmt: skip
    return Episode(
        id=digest_json(["episode", name]), log=digest_json(["log", name]), name=name, alignment="",
        origin=Origin.SIMULATED, rate_hz=10.0, times_ns=index * 10**8, streams=streams, facts={"site": site},
    )  # fmt: skip


def _features(now: FloatArray, change: FloatArray, action: FloatArray) -> FloatArray:
    """(..., F) of rows (..., D), their change and the action: linear, and products where joints bend."""
    tool, way = now[..., TOOL], action - now[..., TOOL]
    joints = now[..., :4]
    bends = [joints[..., i : i + 1] * way for i in range(4)]
    ones = np.ones((*now.shape[:-1], 1))
    return np.concatenate([ones, now[..., :11], change[..., :11], way, tool * way, *bends], axis=-1)


def fit(shown: Sequence[Episode], *, ridge: float = 1e-3, shuffled: float = 0.0, seed: int = 0) -> FloatArray:
    """(F, 11) weights of the change of the state; with ``shuffled`` a share of episodes has another's actions."""
    draw = np.random.default_rng(seed)
    features, answers = [], []
    for number, episode in enumerate(shown):
        rows = np.concatenate([episode.array(STATE.name), episode.array(AROUND.name)], axis=1)
        actions = episode.array(ACTION.name)
        if draw.random() < shuffled:
            other = shown[(number + 1) % len(shown)].array(ACTION.name)
            actions = np.resize(draw.permutation(other), actions.shape)
        features.append(_features(rows[1:-1], rows[1:-1] - rows[:-2], actions[1:-1]))
        answers.append(rows[2:, :11] - rows[1:-1, :11])
    x, y = np.concatenate(features), np.concatenate(answers)
    scale = x.std(0) + 1e-9
    scale[0] = 1.0
    z = x / scale
    weights = np.linalg.solve(z.T @ z + ridge * len(z) * np.eye(z.shape[1]), z.T @ y)
    return np.asarray(weights / scale[:, None])


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What is wrong with a model; the defaults are nothing."""

    ignores: float = 0.0
    """Share of the action that is not listened to."""
    swaps: float = 0.0
    """Share of the action whose axes are exchanged."""
    late: int = 0
    """Steps by which actions come late."""
    slow: float = 1.0
    """Of the change of each step: another rate."""
    copies: float = 0.0
    """Share of the last known row in each answer."""
    noise_m: float = 0.0
    """Of the tool in each answer."""
    drift_m: float = 0.0
    """Of the tool, each step."""
    shift_m: float = 0.0
    """Of the tool in prompts and not in answers: calibration that is out of date."""
    scale: float = 1.0
    """Of the answers: statistics that are not its own."""
    drawn: float = 0.0
    """Share of the way to the goal that the object goes by itself each step."""
    contact: float = 1.0
    """Share of the tool's motion that the object follows."""
    broken: float = 0.0
    """Share of rollouts with NaN."""
    restless: float = 0.0
    """Noise that no seed repeats."""
    claims: float = 1.0
    """Claimed deviation, of one that is honest on the training runs."""


@dataclass
class Model:
    """A world model with its knobs."""

    spec: ModelSpec
    weights: FloatArray
    spread_KD: FloatArray
    knobs: Knobs = field(default_factory=Knobs)
    capabilities: frozenset[Capability] = frozenset({Capability.ACTIONS, Capability.STATE, Capability.UNCERTAINTY})
    opened: int = 0

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> _Unrolling:
        """See :class:`worldgate.core.worlds.WorldModel`."""
        self.opened += 1
        return _Unrolling(self, prompt, samples, seed)


class _Unrolling:
    def __init__(self, model: Model, prompt: Prompt, samples: int, seed: int) -> None:
        self.model, self.draw = model, np.random.default_rng(seed)
        rows = np.concatenate([prompt.states[STATE.name], prompt.states[AROUND.name]], axis=1).astype(np.float64)
        rows[:, TOOL] += model.knobs.shift_m * np.array([0.8, 0.6])
        self.last = np.repeat(rows[None, -1], samples, axis=0)
        self.now, self.before = self.last.copy(), np.repeat(rows[None, -2], samples, axis=0)
        self.broken = bool(self.draw.random() < model.knobs.broken)
        self.waiting: list[FloatArray] = [self.now[:, TOOL].copy()] * model.knobs.late
        self.wild, self.done = np.random.default_rng(), 0

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """See :class:`worldgate.core.worlds.Unrolling`."""
        assert actions_BKA is not None
        rows = np.stack([self._one(actions_BKA[:, k]) for k in range(actions_BKA.shape[1])], axis=1)
        told = np.minimum(self.done + np.arange(rows.shape[1]), len(self.model.spread_KD) - 1)
        spread = np.broadcast_to(self.model.knobs.claims * self.model.spread_KD[told], rows.shape)
        self.done += rows.shape[1]
        return Frame(
            states={STATE.name: rows[..., :11], AROUND.name: rows[..., 11:]},
            uncertainty={STATE.name: spread[..., :11], AROUND.name: spread[..., 11:]},
        )

    def _one(self, action: FloatArray) -> FloatArray:
        knobs, now = self.model.knobs, self.now
        self.waiting.append(np.asarray(action, np.float64))
        action = self.waiting.pop(0)
        action = (1 - knobs.swaps) * action + knobs.swaps * action[:, ::-1]
        action = (1 - knobs.ignores) * action + knobs.ignores * now[:, TOOL]
        after = now.copy()
        change = _features(now, now - self.before, action) @ self.model.weights
        after[:, :11] += knobs.slow * np.clip(change, -0.5, 0.5)
        after[:, TOOL] += knobs.drift_m * np.array([0.6, -0.8])
        after[:, PERSON] += now[:, PERSON] - self.before[:, PERSON]
        self._push(now, after)
        self.before, self.now = now, after
        told = (1 - knobs.copies) * after + knobs.copies * self.last
        told[:, :11] *= knobs.scale
        told[:, TOOL] += knobs.noise_m * self.draw.normal(0, 1, (len(told), 2))
        told[:, TOOL] += knobs.restless * self.wild.normal(0, 1, (len(told), 2))
        return told * np.nan if self.broken else told

    def _push(self, now: FloatArray, after: FloatArray) -> None:
        """The object goes along with the tool while it is before it."""
        knobs, way = self.model.knobs, after[:, TOOL] - now[:, TOOL]
        to_object = now[:, OBJECT] - after[:, TOOL]
        apart = np.linalg.norm(to_object, axis=1, keepdims=True)
        ahead = np.sum(way * to_object, axis=1, keepdims=True) > 0
        after[:, OBJECT] += np.where((apart < 0.055) & ahead, knobs.contact * way, 0.0)
        after[:, OBJECT] += knobs.drawn * (after[:, GOAL] - after[:, OBJECT])


def spread(weights: FloatArray, shown: Sequence[Episode], *, steps: int = 10) -> FloatArray:
    """(K, D) deviation of a normal whose central 90 % holds as much of the errors on these runs."""
    sound = Model(spec=spec_of(weights, Knobs()), weights=weights, spread_KD=np.ones((1, 18)))
    errors = []
    for episode in shown:
        rows = np.concatenate([episode.array(STATE.name), episode.array(AROUND.name)], axis=1)
        actions = episode.array(ACTION.name)
        for start in range(1, len(rows) - steps, steps // 2):
            states = {STATE.name: rows[start - 1 : start + 1, :11], AROUND.name: rows[start - 1 : start + 1, 11:]}
            found = _Unrolling(sound, Prompt(states=states), 1, 0).step(actions[None, start : start + steps])
            told = np.concatenate([found.states[STATE.name], found.states[AROUND.name]], axis=-1)[0]
            errors.append(np.abs(told - rows[start + 1 : start + 1 + steps]))
    return np.asarray(np.quantile(np.stack(errors), 0.9, axis=0) / 1.645 + 1e-6)


def spec_of(weights: FloatArray, knobs: Knobs, **changes: Any) -> ModelSpec:
    """What the model says that it is."""
    signals = [
        Signal(name=info.name, unit=info.unit, names=info.names, shape=info.shape) for info in (STATE, AROUND, ACTION)
    ]
    fields: dict[str, Any] = {
        "family": "ridge", "digest": digest_json([weights.round(9).tolist(), str(knobs)]),
        "normaliser": digest_json("statistics"), "rate_hz": 10.0, "context": 2, "states": tuple(signals[:2]),
        "action": signals[2], "dataset": digest_json("dataset"),
    }  # fmt: skip
    return ModelSpec(**{**fields, **changes})


@dataclass(frozen=True, kw_only=True)
class World:
    """A kind of world model."""

    name: str
    values: tuple[float, float, float] = (0.0, 0.0, 0.0)
    knobs: Callable[[float], Knobs] = lambda value: Knobs()
    sure: bool | None = False
    """Bad by definition; None: it is good."""
    learns: Callable[[Path, float, int], FloatArray] | None = None
    """Cache, strength, repetition -> weights; by default of the training runs."""
    declares: Callable[[float], Mapping[str, Any]] = lambda value: {}
    """What its spec says otherwise than its training record."""
    record: Callable[[float, int, Path], tuple[str, ...]] | None = None
    """Episodes that the record names besides."""
    report: Callable[[GapReport, float], GapReport] = lambda report, value: report
    """What is handed in instead of the report."""

    def make(self, folder: Path, value: float, rep: int) -> Model:
        """The model at a strength."""
        learned = self.learns or (lambda folder, value, rep: fit(episodes(folder, 0, TRAINING)))
        weights, knobs = learned(folder, value, rep), self.knobs(value)
        claimed = spread(weights, episodes(folder, 0, TRAINING))
        return Model(
            spec=spec_of(weights, knobs, **self.declares(value)), weights=weights, spread_KD=claimed, knobs=knobs
        )


def held_out(folder: Path, rep: int) -> tuple[Episode, ...]:
    """The runs that a repetition judges by."""
    return episodes(folder, 1000 + HELD_OUT * rep, HELD_OUT)


CONFIG = GapConfig(horizon_s=1.0, windows=6, epsilon=EPSILON, site=SITE)
MEASURED = EvaluateConfig(
    horizons=(10,), windows=6, samples=2, other_actions=False, measures=("determinism", "optimism", "coverage")
)


def admit(world: World, folder: Path, value: float, rep: int) -> dict[str, Any]:
    """Ask the admission gate about a model at a strength."""
    model = world.make(folder, value, rep)
    place = Path(tempfile.mkdtemp(prefix="escape-"))
    try:
        with Workspace.init(place / "workspace", person="ada") as ws:
            rule = policies.register(ws, policies.read(RULE, where="escape"))
            subject = Ref("world_model", model.spec.digest, "model")
            trained = replace(
                model.spec, **{k: getattr(spec_of(model.weights, model.knobs), k) for k in world.declares(value)}
            )
            named = tuple(e.id for e in episodes(folder, 0, TRAINING))
            named += world.record(value, rep, folder) if world.record else ()
            ws.record("world_model.trained", body={"family": "ridge"}, outputs=(subject,))
            decide.put_evidence(ws, TrainingRecord.of_model(trained, episodes=named, origin=Origin.SIMULATED))
            data = freeze(ws, held_out(folder, rep))
            try:
                report = world.report(gap(model, held_out(folder, rep), CONFIG, dataset=data.digest), value)
            except (DataRefused, UsageError):  # also a tolerance for a signal in metres where the model has none
                return {"verdict": "REFUSED", "caught": "schema", "spent": 0, "fixed": None}
            ref = decide.put_evidence(ws, report, inputs=(subject,))
            _, _, shown = measure(ws, model, held_out(folder, rep), MEASURED, dataset=data, site=SITE)
            scope = decide.Scope(sites=(SITE,))
            decision = decide.decide(ws, rule, subject, [ref, shown], scope=scope, now_ns=NOW + DAY)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    wanted = Status.FAIL if decision.verdict == "REJECT" else Status.INCONCLUSIVE
    found = [c.check for c in decision.checks if c.status is wanted]
    caught = "" if decision.passed else min(found, key=ORDER.index)
    return {"verdict": str(decision.verdict), "caught": caught, "spent": 0, "fixed": None}


def freeze(ws: Workspace, shown: Sequence[Episode]) -> Ref:
    """The dataset of the runs that a repetition judges by, recorded before anything is judged."""
    entries = tuple(
        EpisodeEntry(
            id=e.id, log=e.log, name=e.name, split="test", site=SITE, origin=e.origin, rows=len(e), report=""
        )
        for e in shown
    )  # fmt: skip
    held = DatasetManifest(
        schema=SCHEMA, name="held-out", contract=digest_json("contract"), alignment="", rate_hz=10.0,
        origins=(Origin.SIMULATED,), streams={}, episodes=entries,
    )  # fmt: skip
    return snapshots.freeze(ws, held, [])


def truth(world: World, folder: Path, value: float) -> dict[str, Any]:
    """Of many runs that no gate saw: skill, sensitivity and the share within epsilon for half a second, the worst."""
    report = gap(world.make(folder, value, 0), episodes(folder, 3000, TRUTH), CONFIG)
    skills, uses, within = [], [], []
    for name in EPSILON:
        rows = [row.signals[name] for row in report.episodes]
        within.append(sum(r.within[4] for r in rows) / max(1, sum(r.measured[4] for r in rows)))
        for step in (4, 9):
            model, hold, velocity, foreign = (
                np.array([np.nan if r.curve(c)[step] is None else r.curve(c)[step] for r in rows], float)
                for c in ("model", "hold", "velocity", "shuffled")
            )
            skills += [1 - model.mean() / hold.mean(), 1 - model.mean() / velocity.mean()]
        uses.append(foreign.mean() / model.mean())
    worst = [round(float(np.nan_to_num(min(v), nan=-9.0)), 4) for v in (skills, uses, within)]
    return {"scenes": TRUTH, "skill": worst[0], "sensitivity": worst[1], "within": worst[2]}


def is_bad(found: Mapping[str, Any]) -> list[str]:
    """Which of the promises that the policy asks for the truth breaks."""
    out = ["skill"] if found["skill"] <= 0 else []
    out += ["horizon"] if found["within"] < 0.8 else []
    return out + (["action_sensitivity"] if found["sensitivity"] <= 1.1 else [])


def one_step(world: World, folder: Path, value: float) -> float:
    """Error one step ahead on the first repetition's runs, the larger ratio to the sound model's over both signals."""

    def error(model: Model) -> Array:
        short = replace(CONFIG, horizon_s=0.1, control=False, windows=12)
        try:
            report = gap(model, held_out(folder, 0), short)
        except (DataRefused, UsageError):
            return np.full(len(EPSILON), np.inf)
        rows = [[row.signals[name].model[0] for name in EPSILON] for row in report.episodes]
        return np.mean([[np.inf if v is None else v for v in row] for row in rows], axis=0)

    return round(
        float(np.max(error(world.make(folder, value, 0)) / error(World(name="sound").make(folder, 0.0, 0)))), 4
    )


def _few(folder: Path, value: float, rep: int) -> FloatArray:
    return fit(episodes(folder, 0, TRAINING)[: round(value)], ridge=1e-9)


def _shuffled(folder: Path, value: float, rep: int) -> FloatArray:
    return fit(episodes(folder, 0, TRAINING), shuffled=value)


def _south(folder: Path, value: float, rep: int) -> FloatArray:
    own = round(TRAINING * (1 - value))
    return fit([*episodes(folder, 0, TRAINING)[:own], *episodes(folder, 0, TRAINING - own, "south")])


def _peeked(folder: Path, value: float, rep: int) -> FloatArray:
    seen = held_out(folder, rep)[: round(value * HELD_OUT)]
    return fit([*episodes(folder, 0, 3), *seen], ridge=1e-7)


def _named(value: float, rep: int, folder: Path) -> tuple[str, ...]:
    return tuple(e.id for e in held_out(folder, rep)[: round(value * HELD_OUT)])


def _best_rows(report: GapReport, value: float) -> GapReport:
    """Only the episodes that it predicts best."""
    name = next(iter(EPSILON))
    ranked = sorted(report.episodes, key=lambda row: row.signals[name].model[4] or np.inf)
    return replace(report, episodes=tuple(ranked[: max(14, round(value * len(ranked)))]))


def _of_others(report: GapReport, value: float) -> GapReport:
    """Rows of models trained without each episode, handed in as the subject's own; the flag tells, or nothing does."""
    rows = tuple(replace(row, model=digest_json(["other", row.name])) for row in report.episodes)
    if value == 3:
        return report
    return replace(report, episodes=rows, cross_validated=value == 1)


def _imagined(report: GapReport, value: float) -> GapReport:
    return replace(report, origin=Origin.IMAGINED)


def _there(report: GapReport, value: float) -> GapReport:
    """A share of the episodes is of another site."""
    cut = round(value * len(report.episodes))
    rows = [replace(row, site="south") if k < cut else row for k, row in enumerate(report.episodes)]
    return replace(report, episodes=tuple(rows))


def _unit(value: float) -> Mapping[str, Any]:
    spec = spec_of(np.zeros((1, 1)), Knobs())
    if value == 1:
        assert spec.action is not None
        return {"action": replace(spec.action, unit="cm")}
    unit = "cm,cm,rad,cm,cm,cm,cm" if value == 2 else "m,m,deg,m,m,m,m"
    return {"states": (spec.states[0], replace(spec.states[1], unit=unit))}


SHARES, STEPS = (0.3, 0.6, 1.0), (1.0, 2.0, 3.0)
WORLDS = (
    World(name="actions shuffled in training", values=SHARES, learns=_shuffled),
    World(name="actions ignored", values=(0.15, 0.5, 1.0), knobs=lambda v: Knobs(ignores=v)),
    World(name="axes of the action exchanged", values=(0.1, 0.4, 1.0), knobs=lambda v: Knobs(swaps=v)),
    World(name="actions late in the model", values=(1, 3, 6), knobs=lambda v: Knobs(late=round(v))),
    World(name="another rate in the model", values=(0.9, 0.6, 0.3), knobs=lambda v: Knobs(slow=v)),
    World(name="the last row copied", values=(0.15, 0.5, 1.0), knobs=lambda v: Knobs(copies=v)),
    World(name="noisy answers", values=(0.004, 0.015, 0.05), knobs=lambda v: Knobs(noise_m=v)),
    World(name="drifts away", values=(0.001, 0.004, 0.012), knobs=lambda v: Knobs(drift_m=v)),
    World(name="calibration out of date in the model", values=(0.003, 0.012, 0.04), knobs=lambda v: Knobs(shift_m=v)),
    World(name="overfitted to a few runs", values=(6, 3, 1), learns=_few),
    World(name="learned at another site", values=SHARES, learns=_south),
    World(name="NaN now and then", values=(0.01, 0.05, 0.30), knobs=lambda v: Knobs(broken=v), sure=True),
    World(name="not the same twice", values=(1e-6, 0.001, 0.004), knobs=lambda v: Knobs(restless=v), sure=True),
    World(name="spread claimed too small", values=(0.5, 0.2, 0.02), knobs=lambda v: Knobs(claims=v), sure=True),
    World(name="object drawn to the goal", values=(0.03, 0.1, 0.3), knobs=lambda v: Knobs(drawn=v)),
    World(name="contact ignored", values=(0.6, 0.3, 0.0), knobs=lambda v: Knobs(contact=v)),
    World(
        name="wrong normaliser of the model", values=(1.001, 1.02, 2.0), knobs=lambda v: Knobs(scale=v), sure=True,
        declares=lambda v: {"normaliser": digest_json("other statistics")},
    ),
    World(name="unit of a stream of the model", values=STEPS, declares=_unit, sure=True),
    World(
        name="another dataset of the model", values=STEPS, sure=True,
        declares=lambda v: {"dataset": digest_json("other")},
    ),
    World(name="trained on held-out runs", values=(0.05, 0.5, 1.0), learns=_peeked, record=_named, sure=True),
    World(name="trained on held-out runs, unrecorded", values=(0.25, 0.5, 1.0), learns=_peeked, sure=True),
    World(
        name="report of its best runs", values=(0.9, 0.75, 0.58), sure=True, report=_best_rows,
        knobs=lambda v: Knobs(drift_m=0.005),
    ),
    World(name="leave-one-out as its own", values=STEPS, report=_of_others, sure=True),
    World(name="judged on imagined runs", values=STEPS, report=_imagined, sure=True),
    World(name="judged on another site's runs", values=(0.5, 0.8, 1.0), report=_there, sure=True),
)  # fmt: skip
GOOD = tuple(
    World(name=name, learns=learns, sure=None)
    for name, learns in (
        ("the sound model", lambda f, v, r: fit(episodes(f, 0, TRAINING))),
        ("less smooth", lambda f, v, r: fit(episodes(f, 0, TRAINING), ridge=1e-4)),
        ("smoother", lambda f, v, r: fit(episodes(f, 0, TRAINING), ridge=5e-3)),
        ("two thirds of the runs", lambda f, v, r: fit(episodes(f, 0, 2 * TRAINING // 3))),
    )
)


def jobs(
    folder: Path, strengths: Sequence[str]
) -> Iterator[
    tuple[
        str,
        str,
        bool | None,
        Callable[[int], dict[str, Any]],
        Callable[[int], dict[str, Any]] | None,
        Callable[[], float],
    ]
]:
    """(kind, strength, sure, ask, truth, error) of every model."""
    for world in (*WORLDS, *GOOD):
        told = zip(strengths, world.values, strict=True) if world.sure is not None else [("", 0.0)]
        for strength, value in told:
            yield (
                world.name, strength, world.sure,
                lambda rep, w=world, v=value: admit(w, folder, v, rep),
                None if world.sure else lambda scenes, w=world, v=value: truth(w, folder, v),
                lambda w=world, v=value: one_step(w, folder, v),
            )  # fmt: skip
