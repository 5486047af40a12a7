"""Make the virtual environment: everything in ``requirements.lock``, hashes verified, then Worldgate itself.

    python3 tools/environment.py .venv --torch lock|cpu --uv uv==VERSION

Runs on the bare Python of the machine (3.11 or newer). ``--torch cpu`` leaves out torch, triton and the
CUDA wheels (5 GB) and takes the same version of torch from uv's CPU backend instead, which has no hashes in the lock.
No index address stands here: pip and uv use the machine's own configuration.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
CUDA = re.compile(r"(torch|triton|nvidia-.+|cuda-.+)$")


def blocks(lock: str) -> list[str]:
    """The lock's entries, each with its hashes and comments."""
    return re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]


def without_cuda(lock: str) -> tuple[str, str]:
    """The lock without torch and what only its CUDA build needs, and torch's requirement."""
    kept, torch = [], ""
    for block in blocks(lock):
        name = block.split("==")[0]
        if name == "torch":
            torch = block.split()[0]
        if CUDA.fullmatch(name) is None:
            kept.append(block)
    return "".join(kept), torch


def run(*command: str | Path) -> None:
    """Run a command; what it prints is what the user sees."""
    subprocess.run([str(part) for part in command], check=True, env=os.environ | {"UV_NO_PROGRESS": "1"})


def make(folder: Path, *, torch: str, uv: str) -> None:
    """Create or complete the environment in ``folder``."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
        venv.create(folder, with_pip=True)
    if not (folder / "bin" / "uv").exists():
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", uv)
    install = (folder / "bin" / "uv", "pip", "install", "--python", python, "--quiet")
    if torch == "cpu":
        print("TORCH=cpu: torch comes from uv's CPU backend, which is not hashed in the lock", flush=True)
        text, requirement = without_cuda(LOCK.read_text(encoding="utf-8"))
        trimmed = folder / "requirements-cpu.lock"
        trimmed.write_text(text, encoding="utf-8")
        run(*install, "--require-hashes", "-r", trimmed)
        run(*install, "--no-deps", "--torch-backend", "cpu", requirement)
    else:
        run(*install, "--require-hashes", "-r", LOCK)
    run(*install, "--no-deps", "--editable", ROOT)
    (folder / "torch").write_text(torch + "\n", encoding="utf-8")


def main() -> int:
    """Parse the command line and make the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", choices=["lock", "cpu"], default="lock")
    parser.add_argument("--uv", default="uv")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        make(options.folder, torch=options.torch, uv=options.uv)
    except subprocess.CalledProcessError as error:
        print(f"error: the environment is not complete\n  got exit code {error.returncode}", file=sys.stderr)
        print("  try: make env again; what is installed already is kept", file=sys.stderr)
        return 1
    print(f"{options.folder} is ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
