"""Stages, calls and replies: what goes to a worker and what comes back, as plain bytes.

A call is named by its key. What a worker answers is canonical JSON and the files of the workspace's cache that it made;
an exception travels as its class name and words, never as an object, and carries the name of its input.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from worldgate.core import errors
from worldgate.core.digest import canonical, digest_json, read_json
from worldgate.core.errors import WorldgateError
from worldgate.engines._code import code_digest

Bundle: TypeAlias = bytes
"""Calls that one worker does one after another, as JSON."""
Reply: TypeAlias = tuple[bytes, Mapping[str, bytes]]
"""The JSON of a call's value or error, and the cache files it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stage reads bytes by digest; two places that hold the same bytes give the same results."""

    store: str
    """A folder, or the URL of a bucket."""
    cache: str
    """A folder that may be deleted at any time."""
    run: str = ""
    """Which run this is: bytes that were verified in one are verified anew in the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a stage answers."""

    value: Any
    """Anything with a JSON form."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the workspace's cache, by path in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A function of the package that turns digests and a configuration into a result."""

    function: str
    """``worldgate.data.stages:check``, called as ``check(place, inputs, config) -> Made``."""
    uses: tuple[str, ...] = ()
    """Modules that it finds by name while it runs: the log format, the check."""

    def code(self) -> str:
        """Digest of everything that is executed; see :func:`worldgate.engines.code_digest`."""
        return code_digest((self.function.partition(":")[0], *self.uses))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One application of a stage."""

    stage: Stage
    name: str
    """What people call its input; stands in errors and progress, and not in the key."""
    inputs: tuple[str, ...]
    """Digests of what it reads."""
    config: Any = None
    """Anything with a JSON form: whatever else the result depends on."""
    group: str = ""
    """Calls of one group go to one worker in their order, because they read the same bytes; empty: its own."""

    def key(self) -> str:
        """Identity of the result."""
        parts = {"code": self.stage.code(), "config": self.config, "function": self.stage.function}
        return digest_json({**parts, "inputs": list(self.inputs)})


def pack(calls: Sequence[Call], place: Place) -> Bundle:
    """Calls as the bytes that a worker takes."""
    told = [{"call": call, "code": call.stage.code()} for call in calls]
    return canonical({"calls": told, "place": place})


def perform(bundle: Bundle) -> tuple[Reply, ...]:
    """Do the calls of a bundle in this process; one that fails does not keep the others from being done."""
    tree = read_json(bundle)
    place = Place(**tree["place"])
    return tuple(_one(told["call"], told["code"], place) for told in tree["calls"])


def names(bundle: Bundle) -> list[str]:
    """What people call the inputs of a bundle."""
    return [told["call"]["name"] for told in read_json(bundle)["calls"]]


def _one(call: Mapping[str, Any], code: str, place: Place) -> Reply:
    stage = Stage(function=call["stage"]["function"], uses=tuple(call["stage"]["uses"]))
    module, _, function = stage.function.partition(":")
    try:
        if stage.code() != code:
            # Kept under the driver's key, the result of other code would be taken for its own for ever.
            hint = "the same versions of Worldgate and its packages on every machine, and no edits meanwhile"
            raise WorldgateError("this worker runs other code than the driver", where=call["name"], hint=hint)
        made: Made = getattr(importlib.import_module(module), function)(place, tuple(call["inputs"]), call["config"])
        return canonical({"value": made.value}), dict(made.files)
    except Exception as error:  # whatever a stage raises belongs to its input, not to the engine
        return failure(error, name=call["name"]), {}


def failure(error: Exception, *, name: str) -> bytes:
    """An exception as JSON, with the name of the input it belongs to."""
    if isinstance(error, WorldgateError):
        said = {key: None if (held := getattr(error, key)) is None else str(held) for key in ("got", "where", "hint")}
        words = {"type": type(error).__name__, "what": error.what, **said}
    else:
        got = f"{type(error).__name__}: {error}"
        words = {"type": "WorldgateError", "what": "a stage failed", "got": got, "where": None, "hint": None}
    where = words["where"]
    if where is None or name not in where:
        words["where"] = f"{name}: {where}" if where else name
    trace = "".join(traceback.format_exception(error))
    return canonical({"error": {key: _plain(value) for key, value in words.items()}, "trace": _plain(trace)})


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def raised(words: Mapping[str, Any], trace: str) -> WorldgateError:
    """The exception that :func:`failure` wrote down; the worker's trace is its note."""
    cls = getattr(errors, str(words["type"]), WorldgateError)
    known = cls if isinstance(cls, type) and issubclass(cls, WorldgateError) else WorldgateError
    error = known(words["what"], got=words["got"], where=words["where"], hint=words["hint"])
    error.add_note(trace)
    return error
