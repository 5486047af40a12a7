"""Does a policy do what a sentence says, also where block and bin were never named together while it learned?

``.venv/bin/python benchmarks/instructed.py [--quick] [--json] [--keep] [--cache FOLDER] [--runs N] [--steps N]
[--starts N]``. Runs of the task ``instructed`` with three bins are recorded without the three held-out combinations,
policy ``vla`` is trained on them (numbers alone: arm, blocks, forces), and then tried from starts that are the same
for everyone: the six combinations it learned, and the three it never saw.

Beside it act the scripted actor and random actions, and two controls of the same release. *Blind*: the sentence is
drawn among all nine, whatever the run asks for; who follows it can succeed only where it happens to be the right one,
one time in nine. *Misled*: it is drawn among the other eight, so whoever follows it never succeeds. Whoever reads
no sentence at all can do no better than always to take the likeliest of the combinations asked for: one in six of those
that were learned, one in three of those held out. The control holds where the lower end of
the release lies above that and the upper end of blind below it.

Success is the task's own. *Right block* is the one that is lifted first, of all runs; *right bin* the bin nearest to
where that block (without one, the tool) ends, of all runs; chance is one in three for both.

Half of the runs begin where a run with another sentence stood, before it took anything: otherwise where the tool is and
how it moves tell the block after two steps, and words are needed for so little that they are not learned.

What was trained is kept under ``--cache`` and found again. ``--quick`` makes everything small and keeps nothing.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from worldgate.control.policies import vla
from worldgate.control.policies._release import WEIGHTS
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.core.episodes import Episode
from worldgate.core.streams import FloatArray
from worldgate.core.tasks import TRUTH, Task
from worldgate.core.worlds import Observation, Policy
from worldgate.evidence.statistics import binomial_interval
from worldgate.sim.tasks import instructed, open_actor, open_task
from worldgate.sim.watch import collect, watch
from worldgate.worlds import checkpoint
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import loop
from worldgate.worlds.train.config import LoopConfig

Row: TypeAlias = dict[str, Any]
RESULT = Path(__file__).resolve().parent / "results" / "instructed.json"
BINS = 3
HELD_OUT = ("red:left", "green:middle", "blue:right")
ALL = instructed.combinations(BINS)
LEARNED = tuple(c for c in ALL if c not in HELD_OUT)
STATES = ("observation.state", "observation.environment_state", "observation.force")
LEARN_SEED, OTHER_SEED, JUDGE_SEED, START_SEED = 10_000, 2_000_000, 500_000, 900_000
LONGEST_APPROACH = 10
"""Steps towards another block, at most, before a run begins."""
LIFTED_M = 0.05


class Redirected:
    """The task, begun where a run with another sentence stands before it takes anything."""

    def __init__(self, task: Task, expert: Policy) -> None:
        self.task, self.expert = task, expert

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def reset(self, *, seed: int) -> Observation:
        """Some steps towards one block; then another sentence."""
        draw = np.random.default_rng(seed)
        seen = self.task.reset(seed=seed)
        self.expert.reset(seed=seed)
        home = float(seen["observation.state"][12])
        for _ in range(int(draw.integers(LONGEST_APPROACH))):
            if seen["observation.state"][12] < home / 2:
                break  # it is about to grip
            seen = self.task.step(self.expert.act(seen)).observation
        colour, place = LEARNED[int(draw.integers(len(LEARNED)))].split(":")
        row = np.array(seen[TRUTH])
        row[-2:] = tuple(instructed.COLOURS).index(colour), tuple(instructed.BINS).index(place)
        return self.task.begin(row, seed=seed)


def recorded(runs: int) -> tuple[list[Episode], list[Episode]]:
    """Successful runs to learn from, half of them redirected, and some to judge beside the loss."""
    options = {"size": 0, "bins": BINS, "without": HELD_OUT}
    task = open_task("instructed", options)
    scripted, noisy = (open_actor(who, "instructed", options) for who in ("scripted", "noisy"))
    other: Any = Redirected(open_task("instructed", options), open_actor("scripted", "instructed", options))
    plain = [collect(task, (scripted, noisy)[i % 2], seed=LEARN_SEED + i) for i in range(runs // 2)]
    turned = [collect(other, noisy, seed=OTHER_SEED + i) for i in range(runs - runs // 2)]
    judged = [collect(task, scripted, seed=JUDGE_SEED + i) for i in range(max(2, runs // 50))]
    return [e for e in (*plain, *turned) if e.facts["success"]], judged


def configured(steps: int) -> vla.Config:
    """The policy's configuration."""
    config = vla.Config()
    told = LoopConfig(checkpoint_every=500, evaluate_every=500, threads=1, device="cpu")
    return replace(
        config,
        inputs=Inputs(states=STATES, text=("task",)),
        relative_to="observation.state",
        convention="tool_position",
        phase=replace(config.phase, steps=steps),
        loop=told,
    )


