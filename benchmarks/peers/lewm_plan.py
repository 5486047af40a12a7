"""Plans with a trained LeWM at the other end of a pipe; runs in .venv-swm and knows nothing of Worldgate.

``python lewm_plan.py FOLDER``; messages are those of ``lewm_wire.py``. ``aim`` takes a goal's frame; ``plan`` searches
from a frame by stable-worldmodel's own CEM and gives the actions of every row; ``see`` takes a frame, and ``apart``
tells how far the latents that plans lead to are from the goal's, block by block, for somebody else's search. Every
answer holds ``ms``, what it took by the wall clock inside this process.

Shape legend: N plans, K blocks, B rows of a block, A action channels, D latent, H x W pixels.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from lewm_parts import BLOCK, HISTORY, Trained, pictures
from lewm_wire import receive, send
from stable_worldmodel.policy import PlanConfig
from stable_worldmodel.solver import CEMSolver
from torch import Tensor

HORIZON = 5
"""Blocks ahead; all of them are done before it plans again, as published."""


class Peer:
    """Answers."""

    def __init__(self, held: Trained) -> None:
        self.held, self.model, self.actions = held, held.model, len(held.mean_A)
        self.goal_1HW: Tensor | None = None
        self.goal_D: Tensor | None = None
        self.now_1D: Tensor | None = None
        self.solver: CEMSolver | None = None
        self.asked: dict[str, Any] = {}

    def aim(self, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take a goal; begin a trial."""
        self.goal_1HW, self.solver = pictures(arrays["goal"])[None, None], None
        self.goal_D = self._encoded(self.goal_1HW)[0, 0]
        return {}, {}

    def plan(self, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(K * B, A) its own search from a frame."""
        if self.solver is None or told != self.asked:
            self.asked = told
            self.solver = CEMSolver(
                self.model, num_samples=told["samples"], n_steps=told["rounds"], topk=told["elites"], seed=told["seed"]
            )
            space = Box(-np.inf, np.inf, (1, self.actions), np.float32)
            config = PlanConfig(horizon=HORIZON, receding_horizon=HORIZON, action_block=BLOCK)
            self.solver.configure(action_space=space, n_envs=1, config=config)
        now = pictures(arrays["frame"])[None, None]
        info = {"pixels": now, "goal": self.goal_1HW, "action": torch.zeros(1, 1, self.actions * BLOCK)}
        found = self.solver.solve(info)["actions"].reshape(-1, self.actions)
        return {}, {"actions": (found * self.held.spread_A + self.held.mean_A).numpy()}

    def see(self, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where plans begin, and how far that is from the goal."""
        self.now_1D = self._encoded(pictures(arrays["frame"])[None, None])[0]
        return {"apart": float((self.now_1D[0] - self.goal_D).square().mean())}, {}

    def apart(self, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(N, K) mean squares, of plans (N, K, A) whose actions are held for a block."""
        plans = (torch.as_tensor(arrays["plans"].copy()).float() - self.held.mean_A) / self.held.spread_A
        blocks = plans.repeat(1, 1, BLOCK)
        with torch.inference_mode():
            info = {"pixels": torch.empty(1, len(plans), 1), "emb": self.now_1D.expand(1, len(plans), -1, -1)}
            ahead = self.model.rollout(info, blocks[None], HISTORY)["predicted_emb"][0, :, 1:]
            return {}, {"apart": (ahead - self.goal_D).square().mean(dim=-1).numpy()}

    def _encoded(self, frames: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.model.encode({"pixels": frames})["emb"]


def main() -> None:
    """Answer until stdin ends; what its own planner prints goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    peer = Peer(Trained.read(Path(sys.argv[1])))
    send(out, {"ready": True})
    while True:
        try:
            told, arrays = receive(sys.stdin.buffer)
        except EOFError:
            return
        begun, do = time.perf_counter(), told.pop("do")
        answer, found = {"aim": peer.aim, "plan": peer.plan, "see": peer.see, "apart": peer.apart}[do](told, arrays)
        send(out, {**answer, "ms": 1e3 * (time.perf_counter() - begun)}, found)


if __name__ == "__main__":
    main()
