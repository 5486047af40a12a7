"""Zarr replay buffers of Diffusion Policy and UMI: flat arrays below ``data``, cut by ``meta/episode_ends``.

Source: https://github.com/real-stanford/diffusion_policy ``replay_buffer.py`` and
https://github.com/real-stanford/universal_manipulation_interface, which ships ``*.zarr.zip``. Zarr format 2 or 3, in a
folder or a zip. An episode is one log. ``state`` becomes ``observation.state``, ``action`` ``action``, pictures
``observation.images.<key>`` without ``_rgb``, ``_image`` or ``_img``, any other key ``observation.<key>``; a one-column
array beside ``episode_ends`` with one value an episode is a fact. Replay buffers state neither rate nor origin: 10 Hz
(Diffusion Policy's) is assumed with a finding where no mapping file says otherwise; UMI's cameras run at 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, IntArray, LogFolder, Origin
from worldgate.data.logs._arrays import ArrayLog, Candidate, arrange, different_lengths, plain_facts, rate
from worldgate.data.logs._mapping import FILE, meant, read_mapping
from worldgate.data.logs._paths import files_of_parts
from worldgate.data.logs._zarr import ZarrArray, ZarrStore

CARD = {
    "line": "zarr replay buffers (Diffusion Policy, UMI): one log an episode; no times, so index over a rate",
    "inputs": "a zarr 2 or 3 store with data/ and meta/episode_ends, a .zarr.zip, or a folder of them",
    "needs": "zarr",
    "source": "https://github.com/real-stanford/diffusion_policy",
}

_ASSUMED_HZ: Final = 10.0
_ENDS: Final = "meta/episode_ends"
_CAMERA: Final = ("_rgb", "_image", "_img", "_color")
_MAX_EPISODES: Final = 10_000_000


def _is_store(folder: Path) -> bool:
    ends = folder / _ENDS
    return (ends / ".zarray").is_file() or (ends / "zarr.json").is_file()


def _stores(path: Path) -> list[Path]:
    """Replay buffers at or below a path, by names alone."""
    if path.is_file():
        return [path] if path.name.endswith(".zarr.zip") else []
    if _is_store(path):
        return [path]
    folders = [p for p in path.rglob("*.zarr") if p.is_dir() and _is_store(p)]
    return sorted([*folders, *(p for p in path.rglob("*.zarr.zip") if p.is_file())])


def detect(path: Path) -> bool:
    """A zarr store with ``meta/episode_ends``, a ``.zarr.zip``, or a folder with one."""
    if path.is_dir() and meant(path / FILE, default="replay_buffer") not in {"", "replay_buffer"}:
        return False
    return bool(_stores(path))


def open_logs(path: Path) -> LogFolder:
    """Open every episode of the buffers at a path.

    Raises:
        NotFound: no buffer there.
        LogUnreadable: a store that cannot be read, that needs pickle or a missing codec, or whose episodes do not
            follow each other.
        ConfigError: a mapping file that does not fit.
    """
    stores = _stores(path)
    if not stores:
        raise NotFound("no zarr store with meta/episode_ends here", where=path)
    logs: list[ArrayLog] = []
    findings: list[Finding] = []
    for source in stores:
        prefix = "" if len(stores) == 1 else f"{source.relative_to(path).as_posix().split('.zarr')[0]}/"
        found, noticed = _episodes(path, _opened(source), prefix)
        logs += found
        findings += noticed
    if not logs:
        reasons = "; ".join(finding.message for finding in findings) or "meta/episode_ends is empty"
        raise LogUnreadable("a replay buffer without a whole episode", got=reasons, where=path)
    return LogFolder(path=path, format="replay_buffer", logs=tuple(logs), findings=tuple(findings))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The store of each episode: its arrays hold all episodes, one after the other."""
    stores = _stores(path)
    return files_of_parts({store: len(_whole(_opened(store))[1]) for store in stores}) if len(stores) > 1 else []


def _opened(source: Path) -> ZarrStore:
    return ZarrStore(source, "" if source.is_dir() else _inner(source))


def _inner(path: Path) -> str:
    """Folder of the root group inside a zip: some pack the folder, some what is in it."""
    names = ZarrStore(path).entries
    found = min((n for n in names if n.endswith((f"{_ENDS}/.zarray", f"{_ENDS}/zarr.json"))), key=len, default=None)
    if found is None:
        raise LogUnreadable("a zip file without meta/episode_ends", where=path)
    return found[: found.index(_ENDS)]