def learned(cache: Path, runs: int, steps: int) -> tuple[Callable[[], Policy], Row]:
    """The release at work, and what its training was; found where it was trained before."""
    config = configured(steps)
    folder = cache / f"instructed-{digest_json([runs, repr(config), code()])[:12]}"
    if not (folder / "model" / checkpoint.CONFIG).is_file():
        begun = time.monotonic()
        train, judged = recorded(runs)
        recording = time.monotonic() - begun
        print(f"{len(train)} runs recorded in {recording:.0f} s", file=sys.stderr, flush=True)
        if folder.exists():
            loop.resume(folder, train, judged, said)
        else:
            loop.train("policies/vla", train, judged, config, folder, said)
        facts = {"episodes": len(train), "rows": sum(map(len, train)), "recording_s": round(recording, 1)}
        write_atomic(folder / "recorded.json", json.dumps(facts).encode(), overwrite=True)
    tree, model, _ = checkpoint.restore(folder / "model")
    made: Any = model
    with tempfile.TemporaryDirectory() as held:
        path = Path(held) / WEIGHTS
        fitted = made.fitted()
        fitted.save(path)
        data = path.read_bytes()
    release = fitted.release({WEIGHTS: sha256(data)})
    facts = {**json.loads((folder / "recorded.json").read_bytes()), "training_s": tree["about"]["seconds"]}
    facts |= {"steps": steps, "weights": sum(t.size for t in fitted.tensors.values()), "release": release.digest}
    return lambda: vla.build(release, {WEIGHTS: data}), facts


def said(progress: Any) -> None:
    """A line now and then."""
    if progress.step % 250 == 0:
        print(f"step {progress.step}: loss {progress.loss:.3f}", file=sys.stderr, flush=True)


class Acting:
    """Somebody at work within the task's bounds, told what the run asks for or something else."""

    def __init__(self, policy: Policy, task: Task, words: Callable[[str], str] | None) -> None:
        self.policy, self.low, self.high = policy, np.asarray(task.spec.low), np.asarray(task.spec.high)
        self.words = words
        self.seconds, self.asked = 0.0, 0

    @property
    def digest(self) -> str:
        """Of who acts."""
        return self.policy.digest

    def reset(self, *, seed: int) -> None:
        """Begin anew."""
        self.policy.reset(seed=seed)

    def tell(self, text: str) -> None:
        """Pass the sentence on, or another one."""
        tell = getattr(self.policy, "tell", None)
        if tell is not None:
            tell(text if self.words is None else self.words(text))

    def act(self, observation: Observation) -> FloatArray:
        """Within bounds."""
        begun = time.perf_counter()
        action = np.clip(self.policy.act(observation), self.low, self.high)
        self.seconds, self.asked = self.seconds + time.perf_counter() - begun, self.asked + 1
        return action


def one(task: Task, acting: Acting, seed: int) -> tuple[bool, bool, bool]:
    """Success, right block and right bin of one run."""
    lifted, end, success = None, np.zeros((3, 4)), False
    for step in watch(task, acting, seed=seed):
        seen = step.transition.observation
        end = np.asarray(seen["observation.environment_state"], np.float64).reshape(len(instructed.COLOURS), 4)
        if lifted is None and end[:, 2].max() > LIFTED_M:
            lifted = int(end[:, 2].argmax())
        success = bool(step.transition.facts["success"])
        tool = np.asarray(seen["observation.state"][10:12])
    colour, place = (name for c in ALL if instructed.sentence(c) == task.text for name in c.split(":"))
    where = tool if lifted is None else end[lifted, :2]
    nearest = min(instructed.BINS, key=lambda name: float(np.hypot(*(where - instructed.BINS[name]))))
    return success, lifted == tuple(instructed.COLOURS).index(colour), nearest == place


