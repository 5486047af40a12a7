"""ACT / ALOHA HDF5: one file an episode, ``/observations/{qpos, qvel, effort, images/<cam>}`` and ``/action``.

Source: https://github.com/tonyzhaozh/act and https://github.com/MarkFzp/mobile-aloha, ``record_episodes.py``. Names are
those of LeRobot's ALOHA sets: ``observation.state``, ``observation.velocity``, ``observation.effort``, ``action``. No
file states its rate; ALOHA records at 50 Hz (``DT = 0.02`` in its constants), which is assumed with a finding where no
mapping file says otherwise. The attribute ``sim`` marks an episode as simulated. Compressed pictures are rows of JPEG
bytes, padded with zeros to the longest: the padding is cut off, so that a picture has one identity; ``compress_len`` is
not needed for it, and its rows follow an order of cameras that the file does not hold. JPEG is decoded as JPEG defines
it; arrays are taken as RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import h5py

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Kind, LogFolder, Origin
from worldgate.data.logs import _h5 as h5
from worldgate.data.logs._arrays import ArrayLog, Candidate, arrange, different_lengths, plain_facts, rate
from worldgate.data.logs._mapping import FILE, meant, read_mapping

CARD = {
    "line": "ACT / ALOHA HDF5: one file an episode; no times, so index over a rate",
    "inputs": "an episode_<i>.hdf5 with /observations and /action, or a folder of them",
    "needs": "hdf5",
    "source": "https://github.com/tonyzhaozh/act",
}

_ASSUMED_HZ: Final = 50.0
_NAMES: Final[Mapping[str, str]] = {
    "qpos": "observation.state",
    "qvel": "observation.velocity",
    "effort": "observation.effort",
}
_ACTIONS: Final[Mapping[str, str]] = {"action": "action", "base_action": "action.base"}
_IGNORED: Final = frozenset({"compress_len"})


def _holds(file: h5py.File) -> bool:
    return h5.group(file, "observations") is not None and isinstance(h5.member(file, "action"), h5py.Dataset)


def detect(path: Path) -> bool:
    """An HDF5 file with ``/observations`` and ``/action``, or a folder with one."""
    if path.is_dir() and meant(path / FILE, default="act") not in {"", "act"}:
        return False
    return h5.holds(path, _holds)


def open_logs(path: Path) -> LogFolder:
    """Open every episode at a path.

    Raises:
        NotFound: no such file.
        LogUnreadable: a file that cannot be read, or holds what is refused.
        ConfigError: a mapping file that does not fit.
    """
    logs = []
    for source in h5.files(path):
        name = source.stem if path.is_file() else source.relative_to(path).with_suffix("").as_posix()
        with h5.opened(source) as file:
            logs.append(_log(path, source, file, name=name))
    if not logs:
        raise NotFound("no HDF5 file in this folder", where=path)
    return LogFolder(path=path, format="act", logs=tuple(logs))


def _log(root: Path, source: Path, file: h5py.File, *, name: str) -> ArrayLog:
    if not _holds(file):
        raise LogUnreadable("an HDF5 file without /observations and /action among episodes", where=source)
    mapping = read_mapping(root)
    attributes = h5.attributes(file)
    held = rate(mapping, 0.0, "", _ASSUMED_HZ, "ALOHA's DT = 0.02 s")
    arrays = arrange(_candidates(source, file), mapping, held.hz, where=str(source))
    if not arrays:
        raise LogUnreadable("an episode without arrays", where=source)
    findings = () if held.finding is None else (held.finding,)
    action = arrays.get("action") or next(iter(arrays.values()))
    return ArrayLog(
        name=name,
        origin=Origin.SIMULATED if bool(attributes.get("sim", False)) else Origin.REAL,
        arrays=arrays,
        rate_hz=held.hz,
        facts={**plain_facts({**attributes, **h5.notes(file)}), "rate_source": held.source},
        findings=(*findings, *different_lengths(arrays, action.info.count, action.info.name)),
    )


def _candidates(source: Path, file: h5py.File) -> list[Candidate]:
    observations = h5.group(file, "observations")
    assert observations is not None
    out = []
    for key, dataset in h5.datasets(observations).items():
        array = h5.H5Array.of(source, dataset, f"observations/{key}")
        out.append(Candidate(name=_NAMES.get(key, f"observation.{key}"), source=array))
    for folder, prefix, kind in (
        ("images", "observation.images", Kind.IMAGE),
        ("images_depth", "observation.depth", Kind.DEPTH),
    ):
        pictures = h5.group(observations, folder)
        for camera, dataset in h5.datasets(pictures).items():
            array = h5.H5Array.of(source, dataset, f"observations/{folder}/{camera}")
            compressed = h5.is_bytes(dataset) or (dataset.ndim == 2 and dataset.dtype == "uint8")
            out.append(Candidate(name=f"{prefix}.{camera}", source=array, kind=kind, encoded=compressed))
    for key, dataset in h5.datasets(file).items():
        if key not in _IGNORED:
            out.append(Candidate(name=_ACTIONS.get(key, key), source=h5.H5Array.of(source, dataset, key)))
    return out


def units(path: Path) -> list[tuple[Path, ...]]:
    """The file of each log, in the order of :func:`open_logs`."""
    return [(file,) for file in h5.files(path)]
