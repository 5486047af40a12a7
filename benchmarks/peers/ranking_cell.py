"""The embedded cell for ``benchmarks/ranking.py``: recorded logs, demonstrations, policies of different quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import ranking_policies as made

from worldgate.control import grounds
from worldgate.control.demonstrations import LABEL, DemonstrationConfig, demonstrate
from worldgate.control.policies import mlp
from worldgate.control.policies._release import Fitted
from worldgate.control.ranking import Ground
from worldgate.core.episodes import Episode
from worldgate.core.worlds import ModelSpec, Policy
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.logs import open_folder
from worldgate.data.resample import Policy as Resample
from worldgate.sim.camera import CameraConfig
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import EXPERTS, Expert, ExpertConfig
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import ACTION, AROUND, STATE, SensorConfig

NAME = "cell"
SITE, SECONDS = "north", 12.0
STATES = (STATE.name, AROUND.name)
CAMERA = "observation.images.front"
ACTORS = ("scripted", "noisy", "careless", "noisy", "random", "noisy")
LOG_SEED, SHOWN_SEED, HELD_SEED, START_SEED = 50_000, 20_000, 70_000, 900_000
"""Of recorded logs, demonstrations, held-out demonstrations and starts: none shares a scene."""


def ground(spec: ModelSpec) -> Ground:
    """Push the object into the bay, as the product ranks it."""
    return grounds.cell(spec, site=SITE, seconds=SECONDS)


def logs(folder: Path, count: int, *, pictures: bool) -> list[Episode]:
    """Recorded runs of experts, good and bad, aligned at 10 Hz; recorded where they are not there yet."""
    folder = folder / ("pictures" if pictures else "numbers")
    folder.mkdir(parents=True, exist_ok=True)
    cameras = ("front",) if pictures else ()
    sensors = SensorConfig(cameras=cameras, camera_hz=20.0, camera=CameraConfig(), geometry=(), lidar=False)
    paths = []
    for number in range(count):
        path = folder / f"{number:04d}.mcap"
        if not path.exists():
            record(
                path,
                site=SITE,
                expert=ACTORS[number % len(ACTORS)],
                seed=LOG_SEED + number,
                duration_s=SECONDS,
                config=RecordConfig(sensors=sensors),
            )
        paths.append(path)
    hold = StreamAlignment(policy=Resample.HOLD)
    names = (*STATES, ACTION.name, *((CAMERA,) if pictures else ()))
    spec = AlignmentSpec(rate_hz=10.0, causal=True, streams=dict.fromkeys(names, hold))
    return [align(open_folder(path).logs[0], spec) for path in paths]


@lru_cache(maxsize=4)
def demonstrations(count: int, seed: int, actor: str = "scripted") -> tuple[Episode, ...]:
    """Of an expert, disturbed while it shows what to do."""
    config = DemonstrationConfig(disturbance=0.012)
    expert, world = Expert(EXPERTS[actor], SITE), CellEnvironment(SITE)
    return tuple(
        demonstrate(world, expert, (STATE, AROUND, ACTION), seed=seed + k, config=config) for k in range(count)
    )


@lru_cache(maxsize=32)
def clone(count: int, actor: str = "scripted", steps: int = 2000) -> Fitted:
    """A clone of some demonstrations."""
    return made.clone(demonstrations(count, SHOWN_SEED, actor), mlp.MlpConfig(label=LABEL, steps=steps, seed=1))


def held_out(count: int) -> Sequence[Episode]:
    """Demonstrations of the scripted expert that no clone has seen."""
    return demonstrations(count, HELD_SEED)


def expert(**changes: float) -> Policy:
    """The scripted one, changed."""
    return Expert(replace(ExpertConfig(), **changes), SITE)


def policies(*, quick: bool) -> dict[str, made.Maker]:
    """Name -> how it is made; 24, or eight for ``--quick``."""
    out: dict[str, made.Maker] = {
        "scripted": expert,
        "random": lambda: Expert(EXPERTS["random"], SITE),
        "scripted, slow 0.10 m/s": lambda: expert(speed_m_s=0.10, push_m_s=0.067),
        "scripted, slow 0.15 m/s": lambda: expert(speed_m_s=0.15, push_m_s=0.10),
        "scripted, noise 20 mm": lambda: expert(noise_m=0.020),
        "scripted, noise 60 mm": lambda: expert(noise_m=0.060),
        "clone of 4": lambda: made.released(clone(4)),
        "clone of 30": lambda: made.released(clone(30)),
    }
    if quick:
        return out
    out |= {f"clone of {n}": (lambda n=n: made.released(clone(n))) for n in (2, 8, 15, 60, 100)}
    out |= {
        "careless": lambda: Expert(EXPERTS["careless"], SITE),
        "scripted, noise 12 mm": lambda: expert(noise_m=0.012),
        "scripted, noise 35 mm": lambda: expert(noise_m=0.035),
        "scripted, slow 0.20 m/s": lambda: expert(speed_m_s=0.20, push_m_s=0.133),
        "scripted, 0.2 s late": lambda: made.Late(expert(), 2),
        "scripted, 0.4 s late": lambda: made.Late(expert(), 4),
        "scripted, 10 mm off": lambda: made.Shaken(expert(), offset=(0.0, 0.010)),
        "scripted, 25 mm off": lambda: made.Shaken(expert(), offset=(0.0, 0.025)),
        "clone of 100, 30 training steps": lambda: made.released(clone(100, steps=30)),
        "clone of 60, object's x in mm": lambda: made.spoilt(clone(60), AROUND.name, 0, 1000.0),
        "clone of 60, object's y 30 % off": lambda: made.spoilt(clone(60), AROUND.name, 1, 1.3),
    }
    return out
