"""Content identity: SHA-256 of bytes, of files, and of canonical JSON (RFC 8785).

A digest is 64 lower-case hex digits. JSON rule: a value under a key ending in ``_ns`` is an int64 and travels as a
decimal string, because JSON numbers lose integers beyond 2^53; any other integer must be below that. NaN and infinity
have no JSON form and are refused.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
import rfc8785

from worldgate.core.errors import UsageError

Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007  # recursive

_SAFE = 2**53 - 1
_BLOCK = 1 << 20


def sha256(*chunks: bytes | memoryview) -> str:
    """Digest of the concatenation of byte chunks."""
    h = hashlib.sha256()
    for chunk in chunks:
        h.update(chunk)
    return h.hexdigest()


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """Digest of an array: dtype, shape and little-endian C-order bytes."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    header = f"{little.dtype.str}{little.shape}".encode()
    return sha256(header, little.tobytes())


def to_json(value: Any, *, key: str = "") -> Json:
    """Turn dataclasses, enums, paths, tuples and numpy scalars into plain JSON, under the rule for ``_ns``.

    Raises:
        UsageError: NaN, infinity, an integer beyond 2^53 outside a ``_ns`` key, or a type without a JSON form.
    """
    if isinstance(value, enum.Enum):
        return to_json(value.value, key=key)
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int | np.integer):
        return _integer(int(value), key)
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise UsageError("a number without a JSON form", got=value, where=key)
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name), key=f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v, key=str(k)) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist(), key=key)
    if isinstance(value, Sequence | frozenset | set) and not isinstance(value, bytes):
        items: Iterable[Any] = sorted(value) if isinstance(value, frozenset | set) else value
        return [to_json(v, key=key) for v in items]
    if isinstance(value, Path):
        return value.as_posix()
    raise UsageError("a value without a JSON form", got=type(value).__name__, where=key)


def _integer(value: int, key: str) -> Json:
    if key.endswith("_ns"):
        return str(value)
    if abs(value) > _SAFE:
        raise UsageError(
            "an integer beyond 2^53", got=value, where=key, hint="name the key *_ns if it is an int64 time"
        )
    return value


_DECIMAL = re.compile(r"0|-?[1-9]\d*", re.ASCII)


def restore(value: Json, *, key: str = "") -> Any:
    """Undo :func:`to_json`'s rule: decimal strings under a ``_ns`` key become integers again."""
    if isinstance(value, dict):
        return {k: restore(v, key=k) for k, v in value.items()}
    if isinstance(value, list):
        return [restore(v, key=key) for v in value]
    if isinstance(value, str) and key.endswith("_ns") and _DECIMAL.fullmatch(value):
        return int(value)
    return value


def read_json(data: bytes) -> Any:
    """Read what :func:`canonical` wrote: ``_ns`` values are int64 again, a whole float beyond 2^53 is a float again.

    Raises:
        ValueError: not JSON.
    """
    try:
        return restore(json.loads(data, parse_int=_whole))
    except RecursionError as error:
        raise ValueError("too deep") from error


def read_canonical(data: bytes) -> Any:
    """Read what is signed: JSON in its one canonical form, or nothing.

    Raises:
        ValueError: no JSON, a key twice, a number or text in any other than its canonical form, or a time as a number.
    """
    try:
        raw = json.loads(data, parse_int=_whole)
        if _loose_times(raw):
            raise ValueError("a time as a number")
        tree = restore(raw)
        same = canonical(tree) == data
    except UsageError as error:
        raise ValueError(error.what) from error
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not same:
        raise ValueError("not canonical JSON")
    return tree


def _whole(digits: str) -> int | float:
    value = int(digits)
    return value if abs(value) <= _SAFE else float(digits)


def canonical(value: Any) -> bytes:
    """Canonical JSON bytes (RFC 8785) of anything :func:`to_json` takes.

    Raises:
        UsageError: what :func:`to_json` refuses, half a surrogate pair, or too deep a tree.
    """
    try:
        return rfc8785.dumps(to_json(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise UsageError("text or nesting without a JSON form", got=str(error)[:80]) from error


def _loose_times(value: Any, key: str = "") -> bool:
    """Whether a number stands under a key that ends in ``_ns``, where :func:`canonical` puts decimal strings."""
    if isinstance(value, dict):
        return any(_loose_times(item, name) for name, item in value.items())
    if isinstance(value, list):
        return any(_loose_times(item, key) for item in value)
    return key.endswith("_ns") and isinstance(value, int | float) and not isinstance(value, bool)


def digest_json(value: Any) -> str:
    """Digest of :func:`canonical`."""
    return sha256(canonical(value))


def short(digest: str) -> str:
    """The first twelve digits, as shown to people; any unique prefix is accepted back."""
    return digest[:12]
