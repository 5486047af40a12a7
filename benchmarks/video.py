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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import video_cell as cells
import video_sets as sets

import worldgate
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.evidence.evaluation.sums import Estimate, advantage, estimate

MODELS = (*cells.OURS, *cells.PEERS)
STARVED = 0.05
LEAST_STEPS = 300
"""Of the last stage; with fewer, a flat curve says nothing."""
LEVEL, RESAMPLES = 0.05, 2000
FIGURES: Mapping[str, str] = {
    "energy": "mean", "object_error": "mean", "contact_f1": "f1", "moving_psnr": "decibel", "moving": "mean",
    "psnr": "mean", "action_following": "correlation", "action_gain": "slope", "optimism": "mean",
    "pessimism": "mean", "onset_f1": "f1",
}  # fmt: skip
"""Figures of the table, and how sums become them."""
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


def score(told: Mapping[str, Any]) -> float:
    """Energy score at the end of a training, mean over its short horizons."""
    return _score(told["curve"][-1])


def _score(point: Mapping[str, Any]) -> float:
    return float(np.mean([value for name, value in point.items() if name.startswith("energy@")]))


def starved(told: Mapping[str, Any]) -> bool:
    """Whether a model was still getting better in the last quarter of its training, or has hardly begun."""
    if len(told["curve"]) < 2 or told["stages"][-1]["steps"] < LEAST_STEPS:
        return True
    before, last = told["curve"][-2], told["curve"][-1]
    gains = [1 - _score(last) / _score(before)]
    if last["own_loss_held_out"] is not None and before["own_loss_held_out"] > 0:
        gains.append(1 - last["own_loss_held_out"] / before["own_loss_held_out"])
    return max(gains) > STARVED


