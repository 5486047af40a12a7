"""Fields with a closed set of values, in dataclasses built in Python: a raw string becomes its enum, or is refused.

A file is decoded by :mod:`worldgate.core.config`, which knows the types. A dataclass called in Python takes whatever
it is given, and an enum compared with ``is`` then silently misses. ``settle`` in ``__post_init__`` closes it: it reads
the annotations of enums, ``Literal``, dataclasses, and tuples, sets and mappings of these; other fields are left alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import operator
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from worldgate.core.errors import ConfigError

_Reader: TypeAlias = Callable[[Any, str], Any]
"""(value, its dotted name) -> the value as its annotation has it."""


def settle(config: Any) -> None:
    """Turn raw strings of a dataclass into the enums that its fields are; for ``__post_init__``.

    Raises:
        ConfigError: a value that the field cannot take; names the field, what was got and what is allowed.
    """
    cls = type(config)
    for name, reader in _readers(cls):  # type: ignore[arg-type]  # a class has a hash
        value = getattr(config, name)
        settled = reader(value, f"{cls.__name__}.{name}")
        if settled is not value:
            object.__setattr__(config, name, settled)


@cache
def _readers(cls: type) -> tuple[tuple[str, _Reader], ...]:
    """Of the fields that have a closed set of values."""
    hints = get_type_hints(cls)
    found = ((field.name, _reader(hints[field.name])) for field in dataclasses.fields(cls))
    return tuple((name, reader) for name, reader in found if reader is not None)


def _reader(hint: Any) -> _Reader | None:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return partial(_literal, args)
    if origin in (Union, types.UnionType):
        kinds = [arg for arg in args if arg is not type(None)]
        inner = _reader(kinds[0]) if len(kinds) == 1 else None
        return None if inner is None else partial(_optional, inner)
    if origin is tuple and len(args) == 2 and args[1] is ...:
        return partial(_several, tuple, _reader(args[0]))
    if origin is frozenset:
        return partial(_several, frozenset, _reader(args[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = _reader(args[1])
        return None if values is None else partial(_mapping, values)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_member, hint)
    return partial(_instance, hint) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def _member(kind: type[Enum], value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    allowed = [member.value for member in kind]
    if isinstance(value, Enum) or value not in allowed:
        raise _refused(value, allowed, where)
    return kind(value)


def _literal(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in allowed:
        raise _refused(value, list(allowed), where)
    return value


def _refused(value: Any, allowed: list[Any], where: str) -> ConfigError:
    near = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1)
    names = ", ".join(repr(item) if item == "" else str(item) for item in allowed)
    hint = f"did you mean {near[0]}? one of {names}" if near else f"one of {names}"
    return ConfigError("not one of the values that this field takes", got=repr(value)[:80], where=where, hint=hint)


def _optional(inner: _Reader, value: Any, where: str) -> Any:
    return None if value is None else inner(value, where)


def _several(kind: type, inner: _Reader | None, value: Any, where: str) -> Any:
    if isinstance(value, str | bytes):
        # Its letters would be taken for the items.
        raise ConfigError("one text where several are taken", got=repr(value)[:80], where=where, hint=f"({value!r},)")
    if inner is None:
        return value
    given: list[Any] = list(value)
    items = [inner(item, f"{where}[{place}]") for place, item in enumerate(given)]
    same = isinstance(value, kind) and all(map(operator.is_, items, given))
    return value if same else kind(items)


def _mapping(inner: _Reader, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError("not a mapping by name", got=repr(value)[:80], where=where)
    items = {key: inner(item, f"{where}[{key!r}]") for key, item in value.items()}
    return value if all(items[key] is item for key, item in value.items()) else items


def _instance(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"not a {kind.__name__}", got=repr(value)[:80], where=where, hint=f"{kind.__name__}(...)")
    return value
