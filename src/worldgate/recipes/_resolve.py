"""Which recipe a user named, and its configuration: by name, or as a TOML file of the same tree.

A TOML file names its recipe under the key ``recipe``; every other key is one of the recipe's configuration. A recipe is
a module with ``run(folder, config, story)``; its configuration is the dataclass that ``run`` takes, at its defaults.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from worldgate.core import seams
from worldgate.core.config import Sourced, read_toml, resolve
from worldgate.core.errors import ConfigError

KEY = "recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A recipe with its configuration."""

    name: str
    module: ModuleType
    config: Sourced[Any]


def find(text: str, *, sets: Iterable[str] = ()) -> Named:
    """The recipe that a user named, configured.

    Args:
        text: a recipe's name, or a TOML file.
        sets: ``a.b=value`` items.

    Raises:
        NotFound: no such recipe.
        ConfigError: no such file, a file that names no recipe, an unknown key.
        MissingExtra: the recipe's extra is not installed.
    """
    if not text.endswith(".toml"):
        module = seams.load("recipes", text)
        return Named(name=text, module=module, config=resolve(default(module), sets=sets))
    path = Path(text)
    name = read_toml(path).get(KEY)
    if not isinstance(name, str):
        raise ConfigError("this file names no recipe", where=f"{path}:{KEY}", hint=f'{KEY} = "demo"')
    module = seams.load("recipes", name)
    return Named(name=name, module=module, config=resolve(default(module), file=path, ignore={KEY}, sets=sets))


def default(module: ModuleType) -> Any:
    """The configuration that a recipe's ``run`` takes, at its defaults."""
    hint = typing.get_type_hints(module.run)["config"]
    classes = [part for part in typing.get_args(hint) or (hint,) if inspect.isclass(part) and is_dataclass(part)]
    assert len(classes) == 1, f"{module.__name__}.run takes one configuration dataclass"
    return classes[0]()
