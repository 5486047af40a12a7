"""``tools/verify.py`` as a module: the outsider's verifier lies in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

TOOL = Path(__file__).resolve().parents[1] / "tools" / "verify.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outsider", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


tool = _load()
