"""Does a world model put policies in the order in which the true environment puts them, and what does its choice cost?

``.venv/bin/python benchmarks/ranking.py [--quick] [--json] [--cache FOLDER] [--set cell pusht] [--models state conv]
[--keep]``. Sixteen policies or more of different quality are run from the same starts inside a world model that learned
from recorded logs, and in the simulator, which stands in for real. Policies: clones of 2 to 100 demonstrations, experts
that are slow, noisy or aimless, and good ones behind a fault: a statistic in the wrong unit, an observation that
arrives late, an offset of the tool.

Beside each model stand two rankers: the error of a policy's actions against the scripted expert's on held-out episodes
(what people look at without a world model), and as a control the same model trained on shuffled actions. The bar is a
lower 97.5 % bound of Pearson's r above 0.6; the bounds are those of ``evidence/rank_bootstrap.py``, policies and starts
redrawn. Success in imagination is read off the predicted object.

Every model, and every outcome, is kept under ``--cache`` by what it depends on, so a run that was stopped goes on.
``--quick`` takes few policies, logs and starts, and shows the last full result beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import ranking_cell
import ranking_policies as made
import ranking_pusht

from worldgate.control import ranking
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.core.worlds import Policy, WorldModel
from worldgate.evidence.rank_bootstrap import ranked
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_family
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig

Row: TypeAlias = dict[str, Any]
RESULT = Path(__file__).resolve().parent / "results" / "ranking.json"
BAR = "0.6"
FIRST = "simulated stands in for real: the true side of every figure here is the simulator"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A world model: how it learns."""

    name: str
    family: str
    logs: int
    seconds: float
    """Of training, on one core."""
    shuffled: bool = False

    @property
    def pictures(self) -> bool:
        return self.family != "state"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is done of a set."""

    field: ModuleType
    families: tuple[str, ...]
    """That can be trained here."""
    logs: int
    seconds: float
    """Of training on numbers."""
    starts: int
    held_out: int
    """Demonstrations on which actions are compared."""
    shuffled: bool
    """Whether the control is trained."""


SETS = {
    "cell": Extent(
        field=ranking_cell, families=("state", "conv", "flow", "masked"), logs=360, seconds=120.0, starts=40,
        held_out=20, shuffled=True,
    ),
    "pusht": Extent(
        field=ranking_pusht, families=("state",), logs=48, seconds=240.0, starts=5, held_out=2, shuffled=False,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is asked for."""

    sets: tuple[str, ...]
    models: tuple[str, ...]
    cache: Path
    quick: bool

    def few(self, extent: Extent, contender: Contender) -> int:
        """Starts of a contender: models of pictures take 20 to 100 times as long for a step."""
        most: int = 6 if self.quick else extent.starts
        return most if not contender.pictures else min(most, 12)

    def contenders(self, extent: Extent) -> list[Contender]:
        """What learns."""
        numbers, pictures = ((48, 12.0), (12, 20.0)) if self.quick else ((extent.logs, extent.seconds), (200, 420.0))
        sizes = {f: numbers if f == "state" else pictures for f in self.models if f in extent.families}
        out = [Contender(name=f, family=f, logs=logs, seconds=seconds) for f, (logs, seconds) in sizes.items()]
        state = [replace(c, name="state, actions shuffled", shuffled=True) for c in out if c.family == "state"]
        return out + state if extent.shuffled else out


