"""What the state heads of a token world are worth where truth is known: in the simulated cell.

``.venv/bin/python benchmarks/state_heads.py [--quick] [--json] [--family flow|masked] [--cache FOLDER]``. One camera,
joints and commands go in; joints, the pose of object and hand, the force on the tool and contact are read out. Four
measurements, each beside its baseline, on episodes that nobody learned from:

* **occlusion**: error of the object's place while a cloth or an arm hides it, beside the place where it was last seen
  (as truth had it), beside where hidden objects are on average, beside rows where it is seen, and beside the same
  heads without memory.
* **contacts**: F1 of imagined contact, and how far its beginnings and ends are off, beside holding the last true state,
  always and never.
* **a person entering**: whether the hand over the table is noticed in real frames, and how far its imagined place is
  off, beside holding its last true place and carrying its last true movement on.
* **sensor drift**: the same runs recorded with a joint sensor whose clock is late and drifts: CRPS and coverage of what
  is read out against the truth of the sound recording, beside the sound prompt, and beside the drifted last value held
  with the deviation that it usually has.

Calibration of all of it: coverage at 50 and 90 %, and the expected calibration error of contact. Futures are rolled in
batches by the model's own sampler from the rows before them; intervals are 90 %, bootstrap over episodes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from heads_figures import Rows, binned, confusion, means

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode
from worldgate.core.streams import BoolArray, FloatArray
from worldgate.data import contracts
from worldgate.data.alignment import align
from worldgate.data.logs.mcap import McapLog
from worldgate.evidence.evaluation.truth import Truth
from worldgate.evidence.metrics.contact import match, onsets
from worldgate.evidence.metrics.crps import of_normal
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import EnvironmentConfig
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig
from worldgate.worlds import checkpoint
from worldgate.worlds.batches import Batch
from worldgate.worlds.family import load_family
from worldgate.worlds.models._reading import Reel, look_of, truths_of
from worldgate.worlds.tracks import Inputs, make_tracks
from worldgate.worlds.train.loop import train

FRONT, STATE, AROUND, FORCE = (
    "observation.images.front",
    "observation.state",
    "observation.environment_state",
    "observation.force",
)
OVER_TABLE_M = 0.60
"""A hand nearer than this is over the table; parked it is at 0.95 m."""
NEAR, FAR = (1, 5), (6, 20)
"""Steps ahead that figures are given for, at 10 Hz."""
DRIFT = Attributes(drifting_sensor=STATE, clock_drift_ppm=20_000.0, clock_offset_ms=150.0)
SEED = 7_000
HISTORY = 10
"""Known rows before a future."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    train: int
    test: int
    size: int
    tokenizer: int
    dynamics: int
    heads: int
    futures: int


FULL = Plan(train=24, test=6, size=48, tokenizer=120, dynamics=250, heads=350, futures=96)
QUICK = Plan(train=8, test=5, size=32, tokenizer=30, dynamics=40, heads=60, futures=48)


# ------------------------------------------------------------------ data


def spec() -> Any:
    """How runs become rows: the cell's own contract, with class ids beside it."""
    cell = contracts.read("cell")
    held = cell.alignment
    names = (*cell.streams, "observation.segmentation.front")
    return replace(held, streams={name: held.streams.get(name, held.default) for name in names})


KINDS: Sequence[tuple[str, Attributes]] = (
    ("scripted", Attributes()),
    ("careless", Attributes(person=True)),
    ("noisy", Attributes(occluded_camera="front")),
    ("noisy", Attributes()),
    ("scripted", Attributes(person=True, occluded_camera="front")),
    ("scripted", Attributes(occluded_camera="front")),
)
"""Experts and circumstances of training, in turn."""


def episode(folder: Path, name: str, seed: int, expert: str, attributes: Attributes) -> Episode:
    """Recorded once."""
    path = folder / f"{name}-{seed}.mcap"
    if not path.exists():
        sensors = SensorConfig(cameras=("front",), camera_hz=10.0, geometry=("segmentation",), lidar=False)
        config = RecordConfig(sensors=sensors, environment=EnvironmentConfig(hold_s=0.0))
        record(path, site="south", seed=seed, expert=expert, attributes=attributes, duration_s=9.0, config=config)
    return align(McapLog(path), spec())


