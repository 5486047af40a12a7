"""Every parser against damaged input: a few hundred seeded mutations each; under `make test-all`, atheris as well.

A failure names the file it damaged, keeps the input, and shows the traceback. To see one input again:
`python -m tests.fuzz._harness TARGET CORPUS OUT --input FILE`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz import _corpus, _harness

from worldgate.core import seams
from worldgate.core.errors import DataRefused

ROOT = Path(__file__).resolve().parents[2]
COSTLY = {"lerobot": 60, "replay_buffer": 60, "act": 100, "droid": 60, "table": 60}
"""Targets whose samples take long to read: fewer inputs."""
INPUTS = 200


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the samples of every target asked for are kept."""
    return tmp_path_factory.mktemp("corpus")


def run(target: str, corpus: Path, out: Path, *how: str, limit: float) -> subprocess.CompletedProcess[str]:
    if not (corpus / target).exists():
        (corpus / target).mkdir()
        _corpus.MAKE[target](corpus / target)
    command = [sys.executable, "-m", "tests.fuzz._harness", target, str(corpus), str(out), *how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=limit
    )


def story(out: Path, done: subprocess.CompletedProcess[str]) -> str:
    kept = out / "found.json"
    found = json.loads(kept.read_text()) if kept.is_file() else {}
    told = "\n".join(f"{place}: {about}" for place, about in found.items())
    return told or f"ended with {done.returncode}; its last input is {out / 'now'}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("target", _corpus.MAKE)
def test_a_damaged_file_is_read_or_refused_by_name(target: str, corpus: Path, tmp_path: Path) -> None:
    inputs = COSTLY.get(target, INPUTS)
    done = run(target, corpus, tmp_path / "out", "--inputs", str(inputs), limit=240)
    assert done.returncode == 0, story(tmp_path / "out", done)


@pytest.mark.slow
@pytest.mark.parametrize("target", _corpus.MAKE)
def test_coverage_guided_input_finds_nothing_else(target: str, corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    seconds = int(os.environ.get("WORLDGATE_FUZZ_S", "20"))
    out = tmp_path / "out"
    done = run(target, corpus, out, "--seconds", str(seconds), limit=seconds + 200)
    left = [path.name for path in out.glob("*-*") if path.name.partition("-")[0] in {"crash", "oom", "timeout"}]
    assert (done.returncode, left) == (0, []), story(out, done)


def test_every_log_and_label_format_is_a_target() -> None:
    formats = {*seams.cards("logs"), *seams.cards("labels")} - {"rosbag"}
    assert formats <= set(_corpus.MAKE)
    assert {"rosbag1", "rosbag2"} <= set(_corpus.MAKE)


def test_the_harness_finds_what_a_parser_may_not_raise_and_passes_what_it_may(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        data = path.read_bytes()
        if data[:1] != b"a":
            raise DataRefused("not this format")
        if b"\xff" in data:
            raise IndexError(data.index(b"\xff"))

    sample = tmp_path / "samples" / "one" / "a.bin"
    sample.parent.mkdir(parents=True)
    sample.write_bytes(b"a" + bytes(range(64)))
    (tmp_path / "out").mkdir()
    harness = _harness.Harness(read, tmp_path / "samples", tmp_path / "out")
    harness.check_samples()
    found = _harness.seeded(harness, "none", 300, 1, tmp_path / "out")
    assert [place.partition(" ")[0] for place in found] == ["IndexError"]
    with pytest.raises(IndexError):
        harness((tmp_path / "out" / "input-0").read_bytes())
    assert (tmp_path / "out" / "work" / "one" / "a.bin").read_bytes() == sample.read_bytes()


def test_mutations_are_the_same_for_a_seed() -> None:
    texts = [_harness.mutate(random.Random(5), b'{"a": [1, 2, "x"]}' * 3) for _ in range(2)]
    assert texts[0] == texts[1] != b'{"a": [1, 2, "x"]}' * 3
