"""ROS 2 message definitions (``ros2msg``), made harmless and parsed.

The definition stands in the log, so it is hostile until shown otherwise: the parser of ``rosidl_adapter`` (vendored by
mcap-ros2-support) takes quadratic time in the number of fields and exponential time in the length of a constant's
name. What it is given here is therefore reduced to ``type name`` lines within limits: comments, constants and default
values do not decide how a message is laid out.

Source: https://docs.ros.org/en/rolling/Concepts/Basic/About-Interfaces.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcap_ros2._dynamic import _for_each_msgdef
from mcap_ros2._vendor.rosidl_adapter.parser import MessageSpecification

from worldgate.data.logs._limits import Limits

SEQUENCE: Final = -1
"""Count of a field whose length stands before it."""
_MAX_LINE: Final = 1024
_MAX_DEPTH: Final = 32
_MAX_TYPES: Final = 512
_CONSTANT: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_TIME: Final = "uint32 sec\nuint32 nanosec"

PRIMITIVES: Final[Mapping[str, int]] = {
    "bool": 1,
    "byte": 1,
    "char": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "string": 0,
}
"""Bytes of each primitive; a string has its own length. ``wstring`` is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a message type."""

    name: str
    type: str
    """A key of :data:`PRIMITIVES`, or of :attr:`Definition.types`."""
    count: int
    """0: one value; above: an array of that length; :data:`SEQUENCE`: as many as the message says."""

    @property
    def primitive(self) -> bool:
        """Whether it holds no other message."""
        return self.type in PRIMITIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A message type with all types that it is made of; none contains itself."""

    types: Mapping[str, tuple[Field, ...]]
    root: str

    def field(self, path: str) -> Field | None:
        """The field at a dotted path that leads through single messages only."""
        fields, found = self.types[self.root], None
        for name in path.split("."):
            found = next((field for field in fields if field.name == name), None)
            if found is None:
                return None
            fields = () if found.primitive or found.count else self.types[found.type]
        return found


def harmless(text: str, limits: Limits) -> str:
    """A definition without comments, constants and default values.

    Raises:
        ValueError: beyond the limits, or a line that is neither field nor constant.
    """
    if len(text) > limits.schema_bytes:
        raise ValueError(f"a definition of {len(text)} characters, more than the limit schema_bytes")
    kept, fields, types = [], 0, 1
    for line in text.replace("\t", " ").splitlines():
        if line.startswith("==="):
            kept.append(line.rstrip())
            fields, types = 0, types + 1
            continue
        if line.startswith("MSG:"):
            kept.append(line.strip())
            continue
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if not kind:
            continue
        fields += 1
        name = rest.strip()
        if fields > limits.fields or types > _MAX_TYPES or len(kind) + len(name) > _MAX_LINE:
            raise ValueError(
                f"a definition with more than {limits.fields} fields, {_MAX_TYPES} types or too long a line"
            )
        if "=" in name:
            if not _CONSTANT.fullmatch(name.partition("=")[0].rstrip()):
                raise ValueError(f"a line that is neither field nor constant: {line[:60]!r}")
            continue
        kept.append(f"{kind} {name.partition(' ')[0]}")
    return "\n".join(kept)


def parse(name: str, text: str) -> Definition:
    """Parse a definition that :func:`harmless` returned.

    Args:
        name: of the outermost message, as the schema names it.
        text: the concatenated definition.

    Raises:
        ValueError: a type that is unknown, not read, or contains itself; nesting beyond 32 levels.
    """
    types: dict[str, tuple[Field, ...]] = {}

    def keep(full: str, short: str, spec: MessageSpecification) -> None:
        types[full] = types[short] = tuple(_field(field) for field in spec.fields)

    for builtin in ("builtin_interfaces/Time", "builtin_interfaces/Duration"):
        _for_each_msgdef(builtin, _TIME, keep)
    _for_each_msgdef(name, text, keep)
    return checked(types, name)


def checked(types: Mapping[str, tuple[Field, ...]], root: str) -> Definition:
    """A definition whose types are all there and none of which contains itself.

    Raises:
        ValueError: otherwise, or where they are nested beyond 32 levels.
    """
    if root not in types:
        raise ValueError(f"no definition of {root[:60]!r}")
    _check(types, root, {}, 0)
    return Definition(types=types, root=root)


def _field(field: object) -> Field:
    kind = field.type  # type: ignore[attr-defined]
    count = 0
    if kind.is_array:
        count = int(kind.array_size) if kind.is_fixed_size_array() else SEQUENCE
    name = kind.type if kind.is_primitive_type() else f"{kind.pkg_name}/{kind.type}"
    return Field(name=field.name, type=name, count=count)  # type: ignore[attr-defined]


def _check(types: Mapping[str, tuple[Field, ...]], name: str, state: dict[str, int], depth: int) -> int:
    """Refuse what cannot be decoded; levels of nesting below ``name``."""
    if state.get(name) == -1:
        raise ValueError(f"a message type that contains itself: {name[:60]!r}")
    if depth > _MAX_DEPTH:
        raise ValueError(f"message types nested deeper than {_MAX_DEPTH}")
    if name in state:
        if depth + state[name] > _MAX_DEPTH:
            raise ValueError(f"message types nested deeper than {_MAX_DEPTH}")
        return state[name]
    state[name] = -1
    below = 0
    for field in types[name]:
        if field.primitive:
            continue
        if field.type not in types:
            raise ValueError(f"a field of a type that is not defined or not read: {field.type[:60]!r}")
        below = max(below, 1 + _check(types, field.type, state, depth + 1))
    state[name] = below
    return below
