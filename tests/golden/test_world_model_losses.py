"""Losses of the debug configurations, held so that a refactor cannot change what is learned without saying so.

Figures come from one machine; other processors round differently, so they are held to one part in a thousand. After a
change that is meant to change them, print new ones with ``pytest -k golden -s`` and say why in the commit.
"""

from __future__ import annotations

import json

import pytest
import torch
from tests.worlds.synthetic import debug_config, episodes

from worldgate.worlds.train.loop import train

GOLDEN = {
    "conv": {"telemetry": (0.080966, 0.080679), "tokenizer": (0.282404, 0.181921), "dynamics": (0.114581, 0.059052)},
    "state": {"telemetry": (0.080744, 0.067006)},
}
"""First and last loss of each phase."""


@pytest.mark.parametrize("family", sorted(GOLDEN))
def test_golden_losses(family, tmp_path):
    torch.set_num_threads(1)
    train(family, episodes(4), [], debug_config(family), tmp_path / "run")
    seen = {}
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        seen.setdefault(entry["phase"], []).append(entry["loss"])
    ends = {phase: (losses[0], losses[-1]) for phase, losses in seen.items()}
    assert set(ends) == set(GOLDEN[family])
    for phase, golden in GOLDEN[family].items():
        assert ends[phase] == pytest.approx(golden, rel=1e-3), phase
