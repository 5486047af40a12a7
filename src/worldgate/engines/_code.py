"""The identity of code: the sources that a stage can reach by import, and the versions of the packages they use.

The closure is static: from the stage's module along every import statement, those inside functions too and those under
``TYPE_CHECKING`` not, through the modules of this package. What a seam finds by name is no import; a stage lists it. So
an edit invalidates the results that it can have changed, and a few that it cannot (a comment counts), but misses none.
The package imports by absolute names only, which its linter holds. Other packages count by their installed version,
because a decoder decides which pixels a check sees.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import worldgate
from worldgate.core.digest import digest_json, sha256
from worldgate.core.errors import UsageError

PACKAGE = "worldgate"
ROOT = Path(worldgate.__file__).parent

_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "google": "protobuf", "mcap_ros2": "mcap-ros2-support"}
_DISTRIBUTIONS |= {"mcap_protobuf": "mcap-protobuf-support"}


def code_digest(modules: tuple[str, ...], root: Path = ROOT) -> str:
    """Digest of the sources that these modules reach, and of the versions of the packages that they import.

    Args:
        modules: names; one of another package counts by its own source.
        root: folder of the package.

    Raises:
        UsageError: no such module: without its source, other code would pass for it.
    """
    return _digest(modules, root)


@cache
def _digest(modules: tuple[str, ...], root: Path) -> str:
    sources, foreign = closure(modules, root)
    held = {name: _read(path).digest for name, path in sources.items()}
    return digest_json({"packages": {name: _version(name) for name in foreign}, "sources": held})


def closure(modules: tuple[str, ...], root: Path = ROOT) -> tuple[dict[str, Path], list[str]]:
    """Every module reached, with its file, and the names of other packages that they import."""
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = None if name in found else _file(name, root)
        if path is None:
            if name in modules and name not in found:
                raise UsageError("a stage's module is not to be found", got=name, hint="its folder on PYTHONPATH")
            continue
        found[name] = path
        todo += [parent for parent in _parents(name) if parent not in found]
        for imported in _read(path).imports:
            top = imported.partition(".")[0]
            if top == PACKAGE:
                todo.append(imported)
            elif top and top not in sys.stdlib_module_names:
                foreign.add(top)
    return dict(sorted(found.items())), sorted(foreign)


@dataclass(frozen=True, slots=True)
class _Source:
    digest: str
    imports: tuple[str, ...]


@cache
def _read(path: Path) -> _Source:
    """A process runs the sources that it started with, so each is read once."""
    data = path.read_bytes()
    return _Source(sha256(data), tuple(dict.fromkeys(_imports(ast.parse(data).body))))


@cache
def _file(name: str, root: Path) -> Path | None:
    top, _, rest = name.partition(".")
    if top != PACKAGE:
        spec = importlib.util.find_spec(name)
        return Path(spec.origin) if spec is not None and spec.origin is not None else None
    base = root.joinpath(*rest.split(".")) if rest else root
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _parents(name: str) -> Iterator[str]:
    """Packages are executed before what is in them."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Names imported anywhere among these statements and the blocks in them."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # a name may be a module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _imports(node.orelse)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from _imports(getattr(node, field, ()))
            for block in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from _imports(block.body)


@cache
def _version(name: str) -> str:
    try:
        return metadata.version(_DISTRIBUTIONS.get(name, name))
    except metadata.PackageNotFoundError:
        held = metadata.packages_distributions().get(name, [])
        return " ".join(f"{item} {metadata.version(item)}" for item in sorted(set(held)))
