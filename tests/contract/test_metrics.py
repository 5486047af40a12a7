"""Every file of the metrics seam keeps one of its two forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evidence import worlds_to_judge as small

from worldgate.core import seams
from worldgate.core.digest import canonical
from worldgate.evidence.evaluation import EvaluateConfig, evaluate
from worldgate.evidence.layout import Layout, Scanner

NAMES = sorted(seams.cards("metrics"))
HELD, TRAIN = [small.episode(i) for i in (100, 101)], [small.episode(i) for i in range(6)]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_whole_and_a_module_has_one_of_the_forms(name: str) -> None:
    card, module = seams.cards("metrics")[name], seams.load("metrics", name)
    assert card.line
    assert card.inputs
    assert card.source
    assert hasattr(module, "build") or hasattr(module, "measure")
    if hasattr(module, "measure"):
        assert module.BETTER in {"lower", "higher"}
        assert isinstance(module.UNIT, str)


@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(seams.load("metrics", n), "measure")])
def test_a_plain_metric_gives_one_error_a_step_and_none_for_what_is_equal(name: str) -> None:
    module, rng = seams.load("metrics", name), np.random.default_rng(0)
    about = name.split("_")[0]
    shape = {"video": (4, 16, 16, 3), "state": (4, 3)}.get(about, (4, 16, 16))
    bytes_ = about in {"video", "class"}
    real = rng.integers(0, 256, shape).astype(np.uint8) if bytes_ else rng.normal(0, 1, shape)
    wrong = (255 - real).astype(np.uint8) if bytes_ else real + 1.0
    right, off = (module.measure(said, real, real[0]) for said in (real, wrong))
    assert right.error.shape == right.weight.shape == (4,)
    sign = 1 if module.BETTER == "lower" else -1
    there = right.weight > 0
    assert (sign * right.error[there] <= sign * off.error[there]).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"video_lpips", "video_fvd"}])
def test_a_measure_can_be_taken_and_its_figures_have_unit_and_direction(name: str, tmp_path: Path) -> None:
    cameras = {"depth": (small.DEPTH,), "class": (small.CLASSES,)}.get(name.split("_")[0], (small.FRONT, small.TOP))
    model = small.Model(spec=small.spec(force=True, cameras=cameras, pose=True), noise=0.002, claims=0.002)
    scanner = Scanner(stream=small.STATE, x=0.0, y=0.0, first_rad=0.0, last_rad=1.5, reach_m=1.0)
    layout = Layout(site="bench", cell_m=0.1, x=0.0, y=0.0, rows=("#####", "#...#", "....#"), scanner=scanner)
    (tmp_path / "site.json").write_bytes(canonical(layout.to_json()))
    config = EvaluateConfig(
        horizons=(1, 4), windows=2, samples=3, resamples=50, measures=(name,),
        force_limit_n=1.0, clearance_limit_m=0.2, layout=str(tmp_path / "site.json"),
    )  # fmt: skip
    found = evaluate(model, HELD, config, references=TRAIN, read_frames=small.read_frames)
    assert not found.facts.not_measured
    assert found.rows
    for row in found.rows:
        assert row.better in {"lower", "higher", "target"}
        assert row.unit
        assert set(row.values) <= {"model", "hold", "velocity", "other", "real"}
        assert row.step in {0, 1, 4}