def recorded(folder: Path, plan: Plan) -> dict[str, list[Episode]]:
    """Training episodes, and those of each measurement."""
    folder.mkdir(parents=True, exist_ok=True)
    out = {"train": [episode(folder, "train", i, *KINDS[i % len(KINDS)]) for i in range(plan.train)]}
    out["val"] = [episode(folder, "val", 500 + i, *KINDS[i]) for i in range(3)]
    tests = {
        "plain": ("noisy", Attributes()),
        "occluded": ("scripted", Attributes(occluded_camera="front")),
        "person": ("careless", Attributes(person=True)),
        "drifted": ("noisy", DRIFT),
    }
    for name, (expert, attributes) in tests.items():
        first = SEED + 100 * (name in {"occluded"}) + 200 * (name == "person")
        out[name] = [episode(folder, name, first + i, expert, attributes) for i in range(plan.test)]
    return out


def trained(
    family: str, data: Mapping[str, Sequence[Episode]], plan: Plan, cache: Path, tell: Callable[..., None]
) -> Any:
    """The model, trained once."""
    module = load_family(family)
    made: Any = module.debug() if plan is QUICK else module.Config()
    learning = replace(made.heads.phase, steps=plan.heads)
    heads = replace(made.heads, history=HISTORY, rollouts=plan.futures, phase=learning)
    inputs = Inputs(states=(STATE,), cameras=(FRONT,), size=plan.size, read=(STATE, AROUND, FORCE))
    tokenizer = replace(made.tokenizer, phase=replace(made.tokenizer.phase, steps=plan.tokenizer))
    config = replace(
        made,
        inputs=inputs,
        tokenizer=tokenizer,
        heads=heads,
        phase=replace(made.phase, steps=plan.dynamics),
        loop=replace(made.loop, evaluate_every=10_000, checkpoint_every=10_000, threads=1),
    )
    about = {"config": repr(config), "data": [e.id for e in data["train"]], "family": family}
    folder = cache / f"{family}-{digest_json(about)[:12]}"
    if not (folder / "model").is_dir():
        train(family, data["train"], data["val"], config, folder, tell)
    return checkpoint.load(folder / "model")


# ------------------------------------------------------------------ what a model says of episodes


@dataclass(frozen=True, kw_only=True)
class Told:
    """Sequences of several episodes: known rows, and then the future that was imagined from them."""

    value: Mapping[str, FloatArray]
    """stream -> (N, L, D)."""
    deviation: Mapping[str, FloatArray]
    truth: Mapping[str, FloatArray]
    touch: FloatArray
    """(N, L)"""
    episode: FloatArray
    """(N,) number of the episode of each."""
    rows: FloatArray
    """(N, L) rows in their episode."""
    known: int
    """Rows before the future."""


def batch_of(reel: Reel, *, imagined: bool) -> tuple[Batch, FloatArray]:
    """Sequences, and their first rows."""
    number = np.arange(len(reel.nows if imagined else reel.real))
    none = np.zeros(0, np.int64)
    batch = reel.sequences(none, number) if imagined else reel.sequences(number[::4], none)
    firsts = reel.nows - reel.history + 1 if imagined else reel.real[::4] - reel.history - reel.horizon + 2
    return batch, firsts