def others(*, among: Callable[[str], Sequence[str]]) -> Callable[[str], str]:
    """A sentence drawn among some, the same in each trial of this script."""
    draw = np.random.default_rng(0)
    return lambda text: str(draw.choice(among(text)))


def figures(who: str, group: str, policy: Policy, starts: int, words: Callable[[str], str] | None) -> Iterator[Row]:
    """Rates of one who acts, with exact intervals."""
    task = open_task("instructed", {"size": 0, "bins": BINS, "only": LEARNED if group == "learned" else HELD_OUT})
    acting = Acting(policy, task, words)
    found = np.array([one(task, acting, START_SEED + k) for k in range(starts)])
    print(f"{who}, {group}: {found.sum(0).tolist()} of {starts}", file=sys.stderr, flush=True)
    for name, held in zip(("success", "right block", "right bin"), found.T, strict=True):
        low, high = binomial_interval(int(held.sum()), starts, "0.05")
        yield {
            "what": f"{who}, {group}: {name}", "value": float(held.mean()), "unit": "1", "lower": low, "upper": high,
            "starts": starts, "peer": None, "peer_value": None, "ratio": None, "bar": None, "ok": None,
            "ms_a_period": round(1e3 * acting.seconds / max(1, acting.asked), 2),
        }  # fmt: skip


def measured(make: Callable[[], Policy], starts: int) -> list[Row]:
    """Everyone, from the same starts."""
    sentences = [instructed.sentence(c) for c in ALL]
    blind = others(among=lambda text: sentences)
    misled = others(among=lambda text: [s for s in sentences if s != text])
    rows: list[Row] = []
    options = {"size": 0, "bins": BINS}
    for group, asked in (("learned", LEARNED), ("held out", HELD_OUT)):
        best = 1 / len(asked)
        mine = list(figures("release", group, make(), starts, None))
        blinded = list(figures("blind", group, make(), starts, blind))
        mine[0] |= {"bar": round(best, 4), "ok": float(mine[0]["lower"]) > best}
        # Whoever cannot do it with the right sentence says nothing by failing with another one.
        blinded[0] |= {"bar": round(best, 4), "ok": float(blinded[0]["upper"]) < best if mine[0]["ok"] else None}
        rows += [*mine, *blinded, *figures("misled", group, make(), starts, misled)]
        for who in ("scripted", "random"):
            rows += figures(who, group, open_actor(who, "instructed", options), max(2, starts // 2), None)
    return rows


def code() -> str:
    """Digest of what a trained policy depends on beside its configuration."""
    room = Path(vla.__file__).parent
    return sha256(b"".join(path.read_bytes() for path in (*sorted(room.glob("_vla*.py")), Path(vla.__file__))))


def machine() -> str:
    """Where it ran."""
    got = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {load}, commit {got.stdout.strip() or 'unknown'}"


def table(result: Row) -> str:
    """As text."""
    training = ", ".join(f"{name} {value}" for name, value in result["training"].items() if name != "release")
    lines = [f"simulated; {result['machine']}", f"trained: {training}"]
    for row in result["rows"]:
        mark = "" if row["ok"] is None else f"   {'ok' if row['ok'] else 'not shown'}, bar {row['bar']:g}"
        around = f"[{float(row['lower']):.2f}, {float(row['upper']):.2f}]"
        lines.append(f"{row['what']:<34} {row['value']:.2f} {around} of {row['starts']}{mark}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> Row:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(".cache/instructed"))
    parser.add_argument("--keep", action="store_true", help="write the result beside this script")
    asked = parser.parse_args(arguments)
    runs, steps, starts = (12, 5, 2) if asked.quick else (asked.runs, asked.steps, asked.starts)
    asked.cache.mkdir(parents=True, exist_ok=True)
    make, facts = learned(asked.cache, runs, steps)
    whole = {"name": "instructed", "machine": machine(), "held_out": list(HELD_OUT), "training": facts}
    result: Row = {**whole, "rows": measured(make, starts)}
    if asked.keep and not asked.quick:
        write_atomic(RESULT, (json.dumps(result, indent=1) + "\n").encode(), overwrite=True)
    print(json.dumps(result) if asked.json else table(result))
    return result


if __name__ == "__main__":
    main()