def learned(job: Job, field: ModuleType, contender: Contender) -> WorldModel:
    """Train a contender on recorded logs, or find it where it was trained before."""
    key = digest_json([field.NAME, contender.family, contender.logs, contender.seconds, contender.shuffled])[:12]
    folder = job.cache / f"model-{key}"
    if not (folder / "model" / checkpoint.CONFIG).is_file():
        print(f"{field.NAME}: training {contender.name}", file=sys.stderr, flush=True)
        episodes = field.logs(job.cache / "logs" / field.NAME, contender.logs, pictures=contender.pictures)
        held = max(4, len(episodes) // 12)
        family = load_family(contender.family)
        cameras = (field.CAMERA,) if contender.pictures else ()
        told = LoopConfig(
            max_seconds=contender.seconds, checkpoint_every=10**6, evaluate_every=10**6, threads=1, device="cpu",
            shuffle_actions=contender.shuffled,
        )  # fmt: skip
        config = replace(family.Config(), inputs=Inputs(states=field.STATES, cameras=cameras), loop=told)
        if (folder / "config.json").is_file():
            loop.resume(folder, episodes[:-held], episodes[-held:])
        else:
            loop.train(contender.family, episodes[:-held], episodes[-held:], config, folder)
    return checkpoint.load(folder / "model", device="cpu")


class Kept:
    """Outcomes by what they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outcomes"
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: Sequence[object], make: Any) -> Any:
        """What is there, or made now and kept."""
        path = self.folder / f"{digest_json([code(str(key[0])), *map(str, key)])[:24]}.json"
        if not path.exists():
            write_atomic(path, json.dumps(make()).encode(), overwrite=True)
        return json.loads(path.read_text())


@lru_cache(maxsize=4)
def code(field: str) -> str:
    """Digest of what outcomes depend on beside policies and models."""
    root = Path(__file__).resolve().parent
    files = [
        *sorted((root / "peers").glob("ranking_*.py")),
        Path(ranking.__file__),
        Path(ranking_cell.grounds.__file__),
    ]
    return sha256(b"".join(path.read_bytes() for path in files))


def measure(job: Job, extent: Extent) -> Row:
    """One set: every policy on both sides for every contender, and the ranker without a world model."""
    field, contenders = extent.field, job.contenders(extent)
    kept, makers = Kept(job.cache), field.policies(quick=job.quick)
    seeds = [field.START_SEED + k for k in range(max(job.few(extent, c) for c in contenders))]
    out: Row = {"set": field.NAME, "policies": {}, "rankers": []}
    held = field.held_out(6 if job.quick else extent.held_out)
    policies: dict[str, Any] = {}
    for name, make in makers.items():
        policy = policies[name] = make()

        offline = partial(made.action_error, policy, held, field.STATES, field.LABEL)
        error = kept.get([field.NAME, "offline", policy.digest, len(held)], offline)
        out["policies"][name] = {"release": policy.digest, "action_error": error}
    for contender in contenders:
        model = learned(job, field, contender)
        ground = field.ground(model.spec)
        begun = ranking.starts(ground, model.spec, seeds[: job.few(extent, contender)])
        real, imagined = {}, {}
        for name, policy in policies.items():
            made_of = [field.NAME, policy.digest, *seeds[: len(begun)], ground.steps]

            real[name] = kept.get(
                [*made_of, "true", model.spec.context], partial(outcomes, ground, None, policy, begun)
            )
            imagined[name] = kept.get([*made_of, model.spec.digest], partial(outcomes, ground, model, policy, begun))
            print(f"{field.NAME}, {contender.name}: {name}", file=sys.stderr, flush=True)
        out["rankers"].append(told(contender.name, "imagined", real, imagined, contender))
        if contender == contenders[0]:
            errors = {n: [-out["policies"][n]["action_error"]] * len(begun) for n in policies}
            out["rankers"].append(told("offline action error", "offline", real, errors, None))
    return out


def outcomes(
    ground: ranking.Ground, model: WorldModel | None, policy: Policy, begun: Sequence[ranking.Start]
) -> list[float]:
    """Of one policy from every start, imagined by a model or, without one, true."""
    if model is not None:
        return list(ranking.compare(ground, model, {"": policy}, begun, known={"": [0.0] * len(begun)})[0].imagined)
    return [ranking.run(ground, ground.make(), policy, start, imagined=False) for start in begun]


def told(name: str, kind: str, real: Row, said: Row, contender: Contender | None) -> Row:
    """One ranker with every figure; bias and worst error are of no use where it does not tell success."""
    found = ranked(real=real, imagined=said)
    figures = {n: f for n, f in found.figures.items() if kind == "imagined" or n not in {"bias", "worst"}}
    return {
        "ranker": name, "kind": kind, "starts": found.starts, "policies": found.policies,
        "favourite": list(found.favourite), "best": list(found.best), "why": found.why,
        "status": str(found.status(BAR)),
        "training_seconds": contender.seconds if contender else 0.0, "logs": contender.logs if contender else 0,
        "figures": {n: {"value": f.estimate, "lower": f.lower, "upper": f.upper} for n, f in figures.items()},
        "rates": {n: [float(np.mean(real[n])), float(np.mean(said[n]))] for n in real},
    }  # fmt: skip


def machine() -> str:
    """Where it ran."""
    got = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {load}, commit {got.stdout.strip() or 'unknown'}"


def rows_of(sets: Sequence[Row]) -> list[Row]:
    """The lines that the house's benchmarks print."""
    out = []
    for one in sets:
        for ranker in one["rankers"]:
            for name, figure in ranker["figures"].items():
                judged = name == "pearson" and ranker["kind"] == "imagined" and "shuffled" not in ranker["ranker"]
                out.append({
                    "what": f"{one['set']}, {ranker['ranker']}: {name}", "value": round(figure["value"], 4),
                    "unit": "1",
                    "lower": figure["lower"], "upper": figure["upper"], "peer": None, "peer_value": None, "ratio": None,
                    "bar": float(BAR) if judged else None, "ok": ranker["status"] == "PASS" if judged else None,
                })  # fmt: skip
    return out


def table(result: Row) -> str:
    """As text."""
    lines = [f"{result['population']}; {result['machine']}"]
    for one in result["sets"]:
        for ranker in one["rankers"]:
            who = f"{one['set']}, {ranker['ranker']}"
            lines.append(f"{who}: {ranker['policies']} policies x {ranker['starts']} starts, bar {ranker['status']}")
            for name, f in ranker["figures"].items():
                low, high = float(f["lower"]), float(f["upper"])
                lines.append(f"    {name:<10} {f['value']:+.3f} [{low:+.3f}, {high:+.3f}]")
            lines.append(f"    chose {ranker['favourite'][0]}; truly best {ranker['best'][0]} {ranker['why']}".rstrip())
        first = one["rankers"][0]
        for name, (real, said) in sorted(first["rates"].items(), key=lambda item: -item[1][0]):
            lines.append(f"    {name:<34} simulated {real:.2f}   imagined {said:.2f} ({first['ranker']})")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> Row:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--set", dest="sets", nargs="+", choices=tuple(SETS), default=("cell",))
    parser.add_argument("--models", nargs="+", default=("state",))
    parser.add_argument("--cache", type=Path, default=Path(".cache/ranking"))
    parser.add_argument("--keep", action="store_true", help="write the result beside this script")
    asked = parser.parse_args(arguments)
    job = Job(sets=tuple(asked.sets), models=tuple(asked.models), cache=asked.cache, quick=asked.quick)
    job.cache.mkdir(parents=True, exist_ok=True)
    sets = [measure(job, SETS[name]) for name in job.sets]
    result = {"name": "ranking", "population": FIRST, "machine": machine(), "sets": sets, "rows": rows_of(sets)}
    if asked.keep:
        write_atomic(RESULT, (json.dumps(result, indent=1) + "\n").encode(), overwrite=True)
    if asked.json:
        print(json.dumps(result))
    else:
        print(table(result))
        if asked.quick and RESULT.exists():
            print("\nthe last full result:\n" + table(json.loads(RESULT.read_text())))
    return result


if __name__ == "__main__":
    main()
