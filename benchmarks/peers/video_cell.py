"""One cell of the table of video models: a model trained on a set, or judged on it; each in a process of its own.

``python video_cell.py REQUEST.json`` does what the request says and writes its answer beside it; so the memory of a
cell is its own, and a cell that was killed is simply done again. Ours and peers are prompted with the same rows, rolled
out under the same actions at the same windows, and judged by ``worldgate.evidence.evaluation``.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import video_learning as learning
import video_sets as sets
from video_table import OURS

from worldgate.core.atomic import write_atomic
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, ModelSpec, Prompt, Unrolling, WorldModel, rollout
from worldgate.data import clips
from worldgate.evidence.evaluation import EvaluateConfig, evaluate
from worldgate.evidence.evaluation.sums import Table
from worldgate.evidence.windows import read_tracks
from worldgate.worlds import sizes
from worldgate.worlds.family import load_family
from worldgate.worlds.sizes import Size
from worldgate.worlds.tracks import Track, fit_normaliser, make_tracks, resolve_layout

PEERS = {"edm": "video_edm", "genie": "video_genie"}
SHORT = {"windows": 1, "samples": 2, "episodes": 4}
"""How a model is judged on the way, and the best configuration is found."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A cell: which model, in which configuration, on which set."""

    model: str
    configuration: int
    seconds: float
    """Of the processor, for the training."""


class Same:
    """A model that is prompted with as many rows as every other, so that all see the same windows."""

    def __init__(self, model: WorldModel) -> None:
        assert model.spec.context <= sets.CONTEXT, "a longer context than everyone gets"
        self.model, self.spec = model, replace(model.spec, context=sets.CONTEXT)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """As they are."""
        return self.model.capabilities

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        """Start unrolling."""
        return self.model.open(prompt, samples=samples, seed=seed)


class Subject:
    """A model that can be trained, kept and rolled out."""

    def __init__(self, asked: Asked, held: sets.VideoSet) -> None:
        self.asked, self.held = asked, held
        torch.manual_seed(0)
        layout = resolve_layout(held.train, held.inputs)
        train, judges = make_tracks(held.train, layout), make_tracks(held.held_out, layout)
        normaliser = fit_normaliser(make_tracks(held.train, replace(layout, cameras=())), layout)
        if asked.model in OURS:
            config = _ours(asked, held)
            self.made: Any = load_family(asked.model).create(config, layout, normaliser)
            self.modules: nn.Module = self.made
            self.stages = lambda: _phases(self.made, config, train, judges)
            context = self.made.context
        else:
            module = importlib.import_module(PEERS[asked.model])
            config = module.CONFIGS[asked.configuration]
            self.made = module.create(config, layout, normaliser, train, judges)
            self.modules, self.stages, context = self.made.modules(), self.made.stages, learning.CONTEXT
        self.config = repr(config)
        self.spec = ModelSpec(
            family=asked.model, digest="", normaliser="", rate_hz=layout.rate_hz, context=context,
            states=layout.states, cameras=layout.cameras, action=layout.action,
        )  # fmt: skip

    def world(self) -> WorldModel:
        """Behind the protocol."""
        self.modules.train(False)
        return Same(self.made.world(self.spec))

    def parameters(self) -> int:
        """All weights."""
        return sum(p.numel() for p in self.modules.parameters())


def configurations(model: str) -> int:
    """How many a model may be tried in: ours stand as they ship."""
    return len(OUR_SIZES[model]) if model in OURS else len(importlib.import_module(PEERS[model]).CONFIGS)


OUR_SIZES: Mapping[str, Sequence[Size]] = dict.fromkeys(OURS, (Size.SMALL,))


def _ours(asked: Asked, held: sets.VideoSet) -> Any:
    config = sizes.config_of(asked.model, load_family(asked.model), OUR_SIZES[asked.model][asked.configuration])
    loop = replace(config.loop, device="cpu", seed=0)
    return replace(config, inputs=held.inputs, loop=loop)


def _phases(model: Any, config: Any, train: list[Track], judges: list[Track]) -> list[learning.Stage]:
    unroll = config.window if hasattr(config, "window") else config.net.unroll + 2
    out = []
    phases = [phase for phase in model.phases(train, judges) if phase.parameters()]
    for number, phase in enumerate(phases):
        length = unroll if number == len(phases) - 1 else 1
        frames = phase.config.batch * phase.config.accumulate * length
        out.append(learning.Ours(phase, model, config.loop, frames))
    return out


# ------------------------------------------------------------------ training


