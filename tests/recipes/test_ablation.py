"""The ablation: every variant on the same pairs, beside controls; a switch that is none is refused before any work."""

from __future__ import annotations

import json

import pytest

from worldgate.core.errors import AlreadyExists, ConfigError
from worldgate.evidence.reaching import PairConfig
from worldgate.recipes import ablation
from worldgate.recipes._reaching import Watching

pytest.importorskip("torch")

TINY = (
    "inputs.size=16", "net.width=4", "net.hidden=16", "net.latent=4", "net.memory=16", "net.heads=16",
    "learn.steps=2", "learn.every=3", "learn.span=12", "phase.batch=8",
)  # fmt: skip


def config(**changes):
    made = {
        "watching": Watching(runs=10, options={"size": 16}),
        "pairs": PairConfig(groups=1, pairs=3, offset=12, budget=15),
        "model": TINY,
        "variants": {name: ablation.VARIANTS[name] for name in ("whole", "no inverse dynamics")},
        "seconds": 0.5,
        "planner": "shooting",
    }
    return ablation.AblationConfig(**{**made, **changes})


def test_variants_stand_in_one_table_beside_their_controls(tmp_path):
    done = ablation.run(tmp_path / "out", config())
    facts = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert set(facts["variants"]) == {"whole", "no inverse dynamics"}
    whole, without = facts["variants"]["whole"], facts["variants"]["no inverse dynamics"]
    assert set(whole["trials"]) == {"direct", "shooting"} and set(without["trials"]) == {"shooting"}
    assert set(whole["trials"]["shooting"]) == {"own", "shuffled", "random", "plan_ms"}
    assert "inverse_dynamics_skill_over_mean_action" not in without["figures"]
    page = done.report.read_text()
    assert "no inverse dynamics" in page and "Simulated trials" in page
    with pytest.raises(AlreadyExists):
        ablation.run(tmp_path / "out", config())


def test_every_variant_is_a_configuration_of_the_family_and_differs_from_the_whole():
    made = {name: ablation._variant(ablation.AblationConfig(), sets) for name, sets in ablation.VARIANTS.items()}
    assert all(other != made["whole"] for name, other in made.items() if name != "whole")


def test_a_switch_that_is_none_is_refused_before_anything_is_watched(tmp_path):
    with pytest.raises(ConfigError):
        ablation.run(tmp_path / "out", config(variants={"odd": ("net.invers=false",)}))
    assert not (tmp_path / "out").exists()
