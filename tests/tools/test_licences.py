"""The licence check: what it lets through and what it must not."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest
from tools import licences

ROOT = Path(__file__).resolve().parents[2]


class Fake(Distribution):
    """A distribution made of its metadata and file names."""

    def __init__(self, metadata: str, *files: str) -> None:
        self.text = {"METADATA": f"Metadata-Version: 2.4\nVersion: 1\n{metadata}\n"}
        if files:
            self.text["RECORD"] = "".join(f"{name},,\n" for name in files)

    def read_text(self, filename: str) -> str | None:
        return self.text.get(filename)

    def locate_file(self, path: object) -> Path:
        return Path("/nowhere") / str(path)


@pytest.mark.parametrize(
    "metadata",
    [
        "License-Expression: GPL-3.0-only",
        "License-Expression: AGPL-3.0-or-later",
        "License-Expression: MIT AND GPL-2.0-only",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "Classifier: License :: OSI Approved :: GNU Affero General Public License v3",
        "License: CC BY-NC 4.0",
        "License: Free for non-commercial use",
        "License: BUSL-1.1",
        "License-Expression: LicenseRef-NVIDIA-Proprietary",
        "License: see file",
        "Summary: says nothing",
    ],
)
def test_a_licence_that_binds_or_says_nothing_is_refused(metadata: str) -> None:
    assert licences.judge(Fake(f"Name: thing\n{metadata}")) is not None


@pytest.mark.parametrize(
    "metadata",
    [
        "License-Expression: MIT",
        "License-Expression: GPL-2.0-only OR BSD-3-Clause",
        "License-Expression: LGPL-2.1-or-later",
        "Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
        "Classifier: License :: OSI Approved :: Apache Software License",
        "License: BSD 3-Clause License",
        "License-Expression: Apache-2.0 WITH LLVM-exception",
    ],
)
def test_a_permissive_licence_passes(metadata: str) -> None:
    assert licences.judge(Fake(f"Name: thing\n{metadata}")) is None


def test_nvidias_licence_passes_for_nvidias_wheels_alone() -> None:
    assert licences.judge(Fake("Name: nvidia-cublas\nLicense-Expression: LicenseRef-NVIDIA-Proprietary")) is None


def test_a_library_inside_a_wheel_counts_whatever_the_metadata_says() -> None:
    wheel = Fake("Name: thing\nLicense-Expression: MIT", "thing.libs/libx264-d6533a8d.so.165")
    assert licences.judge(wheel) == "its wheel carries libx264"
    assert licences.judge(Fake("Name: av\nLicense-Expression: BSD-3-Clause", "av.libs/libx264-d6533a8d.so.165")) is None


def test_exceptions_that_name_a_decision_name_one_that_exists() -> None:
    for reason in licences.BUNDLED_EXCEPTIONS.values():
        assert (ROOT / reason).is_file(), reason


def test_the_lock_is_read_by_name(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("a==1 \\\n    --hash=sha256:00\n    # via b\nb-c==2 ; python_version < '3.12'\nb-c==3\n")
    assert list(licences.locked(lock)) == ["a", "b-c"]


def test_one_refusal_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"good": Fake("Name: good\nLicense: MIT"), "bad": Fake("Name: bad\nLicense: GPL")}

    def distribution(name: str) -> Distribution:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(licences, "distribution", distribution)
    lock = tmp_path / "lock"
    lock.write_text("good==1\nelsewhere==1\n")
    assert licences.main(lock) == 0
    assert "not on this platform: elsewhere" in capsys.readouterr().out
    lock.write_text("good==1\nbad==1\n")
    assert licences.main(lock) == 1
    assert "refused: bad 1: licence 'GPL'" in capsys.readouterr().out
    lock.write_text("elsewhere==1\n")
    assert licences.main(lock) == 1, "a check that read nothing has not passed"
