"""The driver that every fuzz target shares: inputs, limits, and what counts as found.

An input is two bytes that choose a file of the target's samples, then what that file holds instead; a parser reads the
sample whole and may succeed or raise a ``WorldgateError``. Anything else is found: another exception, more than
``SECONDS`` or ``MEMORY``, the end of the process. Run in a process of its own:

    python -m tests.fuzz._harness TARGET CORPUS OUT --inputs 200 --seed 1     seeded mutations, the same every time
    python -m tests.fuzz._harness TARGET CORPUS OUT --seconds 20              atheris, guided by coverage

``OUT/found.json`` lists what was found, each with the input that shows it; ``OUT/now`` is the input of this moment.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import random
import re
import resource
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

SECONDS = 20
"""For one input; the machine may be loaded."""
MEMORY = 3 << 30
"""Bytes of data a process may have."""
KINDS = 12
"""Different defects after which a run ends."""

_NUMBERS = [0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
_WORDS = [
    *(b'null true [] {} "" -1 0 1e999 -1e999 NaN 1.5 99999999999999999999 -9223372036854775809'.split()),
    *(b'"\\ud800" "\\u0000" "../../x" "/etc/passwd" [[]] {"a":1} 2038-01-19 "1970-01-01T00:00:00Z" <f8 |O'.split()),
    b"[" * 3000,
    b"9" * 5000,
]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\w+')


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to five edits of bytes; of text rather of words."""
    words = b"\0" not in data[:4096]
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        if not out:
            return bytes(rng.choice(_WORDS))
        if words and rng.random() < 0.7:
            _edit_word(rng, out)
        else:
            _edit_bytes(rng, out)
    return bytes(out)


def _edit_word(rng: random.Random, out: bytearray) -> None:
    found = list(_TOKEN.finditer(out))
    if not found:
        return
    spans = [match.span() for match in found]
    start, stop = rng.choice(spans)
    how = rng.random()
    if how < 0.6:
        out[start:stop] = rng.choice(_WORDS)
    elif how < 0.8:
        other = rng.choice(spans)
        out[start:stop] = out[other[0] : other[1]]
    else:
        del out[start:stop]


def _edit_bytes(rng: random.Random, out: bytearray) -> None:
    # Headers and footers are where the lengths are, so every second edit goes there.
    at = rng.randrange(len(out))
    if rng.random() < 0.5:
        near = rng.randrange(min(len(out), 200))
        at = near if rng.random() < 0.6 else len(out) - 1 - near
    how, size = rng.randrange(6), rng.choice([1, 2, 4, 8])
    if how == 0:
        out[at] = rng.randrange(256)
    elif how == 1:
        out[at] ^= 1 << rng.randrange(8)
    elif how == 2:
        value = rng.choice(_NUMBERS) % (1 << (8 * size))
        out[at : at + size] = value.to_bytes(size, rng.choice(["little", "big"]))
    elif how == 3:
        del out[at : at + rng.choice([1, 2, 4, 8, 64, len(out)])]
    elif how == 4:
        other = rng.randrange(len(out))
        out[at:at] = out[other : other + rng.choice([1, 4, 16, 200])]
    else:
        other = rng.randrange(len(out))
        length = rng.choice([1, 4, 8, 32])
        out[at : at + length] = out[other : other + length]


class Harness:
    """A target over a copy of its samples."""

    def __init__(self, read: Callable[[Path], None], samples: Path, out: Path) -> None:
        self._read = read
        self._work = out / "work"
        shutil.copytree(samples, self._work)
        self._now = out / "now"
        self._files = sorted(path for path in self._work.rglob("*") if path.is_file())
        self._held = {path: path.read_bytes() for path in self._files}

    def check_samples(self) -> None:
        """Untouched samples are read without an error: else an input would show nothing."""
        for root in sorted(self._work.glob("*/*")):
            self._read(root)

    def seeds(self) -> list[bytes]:
        """Every file as it is, as an input."""
        return [i.to_bytes(2, "little") + self._held[path] for i, path in enumerate(self._files)]

    def file_of(self, data: bytes) -> Path:
        """Which file an input is put into."""
        return self._files[int.from_bytes(data[:2], "little") % len(self._files)]

    def __call__(self, data: bytes) -> None:
        """Read the sample with this input in it.

        Raises:
            Exception: what no parser may raise.
        """
        from worldgate.core.errors import WorldgateError

        self._now.write_bytes(data)
        file = self.file_of(data)
        file.write_bytes(data[2:])
        try:
            self._read(self._work.joinpath(*file.relative_to(self._work).parts[:2]))
        except WorldgateError as error:
            str(error).encode()
        finally:
            file.write_bytes(self._held[file])


def place_of(error: BaseException) -> str:
    """The kind of an error and the innermost line of ours it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if f"{os.sep}worldgate{os.sep}" in f.filename]
    return f"{type(error).__name__} at {ours[-1] if ours else 'no line of ours'}"


def limit_memory() -> None:
    """A ceiling for the rest of this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def seeded(harness: Harness, target: str, inputs: int, seed: int, out: Path) -> dict[str, str]:
    """Seeded mutations of every file in turn; what was found, by kind and place.

    What hangs ends the process with its stacks on stderr.
    """
    from tests.fuzz._targets import REPAIR

    rng = random.Random(f"{target} {seed}")
    seeds, repair, found = harness.seeds(), REPAIR.get(target), {}
    for number in range(inputs):
        seed_data = rng.choice(seeds)
        data = mutate(rng, seed_data[2:])
        if repair is not None and number % 2:
            data = repair(harness.file_of(seed_data).name, data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            harness(seed_data[:2] + data)
        except Exception as error:  # what else a parser raises is what is looked for
            place = place_of(error)
            if place not in found:
                kept = out / f"input-{len(found)}"
                kept.write_bytes(seed_data[:2] + data)
                about = "".join(traceback.format_exception(error))[-3000:]
                found[place] = f"{harness.file_of(seed_data)} with {kept}\n{about}"
        finally:
            faulthandler.cancel_dump_traceback_later()
        if len(found) >= KINDS:
            break
    return found


def guided(harness_of: Callable[[], Harness], target: str, seconds: int, seed: int, out: Path) -> None:
    """Atheris from the samples; libFuzzer ends the process and leaves ``crash-*``, ``oom-*`` or ``timeout-*``."""
    import atheris

    with atheris.instrument_imports(include=["worldgate"]):
        harness = harness_of()
        harness.check_samples()
    corpus = out / "corpus"
    corpus.mkdir()
    seeds = harness.seeds()
    for number, data in enumerate(seeds):
        (corpus / f"{number:04d}").write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEMORY >> 20}",
        f"-max_len={2 * max(map(len, seeds))}",
        f"-artifact_prefix={out}/",
        f"-seed={seed}",
        "-print_final_stats=1",
    ]
    atheris.Setup([target, *options, str(corpus)], harness)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--inputs", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="one input that was found, to see its traceback")
    said = parser.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")

    def made() -> Harness:
        from tests.fuzz._targets import reader

        return Harness(reader(said.target), said.corpus / said.target, said.out)

    if said.seconds:
        guided(made, said.target, said.seconds, said.seed, said.out)
        return
    limit_memory()
    harness = made()
    if said.input:
        harness(said.input.read_bytes())
        return
    harness.check_samples()
    found = seeded(harness, said.target, said.inputs, said.seed, said.out)
    (said.out / "found.json").write_text(json.dumps(found, indent=1))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
