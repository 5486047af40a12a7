"""How good our video models are beside others that learned from the very same clips for the same processor seconds.

``.venv/bin/python benchmarks/video.py [--quick] [--json] [--sets cell,pusht,droid,bridge] [--models flow,...]
[--seconds N] [--real FOLDER] [--cache FOLDER]``. Ours: ``flow``, ``masked`` and ``conv`` as they ship. Peers, written
from their papers: a diffusion U-Net of DIAMOND's size (``edm``), and a masked transformer of Genie's and 1X's making
over TinyWorlds' tokenizer (``genie``), each at its best of three configurations; ``copy-last`` and, for the object's
place, ``velocity``. Everyone gets the same training clips, resolution, rate, states and actions, is prompted with the
same four rows, and goes through the measures of ``worldgate world evaluate``. Figures are read from pictures, for ours
too, although ours also tell states.

The configuration is chosen on a few held-out clips by its energy score, which favours whoever has several. Who still
gained ``STARVED`` of its score or of its own loss in the last quarter, or took fewer than ``LEAST_STEPS`` steps, is
``starved``: a lead over it is no lead.
Differences are paired by episode, with bounds of 5 % a side by bootstrap over held-out episodes; above 0 is better for
ours. Every cell (set, model, configuration) is kept by the digest of its data, code and settings: a run that was
stopped goes on, and what did not change is not done again. Each runs in a process of its own, whose memory it reports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import video_cell as cells
import video_sets as sets
from video_table import OURS, rows_of, score, shown, speed_rows, starved

import worldgate
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256

MODELS = (*OURS, *cells.PEERS)
SETS = ("cell", "pusht", "droid", "bridge")
KEPT = Path(__file__).resolve().parent / "results" / "video.json"
MEASURES = (
    "energy", "object_pose", "contact", "video_moving_psnr", "video_moving", "video_psnr", "action_following",
    "optimism",
)  # fmt: skip
QUICK_MEASURES = ("energy", "video_moving_psnr", "video_moving")
MISSING = {"DINO-WM decoder": "needs DINOv2's pretrained weights, which are not at hand offline"}


# ------------------------------------------------------------------ cells that are kept


@dataclass(kw_only=True)
class Bench:
    """Where cells are kept and how they are done."""

    cache: Path
    seconds: float
    windows: int
    samples: int
    tell: Callable[[str], None]
    quick: bool = False
    jobs: int = 1

    def kept(self, name: str, request: dict[str, Any], code: str) -> Any:
        """The answer to a request, from the cache or made now."""
        key = digest_json({"request": {k: v for k, v in request.items() if k != "weights"}, "code": code})[:24]
        path = self.cache / f"{key}.json"
        if not path.is_file():
            begun = time.perf_counter()
            made = cells.answer(request) if self.quick else self._apart(key, request)
            write_atomic(path, json.dumps({"name": name, "request": request, "made": made}).encode(), overwrite=True)
            self.tell(f"{name}: {time.perf_counter() - begun:.0f} s")
        return json.loads(path.read_text())["made"]

    def _apart(self, key: str, request: dict[str, Any]) -> Any:
        """In a process of its own."""
        asked = self.cache / f"{key}.request"
        write_atomic(asked, json.dumps(request).encode(), overwrite=True)
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([sys.executable, cells.__file__, str(asked)], check=True, env=alone)
        told = asked.with_suffix(".answer")
        made = json.loads(told.read_text())
        told.unlink()
        asked.unlink()
        return made

    def trained(self, folder: Path, model: str, configuration: int, more: Mapping[str, Any]) -> tuple[Any, Path, Any]:
        """A trained model: what is told of it, its weights, and what was asked."""
        asked = cells.Asked(model=model, configuration=configuration, seconds=self.seconds)
        code = code_of(model)
        key = digest_json({"asked": repr(asked), "set": folder.name, "code": code, **more})[:24]
        weights = self.cache / f"{key}.safetensors"
        parts = {"parts": [0.5, 1.0]} if self.quick else {}
        request = cells.request("train", asked, folder, weights, **more, **parts)
        name = f"{folder.name.split('-')[1]}, {model} {configuration}, trained {self.seconds:g} s"
        return self.kept(name, request, code), weights, asked

    def judged(self, folder: Path, weights: Path, asked: cells.Asked, more: Mapping[str, Any]) -> Any:
        """What a trained model is worth on held-out episodes."""
        judging = {"windows": self.windows, "samples": self.samples, "measures": self.measures}
        request = cells.request("judge", asked, folder, weights, judging=judging, **more)
        name = f"{folder.name.split('-')[1]}, {asked.model} {asked.configuration}, judged"
        return self.kept(name, request, weights.name + _digest("evidence/evaluation", "evidence/metrics"))

    @property
    def measures(self) -> tuple[str, ...]:
        """Which are taken."""
        return QUICK_MEASURES if self.quick else MEASURES


def code_of(model: str) -> str:
    """Digest of the code that decides what a model learns; of ours, everything but what other families alone are."""
    here = Path(__file__).parent / "peers"
    if model in cells.PEERS:
        names = ("video_learning.py", "video_cell.py", f"{cells.PEERS[model]}.py", "tokenizer_models.py")
        return sha256(*((here / name).read_bytes() for name in names)) + _digest("worlds/nn/ensemble.py")
    others = {f"{name}.py" for name in ("conv", "flow", "masked", "state", "jepa", "rssm")} - {f"{model}.py"}
    room = Path(worldgate.__file__).parent / "worlds"
    parts = [p for p in sorted(room.rglob("*.py")) if not (p.parent.name == "models" and p.name in others)]
    parts = [p for p in parts if p.parent.name not in {"imagine", "tokens"}]
    return sha256(*(p.read_bytes() for p in parts), (here / "video_learning.py").read_bytes())


def _digest(*parts: str) -> str:
    found = [Path(worldgate.__file__).parent / part for part in parts]
    files = [f for part in found for f in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]
    return sha256(*(f.read_bytes() for f in files))


# ------------------------------------------------------------------ one set


def measure(
    bench: Bench, folder: Path, models: Sequence[str], tries: int, more: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Train every model in every configuration, judge the best ones; and which of them failed."""
    out: dict[str, Any] = {}
    failed: dict[str, str] = {}

    def one(model: str) -> None:
        there = cells.configurations(model)
        try:
            done = [bench.trained(folder, model, i, more) for i in range(max(0, there - tries), there)]
            told, weights, asked = min(done, key=lambda each: score(each[0]))
            judged = bench.judged(folder, weights, asked, more)
        except subprocess.CalledProcessError as error:
            failed[model] = f"its process ended with {error.returncode}, its words are on stderr; run again to retry"
            return
        out[model] = {
            "configuration": asked.configuration, "of": len(done), "starved": starved(told),
            "tried": {t["config"]: {"curve": t["curve"], "stages": t["stages"]} for t, _, _ in done}, **told, **judged,
        }  # fmt: skip

    with ThreadPoolExecutor(bench.jobs) as pool:
        list(pool.map(one, models))
    return {model: out[model] for model in models if model in out}, failed


