"""The identity of code: the sources that a stage can reach by import, and the versions of the packages they use.

The closure is static: from the stage's module along every import statement, those inside functions too and those under
``TYPE_CHECKING`` not, through the modules of this package. What a seam finds by name is no import; a stage lists it. So
an edit invalidates the results that it can have changed, and a few that it cannot (a comment counts), but never misses
one. Other packages count by their installed version, because a decoder decides which pixels a check sees.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import worldgate
from worldgate.core.digest import digest_json, sha256

PACKAGE = "worldgate"
ROOT = Path(worldgate.__file__).parent

_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "google": "protobuf", "mcap_ros2": "mcap-ros2-support"}
_DISTRIBUTIONS |= {"mcap_protobuf": "mcap-protobuf-support"}


@cache
def code_digest(modules: tuple[str, ...], root: Path = ROOT) -> str:
    """Digest of the sources that these modules reach, and of the versions of the packages that they import.

    Args:
        modules: names; one of another package counts by its own source.
        root: folder of the package.
    """
    sources, foreign = closure(modules, root)
    held = {name: sha256(path.read_bytes()) for name, path in sources.items()}
    return digest_json({"packages": {name: _version(name) for name in foreign}, "sources": held})


def closure(modules: tuple[str, ...], root: Path = ROOT) -> tuple[dict[str, Path], list[str]]:
    """Every module reached, with its file, and the names of other packages that they import."""
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = _file(name, root)
        if name in found or path is None:
            continue
        found[name] = path
        todo += [parent for parent in _parents(name) if parent not in found]
        for imported in _imports(ast.parse(path.read_bytes()), name, is_package=path.name == "__init__.py"):
            top = imported.partition(".")[0]
            if top == PACKAGE:
                todo.append(imported)
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    return dict(sorted(found.items())), sorted(foreign)


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


def _imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                steps = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*steps[: len(steps) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # a name may be a module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imports(ast.Module([other], []), module, is_package=is_package)
        else:
            yield from _imports(node, module, is_package=is_package)


@cache
def _version(name: str) -> str:
    try:
        return metadata.version(_DISTRIBUTIONS.get(name, name))
    except metadata.PackageNotFoundError:
        held = metadata.packages_distributions().get(name, [])
        return " ".join(f"{item} {metadata.version(item)}" for item in sorted(set(held)))
