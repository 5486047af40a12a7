"""Two verifiers written apart agree on a corpus of good and bad workspaces and bundles, down to the record named."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.evidence import corpus, corpus_record
from tests.outsider import tool as outsider

from worldgate.core.errors import WorldgateError
from worldgate.evidence.recompute import RECOMPUTE
from worldgate.record.bundle_verify import verify_bundle
from worldgate.record.bundles import is_bundle
from worldgate.record.ledger import Head
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

UNREADABLE = frozenset({-1})
CASES = corpus.cases()
QUICK = set(random.Random(2026).sample(range(len(CASES)), len(CASES) // 10))
QUICK |= {i for i, case in enumerate(CASES) if case.name in corpus.ONCE_DISAGREED}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> corpus.Templates:
    return corpus.Templates(tmp_path_factory.mktemp("corpus"))


def library(path: Path, head: str | None) -> frozenset[int]:
    """Records that the library names; 0: the whole."""
    witness = Head(int(head.split(":")[0]), head.split(":")[1]) if head else None
    try:
        if is_bundle(path):
            problems = verify_bundle(path, recompute=RECOMPUTE, witness=witness).report.problems
        else:
            with Workspace.open(path) as ws:
                problems = verify(ws, recompute=RECOMPUTE, witness=witness).problems
    except WorldgateError:
        return UNREADABLE
    return frozenset(p.seq for p in problems if not p.what.startswith("table "))


def tool(path: Path, head: str | None, capsys: pytest.CaptureFixture[str]) -> frozenset[int]:
    """Records that tools/verify.py names."""
    code = outsider.main([str(path), *(["--head", head] if head else [])])
    lines = capsys.readouterr().out.splitlines()
    named = frozenset(
        int(line.split()[1]) if line.startswith("record ") else 0
        for line in lines
        if line.startswith(("record ", "ledger:"))
    )
    assert code == (2 if not lines else int(bool(named))), lines
    return UNREADABLE if code == 2 else named


def test_the_corpus_is_large_and_both_good_and_bad() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.name for case in CASES} >= corpus.ONCE_DISAGREED
    assert 40 <= sum(case.good for case in CASES) <= len(CASES) - 120


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if i in QUICK else pytest.mark.slow, id=case.name) for i, case in enumerate(CASES)],
)
def test_both_verifiers_agree(
    case: corpus.Case, templates: corpus.Templates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = templates.copy(case.template, tmp_path / "copy")
    head = case.change(path, random.Random(case.name))
    ours, theirs = library(path, head), tool(path, head, capsys)
    assert ours == theirs
    assert (not ours) == case.good, ours


def test_words_beside_the_figures_are_the_library_s_alone_to_check(
    templates: corpus.Templates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one thing on which the two differ, and verify.py says so: it recomputes no prose."""
    path = templates.copy("ws/held", tmp_path / "copy")
    corpus_record._forge(lambda d: d.update(notes=["all is well"]), "notes")(path, random.Random(1))
    assert library(path, None)
    assert not tool(path, None, capsys)
    assert "Not recomputed: the words" in str(outsider.__doc__)