@torch.no_grad()
def told(family: Any, reel: Reel, *, imagined: bool, memory: bool = True) -> Told:
    """What the heads say."""
    batch, firsts = batch_of(reel, imagined=imagined)
    look, since = look_of(batch), batch["since_NT"]
    if memory:
        said, _ = family.heads(look, family.heads.blank(len(since)))
    else:
        flat = {n: h.flatten(0, 1).unsqueeze(1) for n, h in batch.tensors.items() if n != "begin_N"}
        alone = look_of(Batch(tensors=flat))
        one, _ = family.heads(alone, family.heads.blank(since.numel()))
        shape = since.shape
        said = replace(
            one,
            means=tuple(m.view(*shape, -1) for m in one.means),
            logs=tuple(m.view(*shape, -1) for m in one.logs),
            touch_NT=one.touch_NT.view(shape),
        )
    values, deviations = family.heads.read(said, since)
    names = [t.name for t in family.heads.of]
    owner = reel.tape.track_of(firsts)
    rows = firsts[:, None] - reel.tape.offsets[owner][:, None] + np.arange(since.shape[1])
    return Told(
        value={n: v.double().numpy() for n, v in values.items()},
        deviation={n: v.double().numpy() for n, v in deviations.items()},
        truth={n: v.double().numpy() for n, v in zip(names, truths_of(batch), strict=True)},
        touch=batch["touch_NT"].numpy(),
        episode=owner,
        rows=rows,
        known=reel.history,
    )


def reel_of(model: Any, episodes: Sequence[Episode], plan: Plan) -> Reel:
    """Real rows and imagined futures of episodes."""
    family = model.family
    tracks = make_tracks(episodes, family.layout)
    torch.manual_seed(0)
    with torch.no_grad():
        return Reel(family, tracks, family.tape(tracks, family.codec.encode(tracks)), plan.futures)


# ------------------------------------------------------------------ figures


def ahead(held: Told, steps: tuple[int, int]) -> BoolArray:
    """(N, L) rows so many steps ahead."""
    at = np.arange(held.touch.shape[1]) - held.known + 1
    return np.broadcast_to((at >= steps[0]) & (at <= steps[1]), held.touch.shape)


def apart(held: Told, stream: str, columns: slice) -> FloatArray:
    """(N, L) distance of the read place from the true one."""
    return np.asarray(np.linalg.norm((held.value[stream] - held.truth[stream])[..., columns], axis=-1))


def last(held: Told, stream: str, columns: slice) -> FloatArray:
    """(N, 1, D) truth at the last known row."""
    return np.asarray(held.truth[stream][:, held.known - 1 : held.known, columns])


XY, HAND = slice(0, 2), slice(5, 7)


def usually_hidden(episodes: Sequence[Episode]) -> FloatArray:
    """(2,) where a hidden object was, on average."""
    truths = [Truth(e) for e in episodes]
    return np.asarray(np.concatenate([t.object_xy[t.hidden] for t in truths]).mean(axis=0))


def occlusion(rows: Rows, family: Any, reel: Reel, episodes: Sequence[Episode], usual_2: FloatArray) -> None:
    """Where the object is while it is hidden."""
    truths = [Truth(e) for e in episodes]
    for words, imagined in (("in real frames", False), ("imagined", True)):
        held = told(family, reel, imagined=imagined)
        hidden = np.stack([truths[int(e)].hidden[r] for e, r in zip(held.episode, held.rows, strict=True)])
        error, place = apart(held, AROUND, XY), held.truth[AROUND][..., XY]
        first = 0 if not imagined else held.known - 1
        seen = np.zeros(hidden.shape, np.int64)
        at = np.full(len(hidden), -1)
        for t in range(hidden.shape[1]):
            if t <= first or not imagined:
                at = np.where(~hidden[:, t], t, at)
            seen[:, t] = at
        before = np.take_along_axis(place, np.maximum(seen, 0)[..., None], axis=1)
        still = np.linalg.norm(before - place, axis=-1)
        later = np.arange(hidden.shape[1]) >= (held.known if imagined else 1)
        keep = hidden & (seen >= 0) & later
        moved = keep & (still > 0.02)
        usual = ~hidden & later
        e = held.episode
        rows.add(
            f"object hidden, {words}: error of its place",
            "m",
            means(error, e, keep),
            "where it was last seen",
            means(still, e, keep),
        )
        rows.add(
            f"object hidden and moved 2 cm since seen, {words}: error",
            "m",
            means(error, e, moved),
            "where it was last seen",
            means(still, e, moved),
        )
        rows.add(f"object in sight, {words}: error of its place", "m", means(error, e, usual))
        rows.add(
            f"object hidden, {words}: error of its place",
            "m",
            means(error, e, keep),
            "where hidden objects are on average",
            means(np.linalg.norm(place - usual_2, axis=-1), e, keep),
        )
        alone = told(family, reel, imagined=imagined, memory=False)
        rows.add(
            f"object hidden, {words}: with memory against without",
            "m",
            means(error, e, keep),
            "heads without memory",
            means(apart(alone, AROUND, XY), e, keep),
        )
        odd = np.abs(held.value[AROUND] - held.truth[AROUND])[..., XY] / held.deviation[AROUND][..., XY]
        rows.target(f"object hidden, {words}: within 90 %", 0.9, means((odd < 1.645).mean(axis=-1), e, keep))


