"""A key covers input, configuration and every source that is executed, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.digest import digest_json
from worldgate.core.errors import UsageError
from worldgate.core.seams import cards
from worldgate.data import align_stage, check_stage, summaries
from worldgate.data.check import check
from worldgate.data.ingest import ingest
from worldgate.engines import Call, EngineConfig, Place, Results, Stage, code_digest, start
from worldgate.engines._code import ROOT, closure

CHECK = ("worldgate.data.check_stage", "worldgate.data.logs.mcap", "worldgate.data.checks.gaps")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[], Path]:
    """Copies of the package's sources, each in a folder of its own, because a process reads a source once."""
    made = iter(range(100))

    def copy() -> Path:
        root = tmp_path / f"copy-{next(made)}" / "worldgate"
        shutil.copytree(ROOT, root, ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".py")])
        return root

    return copy


def edit(root: Path, module: str) -> None:
    path = root.joinpath(*module.split(".")[1:]).with_suffix(".py")
    assert path.is_file(), module
    path.write_text(path.read_text() + "\nEDITED = True\n")


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("worldgate.data.checks.gaps", True),
        ("worldgate.data.checks._spans", True),
        ("worldgate.data.check_stage", True),
        ("worldgate.data.logs.mcap", True),
        ("worldgate.data.logs._mcap_read", True),
        ("worldgate.core.streams", True),
        ("worldgate.data.checks.frozen", False),
        ("worldgate.data.logs.lerobot", False),
        ("worldgate.data.alignment", False),
        ("worldgate.data.check", False),
        ("worldgate.record.ledger", False),
        ("worldgate.evidence.decide", False),
        ("worldgate.cli.check", False),
    ],
)
def test_an_edit_changes_the_key_of_what_it_can_have_changed_and_of_nothing_else(
    copied: Callable[[], Path], module: str, changes: bool
) -> None:
    before, after = copied(), copied()
    edit(after, module)
    assert code_digest(CHECK, before) == code_digest(CHECK)
    assert (code_digest(CHECK, after) != code_digest(CHECK, before)) is changes


def test_a_closure_follows_imports_in_functions_and_not_those_for_types(tmp_path: Path) -> None:
    root = tmp_path / "worldgate"
    (root / "a").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "a" / "__init__.py").write_text("import numpy")
    (root / "a" / "one.py").write_text(
        "import os\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from worldgate.a import types_only\n"
        "def f():\n    try:\n        from worldgate.a import two\n    except ImportError:\n        import cv2.aruco\n"
    )
    (root / "a" / "two.py").write_text("from worldgate.a.three import name as other\nwith x:\n    import scipy")
    for name in ("three", "types_only", "unrelated"):
        (root / "a" / f"{name}.py").write_text("name = 1")
    sources, foreign = closure(("worldgate.a.one",), root)
    assert list(sources) == [f"worldgate{x}" for x in ("", ".a", ".a.one", ".a.three", ".a.two")]
    assert foreign == ["cv2", "numpy", "scipy"]


def test_another_version_of_a_package_is_another_code(
    monkeypatch: pytest.MonkeyPatch, copied: Callable[[], Path]
) -> None:
    from worldgate.engines import _code

    root = copied()
    before = code_digest(CHECK, root)
    _code._digest.cache_clear()
    monkeypatch.setattr(_code, "_version", lambda name: "999" if name == "mcap" else "")
    assert code_digest(CHECK, root) != before
    _code._digest.cache_clear()


def test_the_stages_reach_no_ledger_and_no_torch() -> None:
    """Else a key would change with what a stage cannot touch."""
    for stage in (summaries.STAGE, check_stage.STAGE, align_stage.STAGE):
        uses = [card.module for seam in ("logs", "checks") for card in cards(seam).values()]
        sources, foreign = closure((stage.partition(":")[0], *uses))
        assert "torch" not in foreign
        assert not {"worldgate.record.ledger", "worldgate.record.workspace"} & set(sources)


