"""robomimic HDF5: one file of demonstrations, ``data/demo_<i>/{obs/<key>, actions, rewards, dones, states}``.

Source: https://robomimic.github.io/docs/datasets/overview.html. robomimic holds no times: rows are stamped by the
control rate in ``env_args`` (``control_freq``). ``obs/<cam>_image`` becomes ``observation.images.<cam>``,
``obs/<cam>_depth`` (metres, as robomimic writes it) ``observation.depth.<cam>``, any other ``obs/<key>``
``observation.<key>``; ``actions`` is ``action``, ``states`` (the simulator's) ``environment.state``. ``next_obs`` is
``obs`` one row later and no stream of its own. ``env_args`` of robosuite, gym or iGibson mark a file as simulated.
Filter keys below ``mask`` are facts ``mask.<name>``, and ``split`` where one of train, valid, val, test holds the demo.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, Kind, LogFolder, Origin
from worldgate.data.logs import _h5 as h5
from worldgate.data.logs._arrays import ArrayLog, Candidate, arrange, different_lengths, plain_facts, rate
from worldgate.data.logs._mapping import FILE, meant, read_mapping
from worldgate.data.logs._paths import files_of_parts

CARD = {
    "line": "robomimic HDF5: demonstrations in one file, one log a demo; no times, so index over the control rate",
    "inputs": "an .hdf5 file with data/demo_<i>, or a folder of them",
    "needs": "hdf5",
    "source": "https://robomimic.github.io/docs/datasets/overview.html",
}

_SIMULATORS: Final = frozenset({1, 2, 3})
"""``env_args.type``: robosuite, gym, iGibson."""
_ASSUMED_HZ: Final = 20.0
_SPLITS: Final = ("train", "valid", "val", "test")
_TOP: Final[Mapping[str, str]] = {
    "actions": "action",
    "actions_abs": "action.absolute",
    "rewards": "reward",
    "dones": "done",
    "states": "environment.state",
}
_MAX_MASK: Final = 1_000_000
_DEMO: Final = re.compile(r"demo_?(\d+)")


def _demos(file: h5py.File) -> dict[str, h5py.Group]:
    """Demonstrations by name, in the order of their numbers; none where the file is something else."""
    data = h5.group(file, "data")
    if data is None:
        return {}
    numbered = sorted((int(m[1]), name) for name in data if (m := _DEMO.fullmatch(str(name))))
    demos = {name: h5.group(data, name) for _, name in numbered}
    return {name: demo for name, demo in demos.items() if demo is not None}


def _holds(file: h5py.File) -> bool:
    data = h5.group(file, "data")
    return data is not None and any(_DEMO.fullmatch(str(name)) for name in data)


def detect(path: Path) -> bool:
    """An HDF5 file with ``data/demo_<i>``, or a folder with one."""
    if path.is_dir() and meant(path / FILE, default="robomimic") not in {"", "robomimic"}:
        return False
    return h5.holds(path, _holds)


def open_logs(path: Path) -> LogFolder:
    """Open every demonstration of the files at a path.

    Raises:
        NotFound: no such file.
        LogUnreadable: a file that cannot be read, or holds what is refused.
        ConfigError: a mapping file that does not fit.
    """
    files = h5.files(path)
    logs: list[ArrayLog] = []
    for source in files:
        prefix = "" if len(files) == 1 else f"{source.relative_to(path).with_suffix('').as_posix()}/"
        with h5.opened(source) as file:
            masks = _masks(file)
            shared = _environment(file, source)
            for name, demo in _demos(file).items():
                logs.append(_log(path, source, demo, shared, masks.get(name, ()), name=f"{prefix}{name}"))
    if not logs:
        raise NotFound("no data/demo_<i> in these files", where=path)
    return LogFolder(path=path, format="robomimic", logs=tuple(logs))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The file of each demonstration, with those that stand in it too."""
    counts = {}
    for source in h5.files(path):
        with h5.opened(source) as file:
            counts[source] = len(_demos(file))
    return files_of_parts(counts)


