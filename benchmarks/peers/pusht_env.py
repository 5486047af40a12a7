"""PushT as a Gymnasium environment of this process, whose physics runs in .venv-pusht, and its recorded logs.

``pusht_logs(folder, episodes, seed)`` is what other scripts call: MCAP logs marked ``simulated`` by a mix of actors,
made once for the same arguments and code; ``contract()`` is what they are held to. Positions are pixels of PushT's own
512 x 512 plane, whatever size the pictures have.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from worldgate.core.digest import digest_json, sha256
from worldgate.core.worlds import Observation, Policy
from worldgate.data import contracts
from worldgate.sim.gym import GymConfig, GymStream, record_gym
from worldgate.sim.tasks import _pusht_expert as expert

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".venv-pusht" / "bin" / "python"
TOP, STATE, SPEED, AROUND, TOUCH, COVERAGE = (
    "observation.images.top",
    "observation.state",
    "observation.velocity",
    "observation.environment_state",
    "observation.contacts",
    "coverage",
)
MIX = ("scripted", "noisy", "play", "noisy", "random", "play")
"""Who acts, in turn: the expert, the expert with errors, the expert with other goals, aimless motion."""
LONGEST = {"scripted": 300, "noisy": 240, "play": 150, "random": 100, "centre": 300}


class Centre(Policy):
    """Gets behind the T's centre as seen from the goal and pushes straight on; it never thinks of the turn."""

    digest = digest_json({"pusht": "centre"})

    def reset(self, *, seed: int) -> None:
        """Nothing is remembered."""

    def act(self, observation: Observation) -> expert.Vec:
        tool = observation["observation.state"]
        centre, goal = (
            expert.of_centre(observation["observation.environment_state"])[:2],
            expert.of_centre(expert.GOAL)[:2],
        )
        onward = (goal - centre) / max(float(np.linalg.norm(goal - centre)), 1e-6)
        back = tool - centre
        angle = math.atan2(float(back[1] * -onward[0] + back[0] * onward[1]), float(-onward @ back))
        if abs(angle) < 0.5:
            return np.clip(tool + onward * min(40.0, float(np.linalg.norm(goal - centre)) + 5), *expert.TOOL_WALLS)
        turn = expert.turns(np.float64(-math.copysign(min(abs(angle), 0.6), angle)))
        return np.clip(centre + turn @ (back / max(float(np.linalg.norm(back)), 1e-6)) * 110.0, *expert.TOOL_WALLS)


KINDS: dict[str, Callable[[], Policy]] = {**expert.KINDS, "centre": Centre}


def actor(kind: str) -> Policy:
    """One of :data:`KINDS`."""
    return KINDS[kind]()


class PushT(gymnasium.Env[Any, Any]):
    """The environment, in the process that has it.

    Args:
        size: pixels a side of its pictures.

    Raises:
        FileNotFoundError: ``.venv-pusht`` is not there; ``make bench-env`` makes it.
    """

    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012  # as gymnasium declares it

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self.action_space = spaces.Box(0.0, 512.0, (2,), np.float32)
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)
        command = [str(PYTHON), str(HERE / "pusht_steps.py"), str(size)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=alone)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a run: (size, size, 3) picture and facts."""
        told, picture = self._ask({"reset": seed})
        return picture, told["info"]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold a target (2,) for 100 ms."""
        told, picture = self._ask({"step": np.asarray(action, np.float64).tolist()})
        return picture, told["reward"], told["terminated"], told["truncated"], told["info"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("PushT ended; its own words stand above")
        picture = np.frombuffer(self._process.stdout.read(self.size**2 * 3), np.uint8)
        return json.loads(line), picture.reshape(self.size, self.size, 3).copy()


def config(max_steps: int) -> GymConfig:
    """What is recorded of PushT: picture, tool, block, contacts, share of the goal that is covered."""
    return GymConfig(
        streams=(
            GymStream(source="observation", name=TOP, frame="top"),
            GymStream(source="info.pos_agent", name=STATE, names=("x", "y"), unit="px", frame="plane"),
            GymStream(source="info.vel_agent", name=SPEED, names=("vx", "vy"), frame="plane"),
            GymStream(source="info.block_pose", name=AROUND, names=("x", "y", "turn"), unit="px,px,rad", frame="plane"),
            GymStream(source="info.n_contacts", name=TOUCH, names=("points",), unit="1"),
            GymStream(source="info.coverage", name=COVERAGE, names=("share",), unit="1"),
        ),
        action=GymStream(source="action", name="action", names=("x", "y"), unit="px", frame="plane"),
        task="push the T onto its outline",
        max_steps=max_steps,
    )


def contract() -> contracts.Contract:
    """Streams, rows and splits of these logs."""
    return contracts.from_tree(
        {
            "name": "pusht",
            "version": 1,
            "origins": ["simulated"],
            "streams": {
                TOP: {"kind": "image", "rate_hz": [9.0, 11.0]},
                STATE: {"kind": "vector", "width": 2, "unit": "px"},
                AROUND: {"kind": "vector", "width": 3, "unit": "px,px,rad"},
                TOUCH: {"kind": "vector", "width": 1},
                "action": {"kind": "action", "width": 2, "unit": "px"},
            },
            "alignment": {"rate_hz": 10.0, "causal": True, "default": {"policy": "hold", "tolerance_ns": 100_000_000}},
            "checks": {"counts": {}, "finite": {}, "gaps": {"params": {"periods": 5.0, "least_s": 0.25}}},
            "splits": {"fractions": {"train": 0.7, "val": 0.3}, "seed": 1},
        },
        where="pusht",
    )


def code() -> list[str]:
    """Digests of what makes an episode."""
    files = (HERE / "pusht_env.py", HERE / "pusht_steps.py", Path(expert.__file__))
    return [sha256(path.read_bytes()) for path in files]


def pusht_logs(folder: Path, episodes: int, seed: int, *, size: int = 64, mix: Sequence[str] = MIX) -> list[Path]:
    """Logs of so many episodes, made where they are not there yet.

    Args:
        folder: where they are kept: one folder for each content.
        episodes: how many; those of a shorter list are the first of a longer one.
        seed: of the first episode; each further one takes the next.
        size: pixels a side of the pictures.
        mix: who acts, in turn.

    Raises:
        FileNotFoundError: ``.venv-pusht`` is not there.
    """
    made = folder / f"pusht-{digest_json({'code': code(), 'size': size, 'mix': list(mix)})[:12]}"
    paths = [made / f"{seed + i:05d}-{mix[i % len(mix)]}.mcap" for i in range(episodes)]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        env = PushT(size)
        try:
            for i in missing:
                kind = mix[i % len(mix)]
                record_gym(
                    paths[i], env, actor(kind), seed=seed + i, config=config(LONGEST[kind]), facts={"expert": kind}
                )
                print(f"\rPushT {i + 1}/{episodes}", end="", file=sys.stderr, flush=True)
        finally:
            env.close()
        print(file=sys.stderr)
    return paths


assert set(MIX) <= set(KINDS)
