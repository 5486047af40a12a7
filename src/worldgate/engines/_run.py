"""Run calls: what is kept is read, what is not is done and kept, and all of it comes back in the order of the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldgate.core.digest import read_json
from worldgate.core.errors import WorldgateError
from worldgate.engines._results import Results
from worldgate.engines._stage import Call, Place, pack, raised

if TYPE_CHECKING:
    from worldgate.engines import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a call."""

    call: Call
    key: str
    reused: bool
    """It was kept from before."""
    held: Any = None
    error: WorldgateError | None = None

    @property
    def value(self) -> Any:
        """What the stage answered.

        Raises:
            WorldgateError: what the stage raised; ``where`` names its input.
        """
        if self.error is not None:
            raise self.error
        return self.held


def run(calls: Sequence[Call], *, place: Place, engine: Engine) -> Iterator[Result]:
    """Results in the order of the calls, each as soon as it and all before it are there.

    A result is kept before it is yielded; failures are not kept, so the next run tries again. Equal calls are done
    once. Results that wait for an earlier one are on disk, not in memory.

    Args:
        calls: what to do.
        place: where the stages read bytes, and whose cache keeps the results.
        engine: where to run what is not kept.
    """
    results = Results(Path(place.cache))
    keys = [call.key() for call in calls]
    kept = {key for key in dict.fromkeys(keys) if results.has(key)}
    groups: dict[str, dict[str, Call]] = {}
    for call, key in zip(calls, keys, strict=True):
        if key not in kept:
            groups.setdefault(call.group or key, {}).setdefault(key, call)
    failed: dict[str, WorldgateError] = {}
    work = _work(list(groups.values()), place, engine, results, failed)
    made: set[str] = set()
    for call, key in zip(calls, keys, strict=True):
        while key not in kept and key not in made and key not in failed:
            made.add(next(work))
        if key in failed:
            yield Result(call=call, key=key, reused=False, error=failed[key])
        else:
            yield Result(call=call, key=key, reused=key in kept, held=results.get(key))


def _work(
    groups: Sequence[dict[str, Call]], place: Place, engine: Engine, results: Results, failed: dict[str, WorldgateError]
) -> Iterator[str]:
    """Do the groups; yields each key when its result is kept, or its error is in ``failed``."""
    if not groups:
        return
    for index, replies in engine.run([pack(list(group.values()), place) for group in groups]):
        for key, (data, files) in zip(groups[index], replies, strict=True):
            said = read_json(data)
            if "error" in said:
                failed[key] = raised(said["error"], said["trace"])
            else:
                results.keep(key, said["value"], files)
            yield key
