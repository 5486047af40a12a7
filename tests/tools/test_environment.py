"""What TORCH=cpu leaves out of the lock."""

from __future__ import annotations

import re
from pathlib import Path

from tools.environment import blocks, without_cuda

LOCK = (Path(__file__).resolve().parents[2] / "requirements.lock").read_text(encoding="utf-8")


def test_the_lock_without_cuda_loses_torch_triton_and_nvidia_and_nothing_else() -> None:
    text, torch = without_cuda(LOCK)
    before, after = ([block.split("==")[0] for block in blocks(lock)] for lock in (LOCK, text))
    gone = set(before) - set(after)
    assert {"torch", "triton", "cuda-bindings"} <= gone
    assert all(re.match(r"torch$|triton$|nvidia-|cuda-", name) for name in gone)
    assert {"numpy", "torchvision", "mujoco"} & set(before) <= set(after)
    assert re.fullmatch(r"torch==[0-9.]+", torch)


def test_every_entry_keeps_its_hashes() -> None:
    text, _ = without_cuda(LOCK)
    assert all("--hash=sha256:" in block for block in blocks(text))


def test_no_index_address_stands_in_the_lock_or_in_what_makes_the_environment() -> None:
    root = Path(__file__).resolve().parents[2]
    for name in ("requirements.lock", "Makefile", "pyproject.toml", "tools/environment.py", ".ci/run"):
        assert "index-url" not in re.sub("no-emit-index-url", "", (root / name).read_text(encoding="utf-8")), name
        assert "https://" not in re.sub(r"# .*", "", (root / name).read_text(encoding="utf-8")), name