def contacts(rows: Rows, held: Told) -> None:
    """Whether the tool touches, and when that begins and ends."""
    chance, true, e = held.value["contact"][..., 0], held.touch.astype(np.float64), held.episode
    for words, steps in (("0.1-0.5 s", NEAR), ("0.6-2 s", FAR)):
        keep = ahead(held, steps)
        now = np.broadcast_to(true[:, held.known - 1 : held.known] > 0.5, true.shape)
        mine = confusion(chance >= 0.5, true, e, keep)
        rows.add(
            f"contact imagined {words} ahead: F1",
            "1",
            mine,
            "last true state held",
            confusion(now, true, e, keep),
            reduction="f1",
            higher=True,
        )
        rows.add(
            f"contact imagined {words} ahead: F1",
            "1",
            mine,
            "always",
            confusion(np.ones_like(now), true, e, keep),
            reduction="f1",
            higher=True,
        )
        share = np.broadcast_to(np.nanmean(np.where(keep, true, np.nan)), true.shape)
        rows.add(
            f"contact imagined {words} ahead: Brier score",
            "1",
            means((chance - true) ** 2, e, keep),
            "its share of all rows",
            means((share - true) ** 2, e, keep),
        )
        rows.add(
            f"contact imagined {words} ahead: calibration error",
            "1",
            binned(chance, true, e, keep),
            "last true state held",
            binned(now.astype(np.float64), true, e, keep),
            reduction="calibration",
        )
    for words, end in (("beginning", False), ("end", True)):
        counts: dict[int, FloatArray] = {}
        late: dict[int, FloatArray] = {}
        for n in range(len(true)):
            path = np.concatenate([true[n, held.known - 1 : held.known] > 0.5, chance[n, held.known :] >= 0.5])
            real = true[n, held.known - 1 :] > 0.5
            said, was = (onsets(~p if end else p) for p in (path, real))
            hits, apart_rows = match(said, was, 3.0)
            owner = int(e[n])
            counts[owner] = counts.get(owner, np.zeros(3)) + np.array([hits, len(said) - hits, len(was) - hits])
            late[owner] = late.get(owner, np.zeros(2)) + np.array([100.0 * float(np.abs(apart_rows).sum()), hits])
        rows.add(
            f"{words}s of contact imagined within 2.4 s, matched within 0.3 s: F1",
            "1",
            counts,
            reduction="f1",
            bar=0.0,
            higher=True,
        )
        rows.add(f"{words}s of contact: distance in time of those matched", "ms", late)


