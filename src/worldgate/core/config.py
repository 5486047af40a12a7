"""Configuration: a tree of frozen dataclasses, filled from TOML, ``WORLDGATE_*`` variables and ``--set a.b=c``.

Precedence: recipe (the dataclass as the function built it) < TOML < environment < ``--set``. An unknown key is an error
that names the file, the key and the nearest known key. Decoding is pydantic's; the dataclasses know nothing of it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from worldgate.core.errors import ConfigError

T = TypeVar("T")

_UNKNOWN = frozenset({"unexpected_keyword_argument", "extra_forbidden"})

PREFIX = "WORLDGATE_"
RESERVED = frozenset(
    {"WORLDGATE_REQUIRE", "WORLDGATE_BROWSER", "WORLDGATE_WORKSPACE", "WORLDGATE_DATA", "WORLDGATE_LIMITS"}
)
RESERVED |= {"WORLDGATE_ENGINE", "WORLDGATE_WORKERS", "WORLDGATE_FUZZ_S"}
"""Variables of the program and its tests, which are no configuration keys."""


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A decoded configuration and where each overridden value came from."""

    value: T
    sources: Mapping[str, str] = field(default_factory=dict)
    """dotted key -> ``file.toml``, ``$WORLDGATE_A__B`` or ``--set``; keys not listed come from the recipe."""


def decode(cls: type[T], tree: Mapping[str, Any], *, where: str) -> T:
    """Decode a plain tree into a dataclass, refusing what it does not know.

    Raises:
        ConfigError: unknown key (with the nearest known one), wrong type, missing value.
    """
    try:
        adapter = _adapter(cls)  # type: ignore[arg-type]  # a class has a hash
        decoded: T = adapter.validate_python(dict(tree), extra="forbid")
        return decoded
    except ValidationError as error:
        # An unknown key first: it often explains the one that is missing.
        first = min(error.errors(), key=lambda found: found["type"] not in _UNKNOWN)
        key = ".".join(str(part) for part in first["loc"])
        hint = None
        if first["type"] in _UNKNOWN:
            near = difflib.get_close_matches(str(first["loc"][-1]), _keys(cls, first["loc"][:-1]), n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(_keys(cls, first['loc'][:-1]))}"
            raise ConfigError("unknown key", got=key, where=f"{where}:{key}", hint=hint) from error
        if first["type"] == "tuple_type":
            hint = f'a list, such as {key}=["{first["input"]}"]'
        got = repr(first["input"])[:80]
        raise ConfigError(first["msg"].lower(), got=got, where=f"{where}:{key}", hint=hint) from error


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    """Building one costs a hundred times what using it does."""
    return TypeAdapter(cls)


def _keys(cls: Any, loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the dataclass at a location inside ``cls``."""
    schema = _adapter(cls).json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in loc:
        node = node.get("properties", {}).get(str(part), node.get("items", node.get("additionalProperties", {})))
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return sorted(node.get("properties", {}))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: missing file or a syntax error, with its line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("no such configuration file", where=path) from error
    except (ValueError, RecursionError) as error:
        # Too many digits and too deep a nesting are neither of the parser's own errors.
        raise ConfigError("not valid TOML", got=error, where=path) from error


def resolve(
    base: T,
    *,
    file: Path | None = None,
    sets: Iterable[str] = (),
    environment: bool = True,
    ignore: Set[str] = frozenset(),
) -> Sourced[T]:
    """Override a recipe's configuration by file, environment and ``--set``, in that order of precedence.

    Args:
        base: the configuration as the recipe built it.
        file: TOML of the same tree.
        sets: ``a.b=value`` items; values are read as TOML, and as text where they are not.
        environment: whether ``WORLDGATE_A__B`` is read (two underscores for each dot).
        ignore: top-level keys of the file that say something else than configuration.

    Raises:
        ConfigError: an unknown key or a value of the wrong type, with its source.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    if file is not None:
        tree_of_file = {key: value for key, value in read_toml(file).items() if key not in ignore}
        layers.append((str(file), flatten(tree_of_file)))
    if environment:
        variables = {k: v for k, v in os.environ.items() if k.startswith(PREFIX) and k not in RESERVED}
        for name, text in sorted(variables.items()):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            layers.append((f"${name}", {key: value_of(text)}))
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError("--set takes key=value", got=item, hint="for example --set train.steps=500")
        layers.append(("--set", {key.strip(): value_of(text.strip())}))
    given = [(source, key, value) for source, values in layers for key, value in values.items()]
    tree: dict[str, Any] = dataclasses.asdict(base)  # type: ignore[call-overload]  # base is a dataclass instance
    try:
        # All at once: values that only fit together may be given in any order.
        for _, key, value in given:
            _assign(tree, key, value)
        return Sourced(decode(type(base), tree, where="configuration"), {key: source for source, key, _ in given})
    except ConfigError:
        _blame(base, given)
        raise


def _blame(base: Any, given: Iterable[tuple[str, str, Any]]) -> None:
    """Raise what is wrong with the first value that does not fit, naming where it came from."""
    tree: dict[str, Any] = dataclasses.asdict(base)
    for source, key, value in given:
        _assign(tree, key, value)
        decode(type(base), tree, where=source)


def value_of(text: str) -> Any:
    """What a value on a command line or in a variable means: as TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except (ValueError, RecursionError):
        return text


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree as dotted keys: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        out |= flatten(value, f"{dotted}.") if isinstance(value, Mapping) and value else {dotted: value}
    return out


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        child = tree.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError("this key has no parts below it", got=key)
        tree = child
    tree[last] = value


def show(config: Any) -> str:
    """A configuration as indented JSON, for people."""
    return json.dumps(dataclasses.asdict(config), indent=2, default=str)
