"""A manifest of a million episodes: made, named, read back and equal, in memory that grows with it and no faster."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import resource, sys
from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json, sha256
from worldgate.core.streams import Kind, Origin
from worldgate.data.datasets.manifests import SCHEMA, DatasetManifest, EpisodeEntry, StreamSchema

count, limit = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
episodes = tuple(
    EpisodeEntry(
        id=sha256(b"e%d" % n), log=sha256(b"l%d" % n), name=f"run_{n:07d}.mcap", split="train" if n % 5 else "val",
        site="kitchen", origin=Origin.REAL, rows=300 + n % 7, report=sha256(b"r%d" % n), facts={"success": True},
    )
    for n in range(count)
)
held = DatasetManifest(
    schema=SCHEMA, name="large", contract=sha256(b"c"), alignment=sha256(b"a"), rate_hz=10.0, origins=(Origin.REAL,),
    streams={"action": StreamSchema(kind=Kind.ACTION, shape=(7,))}, episodes=episodes,
)
data = canonical(held)
again = decode(DatasetManifest, read_json(data), where="manifest")
assert again == held and canonical(again) == data
print(len(data) / count)
"""


def _made(count: int, limit: int) -> float:
    told = [sys.executable, "-c", CHILD, str(count), str(limit)]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout)


def test_a_manifest_of_ten_thousand_episodes_takes_little_memory() -> None:
    assert _made(10_000, 600 * 2**20) < 600, "bytes an episode"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_manifest_of_a_million_episodes_fits_into_six_gigabytes() -> None:
    assert _made(1_000_000, 6 * 2**30) < 600
