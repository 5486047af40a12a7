"""Perception: a network learns to segment pictures and to place the object, from logs of several origins.

Sources are folders of logs with colour and, where there are labels, classes of pixels and the object's pose. Where no
source is given, runs of the embedded cell are recorded, which stand in for labelled real ones and are marked simulated.
Every sample keeps the origin of its episode; ``mix`` says how often each origin is drawn, the page tells what was
drawn, and held-out figures stand by origin and place, beside baselines that learn nothing. One place is kept out of
training whole: what a network knows of cameras that it never saw.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgate.core.digest import short, to_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused
from worldgate.core.report import Section, Table, write_report
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.logs import open_folder
from worldgate.data.resample import Policy
from worldgate.evidence.bootstrap import Interval
from worldgate.evidence.seeing import Figures, table
from worldgate.recipes._result import Result
from worldgate.recipes._story import Quiet, Story
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.scene import CLASSES
from worldgate.sim.sensing import AROUND, SensorConfig

if TYPE_CHECKING:
    from worldgate.control.perception import Perceiver

CARD = {
    "line": "a network learns to segment pictures and place the object, from logs mixed by origin",
    "inputs": "folders of logs with colour, classes and poses, or the embedded cell's",
    "needs": "models",
    "source": "worldgate list perception",
}
COLOUR, LABELS = "observation.images.front", "observation.segmentation.front"
_RATE_HZ = 5.0
_TURN = 4
"""One episode of so many is held out."""
SCHEMA, SEAM = "worldgate/perception/1", "perception"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Runs of the embedded cell, for want of other logs."""

    runs: int = 48
    """At each place."""
    duration_s: float = 8.0
    sites: tuple[str, ...] = ("north", "south")
    experts: tuple[str, ...] = ("noisy", "random", "scripted")
    """In turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptionConfig:
    """The recipe's configuration."""

    seed: int = 0
    network: str = "unet"
    """An entry of ``worldgate list perception``."""
    steps: int = 1200
    """Of training."""
    seconds: float = 0.0
    """Most of training; 0: the steps alone bound it."""
    sources: tuple[str, ...] = ()
    """Folders or files of logs; empty: the cell is recorded."""
    cell: Cell = field(default_factory=Cell)
    mix: Mapping[str, float] = field(default_factory=dict)
    """Origin (real, simulated, imagined) -> how often it is drawn; empty: as often as it has rows."""
    control: str = "south"
    """Place (site) that training never sees; empty: none."""


def run(folder: Path, config: PerceptionConfig | None = None, story: Story | None = None) -> Result:
    """Train and judge in a new workspace.

    Args:
        folder: of the workspace; must not exist.
        config: what is learned from, and how long.
        story: where progress goes.

    Raises:
        AlreadyExists: the folder exists.
        ConfigError: a mix that does not name the origins there are.
        DataRefused: too few labelled episodes.
    """
    from worldgate.control.perception import load
    from worldgate.control.perception._judging import Labels, judge, shares
    from worldgate.control.perception._mixing import Mix
    from worldgate.worlds import checkpoint
    from worldgate.worlds.tracks import make_tracks, resolve_layout
    from worldgate.worlds.train import loop

    config, story, begun = config or PerceptionConfig(), story or Quiet(), time.monotonic()
    with Workspace.init(folder, person="ada", name="perception") as ws:
        story.scene("a. Logs, each of its origin")
        episodes = _episodes(folder, config, story)
        train, held_out = _split(episodes, config.control)
        chosen = _network(config)
        layout = resolve_layout(train, chosen.inputs)
        mix = Mix(make_tracks(train, layout), config.mix)
        told = ", ".join(f"{name} {share:.0%}" for name, share in mix.shares.items())
        story.say(f"learned from: {shares(mix.counts)} rows; drawn by weight: {told}")
        story.scene("b. One training loop for all that learns")
        with story.progress("training") as progress:
            made = loop.train(
                f"{SEAM}/{config.network}", train, held_out, chosen, folder / "runs" / "perception",
                lambda p: progress(p.step, p.steps, f"loss {p.loss:.4f}"),
            )  # fmt: skip
        story.scene("c. Held-out episodes, by origin and place")
        network = load(made)
        names = _names(chosen.classes)
        channels = tuple(layout.states[0].names.index(name) for name in chosen.pose)
        labels = Labels(colour=COLOUR, classes=LABELS, stream=AROUND.name, channels=channels)
        found = judge(network, make_tracks(train, layout), make_tracks(held_out, layout), labels=labels, names=names)
        facts = _facts(config, network, mix.counts, mix.shares, found)
        model = _keep(ws, made, checkpoint.identity(made), facts)
        shown = table(found, one="object")
        for row in shown.rows:
            story.say("  ".join(row))
        page = _page(folder, facts, shown, config.control)
    known = {group for group in found if not config.control or f", {config.control}/" not in f"{group}/"}
    good = all(_better(found[group]) for group in known)
    return Result(
        report=page, workspace=folder, seconds=time.monotonic() - begun, as_told=good,
        facts=facts | {"model": model.digest}, commands=(f"worldgate show {short(model.digest)} -w {folder}",),
    )  # fmt: skip


def _network(config: PerceptionConfig) -> Any:
    """The network's configuration at its defaults, with what the recipe says."""
    from worldgate.worlds.family import load_trainable

    base: Any = load_trainable(f"{SEAM}/{config.network}").Config()
    loop = replace(base.loop, seed=config.seed, max_seconds=config.seconds, evaluate_every=200, checkpoint_every=200)
    inputs = replace(base.inputs, states=(AROUND.name,), cameras=(COLOUR, LABELS), optional=(AROUND.name, LABELS))
    phase = replace(base.phase, steps=config.steps)
    return replace(base, inputs=inputs, loop=loop, phase=phase, mix=config.mix)


