"""Tasks by name: what a policy or planner is tried on; each file is one, with actors that show how it is done.

The seam: ``Config`` (a frozen dataclass; ``size`` is pixels a side of the pictures), ``create(config) -> Task`` and
``actor(name, task, config) -> Policy`` for the names in ``ACTORS``: ``scripted`` is competent, ``random`` aimless.
Where nobody has been scripted there is ``random`` alone. A file whose facts can be read off an observation may offer
``judge(config)``, which does so: without it nothing can be ranked in a world model's imagination of the task.

``gym:ID`` is any Gymnasium environment by its id, ``gym:CartPole-v1``: see :mod:`worldgate.sim.tasks._gym`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import NotFound
from worldgate.core.tasks import Task
from worldgate.core.worlds import Policy


class TaskModule(Protocol):
    """One file of this seam."""

    Config: type[Any]
    ACTORS: tuple[str, ...]
    """Names of those who can act, the competent one first where there is one."""

    def create(self, config: Any) -> Task:
        """The task; making one twice gives two that know nothing of each other."""
        ...

    def actor(self, name: str, task: Task, config: Any) -> Policy:
        """One of ``ACTORS`` for this task."""
        ...


def open_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """A task by name.

    Args:
        name: an entry of this seam, or ``gym:ID``.
        options: of its ``Config``.

    Raises:
        NotFound: no such task.
        MissingExtra: its simulator is not installed.
        ConfigError: an option it does not have.
    """
    module, said = _module(name)
    return module.create(_config(module, name, {**(options or {}), **said}))


def open_actor(name: str, task: str, options: Mapping[str, Any] | None = None) -> Policy:
    """Someone who acts in a task.

    Raises:
        NotFound: no such task, or none of this name acts in it.
    """
    module, said = _module(task)
    if name not in module.ACTORS:
        raise NotFound("nobody of this name acts here", got=name, where=task, hint=f"one of {', '.join(module.ACTORS)}")
    config = _config(module, task, {**(options or {}), **said})
    return module.actor(name, module.create(config), config)


def actors_of(task: str) -> tuple[str, ...]:
    """Who acts in a task, the competent one first.

    Raises:
        NotFound: no such task.
    """
    return _module(task)[0].ACTORS


def config_of(task: str) -> Any:
    """A task's configuration as it ships.

    Raises:
        NotFound: no such task.
        MissingExtra: its simulator is not installed.
    """
    module, said = _module(task)
    return _config(module, task, said)


def _module(name: str) -> tuple[TaskModule, dict[str, Any]]:
    """The file of a task, and the options that its name holds."""
    kind, _, known_as = name.partition(":")
    if kind == "gym" and known_as:
        return cast(TaskModule, importlib.import_module("worldgate.sim.tasks._gym")), {"id": known_as}
    return cast(TaskModule, seams.load("tasks", name)), {}


def _config(module: TaskModule, name: str, options: Mapping[str, Any] | None) -> Any:
    return decode(module.Config, dict(options or {}), where=name)