def train(asked: Asked, held: sets.VideoSet, weights: Path, parts: Sequence[float] = learning.JUDGED) -> dict[str, Any]:
    """Train a model and keep its weights; judged shortly after parts of its last stage."""
    before = _resident_mb()
    subject = Subject(asked, held)
    short = replace(held, held_out=held.held_out[: SHORT["episodes"]])
    horizons = held.recipe.horizons[:1]

    def judge() -> dict[str, float]:
        measures = ("energy", "video_moving")
        config = EvaluateConfig(
            horizons=horizons, windows=SHORT["windows"], samples=SHORT["samples"], measures=measures,
            other_actions=False, situation_windows=0, references=8,
        )  # fmt: skip
        found = evaluate(subject.world(), short.held_out, config, references=short.train)
        subject.modules.train(True)
        out = {}
        for row in found.rows:
            if row.figure.startswith(held.recipe.camera):
                name = f"{row.figure.removeprefix(held.recipe.camera + '/')}@{row.step}"
                out[name], out[f"copy-last {name}"] = (row.values[who].value for who in ("model", "hold"))
        return out

    told = learning.learn(subject.stages(), asked.seconds, judge, parts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save_file({k: v.contiguous() for k, v in subject.modules.state_dict().items()}, weights)
    memory = {"before_mb": round(before), "peak_mb": round(peak)}
    return {"config": subject.config, "parameters": subject.parameters(), "memory": memory, **told}


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() / 2**20


# ------------------------------------------------------------------ judging


def judge(
    asked: Asked, held: sets.VideoSet, weights: Path, *, windows: int, samples: int, measures: Sequence[str]
) -> dict[str, Any]:
    """Judge a trained model: sums by episode of every figure of its camera, and how fast it imagines."""
    subject = Subject(asked, held)
    subject.modules.load_state_dict(load_file(weights))
    model = subject.world()
    config = EvaluateConfig(
        horizons=held.recipe.horizons, windows=windows, samples=samples, measures=tuple(measures), situation_windows=0
    )
    table = Table()
    found = evaluate(model, held.held_out, config, references=held.train, sums=table)
    infos = {row.figure: row for row in found.rows}
    sums: dict[str, Any] = {}
    for figure, situation, step, who in table.entries():
        if not situation and _shown(figure, held):
            values = {str(e): v.tolist() for e, v in table.of((figure, situation, step, who)).items()}
            unit = "px" if held.recipe.name == "pusht" and infos[figure].unit == "m" else infos[figure].unit
            entry = sums.setdefault(figure, {"unit": unit, "better": infos[figure].better, "steps": {}})
            entry["steps"].setdefault(str(step), {})[who] = values
    facts = found.facts
    about = {"episodes": len(facts.episodes), "windows": facts.windows, "samples": facts.samples}
    about |= {"references": facts.references, "nonfinite": facts.nonfinite, "not_measured": dict(facts.not_measured)}
    return {"about": about, "sums": sums, "imagined_per_cpu_s": speed(model, held)}


def _shown(figure: str, held: sets.VideoSet) -> bool:
    """What is read from pictures: everyone's states come from one and the same telemetry ensemble."""
    return figure.startswith(held.recipe.camera)


def speed(model: WorldModel, held: sets.VideoSet) -> dict[str, float]:
    """Pictures a processor second, alone and eight futures at once."""
    tracks = read_tracks(held.held_out[0], model.spec, clips.pictures)
    steps = held.recipe.horizons[0]
    start = tracks.windows(model.spec, steps)[0]
    assert tracks.actions is not None
    actions: FloatArray = np.asarray(tracks.actions[start : start + steps])
    out = {}
    for samples in (1, 8):
        begun = time.process_time()
        rollout(model, tracks.prompt(model.spec, start), actions, samples=samples, seed=0)
        out[str(samples)] = round(samples * steps / (time.process_time() - begun), 1)
    return out


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    held = sets.opened(Path(request["set"]), only=request.get("only", 0))
    asked, weights = Asked(**request["asked"]), Path(request["weights"])
    if request["do"] == "train":
        return train(asked, held, weights, request.get("parts", learning.JUDGED))
    return judge(asked, held, weights, **request["judging"])


def request(do: str, asked: Asked, folder: Path, weights: Path, **more: Any) -> dict[str, Any]:
    """What :func:`answer` takes."""
    return {"do": do, "asked": dataclasses.asdict(asked), "set": str(folder), "weights": str(weights), **more}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_atomic(path.with_suffix(".answer"), json.dumps(answer(json.loads(path.read_text()))).encode(), overwrite=True)
