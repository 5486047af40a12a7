"""YAML files of a recording: plain values only, within a size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from worldgate.core.errors import LogUnreadable

_MAX_BYTES: Final = 1 << 22
_MAX_DEPTH: Final = 100
_BRACKET: Final = re.compile(r"[\[\]{}]")


def read_yaml(path: Path) -> Any:
    """Load a YAML file: plain values only, no tags that make objects.

    Raises:
        LogUnreadable: a file beyond 4 MiB or 100 nested brackets, or one that does not parse.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise LogUnreadable(f"{path.name} is beyond 4 MiB", got=len(data), where=path)
        text = data.decode()
        if _deepest(text) > _MAX_DEPTH:
            raise LogUnreadable(f"{path.name} is nested beyond {_MAX_DEPTH} levels", where=path)
        return YAML(typ="safe", pure=True).load(text)
    except (OSError, YAMLError, ValueError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        got = " ".join(str(error).split())[:80]
        raise LogUnreadable(f"{path.name} does not parse", got=got, where=path) from error


def _deepest(text: str) -> int:
    """Brackets that stand open at once, those in texts counted too: the parser's time grows with their square."""
    depth = most = 0
    for match in _BRACKET.finditer(text):
        depth = depth + 1 if match[0] in "[{" else max(depth - 1, 0)
        most = max(most, depth)
    return most
