"""YAML files of a recording: plain values only, within a size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from worldgate.core.errors import LogUnreadable

_MAX_BYTES: Final = 1 << 22


def read_yaml(path: Path) -> Any:
    """Load a YAML file: plain values only, no tags that make objects.

    Raises:
        LogUnreadable: a file beyond 4 MiB, or one that does not parse.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise LogUnreadable(f"{path.name} is beyond 4 MiB", got=len(data), where=path)
        return YAML(typ="safe", pure=True).load(data.decode())
    except (OSError, YAMLError, ValueError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        got = " ".join(str(error).split())[:80]
        raise LogUnreadable(f"{path.name} does not parse", got=got, where=path) from error
