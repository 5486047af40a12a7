"""Clips that everybody who makes video is taught and judged on: the cell, PushT, DROID and Bridge.

Each set is recorded or ingested once into a workspace of its own beside the cache, frozen as a dataset, and opened from
there by every process that needs it. One colour camera at 64 pixels a side, the robot's own state, its actions.
Training and held-out episodes are different ones.

* ``cell``: runs of 9.6 s of two sites, pushed by the scripted expert and by the noisy one, 10 Hz.
* ``pusht``: 64 runs of gym-pusht by the actors of ``benchmarks/pusht.py``, 10 Hz; needs ``make bench-env``.
* ``droid``: the episodes of a DROID subset that logged actions, 5 Hz, camera 0; nearly every one is another scene.
* ``bridge``: 25 excerpts of ten rows of BridgeData V2 at 5 Hz, camera 0; too short for more than six frames ahead. It
  is split here, because cameras that an episode lacks are stored as black pictures, equal on both sides of any split.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.record.workspace import Workspace
from worldgate.sim.environment import EnvironmentConfig
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig
from worldgate.worlds.tracks import Inputs

SIZE = 64
CONTEXT = 4
"""Rows that every prompt holds; who looks back on fewer takes the last ones."""
STATE, ACTION = "observation.state", "action"
HORIZONS = (8, 16, 32, 64)
RUNS_A_WORKER = 8
"""Recorded by each process at the least, for which starting it pays."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a set is made; its digest names the folder that keeps it."""

    name: str
    camera: str
    states: tuple[str, ...] = (STATE,)
    beside: Mapping[str, str] | None = None
    """Streams that only judges see, with their kinds."""
    rate_hz: float = 10.0
    origin: str = "simulated"
    tolerance_ns: int = 150_000_000
    horizons: tuple[int, ...] = HORIZONS
    held_out: float = 0.25
    """Share that judges, drawn by the contract."""
    picked: int = 0
    """Instead, so many of those that are long enough, evenly by name: for sets of a handful."""
    runs: int = 0
    """How many are recorded; 0: whatever there is."""
    seconds: float = 0.0
    """Length of a recorded run."""
    seed: int = 1
    """Of the split."""
    source: str = ""
    """Folder of logs."""
    code: str = ""
    """Digest of what records it, where that is none of ours."""


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """Episodes that teach and episodes that judge."""

    recipe: Recipe
    train: list[Episode]
    held_out: list[Episode]
    digest: str

    @property
    def inputs(self) -> Inputs:
        """What everyone is fed."""
        return Inputs(states=self.recipe.states, action=ACTION, cameras=(self.recipe.camera,), size=SIZE)

    @property
    def told(self) -> str:
        """In words, with counts."""
        rows = sum(len(e) for e in self.train)
        return f"{self.recipe.name}: {len(self.train)} episodes ({rows} rows) teach, {len(self.held_out)} judge"


def contract(recipe: Recipe) -> contracts.Contract:
    """Streams, rows and split of a set."""
    kinds = {recipe.camera: "image", ACTION: "action", **dict.fromkeys(recipe.states, "vector")}
    held: dict[str, Any] = {name: {"kind": kind} for name, kind in {**kinds, **(recipe.beside or {})}.items()}
    alignment: dict[str, Any] = {
        "rate_hz": recipe.rate_hz,
        "causal": True,
        "default": {"policy": "hold", "tolerance_ns": recipe.tolerance_ns},
    }
    if "observation.force" in held:
        peak = {"policy": "window_peak", "window_ns": round(1e9 / recipe.rate_hz)}
        alignment["streams"] = {"observation.force": peak}
    share = 0.0 if recipe.picked else recipe.held_out
    fractions = {"train": 1.0 - share} | ({"val": share} if share else {})
    tree = {
        "name": f"{recipe.name}-video",
        "version": 1,
        "origins": [recipe.origin],
        "streams": held,
        "alignment": alignment,
        "splits": {"fractions": fractions, "seed": recipe.seed},
    }
    return contracts.from_tree(tree, where=recipe.name)


# ------------------------------------------------------------------ recipes


def cell(runs: int = 64, seconds: float = 9.6, **more: Any) -> Recipe:
    """The embedded cell; class ids, force and the object's place are for judges alone."""
    beside = {
        "observation.environment_state": "vector",
        "observation.force": "vector",
        "observation.segmentation.front": "segmentation",
    }
    camera = "observation.images.front"
    return Recipe(name="cell", camera=camera, beside=beside, runs=runs, seconds=seconds, **more)


