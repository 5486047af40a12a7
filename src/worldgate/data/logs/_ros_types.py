"""Message definitions that rosbags parses: ROS 1 text, ROS 2 IDL, and the standard types where a bag names none.

Source: https://gitlab.com/ternaris/rosbags (Apache-2.0). The library turns a definition into Python source and runs
it; so before that, every name that a bag's definition brings is held against the grammar of ROS names here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from worldgate.core.errors import LogUnreadable, MissingExtra
from worldgate.data.logs._msgdef import SEQUENCE, Definition, Field, checked

_TYPE: Final = re.compile(r"[A-Za-z]\w*(/[A-Za-z]\w*)+", re.ASCII)
_FIELD: Final = re.compile(r"[A-Za-z]\w*", re.ASCII)
_PLAIN: Final = {"char": "uint8", "octet": "uint8"}
"""IDL's names of bytes; rosbags reads ``char`` unsigned."""
_MAX_TEXT: Final = 1 << 20
_NAMED, _SEQUENCE = 2, 4
"""rosbags' node types: 1 a base type, 2 a named one, 3 an array, 4 a sequence."""
_DISTROS: Final = ("jazzy", "kilted", "iron", "humble", "galactic", "foxy", "eloquent", "dashing")


def _rosbags() -> Any:
    try:
        import rosbags.typesys as typesys
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "ROS 1 messages and ROS IDL need a package that is not installed",
            got=error.name,
            hint='pip install "worldgate[ros]"',
        ) from error
    return typesys


def _full(name: str) -> str:
    """``sensor_msgs/Imu`` as rosbags names it: ``sensor_msgs/msg/Imu``."""
    package, _, rest = name.partition("/")
    return name if "/" in rest else f"{package}/msg/{rest}"


def _checked(types: Any) -> Any:
    """The parsed definitions, every name of which is a ROS name."""
    for name, (constants, fields) in types.items():
        names = [*(constant[0] for constant in constants), *(field[0] for field in fields)]
        if not _TYPE.fullmatch(name) or not all(_FIELD.fullmatch(each) for each in names):
            raise LogUnreadable("a message definition with a name that ROS does not allow", got=ascii(name)[:60])
    return types


@lru_cache(maxsize=256)
def _store(name: str, text: str, idl: bool) -> Any:
    """A type store that knows one message type and what it refers to."""
    typesys = _rosbags()
    if len(text) > _MAX_TEXT:
        raise LogUnreadable("a message definition beyond 1 MiB", got=name[:60])
    try:
        if idl:
            separator = "=" * 80 + "\n"
            pieces = [piece.partition("\n") for piece in text.split(separator) if piece.strip()]
            bodies = [body if head.startswith("IDL: ") else head + "\n" + body for head, _, body in pieces]
            types: dict[str, Any] = {}
            for body in bodies:
                types |= typesys.get_types_from_idl(body)
        else:
            types = typesys.get_types_from_msg(text, _full(name))
        store = typesys.get_typestore(typesys.Stores.EMPTY)
        store.register(_checked(types))
        store.get_msgdef(_full(name))
    except (typesys.TypesysError, KeyError, ValueError, SyntaxError, RecursionError, AssertionError) as error:
        raise LogUnreadable(f"a definition of {name[:60]} that does not parse", got=str(error)[:80]) from error
    return store


def ros1_decoder(name: str, text: str) -> Callable[[bytes], Any]:
    """The function from a ROS 1 payload to a message.

    Raises:
        MissingExtra: rosbags is not installed.
        LogUnreadable: a definition that does not parse.
    """
    store, full = _store(name, text, idl=False), _full(name)
    return lambda payload: store.deserialize_ros1(payload, full)


_ROS1_NAMES: Final = {"byte": "int8", "char": "uint8"}
"""ROS 1's names for numbers that have others now."""


@lru_cache(maxsize=256)
def ros1_definition(name: str, text: str) -> Definition | None:
    """How messages of a ROS 1 type are laid out, as rosbags parsed it; None where a type is read one by one only.

    Raises:
        MissingExtra: rosbags is not installed.
        LogUnreadable: a definition that does not parse.
    """
    return _definition(_store(name, text, idl=False), _full(name), _ROS1_NAMES)


def _definition(store: Any, name: str, names: Mapping[str, str]) -> Definition | None:
    types: dict[str, tuple[Field, ...]] = {}
    for each, (_, fields) in store.fielddefs.items():
        types[each] = tuple(_field(field, described[0], described[1], names) for field, described in fields)
    try:
        return checked(types, name)
    except ValueError:
        return None


def _field(name: str, kind: int, what: Any, names: Mapping[str, str]) -> Field:
    """One field of rosbags' parse tree: a base or named type, or an array or sequence of one."""
    count = 0
    if kind > _NAMED:
        count = SEQUENCE if kind == _SEQUENCE else int(what[1])
        kind, what = what[0] if count else (_NAMED, "an array of nothing")
    type_name = str(what) if kind == _NAMED else str(what[0])
    return Field(name=name, type=names.get(type_name, type_name), count=count)


def idl_decoder(name: str, text: str) -> Callable[[bytes], Any]:
    """The function from a CDR payload, whose type is defined in IDL, to a message.

    Raises:
        MissingExtra: rosbags is not installed.
        LogUnreadable: a definition that does not parse.
    """
    store, full = _store(name, text, idl=True), _full(name)
    return lambda payload: store.deserialize_cdr(payload, full)


def fits(name: str, text: str, payload: bytes) -> bool:
    """Whether a CDR payload is a message of this ROS 2 definition, to its last byte; True where it cannot be judged."""
    try:
        store = _store(name, text, idl=False)
    except LogUnreadable:
        return True
    try:
        store.deserialize_cdr(payload, _full(name))
    except Exception:  # generated code on foreign bytes raises anything
        return False
    return True


def idl_definition(name: str, text: str) -> Definition | None:
    """The same type as fields, for reading many messages at once; None where it has what only the decoder knows.

    Raises:
        MissingExtra, LogUnreadable: as :func:`idl_decoder`.
    """
    made = _definition(_store(name, text, idl=True), _full(name), _PLAIN)
    return made if made is not None and all(made.types.values()) else None


@lru_cache(maxsize=256)
def standard_definition(name: str, distro: str = "") -> str | None:
    """The concatenated ROS 2 definition of a type that comes with ROS; None for any other type.

    Args:
        name: ``sensor_msgs/msg/Imu``.
        distro: the ROS distribution that recorded it; where empty or unknown, the newest that knows the type.
    """
    typesys = _rosbags()
    for each in (distro, *_DISTROS):
        stores = [store for store in typesys.Stores if store.value == f"ros2_{each}"]
        store = typesys.get_typestore(stores[0]) if stores else None
        if store is not None and _full(name) in store.fielddefs:
            return str(store.generate_msgdef(_full(name), ros_version=2)[0])
    return None
