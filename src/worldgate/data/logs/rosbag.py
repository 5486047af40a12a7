"""ROS bags: ROS 1 ``.bag``, ROS 2 ``.db3``, and rosbag2 folders of either storage, with native times to the ns.

Source: https://wiki.ros.org/Bags/Format/2.0, https://github.com/ros2/rosbag2; message definitions are parsed by
https://gitlab.com/ternaris/rosbags. A folder with rosbag2's ``metadata.yaml`` is one log, however many files it was
split into. That holds for MCAP storage too: such a folder is detected here and not by ``mcap``, because only its
``metadata.yaml`` says which files are one recording, and the same bag converted from one storage to the other must be
the same log. Its MCAP files are read by MCAP's own reader, with every CRC. Files without ``metadata.yaml`` are a log
each, as nothing says that they belong together; so are ROS 1 bags, whose parts do not name each other.

Where ``metadata.yaml`` and the files disagree the files are the truth, and each difference is a finding. A file that is
named and absent is data lost. Streams, clocks and units are those of :mod:`worldgate.data.logs._messages`, whatever
container the messages stand in.
"""

from __future__ import annotations

import re
from pathlib import Path

import rosbags.typesys  # noqa: F401  # what the card needs, asked for at once and not at the first message

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, Log, LogFolder
from worldgate.data.logs._mcap_container import Container
from worldgate.data.logs._mcap_read import McapLog, MessageLog, MessageSource
from worldgate.data.logs._paths import files_of, inside
from worldgate.data.logs._rosbag1 import Rosbag1
from worldgate.data.logs._rosbag_db3 import Db3
from worldgate.data.logs._rosbag_find import METADATA, bag_files, bag_folders, holds_bags, is_bag_file
from worldgate.data.logs._rosbag_join import Joined
from worldgate.data.logs._rosbag_meta import BagMetadata, contradictions, read_metadata
from worldgate.data.logs._rosbag_zstd import PackedMcap

CARD = {
    "line": "ROS 1 .bag, ROS 2 .db3, and rosbag2 folders with metadata.yaml, split or compressed, SQLite or MCAP",
    "inputs": "a .bag or .db3 file, a rosbag2 folder, or a folder of them",
    "needs": "ros",
    "source": "https://github.com/ros2/rosbag2",
}

_STORED = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")


def detect(path: Path) -> bool:
    """A bag file by its first bytes, or a folder that holds one or rosbag2's ``metadata.yaml``."""
    return holds_bags(path) if path.is_dir() else is_bag_file(path)


def open_logs(path: Path) -> LogFolder:
    """Open a bag, or every bag below a folder.

    Raises:
        NotFound: no bag there.
        LogUnreadable: a bag that cannot be used.
    """
    if path.is_file():
        return LogFolder(path=path, format="rosbag", logs=(_file_log(path, path.name),))
    folders, files = _bags(path)
    logs: list[Log] = [_folder_log(folder, "" if folder == path else _name(folder, path)) for folder in folders]
    logs += [_file_log(file, _name(file, path)) for file in files]
    if not logs:
        raise NotFound("no ROS bag in this folder", where=path)
    return LogFolder(path=path, format="rosbag", logs=tuple(logs))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of each bag, in the order of :func:`open_logs`; none where one bag's folder lies inside another's."""
    folders, files = _bags(path)
    owned = files_of(folders)
    return [*owned, *((file,) for file in files)] if len(owned) == len(folders) else []


def _bags(path: Path) -> tuple[list[Path], list[Path]]:
    """Folders that are bags, and files that are bags by themselves."""
    folders = list(bag_folders(path))
    alone = {*bag_files(path), *(file for file in path.rglob("*.mcap") if file.is_file())}
    return folders, [file for file in sorted(alone) if file.parent not in folders]


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix()


def _file_log(file: Path, name: str) -> Log:
    if file.suffix == ".mcap":
        return McapLog(file, name=name)
    return MessageLog(_container(file, BagMetadata(files=())), name=name)


def _folder_log(folder: Path, name: str) -> Log:
    """A rosbag2 folder as one log; named by its files where it is itself what was asked for."""
    findings: list[Finding] = []
    try:
        stated = read_metadata(folder / METADATA)
    except LogUnreadable as error:
        names = sorted(file.name for file in folder.iterdir() if file.name.endswith(_STORED))
        stated = BagMetadata(files=tuple(names))
        message = f"metadata.yaml cannot be used ({error.what}: {error.got}); every file of the folder was read"
        findings.append(_finding("integrity", message))
    files = [file for name in stated.files if (file := _find(folder, name, stated, findings)) is not None]
    if not files:
        got = findings[0].message if findings else "no files named"
        raise LogUnreadable("a bag without its files", got=got, where=folder, hint="restore a backup")
    named = {file.name for file in files}
    for file in sorted(folder.iterdir()):
        if file.name.endswith(_STORED) and file.name not in named:
            findings.append(_finding("metadata_mismatch", f"{file.name} is not named in metadata.yaml and not read"))
    containers = [_container(file, stated) for file in files]
    bag = Joined(folder, containers, findings, packed=stated.packed_messages)
    if stated.topics and not any(finding.check == "data_lost" for finding in bag.findings):
        bag.findings += contradictions(stated, bag)
    own = re.sub(r"_\d+$", "", files[0].name.partition(".")[0])
    return MessageLog(bag, name=name or own, facts=stated.facts)


def _find(folder: Path, name: str, stated: BagMetadata, findings: list[Finding]) -> Path | None:
    """The file that metadata.yaml names; None, and a finding, where it is absent."""
    made = inside(folder, name)
    if made is None or "\0" in name:
        raise LogUnreadable("a bag's file outside of its folder", got=name[:80], where=folder / METADATA)
    for path in (made, folder / Path(name).name):
        if path.is_file():
            return path
    span = stated.spans_ns.get(name)
    message = f"{name} is named in metadata.yaml and absent"
    findings.append(_finding("data_lost", message, spans_ns=() if span is None else (span,)))
    return None


def _container(file: Path, stated: BagMetadata) -> MessageSource:
    if file.suffix == ".bag":
        return Rosbag1(file)
    if file.name.endswith((".db3", ".db3.zstd")):
        return Db3(file, distro=stated.distro, packed=stated.packed_messages)
    return PackedMcap(file) if file.suffix == ".zstd" else Container(file)


def _finding(check: str, message: str, spans_ns: tuple[tuple[int, int], ...] = ()) -> Finding:
    return Finding(check=check, stream="", message=message, value=1.0, limit=0.0, unit="files", spans_ns=spans_ns)
