"""Whether our own adapters act as lerobot does: the same folders and observations, every action.

ACT, Diffusion, SmolVLA, and from lerobot 0.6 on pi0 and pi0.5; what these take from the hub is made there, small.
lerobot 0.4.4 runs SmolVLA on a transformers that places patches otherwise than today's; its places are then taken here.

lerobot makes small policies with random weights and statistics in an environment of its own, saves them with its own
saver, and acts for twelve rows through its own processors; ours loads the folders and must give the same actions to
1e-5 of the action's unit, chunks, history, ensembling and the sampler's chance included. Where the environment is
absent, the last result is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from worldgate.control.policies import lerobot
from worldgate.control.policies._lerobot_vla import ToldPolicy
from worldgate.control.policies._lerobot_vlm import Eye
from worldgate.control.policies._release import WEIGHTS

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "lerobot_policies.json"
PEERS = {"lerobot 0.4.4": ".venv-lerobot", "newest lerobot": ".venv-lerobot312"}
BAR = 1e-5


def made(root: Path, environment: str) -> dict[str, Any] | None:
    """Let lerobot make its folders; None where it is absent."""
    python = HERE.parent / environment / "bin" / "python"
    if not python.exists():
        return None
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "hf")}
    command = [str(python), str(HERE / "peers" / "lerobot_policies.py"), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    if done.returncode:
        raise SystemExit(f"{environment} failed:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


@contextmanager
def older_places(wanted: bool) -> Iterator[None]:
    """Places of a picture's patches as transformers 4.57 has them under SmolVLA: from the second on one too early."""

    def places(eye: Eye, count: int) -> torch.Tensor:
        share = torch.arange(count, dtype=torch.float32) / torch.tensor(count) * (1 - 1e-6)
        return torch.bucketize(share, torch.arange(1 / eye.side, 1.0, 1 / eye.side), right=True)

    with mock.patch.object(Eye, "_places", places) if wanted else nullcontext():
        yield


def apart(folder: Path, seed: int, task: str) -> tuple[float, float]:
    """Largest distance of our actions from lerobot's over a run, and the spread of lerobot's."""
    fitted = lerobot.read(folder, rate_hz=30)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / WEIGHTS
        fitted.save(path)
        policy = lerobot.build(fitted.release({WEIGHTS: "0" * 64}), {WEIGHTS: path.read_bytes()})
    held = np.load(folder / "actions.npz")
    policy.reset(seed=seed)
    if isinstance(policy, ToldPolicy):
        policy.tell(task)
    ours = [policy.act({s.name: held[s.name][t] for s in fitted.observation}) for t in range(len(held["actions"]))]
    return float(np.abs(np.stack(ours) - held["actions"]).max()), float(held["actions"].std())


def main() -> None:
    """Print one line a policy; exit 1 where lerobot and we disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the newest lerobot")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = dict(list(PEERS.items())[:1]) if arguments.quick else PEERS
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for name, environment in chosen.items():
        with tempfile.TemporaryDirectory() as scratch:
            told = made(Path(scratch), environment)
            if told is None:
                absent.append(f"{environment}: make bench-env")
                continue
            for case in told["cases"]:
                older = case.startswith("smolvla") and told["lerobot"].startswith("0.4.")
                with older_places(older):
                    distance, spread = apart(Path(scratch) / case, told["seed"], told["task"])
                what = f"{case}, lerobot {told['lerobot']}" + (", its places of patches" if older else "")
                rows.append({"what": what, "value": distance, "unit": "largest distance of an action",
                             "peer": name, "spread": spread, "bar": BAR, "ok": distance <= BAR})  # fmt: skip
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    body = {"name": "lerobot_policies", "machine": machine, "absent": absent, "rows": rows}
    if rows and not arguments.quick and all(row["ok"] for row in rows):
        KEPT.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    if not rows:
        body = json.loads(KEPT.read_text(encoding="utf-8")) | {"kept": True, "absent": absent}
        rows = body["rows"]
    if arguments.json:
        print(json.dumps(body, indent=2))
    else:
        for line in absent:
            print(f"absent: {line}" + (", showing the last result" if "kept" in body else ""))
        for row in rows:
            print(f"{row['what']:60} {row['value']:.1e} of {row['spread']:.2f}  {'ok' if row['ok'] else 'APART'}")
    sys.exit(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    main()