# ------------------------------------------------------------------ run


def machine() -> str:
    """Where and at which commit these figures were measured."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, "
        f"commit {found.stdout.strip()}"
    )


def recipes(asked: Sequence[str], real: Path | None, *, quick: bool) -> tuple[list[sets.Recipe], dict[str, str]]:
    """The sets that can be had here, and why others cannot."""
    ways: dict[str, Callable[[], sets.Recipe | None]] = {
        "cell": lambda: sets.cell(8, 2.4, horizons=(4, 8), picked=2) if quick else sets.cell(),
        "pusht": sets.pusht,
        "droid": lambda: sets.droid(real) if real else None,
        "bridge": lambda: sets.bridge(real) if real else None,
    }
    found, missing = [], {}
    for name in asked:
        recipe = ways[name]()
        if recipe is None:
            missing[name] = "needs .venv-pusht: make bench-env" if name == "pusht" else "no real logs: --real FOLDER"
        else:
            found.append(recipe)
    return found, missing


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few short clips of the cell, 2 s of training each")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seconds", type=float, default=600.0, help="processor seconds of each training")
    parser.add_argument("--tries", type=int, default=3, help="most configurations of each, the smallest first")
    parser.add_argument("--windows", type=int, default=2, help="most windows of a held-out episode")
    parser.add_argument("--samples", type=int, default=4, help="futures a window")
    parser.add_argument("--episodes", type=int, default=0, help="most held-out episodes; 0: all")
    parser.add_argument("--jobs", type=int, default=1, help="models at once; their processor seconds stay their own")
    parser.add_argument("--real", type=Path, default=os.environ.get("WORLDGATE_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-video")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    result = run(asked)
    if asked.json:
        print(json.dumps(result))
        return
    _print(result)
    if asked.quick and KEPT.is_file():
        last = json.loads(KEPT.read_text())
        whole = "" if last["complete"] else ", not of all models and sets"
        print(f"\nthe last kept run, {last['train_cpu_s']:g} s a training, {last['machine']}{whole}:")
        _print(last)


def _print(result: Mapping[str, Any]) -> None:
    for name, held in result["sets"].items():
        print("\n".join(shown(name, held, quick=result["quick"])))
    for name, why in result["not_measured"].items():
        print(f"not measured: {name} ({why})")


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole result; kept after every set, where it is a full run."""
    begun = time.perf_counter()

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    quick = asked.quick
    bench = Bench(
        cache=asked.cache, seconds=2.0 if quick else asked.seconds, windows=1 if quick else asked.windows,
        samples=2 if quick else asked.samples, tell=tell, quick=quick, jobs=1 if quick else asked.jobs,
    )  # fmt: skip
    real = None if asked.real is None else Path(asked.real)
    found, missing = recipes(["cell"] if quick else asked.sets.split(","), real, quick=quick)
    more: dict[str, Any] = {"only": 2} if quick else {"only": asked.episodes}
    whole: dict[str, Any] = {
        "name": "video", "machine": machine(), "quick": quick, "train_cpu_s": bench.seconds,
        "not_measured": {**MISSING, **missing}, "sets": {}, "rows": [],
    }  # fmt: skip
    for recipe in found:
        folder = sets.made(recipe, asked.cache)
        held = sets.opened(folder, only=more["only"])
        tell(held.told)
        models, failed = measure(bench, folder, asked.models.split(","), 1 if quick else asked.tries, more)
        whole["not_measured"] |= {f"{recipe.name}, {model}": why for model, why in failed.items()}
        rows = rows_of(recipe.name, models, recipe.rate_hz) if models else []
        speeds = speed_rows(recipe.name, models)
        for model in models.values():
            del model["sums"]
        whole["sets"][recipe.name] = {"told": held.told, "models": models, "rows": rows}
        whole["rows"] += [{k: v for k, v in row.items() if k != "others"} for row in (*rows, *speeds)]
        whole |= {"load": os.getloadavg()[0], "seconds": round(time.perf_counter() - begun)}
        if not quick:
            whole["complete"] = set(models) == set(MODELS) and set(whole["sets"]) == set(SETS)
            write_atomic(KEPT, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    return whole


if __name__ == "__main__":
    main()