def _episodes(root: Path, store: ZarrStore, prefix: str) -> tuple[list[ArrayLog], list[Finding]]:
    arrays, whole = _whole(store)
    ends, longest = _ends(store), max(array.shape[0] for array in arrays.values())
    starts = np.concatenate([[0], whole])[: len(whole)].astype(np.int64)
    facts = _facts(store, len(ends))
    mapping = read_mapping(root)
    held = rate(mapping, 0.0, "", _ASSUMED_HZ, "Diffusion Policy's own; a replay buffer states none")
    logs = []
    for number, (start, stop) in enumerate(zip(starts.tolist(), whole.tolist(), strict=True)):
        candidates = _candidates({name: array.run(start, stop) for name, array in arrays.items()})
        streams = arrange(candidates, mapping, held.hz, where=f"{store.path}: episode {number}")
        findings = () if held.finding is None else (held.finding,)
        log = ArrayLog(
            name=f"{prefix}episode_{number:06d}",
            origin=Origin.REAL,
            arrays=streams,
            rate_hz=held.hz,
            facts={**facts[number], "rate_source": held.source},
            findings=(*findings, *different_lengths(streams, stop - start, _ENDS)),
        )
        logs.append(log)
    return logs, _beyond(store, ends, longest)


def _whole(store: ZarrStore) -> tuple[dict[str, ZarrArray], IntArray]:
    """The arrays, and the ends of the episodes that lie within the longest of them."""
    arrays = {name: store.array(f"data/{name}") for name in store.names("data")}
    arrays = {name: array for name, array in arrays.items() if array.shape}
    if not arrays:
        raise LogUnreadable("a replay buffer without arrays below data", where=store.path)
    ends = _ends(store)
    return arrays, ends[ends <= max(array.shape[0] for array in arrays.values())]


def _ends(store: ZarrStore) -> IntArray:
    """(E,) where each episode ends, exclusive."""
    where = f"{store.path}:{_ENDS}"
    if store.metadata(_ENDS) is None:
        raise LogUnreadable("a replay buffer without meta/episode_ends", where=store.path)
    array = store.array(_ENDS)
    if len(array.shape) != 1 or array.dtype.kind not in "iu" or array.shape[0] > _MAX_EPISODES:
        raise LogUnreadable("episode_ends that are not whole numbers", got=f"{array.dtype} {array.shape}", where=where)
    ends = array.read(np.arange(array.shape[0], dtype=np.int64)).astype(np.int64)
    if (np.diff(ends, prepend=0) <= 0).any():
        first = int(np.flatnonzero(np.diff(ends, prepend=0) <= 0)[0])
        raise LogUnreadable("episode_ends that do not increase", got=f"{ends[first]} at {first}", where=where)
    return ends


def _beyond(store: ZarrStore, ends: IntArray, rows: int) -> list[Finding]:
    """Episodes without rows, and rows without an episode."""
    lost = int((ends > rows).sum())
    last = int(ends[ends <= rows].max(initial=0))
    found = []
    if lost:
        message = f"{store.path.name}: {lost} episodes end beyond the {rows} rows of data"
        found.append(("episodes", message, float(lost)))
    elif last < rows:
        message = f"{store.path.name}: {rows - last} rows after the last episode's end belong to none"
        found.append(("rows", message, float(rows - last)))
    return [
        Finding(check="data_lost", stream="", message=message, value=value, limit=0.0, unit=unit)
        for unit, message, value in found
    ]


def _candidates(arrays: Mapping[str, ZarrArray]) -> list[Candidate]:
    return [Candidate(name=_name(key, array.shape), source=array) for key, array in arrays.items()]


def _name(key: str, shape: Sequence[int]) -> str:
    if key == "action" or key.startswith("action."):
        return key
    if len(shape) == 4 and 3 in (shape[1], shape[3]):
        camera = next((key.removesuffix(suffix) for suffix in _CAMERA if key.endswith(suffix)), key)
        return f"observation.images.{camera or key}"
    return f"observation.{key}"


def _facts(store: ZarrStore, episodes: int) -> list[dict[str, str | float | bool]]:
    """Facts of every episode: the store's attributes, and what lies beside ``episode_ends``."""
    shared = plain_facts(store.attributes())
    columns = {}
    for name in store.names("meta"):
        array = store.array(f"meta/{name}")
        if name != "episode_ends" and array.shape == (episodes,):
            columns[name] = array.read(np.arange(episodes, dtype=np.int64))
    return [{**shared, **plain_facts({name: column[i] for name, column in columns.items()})} for i in range(episodes)]
