"""OpenArm datasets, format 0.3 and 0.4: every stream in a file of its own, with its own stamps to the nanosecond.

Source: https://github.com/enactic/openarm_dataset. Layout: ``metadata.yaml`` and, for each episode,
``obs/<embodiment>/[<component>/]*.parquet``, ``action/...`` likewise, and ``cameras/<name>/<stamp>.jpeg`` or
``cameras/<name>.tar``. A stamp is the time at which the message was sent to the recorder (clock ``publish``), so
streams are not rows of one table: in the published sample the arms report every 4.3 ms, and actions come at 30 Hz
while ``frequencies`` in ``metadata.yaml`` declares 250. ``rate_hz`` is the declared rate, for checks to hold against.

Joint positions are radians (the unit of the library's own limits). The lifter's elevation has no stated unit; its
values and its stroke (300 ``mm``) do not fit each other in millimetres, so it is left unknown.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.data.logs._image_size import stated_shape
from worldgate.data.logs._images import Encoded, EncodedFrames, decode
from worldgate.data.logs._paths import files_of_parts, inside
from worldgate.data.logs._yaml import read_yaml

CARD = {
    "line": "OpenArm datasets 0.3 and 0.4: per-stream Parquet and stamped JPEG, one log an episode",
    "inputs": "a folder with metadata.yaml and episodes/",
    "needs": "openarm",
    "source": "https://github.com/enactic/openarm_dataset",
}

METADATA: Final = "metadata.yaml"
_KEYS: Final = (b"equipment", b"episodes")
_HEAD: Final = 1 << 16
_VERSION: Final = re.compile(r"0\.[34](\.\d+)?")
_ARM: Final = (*(f"joint{i}" for i in range(1, 8)), "gripper")
_STAMPED: Final = re.compile(r"(?P<stamp>\d{1,19})\.(?P<format>jpe?g|png)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    """What an attribute of an embodiment is."""

    word: str
    """In the stream's name: ``observation.<word>.<where>``; the first word of an action is left out."""
    unit: str = ""
    names: tuple[str, ...] = ()