def measure(bench: Bench, folder: Path, models: Sequence[str], tries: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """Train every model in every configuration, judge the best ones."""
    out: dict[str, Any] = {}
    for model in models:
        there = cells.configurations(model)
        done = [bench.trained(folder, model, i, more) for i in range(max(0, there - tries), there)]
        told, weights, asked = min(done, key=lambda one: score(one[0]))
        judged = bench.judged(folder, weights, asked, more)
        out[model] = {
            "configuration": asked.configuration, "of": len(done), "starved": starved(told),
            "tried": {t["config"]: {"curve": t["curve"], "stages": t["stages"]} for t, _, _ in done}, **told, **judged,
        }  # fmt: skip
    return out


def contenders(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Contender -> figure -> step -> episode -> sums; the baselines are those of the first model, alike for all."""
    out: dict[str, dict[str, Any]] = {}
    first = next(iter(found))
    pairs = [(name, name, "model") for name in found]
    pairs += [("copy-last", first, "hold"), ("velocity", first, "velocity"), ("real", first, "real")]
    pairs += [(f"{name} under other actions", name, "other") for name in found]
    for name, model, who in pairs:
        for figure, entry in found[model]["sums"].items():
            for step, by_who in entry["steps"].items():
                if who in by_who:
                    held = {int(e): np.array(v) for e, v in by_who[who].items()}
                    out.setdefault(name, {}).setdefault(figure, {})[step] = held
    return out


def rows_of(name: str, found: Mapping[str, Any], rate_hz: float) -> list[dict[str, Any]]:
    """Rows of the table: every figure of ours at every horizon, beside every other."""
    sums = contenders(found)
    out: list[dict[str, Any]] = []
    ours = [model for model in cells.OURS if model in found]
    for model in ours:
        for figure, entry in found[model]["sums"].items():
            short = figure.rsplit("/", 1)[-1]
            if short not in FIGURES:
                continue
            for step in sorted(entry["steps"], key=int):
                if step in sums[model].get(figure, {}):
                    out.append(_row(name, model, figure, step, sums, found, rate_hz))
    return out


def _row(
    name: str, model: str, figure: str, step: str, sums: Mapping[str, Any], found: Mapping[str, Any], rate_hz: float
) -> dict[str, Any]:
    short = figure.rsplit("/", 1)[-1]
    entry = found[model]["sums"][figure]
    sign = -1.0 if entry["better"] == "lower" else 1.0
    mine = sums[model][figure][step]
    others: dict[str, Any] = {}
    for rival, held in sums.items():
        if rival != model and rival != "real" and "other actions" not in rival and step in held.get(figure, {}):
            others[rival] = _against(mine, held[figure][step], FIGURES[short], sign)
            others[rival]["starved"] = bool(found.get(rival, {}).get("starved", False))
    valued = {rival: o for rival, o in others.items() if o["value"] is not None}
    best = max(valued, key=lambda rival: sign * valued[rival]["value"], default="")
    value = _told(_estimate(mine, FIGURES[short]))
    peer = valued[best]["value"] if best else None
    when = f"{step} frames ({int(step) / rate_hz:g} s)" if step != "0" else "whole windows"
    out = {
        "what": f"{name}, {when}: {short} of {model}", "value": value[0], "interval": value[1:], "unit": entry["unit"],
        "better": entry["better"], "peer": best, "peer_value": peer,
        "ratio": round(value[0] / peer, 4) if peer and value[0] is not None else None,
        "bar": peer, "ok": bool(best) and all(o["verdict"] == "ahead" for o in valued.values()),
        "starved": any(o["starved"] for o in others.values()), "others": others,
    }  # fmt: skip
    if step in sums.get("real", {}).get(figure, {}):
        out["real"] = _told(_estimate(sums["real"][figure][step], FIGURES[short]))[0]
    other = sums.get(f"{model} under other actions", {}).get(figure, {}).get(step)
    if other is not None and short in {"energy", "moving", "object_error"}:
        gain = advantage(mine, other, "mean", relative=True, level=LEVEL, resamples=RESAMPLES, seed=0)
        out["counterfactual"] = _told(gain)
    if short == "moving" and "copy-last" in others:
        still = sums["copy-last"][figure][step]
        gain = advantage(mine, still, "mean", relative=True, level=LEVEL, resamples=RESAMPLES, seed=0)
        out["skill_over_copy_last"] = _told(gain)
    return out


def _against(mine: Any, theirs: Any, reduction: str, sign: float) -> dict[str, Any]:
    """Another's figure, and the paired difference, above 0 where ours is better."""
    value = _told(_estimate(theirs, reduction))
    gain = advantage(mine, theirs, reduction, relative=False, level=LEVEL, resamples=RESAMPLES, seed=0)
    apart, low, high = _told(gain)
    if sign < 0 and apart is not None:
        apart, low, high = -apart, None if high is None else -high, None if low is None else -low
    verdict = "open" if low is None or high is None else "ahead" if low > 0 else "behind" if high < 0 else "even"
    return {"value": value[0], "interval": value[1:], "difference": [apart, low, high], "verdict": verdict}


def _estimate(held: Any, reduction: str) -> Estimate:
    return estimate(held, reduction, level=LEVEL, resamples=RESAMPLES, seed=0)


def _told(found: Estimate) -> list[float | None]:
    return [None if v is None else round(float(v), 5) for v in (found.value, found.lower, found.upper)]


# ------------------------------------------------------------------ run


def machine() -> str:
    """Where these figures were measured."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
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


def shown(name: str, result: Mapping[str, Any], *, quick: bool) -> list[str]:
    """A set's table for people: a line a model, and one a figure and horizon with all of them."""
    lines = [f"\n{result['told']}"]
    for model, held in result["models"].items():
        rate = ", ".join(f"{s['stage']} {s['frames_per_cpu_s']:g}" for s in held["stages"] if s["frames_per_cpu_s"])
        memory = "" if quick else f", {held['memory']['peak_mb']} MB (before training {held['memory']['before_mb']})"
        size = f"{held['parameters'] / 1e6:.2f} M"
        lines.append(
            f"  {model:7}{size}, configuration {held['configuration']}, best of {held['of']}; "
            f"{held['stages'][-1]['steps']} steps; trains {rate} pictures/s, imagines "
            f"{held['imagined_per_cpu_s']['8']:g}/s{memory}{'; starved' if held['starved'] else ''}"
        )
    seen: set[str] = set()
    for row in result["rows"]:
        what, _, model = row["what"].removeprefix(f"{name}, ").rpartition(" of ")
        if what not in seen:
            seen.add(what)
            real = "" if row.get("real") is None else f"; read from real pictures {row['real']:.3g}"
            lines.append(f"  {what} [{row['unit']}], {row['better']}{real}")
            shares = {model: [row["value"], *row["interval"]]}
            shares |= {rival: [other["value"], *other["interval"]] for rival, other in row["others"].items()}
            lines.append("    " + ", ".join(f"{who} {_number(*held)}" for who, held in shares.items()))
        told = [f"{o['verdict']} {rival}{' (starved)' if o['starved'] else ''}" for rival, o in row["others"].items()]
        lines.append(f"    {model}: {', '.join(word for word in told if not word.startswith('open'))}")
    return lines


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if low is None or high is None else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few short clips of the cell, 2 s of training each")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--sets", default="cell,pusht,droid,bridge")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seconds", type=float, default=600.0, help="processor seconds of each training")
    parser.add_argument("--tries", type=int, default=3, help="most configurations of each, the smallest first")
    parser.add_argument("--windows", type=int, default=2, help="most windows of a held-out episode")
    parser.add_argument("--samples", type=int, default=4, help="futures a window")
    parser.add_argument("--episodes", type=int, default=0, help="most held-out episodes; 0: all")
    parser.add_argument("--real", type=Path, default=os.environ.get("WORLDGATE_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-video")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    result = run(asked)
    if asked.json:
        print(json.dumps(result))
        return
    for name, held in result["sets"].items():
        print("\n".join(shown(name, held, quick=asked.quick)))
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
        samples=2 if quick else asked.samples, tell=tell, quick=quick,
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
        models = measure(bench, folder, asked.models.split(","), 1 if quick else asked.tries, more)
        rows = rows_of(recipe.name, models, recipe.rate_hz)
        for model in models.values():
            del model["sums"]
        whole["sets"][recipe.name] = {"told": held.told, "models": models, "rows": rows}
        whole["rows"] += [{k: v for k, v in row.items() if k != "others"} for row in rows]
        whole |= {"load": os.getloadavg()[0], "seconds": round(time.perf_counter() - begun)}
        if not quick:
            path = Path(__file__).parent / "results" / "video.json"
            write_atomic(path, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    return whole


if __name__ == "__main__":
    main()
