"""The base size in pieces: what ends early is gone on with, and figures come from the product's commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import base

QUICK = ["--quick", "--size", "debug", "--pixels", "32", "--runs", "8", "--train-minutes", "0.2"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_is_trained_judged_and_shown_in_pieces(tmp_path: Path) -> None:
    pieces = 0
    for minutes in ("0.8", *["5"] * 3):
        pieces += 1
        answer = base.main([*QUICK, "--work", str(tmp_path), "--minutes", minutes])
        if answer is not None:
            break
    assert answer is not None
    assert pieces > 1
    assert answer["training"]["dynamics"]["step"] > 0
    assert answer["imagined_frames_per_s"] > 0
    assert (tmp_path / answer["strip"]).stat().st_size > 1000
    assert answer["figures"]
    assert not (base.RESULTS / "base-cell-flow-debug-32.json").exists(), "a trial is no result"
