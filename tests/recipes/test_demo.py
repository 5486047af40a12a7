"""The near-miss as a test: its quick part always; its gate scenes over twenty seeds, and the whole of it, when slow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worldgate.core.evidence import Verdict
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.evidence.statistics import binomial_lower, binomial_upper
from worldgate.recipes import _demo_gates as gates
from worldgate.recipes import _demo_releases as candidates
from worldgate.recipes import demo
from worldgate.recipes._cell_stage import SLOTS, build
from worldgate.recipes._demo_stage import ARM_B, NEXT
from worldgate.recipes._demo_tamper import run_outsider
from worldgate.recipes._result import Result
from worldgate.recipes._story import Quiet
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

SOUTH = tuple(slot for slot in SLOTS if slot.site == ARM_B.site)


WITHOUT_TORCH = """
import dataclasses
import json
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "gymnasium", "einops"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from pathlib import Path
from worldgate.recipes import demo

result = demo.run(Path(sys.argv[1]) / "workspace", demo.QUICK)
assert "torch" not in sys.modules
print(json.dumps(dataclasses.asdict(result), default=str))
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The quick demo, in a process where torch cannot be imported, as it promises to need none."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    return Result(**{**told, "report": Path(told["report"]), "workspace": Path(told["workspace"])})


def test_every_scene_of_the_quick_demo_ends_as_told_where_torch_cannot_be_imported(quick: Result) -> None:
    assert quick.as_told
    assert quick.facts["refused"] == 1
    assert {row[2] for row in quick.facts["findings"]} == {"frozen", "blank"}
    assert quick.facts["r2"] == "REJECT"
    assert quick.facts["r3"] == "PROMOTE"
    assert quick.facts["fixed"] > 0


def test_the_failing_camera_is_refused_with_the_span_in_which_it_failed(quick: Result) -> None:
    spans = [row[4] for row in quick.facts["findings"]]
    starts = [float(re.match(r"\[(\d+\.\d+),", span).group(1)) for span in spans]  # type: ignore[union-attr]
    assert abs(min(starts) - 1.5) < 0.2, "the fault begins 1.5 s into the run"


def test_as_of_is_certain_ambiguous_and_unknown_where_it_should_be(quick: Result) -> None:
    said = list(quick.facts["as_of"].values())
    assert said == ["CERTAIN", "AMBIGUOUS", "UNKNOWN", "CERTAIN", "UNKNOWN"]


def test_the_releases_differ_in_one_line(quick: Result) -> None:
    (line,) = quick.facts["diff"]
    assert line.startswith("normaliser.observation.environment_state.mean[0]: ")


def test_the_report_loads_nothing_and_says_that_the_cell_stands_in_for_the_field(quick: Result) -> None:
    page = quick.report.read_text()
    assert "nothing on this page is evidence about real arms" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "<script" not in page


def test_the_record_of_the_demo_verifies_inside_and_outside(quick: Result) -> None:
    with Workspace.open(quick.workspace) as ws:
        report = verify(ws, recompute=RECOMPUTE)
        assert report.ok, report.problems
        assert report.recomputed >= 5
        for event in ws.ledger.events("gate.decided"):
            assert event.body["population"] == "simulated stands in for real"
    code, told = run_outsider(quick.workspace)
    assert code == 0, told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_over_twenty_seeds_the_gate_scenes_promote_the_good_and_never_the_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false, true, seeds = 0, 0, 20
    for seed in range(seeds):
        stage = build(tmp_path / str(seed), Quiet())
        good = candidates.make(
            stage, expert="scripted", name="r3", slots=SOUTH, demonstrations=8, seed=1000 * seed, learned=False
        )
        bad = candidates.with_wrong_statistic(stage, good, name="r2")
        suite = gates.suite(
            stage.ws, SOUTH, name=f"seed-{seed}", scenes=100, seed=50_000 + 1000 * seed, person=True, attempts=2
        )
        for candidate in (bad, good):
            done = gates.gate(
                stage, candidate.ref, candidate.policy, suite, SOUTH, evidence=(candidate.training,), now_ns=NEXT
            )
            promoted = done.decision.verdict is Verdict.PROMOTE
            false += promoted and candidate is bad
            true += promoted and candidate is good
        stage.ws.close()
    with capsys.disabled():
        sys.stdout.write(
            f"\nfalse promotions {false}/{seeds}, upper 95 % bound {float(binomial_upper(false, seeds, '0.05')):.3f};"
            f" true promotions {true}/{seeds}, lower 95 % bound {float(binomial_lower(true, seeds, '0.05')):.3f}\n"
        )
    assert false / seeds <= 0.05 + 3 * (0.05 * 0.95 / seeds) ** 0.5
    assert true / seeds >= 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_demo_ends_as_told(tmp_path: Path) -> None:
    result = demo.run(tmp_path / "workspace")
    assert result.as_told, result.facts
    best = result.facts["pictures"]
    assert best in {"conv", "flow"}
    assert result.facts["admitted"] == {"state": "ADMIT", best: "ADMIT", "state, actions shuffled": "REJECT"}
    assert (result.workspace / "strip.png").is_file()
