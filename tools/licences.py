"""Refuse a lock that holds GPL, AGPL, non-commercial or unknown licences.

Reads the metadata of the installed distributions that ``requirements.lock`` names (PEP 639 expression first, then
classifiers, then the free-text field) and the names of the shared libraries that a wheel carries, because a wheel's
metadata does not speak for those. Each exception below names its reason.

    python tools/licences.py [requirements.lock]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ALLOWED = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|CC0|BSL-1\.0|MPL|Mozilla|"
    r"Public Domain|Unlicense|HPND|LGPL|Lesser General Public)\b",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"(?<!L)GPL|Affero|(?<!Lesser )General Public License|non-?commercial|\bNC\b|BUSL|Business Source|SSPL|Proprietary",
    re.IGNORECASE,
)
NVIDIA = "redistributable runtime that the registry's torch links; left out by TORCH=cpu, never shipped by us"
EXCEPTIONS = {
    "apsw": "zlib licence or any that the OSI approves, at the user's choice (its LICENSE file)",
    "atheris": "Apache-2.0 by the LICENSE file in its wheel; the metadata field is empty",
    "docutils": "public domain and BSD; the GPL part is one Emacs mode that no wheel holds; used to build docs only",
    "pyrage": "MIT by the LICENSE file in its wheel; the metadata field is empty",
    "cuda-toolkit": f"a wheel without code that pulls the NVIDIA ones: {NVIDIA}",
}
"""Distribution to the reason why its metadata may read as refused or unknown."""

BUNDLED_REFUSED = re.compile(r"^lib(x264|x265|xvidcore|postproc|fdk-aac|rubberband|vidstab)\b")
"""Shared libraries under the GPL or with use limits that media wheels are known to carry."""
BUNDLED_EXCEPTIONS = {
    ("av", "libx264"): "docs/decisions/0003-codecs-in-the-av-wheel.md",
    ("av", "libx265"): "docs/decisions/0003-codecs-in-the-av-wheel.md",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One distribution and why it is refused."""

    name: str
    version: str
    reason: str


def licence_of(found: Distribution) -> str:
    """What a distribution says of its licence: SPDX expression, else classifiers, else the free text's first line."""
    meta = found.metadata
    if "License-Expression" in meta:
        return meta["License-Expression"]
    named = [c.split("::")[-1].strip() for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [c for c in named if c not in {"OSI Approved", "DFSG approved"}]
    return "; ".join(named) or (meta.get_all("License") or [""])[0].strip().split("\n")[0]


def locked(lock: Path) -> Iterator[str]:
    """Names of the distributions in a requirements file, each once."""
    seen = set()
    for line in lock.read_text(encoding="utf-8").splitlines():
        if (match := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)==", line)) and match[1] not in seen:
            seen.add(match[1])
            yield match[1]


def bundled(found: Distribution) -> set[str]:
    """Stems of the refused shared libraries that a wheel carries."""
    names = (Path(str(file)).name for file in found.files or ())
    return {match[0] for name in names if ".so" in name and (match := BUNDLED_REFUSED.match(name))}


def judge(found: Distribution) -> str | None:
    """Why a distribution is refused, or None."""
    name, licence = found.metadata["Name"].lower().replace("_", "-"), licence_of(found)
    if name.startswith("nvidia-") and "NVIDIA" in licence:
        return None
    for library in sorted(bundled(found)):
        if (name, library) not in BUNDLED_EXCEPTIONS:
            return f"its wheel carries {library}"
    if name in EXCEPTIONS:
        return None
    choices = licence.split(" OR ")
    if all(REFUSED.search(choice) for choice in choices):
        return f"licence {licence!r}"
    fine = any(ALLOWED.search(choice) and not REFUSED.search(choice) for choice in choices)
    return None if fine else f"unknown licence {licence!r}"


def main(lock: Path) -> int:
    """Judge every locked distribution; print one line each for those refused."""
    refused, absent, count = [], [], 0
    for name in locked(lock):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            absent.append(name)
            continue
        count += 1
        if reason := judge(found):
            refused.append(Finding(name, found.version, reason))
    for finding in refused:
        print(f"refused: {finding.name} {finding.version}: {finding.reason}")
    other = f"; not on this platform: {', '.join(absent)}" if absent else ""
    print(f"licences: {count} distributions read, {len(refused)} refused{other}")
    return 1 if refused or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "requirements.lock")))
