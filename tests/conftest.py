"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from worldgate.record.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent

# Under load a maths library may take fewer threads, and with them another order of summation: tests that compare bits
# need one. It must be said before numpy or torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every commit and every rename is synced, and on a busy disk that wait, not the work, is most of a test's time. What a
# process wrote outlives its SIGKILL, synced or not, so no test can tell; the calls that sync are made, and counted, all
# the same.
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes that must be free there: a container's may be of 64 MB. Folders of tests that passed are removed at once."""


def holds_tests(folder: Path, room: int) -> bool:
    """Whether test folders can lie there: it exists, programs can be run in it, and so many bytes are free."""
    if not os.access(folder, os.W_OK):
        return False
    about = os.statvfs(folder)
    return not about.f_flag & os.ST_NOEXEC and about.f_bavail * about.f_frsize >= room


if holds_tests(MEMORY, ROOM):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


LONG = (
    *("docs/test_pages.py", "recipes/test_real_recipes.py", "fuzz/test_fuzz.py", "faults/test_ingest_faults.py"),
    *("recipes/test_demo.py", "worlds/test_training_processes.py", "worlds/test_other_devices.py"),
    *("data/test_ingest.py", "evidence/test_outsider.py", "contract/test_engines.py", "contract/test_tokenizers.py"),
    *("faults/test_training_faults.py", "cli/test_imagine_prompts.py", "core/test_imports.py"),
)
"""Files that take longest, the longest first: one that begins when little else is left keeps a single core busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; ``make test`` hands files out in this order."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


def skip_or_fail(reason: str) -> NoReturn:
    """Skip; with ``WORLDGATE_REQUIRE=all``, as CI sets it, a skip is a failure."""
    if os.environ.get("WORLDGATE_REQUIRE") == "all":
        pytest.fail(f"WORLDGATE_REQUIRE=all and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real robot logs; its README says what each is."""
    path = Path(os.environ.get("WORLDGATE_DATA") or ROOT.parent / "shared" / "data" / "real")
    if not path.is_dir():
        skip_or_fail(f"no real logs at {path}; set WORLDGATE_DATA to the folder that holds them")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with its first keys."""
    from worldgate.record.workspace import Workspace

    return Workspace.init(tmp_path / "workspace", person="tester")


@pytest.fixture(scope="session")
def tool() -> ModuleType:
    """The outsider's verifier, which lies in no package."""
    from tests import outsider

    return outsider.tool


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an HTTP server that speaks S3."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket; the environment says where it is and who we are, as it would for any other."""
    for key, value in (
        ("AWS_ENDPOINT_URL", s3_server),
        ("AWS_ACCESS_KEY_ID", "tester"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(key, value)
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # one that was made for another server is no use
    name = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return name


def heeds_ctrl_c() -> None:
    """For ``preexec_fn``: tests that a shell started in the background ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
