"""PushT at the other end of a pipe; runs in .venv-pusht, which has gym-pusht and knows nothing of Worldgate.

Requests are lines of JSON on stdin: ``{"reset": SEED}`` or ``{"step": [x, y]}``. An answer on stdout is a line of JSON
with the numbers, the bytes of the picture (size x size x 3, uint8) right after it. Argument: the picture's size.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
os.environ["SDL_VIDEODRIVER"] = "dummy"
warnings.filterwarnings("ignore")

import gym_pusht  # noqa: E402, F401  # registers the environment
import gymnasium  # noqa: E402
import numpy as np  # noqa: E402


def main() -> None:
    """Answer until stdin ends."""
    size = int(sys.argv[1])
    env = gymnasium.make(
        "gym_pusht/PushT-v0",
        obs_type="pixels",
        observation_width=size,
        observation_height=size,
        disable_env_checker=True,
    )
    for line in sys.stdin:
        asked = json.loads(line)
        told: dict[str, Any] = {"reward": 0.0, "terminated": False, "truncated": False}
        if "reset" in asked:
            picture, info = env.reset(seed=asked["reset"])
        else:
            action = np.asarray(asked["step"], np.float32)
            picture, told["reward"], told["terminated"], told["truncated"], info = env.step(action)
        told["info"] = {key: np.asarray(value).tolist() for key, value in info.items()}
        told = {key: value.item() if isinstance(value, np.generic) else value for key, value in told.items()}
        sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + np.ascontiguousarray(picture).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
