"""How well telemetry is predicted, at equal training time, by each core of ``state`` and by baselines.

``.venv/bin/python benchmarks/state.py [--quick] [--json] [--real FOLDER] [--seconds S] [--only SET ...]``. Sets: the
simulated cell, the cell with commands that act 0.4 s late, the cell with 40 % of its rows dropped; of real logs DROID
states with commands and without, G1, OpenArm, a PX4 flight and a car of comma2k19 without commands. Logs that judge are
not those that teach; of a single log every third block of time judges, and half a second between blocks goes unused.
Every core gets the same processor seconds on one thread and the same optimiser, and is judged on the same windows.

Skill is one minus the squared error over that of a baseline, in channel spreads, with an interval of 90 % over episodes
or, where there are fewer than six, blocks of time; beside it stand the CRPS of the claimed normal, the energy score of
16 drawn futures over all channels, the coverage of the claimed 90 %, and imagined steps a second. Hold-last and
constant velocity know the true times. ``ridge`` is the linear start alone, ``mlp, long`` sees 0.8 s of commands.
Every pupil's figures are kept in a folder (``--cache``), so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgate.core.episodes import Episode
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.logs import open_folder
from worldgate.data.resample import Policy
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.evaluation.scores import energy_score
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig
from worldgate.worlds import telemetry_figures as judged
from worldgate.worlds.nn.ensemble import Core, Ensemble, EnsembleConfig
from worldgate.worlds.nn.rolling import Rolling
from worldgate.worlds.nn.window import Window
from worldgate.worlds.telemetry import TelemetryPhase, between
from worldgate.worlds.tracks import Inputs, Layout, Track, fit_normaliser, make_tracks, resolve_layout
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.uneven import Looks, thinned

KEPT = Path(__file__).parent / "results" / "state.json"
HORIZONS_S = (0.1, 0.5, 1.0, 2.0)
CONTENDERS = ("mlp", "gru", "transformer", "ridge")
LATE_S, DROPPED = 0.4, 0.4
MEMORY_S, BRIEF = 1.0, {"openarm": 0.4}
"""Seconds that a memory looks back on; less where the log that judges lasts 0.8 s."""
EDGE_S, BLOCK_S = 0.5, 4.0
SAMPLES, DRAWN, WINDOWS = 16, 32, 128
BATCH, RATE = 64, 2e-3
ENOUGH = 900
"""Steps of a default training; who took fewer is called starved, and what it lacks says nothing of it."""
HOLD = StreamAlignment(policy=Policy.HOLD)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Tracks that teach and tracks that judge."""

    name: str
    layout: Layout
    train: list[Track]
    val: list[Track]


# ------------------------------------------------------------------ data


def episodes_of(
    path: Path, rate_hz: float, streams: Sequence[str], late: Mapping[str, float] | None = None
) -> list[Episode]:
    """Every log of a folder that has the streams, on a causal grid; ``late`` stamps a stream earlier by seconds."""
    items = {n: replace(HOLD, offset_ns=-round((late or {}).get(n, 0.0) * 1e9)) for n in streams}
    spec = AlignmentSpec(rate_hz=rate_hz, causal=True, streams=items)
    logs = [log for log in open_folder(path).logs if set(streams) <= {info.name for info in log.streams()}]
    return [align(log, spec) for log in logs]


def split(name: str, episodes: Sequence[Episode], states: Sequence[str], action: str) -> Data:
    """A third of the episodes judges, at least one; of a single one, every third block of time."""
    layout = resolve_layout(episodes, Inputs(states=tuple(states), action=action))
    tracks = make_tracks(episodes, layout)
    if len(tracks) > 1:
        judging = {i for i in range(len(tracks)) if i % 3 == 2} or {len(tracks) - 1}
        parts = [[t for i, t in enumerate(tracks) if (i in judging) == side] for side in (False, True)]
    else:
        blocks = [part for track in tracks for part in cut(track, layout.rate_hz)]
        parts = [[t for i, t in enumerate(blocks) if (i % 3 == 1) == side] for side in (False, True)]
    return Data(name=name, layout=layout, train=parts[0], val=parts[1])