def pusht(runs: int = 64) -> Recipe | None:
    """gym-pusht under a mix of actors, where its environment was made; the block's pose is for judges alone."""
    import pusht_env

    if not pusht_env.PYTHON.exists():
        return None
    code = sha256("".join(pusht_env.code()).encode())
    beside = {pusht_env.AROUND: "vector", pusht_env.TOUCH: "vector"}
    return Recipe(
        name="pusht", camera=pusht_env.TOP, states=(pusht_env.STATE,), beside=beside, runs=runs, code=code,
        tolerance_ns=100_000_000,
    )  # fmt: skip


def droid(real: Path) -> Recipe | None:
    """Where the real logs are."""
    source = real / "droid_ctrlworld" / "droid_subset"
    states = (STATE, "observation.state.tool")
    held = Recipe(
        name="droid", camera="observation.images.0", states=states, rate_hz=5.0, origin="real", tolerance_ns=1_000_000,
        horizons=(8, 16, 32), picked=5, source=str(source),
    )  # fmt: skip
    return held if source.is_dir() else None


def bridge(real: Path) -> Recipe | None:
    """Where the real logs are."""
    source = real / "octo_bridge_rlds"
    held = Recipe(
        name="bridge", camera="observation.images.image_0", rate_hz=5.0, origin="real", tolerance_ns=1_000_000,
        horizons=(2, 4, 6), picked=10, source=str(source),
    )  # fmt: skip
    return held if source.is_dir() else None


# ------------------------------------------------------------------ making and opening


def _record_cell(recipe: Recipe, logs: Path) -> None:
    sensors = SensorConfig(cameras=("front",), geometry=("segmentation",), lidar=False)
    config = RecordConfig(sensors=sensors, environment=EnvironmentConfig(hold_s=0.0))
    wanted = [seed for seed in range(recipe.runs) if not (logs / f"{seed:03d}.mcap").exists()]
    one = partial(_record_run, logs, recipe.seconds, config)
    workers = min(os.cpu_count() or 1, len(wanted) // RUNS_A_WORKER)
    if workers < 2:
        deque(map(one, wanted), maxlen=0)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        deque(pool.map(one, wanted), maxlen=0)


def _record_run(logs: Path, seconds: float, config: RecordConfig, seed: int) -> None:
    about = {"site": ("north", "south")[seed % 2], "expert": ("scripted", "noisy")[seed // 2 % 2]}
    record(logs / f"{seed:03d}.mcap", seed=seed, duration_s=seconds, config=config, **about)


def _record_pusht(recipe: Recipe, logs: Path) -> None:
    import pusht_env

    pusht_env.pusht_logs(logs, recipe.runs, 0)


_RECORD: Mapping[str, Callable[[Recipe, Path], None]] = {"cell": _record_cell, "pusht": _record_pusht}


def made(recipe: Recipe, cache: Path) -> Path:
    """The folder that holds a set, made now where it is not there yet; a run that was stopped goes on.

    Returns:
        A folder with a workspace, and ``dataset.json`` once all of it is there.
    """
    key = digest_json(_tree(recipe))[:16]
    folder = cache / f"set-{recipe.name}-{key}"
    if (folder / "dataset.json").is_file():
        return folder
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    if recipe.source:
        sources: Sequence[Path] = [Path(recipe.source)]
    else:
        _RECORD[recipe.name](recipe, logs)
        sources = sorted(logs.rglob("*.mcap"))
    root = folder / "workspace"
    ws = Workspace.open(root) if root.is_dir() else Workspace.init(root, person="bench")
    for source in sources:
        ingest(ws, source)
    held = contract(recipe)
    dataset = datasets.snapshot(ws, contracts.add(ws, held), name=held.name)
    body = {"dataset": dataset.digest, "recipe": _tree(recipe)}
    write_atomic(folder / "dataset.json", json.dumps(body).encode())
    return folder


def opened(folder: Path, *, only: int = 0) -> VideoSet:
    """A set that was made; ``only``: no more than so many held-out episodes."""
    body = json.loads((folder / "dataset.json").read_text())
    ws = Workspace.open(folder / "workspace")
    recipe = Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in body["recipe"].items()})
    train = datasets.load(ws, body["dataset"], "train")
    reach = recipe.horizons[-1] + CONTEXT
    if recipe.picked:
        fitting = sorted((e for e in train if len(e) >= reach), key=lambda e: e.name)
        held_out = fitting[:: max(1, len(fitting) // recipe.picked)][: recipe.picked]
    else:
        held_out = [e for e in datasets.load(ws, body["dataset"], "val") if len(e) >= reach]
    if recipe.name == "pusht":
        import pusht_truth

        train, held_out = ([pusht_truth.with_truth(e, SIZE) for e in part] for part in (train, held_out))
    judges = {e.id for e in held_out}
    train = [e for e in train if e.id not in judges]
    return VideoSet(recipe=recipe, train=train, held_out=held_out[: only or None], digest=body["dataset"])


def _tree(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