def person(rows: Rows, family: Any, reel: Reel) -> None:
    """Whether a hand is noticed, and where it goes."""
    real = told(family, reel, imagined=False)
    e, later = real.episode, np.broadcast_to(np.arange(real.touch.shape[1]) >= 1, real.touch.shape)
    there = (real.truth[AROUND][..., 5] < OVER_TABLE_M).astype(np.float64)
    noticed = confusion(real.value[AROUND][..., 5] < OVER_TABLE_M, there, e, later)
    rows.add(
        "hand over the table, in real frames: F1 of noticing it",
        "1",
        noticed,
        "always",
        confusion(np.ones(there.shape, bool), there, e, later),
        reduction="f1",
        higher=True,
    )
    rows.add(
        "hand over the table, in real frames: error of its place",
        "m",
        means(apart(real, AROUND, HAND), e, later & (there > 0)),
        "its mean place there",
        means(_from_mean(real, there > 0), e, later & (there > 0)),
    )
    held = told(family, reel, imagined=True)
    e, place = held.episode, held.truth[AROUND][..., HAND]
    now, before = held.known - 1, held.known - 2
    speed = place[:, now] - place[:, before]
    entering = np.linalg.norm(speed, axis=-1) > 0.01
    step = np.arange(place.shape[1]) - now
    straight = place[:, now : now + 1] + step[:, None] * speed[:, None]
    unforeseen = (place[:, now, 0] > 0.9) & ~entering & (place[:, now + 1 :, 0].min(axis=1) < OVER_TABLE_M)
    for words, steps in (("0.1-0.5 s", NEAR), ("0.6-2 s", FAR)):
        for which, mask in (("a hand on its way", entering), ("a hand nobody could foresee", unforeseen)):
            keep = ahead(held, steps) & mask[:, None]
            error = means(apart(held, AROUND, HAND), e, keep)
            if not error:
                continue
            for peer, path in (
                ("last true place held", place[:, now : now + 1]),
                ("last true movement carried on", straight),
            ):
                rows.add(
                    f"{which}, imagined {words} ahead: error of its place",
                    "m",
                    error,
                    peer,
                    means(np.linalg.norm(path - place, axis=-1), e, keep),
                )
            odd = np.abs(held.value[AROUND] - held.truth[AROUND])[..., HAND] / held.deviation[AROUND][..., HAND]
            rows.target(
                f"{which}, imagined {words} ahead: within 90 %", 0.9, means((odd < 1.645).mean(axis=-1), e, keep)
            )


def _from_mean(held: Told, keep: BoolArray) -> FloatArray:
    place = held.truth[AROUND][..., HAND]
    return np.asarray(np.linalg.norm(place - np.nanmean(place[keep], axis=0), axis=-1))


def drift(rows: Rows, family: Any, sound: Reel, drifted: Reel, learned: Reel) -> None:
    """What a joint sensor that is late does to what is read out."""
    good, bad = (told(family, reel, imagined=True) for reel in (sound, drifted))
    index = {(int(e), int(r)): n for n, (e, r) in enumerate(zip(good.episode, good.rows[:, 0], strict=True))}
    pairs = [
        (index[key], n)
        for n, key in enumerate(zip(bad.episode.tolist(), bad.rows[:, 0].tolist(), strict=True))
        if key in index
    ]
    one, two = (np.array(side) for side in zip(*pairs, strict=True))
    usual = told(family, learned, imagined=True)
    e = good.episode[one]
    for stream, words, columns, unit in (
        (STATE, "joint angles", slice(0, 4), "rad"),
        (AROUND, "the object's place", XY, "m"),
    ):
        truth = good.truth[stream][one][..., columns]
        for ahead_s, steps in (("0.1-0.5 s", NEAR), ("0.6-2 s", FAR)):
            keep = ahead(good, steps)[one]
            spread = np.nanstd((usual.truth[stream][..., columns] - last(usual, stream, columns)), axis=0)
            pull = last(bad, stream, columns)[two] - truth
            scores = {
                "drifted": of_normal(
                    bad.value[stream][two][..., columns] - truth, bad.deviation[stream][two][..., columns]
                ),
                "sound": of_normal(
                    good.value[stream][one][..., columns] - truth, good.deviation[stream][one][..., columns]
                ),
                "held": of_normal(pull, np.broadcast_to(np.maximum(spread, 1e-6), pull.shape)),
            }
            sums = {who: means(score.mean(axis=-1), e, keep) for who, score in scores.items()}
            rows.add(
                f"joint sensor drifts, {words} {ahead_s} ahead: CRPS",
                unit,
                sums["drifted"],
                "drifted last value held",
                sums["held"],
            )
            rows.add(
                f"joint sensor drifts, {words} {ahead_s} ahead: CRPS",
                unit,
                sums["drifted"],
                "sound sensor",
                sums["sound"],
            )
            for who, told_of, at in (("sound", good, one), ("drifting", bad, two)):
                odd = (
                    np.abs(told_of.value[stream][at][..., columns] - truth)
                    / told_of.deviation[stream][at][..., columns]
                )
                rows.target(
                    f"joint sensor {who}, {words} {ahead_s} ahead: within 90 %",
                    0.9,
                    means((odd < 1.645).mean(axis=-1), e, keep),
                )


