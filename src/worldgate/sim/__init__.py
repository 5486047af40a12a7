"""Controllable physics: a MuJoCo table-top cell, or a user's own model, recorded as logs marked ``simulated``."""

from __future__ import annotations

import importlib.util

from worldgate.core.errors import MissingExtra

if importlib.util.find_spec("mujoco") is None:
    raise MissingExtra(
        "the simulated cell needs a package that is not installed", got="mujoco", hint='pip install "worldgate[sim]"'
    )