def test_a_key_tells_input_configuration_and_stage_apart_and_not_the_name() -> None:
    stage = Stage(function="worldgate.data.check_stage:look")
    more = Stage(function=stage.function, uses=("worldgate.sim.cell",))
    call = Call(stage=stage, name="a", inputs=("0" * 64,), config={"check": "gaps"})
    same = Call(stage=stage, name="b", inputs=("0" * 64,), config={"check": "gaps"}, group="g")
    others = [
        Call(stage=stage, name="a", inputs=("1" * 64,), config={"check": "gaps"}),
        Call(stage=stage, name="a", inputs=("0" * 64,), config={"check": "skew"}),
        Call(stage=Stage(function="worldgate.data.align_stage:to_grid"), name="a", inputs=("0" * 64,), config={}),
        Call(stage=more, name="a", inputs=("0" * 64,), config={"check": "gaps"}),
    ]
    assert call.key() == same.key()
    assert len({call.key(), *(other.key() for other in others)}) == 5


def test_a_worker_with_other_code_than_the_driver_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from worldgate.engines._stage import pack, perform

    call = Call(stage=Stage(function="worldgate.data.check_stage:look"), name="run.mcap", inputs=("0" * 64,))
    bundle = pack([call], Place(store=str(tmp_path), cache=str(tmp_path)))
    monkeypatch.setattr("worldgate.engines._stage.code_digest", lambda _: "1" * 64)
    ((said, files),) = perform(bundle)
    assert b"other code than the driver" in said
    assert b"run.mcap" in said
    assert not files


def test_a_result_that_was_damaged_is_none(tmp_path: Path) -> None:
    results = Results(tmp_path)
    key = digest_json("key")
    with pytest.raises(KeyError):
        results.get(key)
    value = {"spans_ns": [[1, 2**62]], "value": 0.1, "text": "é"}
    results.keep(key, value, {"a/b.bin": b"bytes"})
    assert results.get(key) == value
    whole = results.path(key).read_bytes()
    for damage in (whole[:-1], whole.replace(b"0.1", b"0.2"), b"", b"null", b'{"value":1}'):
        results.path(key).write_bytes(damage)
        assert not results.has(key)
    results.path(key).write_bytes(whole)
    assert results.has(key)


class Counting:
    """This process, counting what it is given."""

    def __init__(self) -> None:
        self.bundles = 0

    def run(self, bundles: Any) -> Any:
        for item in start(EngineConfig()).run(bundles):
            self.bundles += 1
            yield item

    def close(self) -> None:
        """Nothing to let go."""


def test_checks_are_done_again_when_their_code_changes_and_only_those(
    workspace: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from worldgate.data import contracts
    from worldgate.sim.record import record

    for seed in (1, 2):
        record(tmp_path / "logs" / f"{seed}.mcap", site="north", arm=None, expert="scripted", seed=seed, duration_s=1.0)
    refs, contract = ingest(workspace, tmp_path / "logs"), contracts.add(workspace, contracts.read("cell"))
    engine = Counting()
    first = check(workspace, refs, contract, engine=engine)
    assert engine.bundles == 2, "one bundle a log"
    assert check(workspace, refs, contract, engine=engine) == first
    assert engine.bundles == 2
    shutil.rmtree(workspace.cache)
    assert check(workspace, refs, contract, engine=engine) == first
    assert engine.bundles == 2, "the ledger holds what was found, the cache is not needed"
    events = len(list(workspace.ledger.events("log.checked")))
    whole = code_digest

    def edited(modules: tuple[str, ...], root: Path = ROOT) -> str:
        digest = whole(modules, root)
        return digest_json([digest]) if "worldgate.data.checks.gaps" in modules else digest

    monkeypatch.setattr("worldgate.engines._stage.code_digest", edited)
    again = check(workspace, refs, contract, engine=engine)
    assert [c.accepted for c in again] == [c.accepted for c in first]
    monkeypatch.undo()
    before = {(c.log, o.check): o.key for c in first for o in c.outcomes}
    changed = {o.check for c in again for o in c.outcomes if o.key != before[c.log, o.check]}
    assert changed == {"gaps"}
    assert engine.bundles == 4
    assert len(list(workspace.ledger.events("log.checked"))) == events + 2


def test_code_that_is_not_there_has_no_key() -> None:
    with pytest.raises(UsageError, match="not to be found"):
        code_digest(("stages_of_nobody",))
    with pytest.raises(UsageError, match="not to be found"):
        code_digest(("worldgate.data.no_such_stage",))