_QUANTITIES: Final[Mapping[str, _Quantity]] = {
    "qpos": _Quantity(word="state", unit="rad", names=_ARM),
    "qvel": _Quantity(word="velocity", unit="rad/s", names=_ARM),
    "qtorque": _Quantity(word="torque", unit="N*m", names=_ARM),
    "pose": _Quantity(word="pose", names=("x", "y", "z", "qw", "qx", "qy", "qz", "gripper")),
    "elevation": _Quantity(word="state", names=("elevation",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One numeric stream: a column of a Parquet file."""

    info: StreamInfo
    file: Path
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """One stamped image, in a file or in a tar."""

    stamp_ns: int
    format: str
    file: Path
    offset: int = 0
    size: int = -1

    def encoded(self) -> Encoded:
        """Its bytes."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return Encoded(data=file.read(self.size), format=self.format)


class OpenArmLog:
    """One episode; Parquet columns and images are read when asked for.

    Args:
        folder: the episode's folder.
        name: what people call it.
        facts: of the dataset and the episode.
        rates: the declared ``frequencies``.

    Raises:
        LogUnreadable: a Parquet file that is damaged or of another layout.
    """

    origin = Origin.REAL

    def __init__(
        self, folder: Path, *, name: str, facts: Mapping[str, str | float | bool], rates: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.facts = facts
        self._folder = folder
        self._rates = rates
        self._findings: list[Finding] = []
        self._columns: dict[str, _Column] = {}
        for column in self._find_columns():
            self._columns[column.info.name] = column
        self._cameras = {f"observation.images.{name}": found for name, found in self._find_cameras()}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Files that are no images of the camera whose folder they are in."""
        return tuple(self._findings)

    def streams(self) -> tuple[StreamInfo, ...]:
        """Numbers, then cameras."""
        return (*(column.info for column in self._columns.values()), *self._camera_infos.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: damaged Parquet, a row without a stamp, or rows of different lengths.
        """
        if stream in self._cameras:
            return self._read_camera(stream, window_ns)
        if stream not in self._columns:
            hint = f"one of {', '.join((*self._columns, *self._cameras))}"
            raise NotFound("no such stream", got=stream, where=self.name, hint=hint)
        column = self._columns[stream]
        times_ns, values = _read_column(column, window_ns)
        return Stream(info=column.info, times_ns=times_ns, values=values)

    # ---------------------------------------------------------------- numbers

    def _find_columns(self) -> Iterator[_Column]:
        for side in ("obs", "action"):
            for file in sorted((self._folder / side).rglob("*.parquet")):
                where = file.parent.relative_to(self._folder / side).parts
                schema, count = _schema(file)
                for column in schema.names:
                    if column != "timestamp":
                        yield self._column(file, column, side, where, count)

    def _column(self, file: Path, column: str, side: str, where: tuple[str, ...], count: int) -> _Column:
        attribute = file.stem if column == "value" else column
        quantity = _QUANTITIES.get(attribute, _Quantity(word=attribute))
        words = ["observation" if side == "obs" else "action"]
        if side == "obs" or quantity.word != "state":
            words.append(quantity.word)
        width = _width(file, column)
        name = ".".join([*words, *where[-1:]])
        info = StreamInfo(
            # Two embodiments may have a part of one name: then the second is named by its whole path.
            name=name if name not in self._columns else ".".join([*words, *where]),
            kind=Kind.ACTION if side == "action" else Kind.VECTOR,
            count=count,
            shape=(width,),
            names=quantity.names if len(quantity.names) == width else (),
            unit=quantity.unit,
            clock="publish",
            rate_hz=_rate(self._rates, side, *where),
            topic=f"{file.relative_to(self._folder).as_posix()}:{column}",
        )
        return _Column(info=info, file=file, column=column)

    # ---------------------------------------------------------------- cameras

    def _find_cameras(self) -> Iterator[tuple[str, list[_Picture]]]:
        folder = self._folder / "cameras"
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if entry.is_dir():
                files = [file for file in entry.iterdir() if file.is_file() and not file.name.startswith(".")]
                found = [picture for file in files if (picture := _picture(file.name, file)) is not None]
            elif entry.suffix == ".tar":
                files, found = _tar_pictures(entry)
            else:
                continue
            if len(found) < len(files):
                message = f"{len(files) - len(found)} files of camera {entry.stem} are no stamped images"
                self._findings.append(_finding("undecodable", message, len(files) - len(found), "files"))
            if found:
                yield entry.stem, sorted(found, key=lambda picture: picture.stamp_ns)

    @cached_property
    def _camera_infos(self) -> Mapping[str, StreamInfo]:
        return {name: self._camera_info(name, pictures) for name, pictures in self._cameras.items()}

    def _camera_info(self, name: str, pictures: list[_Picture]) -> StreamInfo:
        first = pictures[0].encoded()
        try:
            shape = stated_shape(first) or decode(first, Kind.IMAGE).shape
        except LogUnreadable:
            shape = ()  # the first frame is damaged; reading it says so
        camera = name.rpartition(".")[2]
        return StreamInfo(
            name=name,
            kind=Kind.IMAGE,
            count=len(pictures),
            shape=tuple(shape),
            frame=camera,
            clock="publish",
            rate_hz=_rate(self._rates, "cameras", camera),
            topic=f"cameras/{camera}",
        )

    def _read_camera(self, stream: str, window_ns: tuple[int, int] | None) -> Stream:
        pictures = self._cameras[stream]
        if window_ns is not None:
            pictures = [picture for picture in pictures if window_ns[0] <= picture.stamp_ns < window_ns[1]]
        frames = EncodedFrames(
            fetch=lambda indices: (pictures[int(i)].encoded() for i in indices),
            count=len(pictures),
            where=f"{self.name}:{stream}",
        )
        times_ns = np.array([picture.stamp_ns for picture in pictures], dtype=np.int64)
        return Stream(info=self._camera_infos[stream], times_ns=times_ns, values=frames)


def _picture(name: str, file: Path, offset: int = 0, size: int = -1) -> _Picture | None:
    match = _STAMPED.fullmatch(Path(name).name)
    if match is None or int(match["stamp"]) >= 2**63:
        return None
    format = "png" if match["format"] == "png" else "jpeg"
    return _Picture(stamp_ns=int(match["stamp"]), format=format, file=file, offset=offset, size=size)


def _tar_pictures(file: Path) -> tuple[list[Any], list[_Picture]]:
    """Members of an uncompressed archive, and those that are stamped images; read in place, nothing is extracted."""
    size = file.stat().st_size
    try:
        with tarfile.open(file, mode="r:") as archive:
            members = [member for member in archive if member.isreg()]
    except (tarfile.TarError, ValueError, OSError) as error:
        raise LogUnreadable("a camera's archive that cannot be read", got=str(error)[:80], where=file) from error
    whole = [m for m in members if not m.issparse() and m.offset_data + m.size <= size]
    made = (_picture(member.name, file, member.offset_data, member.size) for member in whole)
    return members, [picture for picture in made if picture is not None]


# -------------------------------------------------------------------- Parquet


def _schema(file: Path) -> tuple[pa.Schema, int]:
    try:
        with pq.ParquetFile(file) as parquet:
            schema, count = parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise LogUnreadable("a Parquet file that cannot be read", got=str(error)[:80], where=file) from error
    odd = [field.name for field in schema if field.name != "timestamp" and not _is_list(field.type)]
    if "timestamp" not in schema.names or odd:
        got = f"columns {', '.join(schema.names)[:80]}"
        raise LogUnreadable("a Parquet file without timestamp and lists of numbers", got=got, where=file)
    return schema, int(count)


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _width(file: Path, column: str) -> int:
    """Numbers in the first row that has any.

    Raises:
        LogUnreadable: rows that cannot be read.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=64, columns=[column]):
                for value in batch.column(0):
                    if value.is_valid:
                        return len(value)
    except (pa.ArrowException, OSError) as error:
        raise LogUnreadable("a Parquet file that cannot be read", got=str(error)[:80], where=file) from error
    return 0


def _read_column(column: _Column, window_ns: tuple[int, int] | None) -> tuple[IntArray, Array]:
    """(N,) stamps and (N, D) values; of each row group the stamps first, and the values where some are wanted."""
    width = column.info.shape[0]
    times, values = [np.empty(0, dtype=np.int64)], []
    try:
        with pq.ParquetFile(column.file) as parquet:
            for group in range(parquet.num_row_groups):
                stamps = _stamps(parquet.read_row_group(group, columns=["timestamp"]).column(0), column.file)
                keep = np.ones(len(stamps), dtype=np.bool_)
                if window_ns is not None:
                    keep = (stamps >= window_ns[0]) & (stamps < window_ns[1])
                if keep.any():
                    rows = _rows(parquet.read_row_group(group, columns=[column.column]).column(0), width, column)
                    times.append(stamps[keep])
                    values.append(rows[keep])
    except (pa.ArrowException, OSError) as error:
        raise LogUnreadable("a Parquet file that cannot be read", got=str(error)[:80], where=column.file) from error
    empty = np.empty((0, width), dtype=np.float32)
    return np.concatenate(times), np.concatenate(values) if values else empty


def _stamps(column: pa.ChunkedArray, file: Path) -> IntArray:
    if column.null_count:
        raise LogUnreadable("a row without a stamp", got=f"{column.null_count} of {len(column)} rows", where=file)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    stamps: IntArray = column.cast(pa.int64()).to_numpy().astype(np.int64, copy=False)
    return stamps


def _rows(column: pa.ChunkedArray, width: int, source: _Column) -> Array:
    """(N, D) values; a row or value that is null becomes NaN."""
    lists = column.combine_chunks()
    lengths = lists.value_lengths() if hasattr(lists, "value_lengths") else None
    sizes = np.full(len(lists), width) if lengths is None else lengths.fill_null(0).to_numpy(zero_copy_only=False)
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    if (sizes[present] != width).any():
        got = f"{np.unique(sizes[present])[:4].tolist()} values a row"
        raise LogUnreadable("rows of one stream differ in length", got=got, where=f"{source.file}:{source.column}")
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    dtype = np.float64 if flat.dtype == np.float64 else np.float32
    out = np.full((len(lists), width), np.nan, dtype=dtype)
    out[present] = flat.reshape(-1, width) if width else 0
    return out


def _rate(rates: Mapping[str, Any], *path: str) -> float:
    node: Any = rates
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return float(node) if isinstance(node, int | float) and 0 < float(node) < 1e9 else 0.0


# -------------------------------------------------------------------- the dataset


def _is_dataset(folder: Path) -> bool:
    file = folder / METADATA
    if not (folder / "episodes").is_dir() or not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    return all(key in head for key in _KEYS) and b"rosbag2_bagfile_information" not in head


def _roots(path: Path) -> list[Path]:
    return sorted(file.parent for file in path.rglob(METADATA) if _is_dataset(file.parent)) if path.is_dir() else []


def detect(path: Path) -> bool:
    """A folder, itself or below it, with ``episodes/`` and a ``metadata.yaml`` that names equipment and episodes."""
    return bool(_roots(path))


def open_logs(path: Path) -> LogFolder:
    """Open every episode of the datasets below a path.

    Raises:
        NotFound: none there.
        LogUnreadable: metadata of another version or layout, or a damaged file.
    """
    logs: list[OpenArmLog] = []
    findings: list[Finding] = []
    for root in _roots(path):
        prefix = "" if root == path else f"{root.relative_to(path).as_posix()}/"
        found, noticed = _open_dataset(root, prefix)
        logs += found
        findings += noticed
    if not logs:
        if findings:
            raise LogUnreadable("a dataset without episodes", got=findings[0].message, where=path)
        raise NotFound("no metadata.yaml beside episodes/ in this folder", where=path)
    return LogFolder(path=path, format="openarm", logs=tuple(logs), findings=tuple(findings))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of the dataset of each episode: ``metadata.yaml`` describes all of them, and one gone would be lost."""
    roots = _roots(path)
    return files_of_parts({root: len(_open_dataset(root, "")[0]) for root in roots}) if len(roots) > 1 else []


def _open_dataset(root: Path, prefix: str) -> tuple[list[OpenArmLog], list[Finding]]:
    tree = read_yaml(root / METADATA)
    version = str(tree.get("version")) if isinstance(tree, Mapping) else "none"
    if not _VERSION.fullmatch(version):
        hint = "openarm-dataset-convert INPUT OUTPUT"
        raise LogUnreadable("an OpenArm dataset of a version that is not read", got=version, where=root, hint=hint)
    try:
        episodes = {str(episode["id"]): episode for episode in tree["episodes"]}
        cameras = [str(name) for name in tree["equipment"]["perceptions"]["cameras"]]
        facts = {id: _facts(tree, episode) for id, episode in episodes.items()}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise LogUnreadable("a metadata.yaml that does not follow OpenArm", got=repr(error)[:80], where=root) from error
    logs, findings = [], []
    for id in episodes:
        folder = inside(root / "episodes", id)
        if folder is None or folder == root / "episodes" or "\0" in id:
            raise LogUnreadable("an episode outside of its dataset", got=id[:80], where=root / METADATA)
        if folder.is_dir():
            rates = tree.get("frequencies") or {}
            logs.append(OpenArmLog(folder, name=f"{prefix}episode_{id}", facts=facts[id], rates=rates))
        else:
            findings.append(_finding("data_lost", f"episode {id} is described and absent", 1, "episodes"))
    present = {folder.name for folder in (root / "episodes").iterdir() if folder.is_dir()}
    for id in sorted(present - set(episodes)):
        findings.append(_finding("count_mismatch", f"episode {id} is not described and not read", 1, "episodes"))
    return logs, findings + _absent_cameras(cameras, logs)


def _absent_cameras(declared: list[str], logs: list[OpenArmLog]) -> list[Finding]:
    out = []
    for camera in declared:
        lacking = [log.name for log in logs if f"observation.images.{camera}" not in log._cameras]
        if lacking:
            message = f"camera {camera} is declared and has no frames in {len(lacking)} of {len(logs)} episodes"
            out.append(_finding("metadata_mismatch", message, len(lacking), "episodes"))
    return out


def _facts(tree: Mapping[str, Any], episode: Mapping[str, Any]) -> Mapping[str, str | float | bool]:
    """Task, success, who and with what: as the metadata says it."""
    equipment = tree["equipment"]
    out: dict[str, str | float | bool] = {"task": str(tree["tasks"][int(episode.get("task_index", 0))]["prompt"])}
    for key in ("success", "valid"):
        if isinstance(episode.get(key), bool):
            out[key] = episode[key]
    out |= {key: str(tree[key]) for key in ("operator", "location", "operation_type") if tree.get(key)}
    out["equipment"] = " ".join(str(equipment[key]) for key in ("id", "version") if equipment.get(key))
    parts = [f"{part.get('id')} {part.get('version')}" for part in equipment["embodiments"].values()]
    return {**out, "embodiments": ", ".join(parts)}


def _finding(check: str, message: str, value: float, unit: str) -> Finding:
    return Finding(check=check, stream="", message=message, value=float(value), limit=0.0, unit=unit)