def cut(track: Track, rate_hz: float) -> list[Track]:
    """Blocks of time without half a second at each edge."""
    edge, length = round(EDGE_S * rate_hz), min(round(BLOCK_S * rate_hz), max(len(track) // 5, 1))
    parts = np.array_split(np.arange(len(track)), max(5, len(track) // length))
    held = [between(track, int(p[0]) + edge // 2, int(p[-1]) + 1 - edge // 2) for p in parts]
    return [replace(part, id=f"{track.id}@{i}") for i, part in enumerate(held)]


def cell(folder: Path, runs: int) -> Path:
    """Runs of the cell without cameras, of three experts at two sites."""
    folder.mkdir(exist_ok=True)
    sensors = SensorConfig(cameras=(), geometry=(), lidar=False)
    for seed in range(runs):
        site, expert = ("north", "south")[seed % 2], ("scripted", "noisy")[seed // 2 % 2]
        path = folder / f"{seed}.mcap"
        if not path.exists():
            record(path, site=site, expert=expert, seed=seed, duration_s=8.0, config=RecordConfig(sensors=sensors))
    return folder


STATE, ACTION = "observation.state", "action"
CAR = ("observation.state.speed", "observation.state.steering_angle", "observation.imu.gyro")
FLIGHT = (
    "vehicle_attitude.rollspeed",
    "vehicle_attitude.pitchspeed",
    "vehicle_attitude.yawspeed",
    "vehicle_attitude.q",
)
THRUST = "actuator_controls_0.control"


def sets(real: Path, scratch: Path, quick: bool) -> dict[str, Callable[[], Data]]:
    """Name -> how it is made; real ones only where the folder is."""
    runs = 8 if quick else 12
    made: dict[str, Callable[[], Data]] = {
        "cell": lambda: split("cell", episodes_of(cell(scratch, runs), 10.0, (STATE, ACTION)), (STATE,), ACTION),
        "cell_late": lambda: split(
            "cell_late",
            episodes_of(cell(scratch, runs), 10.0, (STATE, ACTION), {ACTION: LATE_S}),
            (STATE,),
            ACTION,
        ),
        "cell_dropped": lambda: dropped(
            split("cell", episodes_of(cell(scratch, runs), 10.0, (STATE, ACTION)), (STATE,), ACTION), DROPPED
        ),
    }
    if not real.is_dir():
        return made
    droid = real / "droid_ctrlworld"
    made |= {
        "droid": lambda: split("droid", episodes_of(droid / "droid_subset", 15.0, (STATE, ACTION)), (STATE,), ACTION),
        "droid_alone": lambda: split(
            "droid_alone", episodes_of(droid / "droid_new_setup", 4.0, (STATE,)), (STATE,), ""
        ),
        "g1": lambda: split("g1", episodes_of(real / "g1_lerobot_v21", 30.0, (STATE, ACTION)), (STATE,), ACTION),
        "openarm": lambda: split(
            "openarm",
            episodes_of(real / "openarm_dataset", 30.0, (f"{STATE}.left", "action.left")),
            (f"{STATE}.left",),
            "action.left",
        ),
        "px4": lambda: split(
            "px4", episodes_of(real / "px4_ulog" / "test" / "sample.ulg", 25.0, (*FLIGHT, THRUST)), FLIGHT, THRUST
        ),
        "comma2k19": lambda: split("comma2k19", episodes_of(real / "comma2k19_segment", 20.0, CAR), CAR, ""),
    }
    return made


def dropped(data: Data, share: float) -> Data:
    """The same with rows missing at random."""
    train, val = ([thinned(t, share, seed) for seed, t in enumerate(part)] for part in (data.train, data.val))
    return replace(data, name=f"{data.name}_dropped", train=train, val=val)


# ------------------------------------------------------------------ learning


@dataclass
class Pupil:
    """One configuration on one set."""

    phase: TelemetryPhase
    ensemble: Ensemble
    steps: int = 0


def learn(data: Data, config: EnsembleConfig, seconds: float, *, linear: bool = False, seed: int = 0) -> Pupil:
    """Train for processor seconds, the linear start included, and calibrate; a linear one takes no step."""
    torch.manual_seed(seed)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first of a process imports for seconds
    begun = time.process_time()
    normaliser = fit_normaliser(data.train, data.layout)
    ensemble = Ensemble(config, data.layout, normaliser)
    phase = TelemetryPhase(ensemble, PhaseConfig(steps=1, batch=BATCH), data.layout, data.train, data.val)
    phase.prepare()
    pupil = Pupil(phase, ensemble)
    if not linear:
        pupil.steps = _descend(phase, seconds - (time.process_time() - begun), seed)
    phase.finish()
    if linear:
        ensemble.trust_D.zero_()
    return pupil


def _descend(phase: TelemetryPhase, seconds: float, seed: int) -> int:
    """AdamW with warm-up, cosine and averaged weights, as the product's loop has them; how many steps it took."""
    weights, rng, begun = phase.parameters(), np.random.default_rng(seed), time.process_time()
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=1e-2)
    mean = [w.detach().clone() for w in weights]
    step = 0
    while (place := (time.process_time() - begun) / max(seconds, 1e-9)) < 1:
        warm = min(1.0, (step + 1) / 20)
        optimiser.param_groups[0]["lr"] = RATE * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * place)))
        optimiser.zero_grad()
        torch.autograd.backward(phase.loss(phase.draw(rng)))
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        step += 1
        decay = min(0.98, step / (step + 10))
        for held, w in zip(mean, weights, strict=True):
            held.lerp_(w.detach(), 1 - decay)
    with torch.no_grad():
        for held, w in zip(mean, weights, strict=True):
            w.copy_(held)
    return step


# ------------------------------------------------------------------ judging


@torch.no_grad()
def judge(data: Data, pupil: Pupil, context: int) -> dict[str, Any]:
    """Figures by horizon, over windows that leave so many rows of context for everyone."""
    ensemble, rate = pupil.ensemble, data.layout.rate_hz
    ensemble.eval()
    looks = Looks(data.val, ensemble.state_circular_D)
    out: dict[str, Any] = {"steps": pupil.steps, "horizons": {}}
    for seconds in HORIZONS_S:
        found = judged.errors(ensemble, looks, rate, seconds, most=WINDOWS, context=context)
        if found is not None:
            energy = energies(ensemble, looks, max(1, round(seconds * rate)), context)
            by_unit = judged.by_unit(found.model_ND, found.unit_N).tolist()
            out["horizons"][f"{seconds:g}s"] = dict(judged.summary(found)) | {"energy": energy, "by_unit": by_unit}
    out["steps_per_s"] = speed(ensemble, looks)
    return out


def energies(ensemble: Ensemble, looks: Looks, horizon: int, context: int) -> dict[str, float]:
    """Mean energy score of drawn futures and of two baselines, over channels that were measured, in their spreads."""
    now = looks.rows(max(context, ensemble.context), horizon)
    now = now[:: -(-len(now) // DRAWN)]
    look = looks.take(now, ensemble.context, horizon)
    generator = torch.Generator().manual_seed(0)
    count, context = len(now), ensemble.context
    window = Window(
        *(
            part.repeat_interleave(SAMPLES, 0)
            for part in (look.window.states_XCD, look.window.span_XCD, look.window.age_XD, look.window.drift_XD)
        )
    )
    actions = look.actions_NTA.repeat_interleave(SAMPLES, 0)
    rolling = Rolling(ensemble, window, actions[:, : context - 1])
    for k in range(horizon):
        states, noise = rolling.step(actions[:, context - 1 + k])
    pick = (torch.arange(count * SAMPLES) % ensemble.members, torch.arange(count * SAMPLES))
    off = torch.randn(states.shape[1:], generator=generator) * rolling.left(states, noise)[pick]
    drawn = torch.unflatten(ensemble.shift(states[pick], off), 0, (count, SAMPLES))
    told = {
        "model": drawn,
        "hold": look.window.now_XD.unsqueeze(1),
        "velocity": judged.coasting(ensemble, look).unsqueeze(1),
    }
    return {name: _energy(ensemble, said, look.future_NKD[:, -1], look.known_NKD[:, -1]) for name, said in told.items()}


def _energy(ensemble: Ensemble, said_NSD: torch.Tensor, true_ND: torch.Tensor, known_ND: torch.Tensor) -> float:
    apart = (ensemble.difference(said_NSD, true_ND.unsqueeze(1)) / ensemble.state_std_D).double().numpy()
    moving = ensemble.state_constant_D.numpy() == 0
    scores = []
    for one, known in zip(apart, known_ND.numpy() > 0, strict=True):
        use = known & moving
        if use.any():
            scores.append(energy_score(one[:, use], np.zeros(int(use.sum()))))
    return float(np.mean(scores))


@torch.no_grad()
def speed(ensemble: Ensemble, looks: Looks) -> float:
    """Imagined steps a second of one mean path, the median of three."""
    now = looks.rows(ensemble.context, 1)[:1]
    look = looks.take(now, ensemble.context, 1)
    found = []
    for _ in range(3):
        rolling = Rolling(ensemble, look.window, look.actions_NTA[:, : ensemble.context - 1])
        begun = time.perf_counter()
        for _ in range(100):
            rolling.mean_step(look.actions_NTA[:, -1])
        found.append(100 / (time.perf_counter() - begun))
    return statistics.median(found)


# ------------------------------------------------------------------ the table


def configs(name: str) -> dict[str, EnsembleConfig]:
    """Who competes on a set."""
    cores = {kind: Core.MLP if kind == "ridge" else Core(kind) for kind in CONTENDERS}
    made = {kind: EnsembleConfig(core=core, memory_s=BRIEF.get(name, MEMORY_S)) for kind, core in cores.items()}
    if name == "cell_late":
        made["mlp, long"] = EnsembleConfig(commands_s=2 * LATE_S)
    return made


def measure(
    made: Mapping[str, Callable[[], Data]], seconds: float, cache: Path, tell: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Set -> contender -> figures; what the cache holds is not measured again."""
    out: dict[str, dict[str, Any]] = {}
    for name, make in made.items():
        data: Data | None = None
        out[name] = {}
        for kind, config in configs(name).items():
            kept = cache / f"{name}-{kind.replace(', ', '-')}-{seconds:g}.json"
            if not kept.exists():
                data = data or make()
                pupil = learn(data, config, seconds, linear=kind == "ridge")
                context = max(c.remembered(data.layout.rate_hz) for c in configs(name).values())
                found = judge(data, pupil, context) | {"lags_s": [lag.seconds for lag in pupil.phase.lags if lag.found]}
                found |= {"train": len(data.train), "val": len(data.val), "rate_hz": data.layout.rate_hz}
                kept.write_text(json.dumps(found))
            out[name][kind] = json.loads(kept.read_text())
            tell(f"{name}: {kind}")
    return out


def rows_of(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a set, contender and horizon: skill over hold-last; ours is held against the better of two baselines."""
    rows = []
    for name, kinds in found.items():
        for kind, figures in kinds.items():
            for horizon, at in figures["horizons"].items():
                energy = at["energy"]
                best = min(("hold", "velocity"), key=lambda n: energy[n])
                low = at["skill_low"] if at["skill_low"] is not None else math.nan
                rows.append(
                    {
                        "what": f"{name}, {kind}, {horizon}: energy score",
                        "value": round(energy["model"], 4),
                        "unit": "1",
                        "peer": {"hold": "hold-last", "velocity": "constant velocity"}[best],
                        "peer_value": round(energy[best], 4),
                        "ratio": round(energy["model"] / max(energy[best], 1e-12), 3),
                        "bar": "skill over hold-last and constant velocity above 0, lower bounds",
                        "ok": bool(low > 0 and at["over_velocity_low"] > 0),
                        "detail": {k: _plain(v) for k, v in at.items() if k not in {"energy", "by_unit"}}
                        | {"steps": figures["steps"], "imagined_steps_per_s": round(figures["steps_per_s"])}
                        | {"starved": kind != "ridge" and figures["steps"] < ENOUGH},
                    }
                )
    return rows + [row for kinds in found.values() if "mlp, long" in kinds for row in _lateness(kinds)]


def _lateness(kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a long look back on commands gains where they act late: squared errors as a ratio, over the same windows."""
    rows = []
    for horizon, at in kinds["mlp, long"]["horizons"].items():
        short = kinds["mlp"]["horizons"][horizon]["by_unit"]
        found = ratio_interval(at["by_unit"], short) if len(short) == len(at["by_unit"]) > 1 else None
        rows.append(
            {
                "what": f"cell_late, long over short look back on commands, {horizon}: squared error",
                "value": round(sum(at["by_unit"]), 4),
                "unit": "1",
                "peer": "commands of 0.2 s",
                "peer_value": round(sum(short), 4),
                "ratio": round(sum(at["by_unit"]) / max(sum(short), 1e-12), 3),
                "bar": "upper bound below 1",
                "ok": found is not None and float(found.upper) < 1,
                "detail": {"low": found and float(found.lower), "high": found and float(found.upper)},
            }
        )
    return rows


def _plain(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a row."""
    for row in rows:
        at = row["detail"]
        if "skill" not in at:
            print(f"{row['what']}: ratio {row['ratio']:.3f} [{_shown(at['low'])}, {_shown(at['high'])}]")
            continue
        print(
            f"{row['what'].removesuffix(': energy score'):34} energy {row['value']:.3f} ({row['peer']} "
            f"{row['peer_value']:.3f}), skill over hold-last {at['skill']:+.2f} [{_shown(at['skill_low'])}, "
            f"{_shown(at['skill_high'])}], over constant velocity {at['over_velocity']:+.2f} "
            f"[{_shown(at['over_velocity_low'])}], CRPS {at['crps']:.3f}, 90 % covers {at['coverage_90']:.2f}, "
            f"{at['imagined_steps_per_s']} steps/s{', starved' if at['starved'] else ''}"
        )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def machine() -> dict[str, Any]:
    """Where this was measured."""
    load = os.getloadavg()[0]
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": round(load, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sets, two seconds each")
    parser.add_argument("--json", action="store_true")
    beside = Path(__file__).parents[2] / "shared" / "data" / "real"
    parser.add_argument("--real", type=Path, default=Path(os.environ.get("WORLDGATE_DATA") or beside))
    parser.add_argument("--seconds", type=float, default=0.0, help="of training, each; 20, or 2 with --quick")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--cache", type=Path, default=None)
    told = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        cache = told.cache or Path(scratch) / "cells"
        cache.mkdir(parents=True, exist_ok=True)
        made = sets(told.real, cache / "cell", told.quick)
        wanted = told.only or (("cell_late", "comma2k19") if told.quick else tuple(made))
        chosen = {name: made[name] for name in wanted if name in made}
        seconds = told.seconds or (2.0 if told.quick else 20.0)
        found = measure(chosen, seconds, cache, lambda line: print(line, file=sys.stderr))
    rows = rows_of(found)
    if told.json:
        print(json.dumps({"name": "state", "machine": machine(), "seconds": seconds, "rows": rows}))
        return
    show(rows)
    if told.quick and KEPT.exists():
        kept = json.loads(KEPT.read_text())
        print(f"last full run, {kept['seconds']:g} s each, {kept['machine']}:")
        show(kept["rows"])


if __name__ == "__main__":
    main()