def _log(
    root: Path, source: Path, demo: h5py.Group, environment: Mapping[str, Any], masks: tuple[str, ...], *, name: str
) -> ArrayLog:
    mapping = read_mapping(root)
    held = rate(
        mapping, _number(environment.get("control_freq")), "env_args: control_freq", _ASSUMED_HZ, "robosuite's own"
    )
    arrays = arrange(_candidates(source, demo), mapping, held.hz, where=f"{source}:{demo.name}")
    if not arrays:
        raise LogUnreadable("a demonstration without arrays", where=f"{source}:{demo.name}")
    attributes = h5.attributes(demo)
    facts = plain_facts({key: environment[key] for key in ("env_name", "task") if key in environment})
    facts |= plain_facts({key: value for key, value in attributes.items() if key not in {"num_samples", "ep_meta"}})
    facts |= {f"mask.{mask}": True for mask in masks} | _split(masks) | _episode(attributes)
    findings: list[Finding] = [] if held.finding is None else [held.finding]
    count = _number(attributes.get("num_samples"))
    expected = int(count) if count > 0 else next(iter(arrays.values())).info.count
    findings += different_lengths(arrays, expected, "num_samples" if count > 0 else "the first array")
    return ArrayLog(
        name=name,
        origin=Origin.SIMULATED if environment.get("type") in _SIMULATORS else Origin.REAL,
        arrays=arrays,
        rate_hz=held.hz,
        facts={**facts, "rate_source": held.source},
        findings=tuple(findings),
    )


def _candidates(source: Path, demo: h5py.Group) -> list[Candidate]:
    out = []
    observations = h5.group(demo, "obs")
    for key, dataset in h5.datasets(observations).items():
        name, kind = _observation(key)
        array = h5.H5Array.of(source, dataset, f"obs/{key}")
        out.append(Candidate(name=name, source=array, kind=kind, encoded=h5.is_bytes(dataset)))
    for key, dataset in h5.datasets(demo).items():
        out.append(Candidate(name=_TOP.get(key, key), source=h5.H5Array.of(source, dataset, key)))
    parts = h5.group(demo, "action_dict")
    for key, dataset in h5.datasets(parts).items():
        out.append(Candidate(name=f"action.{key}", source=h5.H5Array.of(source, dataset, f"action_dict/{key}")))
    return out


def _observation(key: str) -> tuple[str, Kind | None]:
    for suffix, folder, kind in (("_image", "images", Kind.IMAGE), ("_depth", "depth", Kind.DEPTH)):
        if key.endswith(suffix):
            return f"observation.{folder}.{key.removesuffix(suffix)}", kind
    return f"observation.{key}", None


def _environment(file: h5py.File, source: Path) -> dict[str, Any]:
    """Flat entries of ``env_args``: env_name, type, control_freq; empty where there is none."""
    data = h5.group(file, "data")
    text = h5.attributes(data).get("env_args") if data is not None else None
    if text is None:
        return {}
    try:
        tree = json.loads(text)
        keywords = tree.get("env_kwargs") or {}
        return {**tree, "control_freq": keywords.get("control_freq")}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LogUnreadable("env_args that are not a JSON object", got=str(text)[:80], where=source) from error


def _episode(attributes: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """``ep_meta``: its instruction, as the task."""
    try:
        tree = json.loads(attributes.get("ep_meta", "{}"))
        return {"task": str(tree["lang"])} if isinstance(tree, dict) and "lang" in tree else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _masks(file: h5py.File) -> dict[str, tuple[str, ...]]:
    """Demonstration -> the filter keys that hold it."""
    masks = h5.group(file, "mask")
    lists = {name: d[()] for name, d in h5.datasets(masks).items() if d.shape[0] <= _MAX_MASK and len(d.shape) == 1}
    held: dict[str, tuple[str, ...]] = {}
    for mask, items in {**lists, **{name: [one] for name, one in h5.notes(masks).items()}}.items():
        for item in items:
            demo = item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            held[demo] = (*held.get(demo, ()), mask)
    return held


def _split(masks: tuple[str, ...]) -> dict[str, str]:
    found = [mask for mask in masks if mask in _SPLITS]
    return {"split": found[0]} if len(found) == 1 else {}


def _number(value: Any) -> float:
    """A number of metadata; 0 where it is none."""
    try:
        return float(value) if value is not None and not isinstance(value, str | bytes) else 0.0
    except (TypeError, ValueError):
        return 0.0
