from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402

from worldgate.cli import main  # noqa: E402
from worldgate.core.errors import AlreadyExists, MissingExtra, NotFound, UsageError  # noqa: E402
from worldgate.core.streams import Kind, Origin  # noqa: E402
from worldgate.core.worlds import Observation  # noqa: E402
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align  # noqa: E402
from worldgate.data.logs.mcap import open_logs  # noqa: E402
from worldgate.data.resample import Policy  # noqa: E402
from worldgate.sim.gym import GymConfig, GymEnvironment, GymStream, RandomPolicy, open_gym, record_gym  # noqa: E402
from worldgate.sim.recorder import START_NS  # noqa: E402


class Track(gymnasium.Env[Any, Any]):
    """A dot on a line that goes where it is told, with a picture of it and its place told in ``info``."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, *, steps: int = 5, action: Any = None) -> None:
        self.render_mode, self.steps = render_mode, steps
        self.action_space = action or spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Dict({"place": spaces.Box(-9, 9, (2,)), "clock": spaces.Discrete(100)})
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.count = self.np_random.uniform(-1, 1, 2), 0
        return self._seen(), {"truth": {"place": self.place.copy()}}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.received.append(action)
        self.place = self.place + 0.1 * np.resize(np.asarray(action, float), 2)
        self.count += 1
        info = {"truth": {"place": self.place.copy()}, "touched": self.count % 2, "is_success": self.count >= 3}
        return self._seen(), 0.5, self.count >= self.steps, False, info

    def render(self) -> Any:
        picture = np.zeros((8, 16, 3), np.uint8)
        picture[4, int(np.clip(8 + 4 * self.place[0], 0, 15))] = 255
        return picture

    def _seen(self) -> dict[str, Any]:
        return {"place": self.place.astype(np.float32), "clock": self.count}


def right(observation: Observation) -> Any:
    return np.array([1.0, 0.0])


def test_an_unknown_environment_is_recorded_with_all_it_gives(tmp_path: Path) -> None:
    path = record_gym(tmp_path / "run.mcap", Track(render_mode="rgb_array"), right, seed=3)
    (log,) = open_logs(path).logs
    assert log.origin is Origin.SIMULATED
    kinds = {info.name: info.kind for info in log.streams()}
    assert kinds == {
        "observation.place": Kind.VECTOR,
        "observation.clock": Kind.VECTOR,
        "observation.images.camera": Kind.IMAGE,
        "reward": Kind.VECTOR,
        "action": Kind.ACTION,
    }
    assert log.facts["success"] is True and log.facts["ended"] == "terminated"
    assert log.facts["return"] == pytest.approx(2.5)
    assert str(log.facts["policy"]).endswith(":right")
    assert log.read("observation.clock").array[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    frames = log.read("observation.images.camera").frames
    assert frames.read(np.array([0])).shape == (1, 8, 16, 3)
    assert log.read("action").array.tolist() == [[1.0, 0.0]] * 5


def test_every_message_carries_the_time_of_its_step_and_arrives_later(tmp_path: Path) -> None:
    (log,) = open_logs(record_gym(tmp_path / "run.mcap", Track(render_mode="rgb_array"), right)).logs
    for name, count in (("observation.place", 6), ("observation.images.camera", 6), ("action", 5)):
        stream = log.read(name)
        assert (stream.times_ns - START_NS).tolist() == [50_000_000 * i for i in range(count)]
        assert stream.log_times_ns is not None
        assert np.all(stream.log_times_ns > stream.times_ns)


def test_a_row_of_the_aligned_log_holds_what_was_seen_and_what_was_then_done(tmp_path: Path) -> None:
    env = Track(render_mode="rgb_array", steps=8)
    (log,) = open_logs(record_gym(tmp_path / "run.mcap", env, RandomPolicy(env.action_space), seed=1)).logs
    held = StreamAlignment(policy=Policy.HOLD)
    spec = AlignmentSpec(rate_hz=20.0, causal=True, streams={"observation.place": held, "action": held})
    episode = align(log, spec)
    place, action = (episode.streams[name].values for name in ("observation.place", "action"))
    assert len(place) == 8
    np.testing.assert_allclose(np.diff(place, axis=0), 0.1 * np.asarray(action)[:-1], atol=1e-6)


def test_truth_told_on_the_side_becomes_a_stream_even_if_it_is_known_only_after_a_step(tmp_path: Path) -> None:
    streams = (
        GymStream(source="observation.place", name="observation.state", names=("x", "y"), unit="m"),
        GymStream(source="info.truth.place", name="observation.environment_state", unit="m", frame="track"),
        GymStream(source="info.touched", name="observation.contacts"),
    )
    (log,) = open_logs(record_gym(tmp_path / "run.mcap", Track(), right, config=GymConfig(streams=streams))).logs
    assert {info.name for info in log.streams()} == {"action", *(stream.name for stream in streams)}
    np.testing.assert_allclose(
        log.read("observation.environment_state").array, log.read("observation.state").array, atol=1e-6
    )
    touched = log.read("observation.contacts")
    assert touched.array[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert touched.times_ns[0] == START_NS + 50_000_000


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    written = [record_gym(tmp_path / f"{i}.mcap", Track(), seed=seed).read_bytes() for i, seed in enumerate((4, 4, 5))]
    assert written[0] == written[1] != written[2]


def test_choices_are_passed_on_as_whole_numbers(tmp_path: Path) -> None:
    env = Track(action=spaces.Discrete(3))
    record_gym(tmp_path / "run.mcap", env, lambda seen: np.array([2.0]))
    assert env.received == [2] * 5
    with pytest.raises(UsageError, match="not among its choices"):
        record_gym(tmp_path / "other.mcap", env, lambda seen: np.array([3.0]))
    assert not (tmp_path / "other.mcap").exists()


def test_a_run_without_an_end_stops_at_the_limit(tmp_path: Path) -> None:
    path = record_gym(tmp_path / "run.mcap", Track(steps=10**9), right, config=GymConfig(max_steps=7))
    (log,) = open_logs(path).logs
    assert len(log.read("action").array) == 7
    assert log.facts["ended"] == "truncated"


def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    env, path = Track(), tmp_path / "run.mcap"
    with pytest.raises(UsageError, match="another width"):
        record_gym(path, env, lambda seen: np.zeros(3))
    for source, words in (("info.nothing", "nothing of this name"), ("render", "renders no colour")):
        with pytest.raises(UsageError, match=words):
            record_gym(path, env, right, config=GymConfig(streams=(GymStream(source=source, name="x"),)))
    with pytest.raises(UsageError, match="neither numbers nor choices"):
        GymEnvironment(Track(action=spaces.Text(3)))
    timeless = Track()
    timeless.metadata = {}
    with pytest.raises(UsageError, match="how many steps a second"):
        GymEnvironment(timeless)
    assert GymEnvironment(timeless, GymConfig(rate_hz=5.0)).rate_hz == 5.0
    assert not path.exists()
    path.write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        record_gym(path, env, right)


def test_a_registered_environment_is_opened_with_its_pictures() -> None:
    gymnasium.register("worldgate-test/Track-v0", entry_point=Track)
    try:
        assert open_gym("worldgate-test/Track-v0").render_mode == "rgb_array"
    finally:
        del gymnasium.registry["worldgate-test/Track-v0"]
    for name in ("NoSuch-v0", "no_such_module:Thing-v0"):
        with pytest.raises(NotFound, match="no such Gymnasium environment"):
            open_gym(name)


def test_an_environment_that_lacks_what_it_draws_with_is_recorded_without_pictures() -> None:
    class Undrawn(Track):
        def render(self) -> Any:
            raise gymnasium.error.DependencyNotInstalled("pip install paint")

    gymnasium.register("worldgate-test/Undrawn-v0", entry_point=Undrawn)
    try:
        assert open_gym("worldgate-test/Undrawn-v0").render_mode is None
    finally:
        del gymnasium.registry["worldgate-test/Undrawn-v0"]


def test_without_gymnasium_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match=r"worldgate\[models\]"):
        open_gym("CartPole-v1")


def test_the_command_records_runs_by_a_policy_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_track.py").write_text(
        "import numpy as np\n\ndef left(seen):\n    return np.array([-1.0, 0.0])\n\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    gymnasium.register("worldgate-test/Track-v0", entry_point=Track)
    runs = tmp_path / "runs"
    try:
        command = ["sim", "gym", "worldgate-test/Track-v0", str(runs), "--policy", "my_track:left", "--runs", "2"]
        assert main([*command, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["schema"] == "worldgate.sim.gym" and len(told["files"]) == 2
        for wrong in ("my_track:right", "my_track:number", "no_module:left", "left"):
            assert main(["sim", "gym", "worldgate-test/Track-v0", str(tmp_path / "x.mcap"), "--policy", wrong]) == 2
    finally:
        del gymnasium.registry["worldgate-test/Track-v0"]
    logs = open_logs(runs).logs
    assert [log.facts["seed"] for log in logs] == [0, 1]
    assert logs[0].read("action").array[0].tolist() == [-1.0, 0.0]