def _episodes(folder: Path, config: PerceptionConfig, story: Story) -> list[Episode]:
    """Every log of every source, aligned; those of the cell are recorded first where there is no source."""
    sources = [Path(source) for source in config.sources] or [_recorded(folder / "logs", config, story)]
    hold = StreamAlignment(policy=Policy.HOLD)
    episodes = []
    for source in sources:
        for log in open_folder(source).logs:
            there = {info.name for info in log.streams()}
            if COLOUR not in there:
                raise DataRefused("a log without the camera that is learned from", got=COLOUR, where=source)
            used = [name for name in (COLOUR, LABELS, AROUND.name) if name in there]
            spec = AlignmentSpec(rate_hz=_RATE_HZ, causal=True, streams=dict.fromkeys(used, hold))
            episodes.append(align(log, spec))
    return episodes


def _recorded(folder: Path, config: PerceptionConfig, story: Story) -> Path:
    cell = config.cell
    sensors = SensorConfig(cameras=("front",), camera_hz=_RATE_HZ, geometry=("segmentation",), lidar=False)
    total = len(cell.sites) * cell.runs
    folder.mkdir(parents=True)
    with story.progress("recording the cell") as progress:
        for number in range(total):
            site, turn = cell.sites[number % len(cell.sites)], number // len(cell.sites)
            record(
                folder / f"{site}-{turn:03d}.mcap",
                site=site,
                expert=cell.experts[turn % len(cell.experts)],
                seed=config.seed * 100_000 + number,
                duration_s=cell.duration_s,
                config=RecordConfig(sensors=sensors),
            )
            progress(number + 1, total, site)
    return folder


def _split(episodes: Sequence[Episode], control: str) -> tuple[list[Episode], list[Episode]]:
    """What is learned from, and what is held out: one in four, and the control's place whole."""
    inside = [e for e in episodes if not control or str(e.facts.get("site", "")) != control]
    beside = [e for e in episodes if control and str(e.facts.get("site", "")) == control]
    train = [e for number, e in enumerate(inside) if number % _TURN != _TURN - 1]
    held_out = [e for number, e in enumerate(inside) if number % _TURN == _TURN - 1]
    if not train or not held_out:
        got = f"{len(inside)} episodes outside {control or 'no place'}"
        raise DataRefused("too few episodes to learn from and to judge on", got=got, hint=f"{_TURN} at the least")
    return train, held_out + beside


def _names(count: int) -> list[str]:
    """Of the classes, by id; those that the cell has no word for by number."""
    words = {number: name for name, number in CLASSES.items()}
    return [words.get(number, f"class {number}") for number in range(count)]


def _facts(
    config: PerceptionConfig,
    network: Perceiver,
    rows: Mapping[str, int],
    asked: Mapping[str, float],
    found: Mapping[str, Mapping[str, Figures]],
) -> dict[str, Any]:
    return {
        "network": config.network,
        "rows": dict(rows),
        "mix": dict(asked),
        "drawn": network.drawn(),
        "control": config.control,
        "figures": to_json(found),
    }


def _keep(ws: Workspace, made: Path, digest: str, facts: Mapping[str, Any]) -> Ref:
    """The checkpoint in the store, and what it was fed and judged by on the ledger."""
    for file in ("model.safetensors", "normaliser.json", "config.json"):
        ws.store.put_file(made / file)
    model = Ref("perception", digest, "perception")
    told = Ref("evidence", ws.put_json({"schema": SCHEMA, "subject": digest, **facts}), "perception")
    origins = sorted(facts["rows"])
    ws.record("perception.trained", body={"network": facts["network"], "drawn": facts["drawn"]}, outputs=[model])
    body = {"evidence": told.digest, "schema": SCHEMA, "subject": digest, "origins": origins}
    ws.record("evidence.made", body=body, inputs=[model], outputs=[told])
    return model


def _better(by: Mapping[str, Figures]) -> bool:
    """Whether it is shown to beat each baseline in overlap and in place; nothing measured shows nothing."""
    own, others = by["network"], [other for name, other in by.items() if name != "network"]
    overlaps = [(own.overlap, other.overlap) for other in others]
    places = [(other.centimetres, own.centimetres) for other in others]
    shown = [_above(one, other) for one, other in (*overlaps, *places) if one is not None and other is not None]
    return bool(shown) and all(shown)


def _above(one: Interval, other: Interval) -> bool:
    return float(one.lower) > float(other.upper)


def _page(folder: Path, facts: Mapping[str, Any], shown: Table, control: str) -> Path:
    fed = Table(
        headings=("origin", "rows there", "asked share", "samples drawn"),
        rows=tuple(
            (name, str(facts["rows"][name]), f"{facts['mix'][name]:.0%}", str(facts["drawn"].get(name, 0)))
            for name in facts["rows"]
        ),
        caption="What it learned from; origins are never pooled in a figure",
    )
    words = (
        "The network stands beside what looks at no picture and beside background subtraction.",
        f"{control} was kept out of training whole: figures there are of a camera that it never saw."
        if control
        else "No place was kept out of training.",
    )
    return write_report(
        folder / "report.html",
        title="Perception",
        lead="A network learned to say of each pixel what it is, and where the object lies.",
        notice=f"Learned from {', '.join(facts['rows'])} episodes. Simulated ones stand in for labelled real ones.",
        sections=[
            Section(title="What it was fed", tables=(fed,)),
            Section(title="Held-out episodes", words=words, tables=(shown,)),
        ],
    )
