"""What this machine has and lacks: Python, packages, extras, GPU, codecs, free disk.

Nothing heavy is imported to find out: packages are read from installed metadata, a GPU is asked of its own driver.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

MINIMUM = (3, 11)
CODECS = (("h264", "H.264"), ("hevc", "HEVC"), ("av1", "AV1"), ("mjpeg", "MJPEG"))
DISK_GB = 2.0
"""Below this a demo or a small training run may not fit."""

_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may use, by control groups v2 and v1."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


class State(StrEnum):
    """What a survey says of one thing."""

    OK = "ok"
    ABSENT = "absent"
    """Optional and not there."""
    BROKEN = "broken"
    """Needed and not there, or not good enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of a survey."""

    what: str
    state: State
    detail: str
    hint: str = ""
    """The command that would mend it."""


def requirements() -> dict[str, tuple[str, ...]]:
    """Names of the distributions that Worldgate asks for, by extra; the empty key holds those always needed."""
    found: dict[str, list[str]] = {"": []}
    for line in requires("worldgate") or ():
        name = _REQUIREMENT.match(line)
        assert name is not None, line
        extra = _EXTRA.search(line)
        found.setdefault(extra[1] if extra else "", []).append(name[1])
    return {extra: tuple(names) for extra, names in found.items()}


def missing(extra: str = "") -> tuple[str, ...]:
    """Distributions of an extra, or of the core, that are not installed."""
    return tuple(name for name in requirements().get(extra, ()) if not _installed(name))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def survey(folder: Path) -> list[Fact]:
    """Look at everything that a run may need.

    Args:
        folder: where work would be written; its disk is measured.
    """
    return [_python(), *_packages(), _gpu(), *_codecs(), _disk(folder)]


def _python() -> Fact:
    good = sys.version_info >= MINIMUM
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Fact(what="python", state=State.OK if good else State.BROKEN, detail=detail)


def _packages() -> list[Fact]:
    facts = []
    for extra, names in sorted(requirements().items()):
        lacking = missing(extra)
        if extra:
            state = State.ABSENT if lacking else State.OK
            what, hint = f"extra [{extra}]", f'pip install "worldgate[{extra}]"'
        else:
            state = State.BROKEN if lacking else State.OK
            what, hint = "packages", "pip install worldgate"
        have = ", ".join(f"{name} {_installed(name)}" for name in names) if extra else f"{len(names)} installed"
        detail = f"missing {', '.join(lacking)}" if lacking else have
        facts.append(Fact(what=what, state=state, detail=detail, hint=hint if lacking else ""))
    return facts


def _gpu() -> Fact:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Fact(what="gpu", state=State.ABSENT, detail="no NVIDIA driver; models run on the CPU")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (subprocess.SubprocessError, OSError) as error:
        return Fact(what="gpu", state=State.ABSENT, detail=f"the driver does not answer: {error}")
    return Fact(what="gpu", state=State.OK, detail="; ".join(lines.splitlines()))


def _codecs() -> list[Fact]:
    try:
        from av.codec import Codec
        from av.codec.codec import UnknownCodecError
    except ImportError as error:
        return [Fact(what="codecs", state=State.BROKEN, detail=str(error), hint="pip install av")]
    facts = []
    for name, title in CODECS:
        ways = []
        for mode, verb in (("r", "reads"), ("w", "writes")):
            try:
                ways.append(f"{verb} with {Codec(name, mode).name}")  # type: ignore[arg-type]  # av wants the literal
            except UnknownCodecError:
                continue
        state = State.OK if ways else State.ABSENT
        facts.append(Fact(what=f"codec {title}", state=state, detail=", ".join(ways) or "neither read nor written"))
    return facts


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or its control group's where that is less; 0 where not known."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
    limits = [whole] if whole > 0 else []
    for path in _MEMORY_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # another kind of system, or "max"
            continue
    return min(limits, default=0)


def _disk(folder: Path) -> Fact:
    free = shutil.disk_usage(folder).free / 1e9
    detail = f"{free:.1f} GB free at {folder}"
    return Fact(what="disk", state=State.OK if free >= DISK_GB else State.BROKEN, detail=detail)