def calibration(rows: Rows, held: Told) -> None:
    """How often the truth lies within what is claimed, on ordinary episodes."""
    for stream, words, columns in (
        (STATE, "joint angles", slice(0, 4)),
        (AROUND, "object's place and turn", slice(0, 3)),
        (FORCE, "force", slice(0, 3)),
    ):
        odd = np.abs(held.value[stream] - held.truth[stream])[..., columns] / held.deviation[stream][..., columns]
        for when, keep in (
            ("in real frames", np.broadcast_to(np.arange(odd.shape[1]) < held.known, odd.shape[:2])),
            ("0.1-0.5 s ahead", ahead(held, NEAR)),
            ("0.6-2 s ahead", ahead(held, FAR)),
        ):
            for level, times in ((0.5, 0.6745), (0.9, 1.645)):
                rows.target(
                    f"{words}, {when}: within {level:.0%}",
                    level,
                    means((odd < times).mean(axis=-1), held.episode, keep),
                )


def measured(family_name: str, plan: Plan, cache: Path, tell: Callable[..., None]) -> list[dict[str, Any]]:
    """Every row of one family."""
    data = recorded(cache / "logs", plan)
    model = trained(family_name, data, plan, cache, tell)
    family, rows = model.family, Rows(family_name)
    reels = {n: reel_of(model, data[n], plan) for n in ("plain", "occluded", "person", "drifted")}
    plain = told(family, reels["plain"], imagined=True)
    occlusion(rows, family, reels["occluded"], data["occluded"], usually_hidden(data["train"]))
    contacts(rows, plain)
    person(rows, family, reels["person"])
    drift(rows, family, reels["plain"], reels["drifted"], reel_of(model, data["train"], plan))
    calibration(rows, plain)
    return rows.rows


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few episodes, 32 pixels, seconds of training")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--family", action="append", choices=["flow", "masked"], help="both without")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-state-heads")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    plan, begun = QUICK if asked.quick else FULL, time.perf_counter()

    def tell(note: Any) -> None:
        if note.step % 50 == 0 and not asked.json:
            print(f"{note.phase} {note.step}/{note.steps} loss {note.loss:.3f}", file=sys.stderr, flush=True)

    rows = [row for name in asked.family or ["flow", "masked"] for row in measured(name, plan, asked.cache, tell)]
    where = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    whole = {
        "name": "state_heads",
        "machine": where,
        "load": os.getloadavg()[0],
        "quick": asked.quick,
        "plan": vars(plan),
        "seconds": round(time.perf_counter() - begun),
        "rows": rows,
    }
    if not asked.quick:
        path = Path(__file__).parent / "results" / f"state_heads_{asked.family}.json"
        write_atomic(path, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    if asked.json:
        print(json.dumps(whole))
        return
    for row in rows:
        value, low, high = (float("nan") if row[k] is None else row[k] for k in ("value", "low", "high"))
        beside = "" if row["peer_value"] is None else f"{row['peer']} {row['peer_value']:.4f}"
        mark = "" if row["ok"] is None else "ok" if row["ok"] else "short"
        print(f"{row['what']:<86} {value:8.4f} [{low:.4f}, {high:.4f}] {row['unit']:<4} {beside:<40} {mark}")


if __name__ == "__main__":
    main()
