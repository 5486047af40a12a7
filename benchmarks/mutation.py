"""How many small faults in the authorisation code its tests find: a mutation run by mutmut.

The code is that of approvals, waivers, the persons behind them, exposure, keys and signatures. mutmut changes it one
place at a time (an operator, a constant, an argument, a name) and runs the tests that reach the place; a change that no
test notices survives. Texts of errors and of reasons are left alone: they decide nothing.

mutmut is installed into an environment of its own (``make mutation`` makes ``.venv-mutation``), which sees the
product's packages through a path file, and works on a copy of the sources. ``--quick`` prints the last result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
TOOL = ROOT / ".venv-mutation" / "bin" / "mutmut"
FILES = (
    "src/worldgate/evidence/approvals.py",
    "src/worldgate/evidence/exposure.py",
    "src/worldgate/evidence/persons.py",
    "src/worldgate/evidence/waivers.py",
    "src/worldgate/record/keys.py",
    "src/worldgate/record/signing.py",
)
TESTS = (
    "tests/evidence/test_approvals.py",
    "tests/evidence/test_attacks_on_approval.py",
    "tests/evidence/test_exposure.py",
    "tests/evidence/test_forms_of_statements.py",
    "tests/evidence/test_waivers.py",
    "tests/record/test_keys.py",
    "tests/record/test_signing.py",
)
LEFT_ALONE = (r"^\s*raise ", r'^\s*return f?"[a-z{]')
"""Lines that say why; a statement that begins so is not changed."""
BAR = 0.9


def prepare(folder: Path) -> None:
    """A copy of sources, tests and the outsider's verifier, with the settings of the run."""
    for name in ("src", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": ["src"],
        "only_mutate": list(FILES),
        "also_copy": ["tools"],
        "do_not_mutate_patterns": list(LEFT_ALONE),
        "pytest_add_cli_args_test_selection": list(TESTS),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow"],
        "on_dependency_change": "ignore",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    flags = ["use_setproctitle = false", "use_git_change_detection = false"]
    text = (ROOT / "pyproject.toml").read_text() + "\n".join(["\n[tool.mutmut]", *lines, *flags]) + "\n"
    (folder / "pyproject.toml").write_text(text)


def share_packages() -> None:
    """Let the tool's environment see the packages of the one that runs this script."""
    (library,) = (TOOL.parents[1] / "lib").glob("python*/site-packages")
    (library / "worldgate-environment.pth").write_text(sysconfig.get_path("purelib") + "\n")


def outcomes(folder: Path) -> dict[str, str]:
    """Mutant -> killed, survived, timeout or unchecked."""
    found = {}
    for path in (folder / "mutants" / "src").rglob("*.meta"):
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            known = {None: "unchecked", 0: "survived", 1: "killed", 3: "killed"}
            found[name] = known.get(code, "timeout" if code in {24, 36, -24, 152, 255} else "other")
    return found


def mutate(folder: Path, *, children: int, sample: int, limit_s: float) -> None:
    """Run mutmut; where only a sample is asked for, on mutants drawn with a fixed seed."""
    told = [str(TOOL), "run", "--max-children", str(children)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    names: list[str] = []
    if sample:
        first = subprocess.run([*told, "worldgate.none"], cwd=folder, env=environment, check=False)
        assert first.returncode is not None
        names = random.Random(0).sample(sorted(outcomes(folder)), sample)
    try:
        subprocess.run([*told, *names], cwd=folder, env=environment, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        print("stopped at the time limit; what was checked until then counts", file=sys.stderr)


def table(found: dict[str, str]) -> dict[str, object]:
    """The result: killed of all that were checked, by file, and the survivors by name."""
    counts = Counter(found.values())
    checked = len(found) - counts["unchecked"]
    killed = counts["killed"] + counts["timeout"]
    share = killed / checked if checked else 0.0
    rows: list[dict[str, object]] = [
        {
            "what": "mutants of the authorisation code that its tests find",
            "value": round(share, 4),
            "unit": f"share of {checked} checked, of {len(found)} made",
            "bar": f">= {BAR}",
            "ok": share >= BAR,
        }
    ]
    for name in sorted({module_of(mutant) for mutant in found}):
        some = Counter(state for mutant, state in found.items() if module_of(mutant) == name)
        of = sum(some.values()) - some["unchecked"]
        rows.append({"what": name, "value": some["killed"] + some["timeout"], "unit": f"killed of {of} checked"})
    survivors = sorted(mutant for mutant, state in found.items() if state in {"survived", "other"})
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"name": "mutation", "machine": machine, "rows": rows, "survivors": survivors}


def module_of(mutant: str) -> str:
    """The module that a mutant changes."""
    return mutant.rsplit(".", 1)[0]


def checked_any(result: dict[str, object]) -> bool:
    """Whether a run checked anything, so that it may be kept."""
    rows = result["rows"]
    assert isinstance(rows, list)
    return not str(rows[0]["unit"]).startswith("share of 0 ")


def shown(result: dict[str, object]) -> Iterator[str]:
    """The result in lines."""
    rows = result["rows"]
    assert isinstance(rows, list)
    for row in rows:
        yield f"{row['what']:<56} {row['value']:>8} {row['unit']} {row.get('bar', '')}".rstrip()
    survivors = result["survivors"]
    assert isinstance(survivors, list)
    yield f"survivors: {len(survivors)}"
    if "note" in result:
        yield str(result["note"])


def main() -> None:
    """Run, or print the last result."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="print the last result")
    arguments.add_argument("--json", action="store_true", help="print one object")
    arguments.add_argument("--children", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--sample", type=int, default=0, help="so many mutants, drawn; 0: all")
    arguments.add_argument("--limit", type=float, default=4 * 3600.0, help="seconds")
    told = arguments.parse_args()
    if told.quick or not TOOL.is_file():
        if not RESULT.is_file():
            print("no result yet: make mutation")
            return
        result = json.loads(RESULT.read_text())
        if not told.json:
            print("last run, not measured now (make mutation):")
    else:
        started = time.monotonic()
        share_packages()
        with tempfile.TemporaryDirectory(prefix="worldgate-mutation-") as text:
            folder = Path(text)
            prepare(folder)
            mutate(folder, children=told.children, sample=told.sample, limit_s=told.limit)
            result = {**table(outcomes(folder)), "seconds": round(time.monotonic() - started)}
        if checked_any(result):
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if told.json else "\n".join(shown(result)))


if __name__ == "__main__":
    main()
