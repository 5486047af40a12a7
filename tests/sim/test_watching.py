"""Watched runs: in memory and recorded they hold the same rows, and both are what the rest of the product takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldgate.cli import main
from worldgate.core.errors import CapabilityMissing, NotFound, UsageError
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.core.tasks import TRUTH
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.ingest import ingest, ingested
from worldgate.data.logs.mcap import open_logs
from worldgate.data.resample import Policy
from worldgate.sim.steps import StepRecorder
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect, record_task, watch

CAMERA = "observation.images.top"


def collected(actor="noisy", seed=3, **options):
    return collect(open_task("two_room", options), open_actor(actor, "two_room", options), seed=seed)


def test_a_row_holds_what_was_seen_and_the_action_that_followed() -> None:
    episode, task = collected(), open_task("two_room")
    assert episode.origin is Origin.SIMULATED and episode.rate_hz == 10.0
    truth, actions = episode.array(TRUTH), episode.array("action")
    for row in range(len(episode) - 1):
        task.begin(truth[row], seed=0)
        seen = task.step(actions[row]).observation
        np.testing.assert_array_equal(seen[TRUTH], truth[row + 1])
        np.testing.assert_array_equal(seen[CAMERA], episode.array(CAMERA)[row + 1])


def test_the_last_row_earns_the_success() -> None:
    episode = collected("scripted")
    assert episode.facts["success"] is True and episode.facts["ended"] == "terminated"
    assert episode.facts["return"] == pytest.approx(episode.array("reward").sum())
    assert episode.array("success")[:, 0].tolist() == [0.0] * (len(episode) - 1) + [1.0]
    assert episode.array("reward")[-1] > 0.9 and episode.array("reward")[:-1].max() < 0


def test_a_run_that_is_cut_short_says_so() -> None:
    task = open_task("two_room")
    episode = collect(task, open_actor("scripted", "two_room"), seed=0, steps=5)
    assert len(episode) == 5 and episode.facts["ended"] == "truncated" and episode.facts["success"] is False


def test_the_same_seed_gives_the_same_episode_and_another_another() -> None:
    assert collected(seed=1).id == collected(seed=1).id != collected(seed=2).id


def test_a_recorded_run_holds_the_rows_of_the_one_in_memory(tmp_path: Path) -> None:
    episode = collected(seed=3)
    (log,) = open_logs(record_task(tmp_path / "run.mcap", "two_room", actor="noisy", seed=3)).logs
    assert log.origin is Origin.SIMULATED and log.facts["policy"] == episode.facts["policy"]
    names = [info.name for info in log.streams()]
    assert {*names, "success"} == set(episode.streams)
    held = StreamAlignment(policy=Policy.HOLD)
    numbers = {info.name: held for info in log.streams() if info.kind is not Kind.IMAGE}
    aligned = align(log, AlignmentSpec(rate_hz=10.0, causal=True, streams=numbers | {CAMERA: StreamAlignment()}))
    assert len(aligned) == len(episode)
    for name in numbers:
        np.testing.assert_allclose(aligned.array(name), episode.array(name), atol=1e-9, err_msg=name)
    assert np.abs(aligned.array(CAMERA).astype(int) - episode.array(CAMERA)).mean() < 2.0


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    written = [record_task(tmp_path / f"{k}.mcap", "two_room", seed=4, steps=5).read_bytes() for k in range(2)]
    assert written[0] == written[1]


def test_episodes_in_memory_become_tracks() -> None:
    from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout

    episodes = [collected(seed=seed) for seed in range(2)]
    layout = resolve_layout(episodes, Inputs(cameras=(CAMERA,), size=32, read=("reward",)))
    for track, episode in zip(make_tracks(episodes, layout), episodes, strict=True):
        assert track.frames[CAMERA].shape == (len(episode), 32, 32, 3) and track.valid_T.all()
        np.testing.assert_allclose(track.states_TD, episode.array("observation.state"), rtol=1e-6)
        np.testing.assert_allclose(track.reads["reward"], episode.array("reward"))


class Goalless:
    """A task that takes goals but has none of its own."""

    def __init__(self, task):
        self.task, self.spec = task, task.spec

    def reset(self, *, seed):
        return self.task.reset(seed=seed)

    def step(self, action):
        return self.task.step(action)

    def goal(self):
        raise CapabilityMissing("no goal")


def test_who_takes_goals_is_told_the_tasks_own_where_it_has_one() -> None:
    told = []

    class Follower:
        digest = "follower"

        def reset(self, *, seed):
            pass

        def aim(self, goal, *, steps):
            told.append((goal["observation.state"], steps))

        def act(self, observation):
            return np.zeros(2)

    task = open_task("two_room")
    next(watch(task, Follower(), seed=0, steps=7))
    np.testing.assert_array_equal(told[0][0], task.goal()["observation.state"])
    assert told[0][1] == 7
    next(watch(Goalless(task), Follower(), seed=0))
    assert len(told) == 1


def test_who_follows_words_is_told_the_runs_instruction_which_is_the_episodes_task() -> None:
    told = []

    class Instructed(type(open_task("two_room"))):  # type: ignore[misc]  # any task will do
        text = "into the other room"

    class Follower:
        digest = "follower"

        def reset(self, *, seed):
            pass

        def tell(self, text):
            told.append(text)

        def act(self, observation):
            return np.zeros(2)

    task = open_task("two_room")
    task.__class__ = Instructed
    collect(task, Follower(), seed=0, steps=1)
    assert not told, "this task has no instruction"
    task.spec = replace(task.spec, text=True)
    episode = collect(task, Follower(), seed=0, steps=1)
    assert told == ["into the other room"]
    assert (episode.facts["task"], episode.facts["environment"]) == ("into the other room", "two_room")


def test_an_actor_that_leaves_the_bounds_is_stopped() -> None:
    class Wild:
        digest = "wild"

        def reset(self, *, seed):
            pass

        def act(self, observation):
            return np.array([2.0, 0.0])

    with pytest.raises(UsageError, match="outside its bounds"):
        collect(open_task("two_room"), Wild(), seed=0)


def test_the_command_records_runs_and_refuses_what_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["sim", "task", "wall", str(tmp_path / "logs"), "--runs", "2", "--actor", "noisy", "--seed", "7"]
    assert main([*argv, "--size", "32", "--steps", "6", "--set", "walls=2"]) == 0
    assert "next: worldgate ingest" in capsys.readouterr().out
    (log,) = open_logs(tmp_path / "logs" / "wall-noisy-0008.mcap").logs
    assert log.facts["seed"] == 8 and log.facts["actor"] == "noisy"
    assert log.read(TRUTH).array.shape == (6, 8)
    assert log.read(CAMERA).frames.read(np.array([0])).shape == (1, 32, 32, 3)
    for wrong, words in (
        (["--actor", "nobody"], "nobody of this name"),
        (["--set", "walls=9"], "not so many walls"),
        (["--set", "walls"], "KEY=VALUE"),
        (["--set", "door=3"], "door"),
        (["--steps", "-1"], "how many steps"),
    ):
        assert main(["sim", "task", "wall", str(tmp_path / "other.mcap"), *wrong]) == 2, wrong
        assert words in capsys.readouterr().err
    with pytest.raises(NotFound):
        record_task(tmp_path / "other.mcap", "no_such_task")
    assert not (tmp_path / "other.mcap").exists()


def test_recorded_runs_keep_the_contract_that_is_written_beside_them_and_become_a_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", str(tmp_path / "ws")]) == 0
    monkeypatch.chdir(tmp_path / "ws")
    contract = str(tmp_path / "rooms.toml")
    argv = ["sim", "task", "two_room", str(tmp_path / "logs"), "--runs", "6", "--steps", "12", "--size", "16"]
    assert main([*argv, "--contract", contract]) == 0
    for line in (["ingest", str(tmp_path / "logs")], ["check", contract], ["snapshot", contract, "--name", "rooms-1"]):
        assert main(line) == 0, capsys.readouterr().err
    assert main([*argv, "--contract", contract]) == 2, "nothing is written over"
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 0, 0, 0], False),
        ([0, 0, 0, 1], False),
        ([0, 0.5, 0, 1], True),
        ([[0, 0], [0, 0], [0, 0], [1, 0]], True),
    ],
    ids=["still", "a sparse reward", "three values", "two channels"],
)
def test_a_flag_that_many_runs_share_is_no_evidence_of_a_copy(tmp_path: Path, workspace, values, says) -> None:
    rows = np.array(values, float).reshape(4, -1)
    recorder = StepRecorder(10.0, seed=0, steps=4)
    for row in rows:
        recorder.add("reward", Kind.VECTOR, row)
        recorder.advance()
    info = StreamInfo(name="reward", kind=Kind.VECTOR, count=-1, shape=rows.shape[1:], clock="header", rate_hz=10.0)
    (ref,) = ingest(workspace, recorder.write(tmp_path / "run.mcap", (info,), facts={}))
    (stream,) = ingested(workspace)[ref.digest].streams
    assert stream.evidence is says
