"""Recorded episodes open loop: differences are found, ranked, bounded by episode, and never called success."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import Array, FloatArray, Origin
from worldgate.core.worlds import Frame, Signal
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.regression import Actor, regress
from worldgate.evidence.regression_page import write_page
from worldgate.evidence.regression_table import (
    CAVEAT,
    Regression,
    RegressionConfig,
    interval,
    moments,
    put,
    ranked,
    world_interval,
)
from worldgate.record.workspace import Workspace


@dataclass
class Recaller:
    """Commands what was recorded at this state, and something else where it is told to."""

    recorded: Mapping[bytes, FloatArray]
    off: float = 0.0
    only: frozenset[bytes] = frozenset()
    digest: str = sha256(b"recaller")
    value: float = 0.0

    def reset(self, *, seed: int) -> None: ...

    def act(self, observation: Mapping[str, Array]) -> FloatArray:
        state = np.asarray(observation["observation.state"])
        here = not self.only or state.tobytes() in self.only
        return self.recorded[state.tobytes()] + (self.off if here else 0.0) + self.value


@pytest.fixture
def episodes(fakes: ModuleType) -> list[Episode]:
    return [told_apart(fakes.episode(seed), seed) for seed in range(8)]


def told_apart(episode: Episode, seed: int) -> Episode:
    """No state of one episode is one of another's."""
    rows = episode.streams["observation.state"]
    held = dataclasses.replace(rows, values=rows.values + 10.0 * seed)
    return dataclasses.replace(episode, streams={**episode.streams, "observation.state": held})


def recalled(episodes: list[Episode]) -> dict[bytes, FloatArray]:
    return {
        state.tobytes(): action
        for e in episodes
        for state, action in zip(e.array("observation.state"), e.array("action"), strict=True)
    }


def actor(policy: Any, name: str = "new", **changes: Any) -> Actor:
    fields: dict[str, Any] = {
        "digest": sha256(name.encode()),
        "policy": policy,
        "observation": (Signal(name="observation.state", unit="m", names=("x", "y"), shape=(2,)),),
        "action": Signal(name="action", unit="m", shape=(2,)),
        "rate_hz": 10.0,
    }
    return Actor(**{**fields, **changes})


def compared(episodes: list[Episode], new: float, old: float, **changes: Any) -> Regression:
    known = recalled(episodes)
    return regress(episodes, actor(Recaller(known, off=new)), actor(Recaller(known, off=old), "old"), **changes)


def test_what_commands_the_recorded_actions_has_no_error(episodes: list[Episode]) -> None:
    made = regress(episodes, actor(Recaller(recalled(episodes))))
    assert [row.new.mean for row in made.episodes] == [0.0] * 8
    assert all(row.old is None and row.apart is None for row in made.episodes)
    assert made.caveat == CAVEAT
    assert "cannot show closed-loop success" in CAVEAT


def test_errors_are_in_spreads_of_the_recorded_actions(episodes: list[Episode]) -> None:
    made = compared(episodes, 0.05, 0.0)
    spread = np.concatenate([e.array("action") for e in episodes]).std(axis=0)
    wanted = np.sqrt(np.mean(np.square(0.05 / spread)))
    assert [row.new.mean for row in made.episodes] == pytest.approx([wanted] * 8)
    assert [row.apart.mean for row in made.episodes if row.apart] == pytest.approx([wanted] * 8)
    assert made.spread == pytest.approx(tuple(spread))


def test_a_channel_that_never_moved_counts_in_its_own_unit(fakes: ModuleType) -> None:
    still = fakes.episode(1)
    flat = dataclasses.replace(still.streams["action"], values=np.zeros((len(still), 2)))
    episode = dataclasses.replace(still, streams={**still.streams, "action": flat})
    made = regress([episode], actor(Recaller(recalled([episode]), off=0.25)))
    assert made.spread == (0.0, 0.0)
    assert made.episodes[0].new.mean == pytest.approx(0.25)


def test_the_moment_and_the_episode_that_differ_are_ranked_first(episodes: list[Episode]) -> None:
    known = recalled(episodes)
    where = frozenset(state.tobytes() for state in episodes[3].array("observation.state")[20:25])
    made = regress(
        episodes, actor(Recaller(known, off=1.0, only=where)), actor(Recaller(known), "old"),
        config=RegressionConfig(moment_s=0.5),
    )  # fmt: skip
    first = moments(made)[0]
    assert (first.name, first.start_s) == (episodes[3].name, 2.0)
    assert first.worse > 0
    assert [m.new for m in moments(made)[1:]] == [0.0] * (len(moments(made)) - 1)
    assert ranked(made)[0].name == episodes[3].name


def test_the_bound_is_the_bootstrap_over_episodes_of_values_in_the_document(episodes: list[Episode]) -> None:
    made = Regression.from_json(compared(episodes, 0.1, 0.05).to_json())
    new, old = [r.new.mean for r in made.episodes], [r.old.mean for r in made.episodes if r.old]
    assert interval(made) == ratio_interval([v for v in new if v is not None], [v for v in old if v is not None])
    assert float(interval(made).lower) == pytest.approx(2.0)
    assert interval(made).n == 8
    left = frozenset({made.episodes[0].episode, made.episodes[1].episode})
    assert interval(made, leave=left).n == 6


def test_without_an_old_release_or_with_few_episodes_there_is_no_bound(episodes: list[Episode]) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        interval(regress(episodes, actor(Recaller(recalled(episodes)))))
    with pytest.raises(UsageError, match="at least two"):
        interval(compared(episodes[:1], 0.1, 0.05))


def test_nan_is_no_error_of_zero(episodes: list[Episode]) -> None:
    known = recalled(episodes)
    broken = Recaller(known, off=np.nan, only=frozenset({episodes[2].array("observation.state")[7].tobytes()}))
    made = regress(episodes, actor(broken), actor(Recaller(known), "old"))
    row = made.episodes[2]
    assert (row.new.mean, row.new.nonfinite) == (None, 1)
    assert row.new.moments[1] is None
    assert row.new.moments[0] == 0.0
    assert ranked(made)[0] is row
    with pytest.raises(UsageError, match="without a finite error"):
        interval(made)


def test_rows_with_a_gap_or_without_a_number_are_left_out_and_counted(fakes: ModuleType) -> None:
    episode = fakes.episode(1)
    rows = episode.streams["observation.state"]
    gap = rows.gap.copy()
    gap[5:8] = True
    values = rows.values.copy()
    values[20] = np.nan
    held = dataclasses.replace(rows, gap=gap, values=values)
    episode = dataclasses.replace(episode, streams={**episode.streams, "observation.state": held})
    made = regress([episode], actor(Recaller(recalled([episode]))))
    assert (made.episodes[0].rows, made.episodes[0].skipped) == (56, 4)
    assert made.episodes[0].new.mean == 0.0


def test_what_does_not_fit_is_refused(fakes: ModuleType, episodes: list[Episode]) -> None:
    known = recalled(episodes)
    good = actor(Recaller(known))
    with pytest.raises(UsageError, match="no recorded episode"):
        regress([], good)
    with pytest.raises(DataRefused, match="twice"):
        regress([episodes[0], episodes[0]], good)
    with pytest.raises(DataRefused, match="one origin"):
        regress([episodes[0], fakes.episode(9, origin=Origin.SIMULATED)], good)
    with pytest.raises(DataRefused, match="none imagined"):
        regress([fakes.episode(9, origin=Origin.IMAGINED)], good)
    with pytest.raises(UsageError, match="compared with itself"):
        regress(episodes, good, actor(Recaller(known)))
    with pytest.raises(DataRefused, match="another rate"):
        regress(episodes, actor(Recaller(known), rate_hz=20.0))
    with pytest.raises(DataRefused, match="another unit"):
        regress(episodes, actor(Recaller(known), action=Signal(name="action", unit="mm", shape=(2,))))
    with pytest.raises(DataRefused, match="lacks a stream"):
        regress(episodes, actor(Recaller(known), observation=(Signal(name="observation.force", shape=(6,)),)))
    with pytest.raises(DataRefused, match="command different things"):
        regress(episodes, good, actor(Recaller(known), "old", action=Signal(name="action", unit="m")))
    with pytest.raises(UsageError, match="above 0"):
        regress(episodes, good, config=RegressionConfig(moment_s=0.0))

    class Wide(Recaller):
        def act(self, observation: Mapping[str, Array]) -> FloatArray:
            return np.zeros(3)

    with pytest.raises(DataRefused, match="another width"):
        regress(episodes, actor(Wide(known)))
    with pytest.raises(DataRefused, match="not a regression"):
        Regression.from_json({"schema": "worldgate/gap/1"})


def test_a_world_model_is_judged_under_the_recorded_actions(fakes: ModuleType, episodes: list[Episode]) -> None:
    made = regress(episodes, actor(Recaller(recalled(episodes))), world=fakes.FakeModel())
    blind = regress(episodes, actor(Recaller(recalled(episodes))), world=fakes.FakeModel(gain=0.0))
    assert made.world_model == fakes.FakeModel().spec.digest
    assert float(world_interval(made, "observation.state").upper) < 0.2
    assert world_interval(blind, "observation.state").estimate == pytest.approx(1.0)
    broken = regress(episodes, actor(Recaller(recalled(episodes))), world=fakes.FakeModel(broken=True))
    assert broken.episodes[0].world["observation.state"].mean is None
    assert broken.episodes[0].world["observation.state"].nonfinite > 0
    with pytest.raises(UsageError, match="at least two"):
        world_interval(broken, "observation.state")


def test_a_world_model_with_pictures_is_judged_by_them_too(fakes: ModuleType) -> None:
    episodes = [fakes.episode(seed, video=True) for seed in range(3)]
    model = fakes.FakeModel(spec=fakes.spec(video=True))
    made = regress(episodes, actor(Recaller(recalled(episodes))), world=model, read_frames=fakes.read_frames)
    assert set(made.episodes[0].world) == {"observation.state", "observation.images.front"}
    assert float(world_interval(made, "observation.images.front").estimate) < 1


def test_a_world_model_that_takes_no_actions_cannot_be_asked(fakes: ModuleType, episodes: list[Episode]) -> None:
    deaf = fakes.FakeModel(spec=fakes.spec(action=None))
    with pytest.raises(UsageError, match="without actions"):
        regress(episodes, actor(Recaller(recalled(episodes))), world=deaf)


def test_the_page_says_what_it_cannot_show_and_ranks(
    fakes: ModuleType, episodes: list[Episode], tmp_path: Path
) -> None:
    made = compared(episodes, 0.1, 0.05, world=fakes.FakeModel())
    names = {made.subject: "careful-r3", made.baseline: "careful-r2"}
    learned = frozenset({made.episodes[0].episode})
    page = write_page(tmp_path / "page.html", made, names=names, learned=learned).read_text()
    assert page.count("Open loop cannot show closed-loop success") == 2
    assert "careful-r3 / careful-r2" in page
    assert "farther from the recordings" in page
    assert "learned from" in page
    assert "imagined: the recorded actions went in" in page
    assert "<script" not in page
    alone = regress(episodes, actor(Recaller(recalled(episodes))))
    assert "No bound: nothing to compare with" in write_page(tmp_path / "alone.html", alone).read_text()


def test_it_is_kept_as_evidence_about_the_release(workspace: Workspace, episodes: list[Episode]) -> None:
    made = compared(episodes, 0.1, 0.05)
    ref = put(workspace, made)
    (event,) = workspace.ledger.events("evidence.made")
    assert (event.body["subject"], event.body["schema"]) == (made.subject, "worldgate/regression/1")
    assert Regression.from_json(workspace.get_json(ref.digest)) == made


def test_a_release_that_sees_pictures_is_shown_them_at_its_own_size(fakes: ModuleType) -> None:
    episodes = [fakes.episode(seed, video=True) for seed in range(2)]
    camera = "observation.images.front"
    sizes: list[tuple[int, ...]] = []

    @dataclass
    class Looker:
        digest: str = sha256(b"looker")

        def reset(self, *, seed: int) -> None: ...

        def act(self, observation: Mapping[str, Array]) -> FloatArray:
            sizes.append(observation[camera].shape)
            return np.zeros(2)

    done: list[tuple[int, int]] = []
    seen = actor(Looker(), observation=(Signal(name=camera, shape=(16, 16, 3)),))
    regress(episodes, seen, read_frames=fakes.read_frames, progress=lambda number, total: done.append((number, total)))
    assert set(sizes) == {(16, 16, 3)}
    assert done == [(1, 2), (2, 2)]


def test_a_world_model_that_leaves_a_stream_out_is_refused(fakes: ModuleType, episodes: list[Episode]) -> None:
    class Silent(fakes.FakeModel):  # type: ignore[misc, name-defined]
        def open(self, prompt: Any, *, samples: int = 1, seed: int) -> Any:
            return self

        def step(self, actions_BKA: Any) -> Frame:
            return Frame()

    with pytest.raises(DataRefused, match="predicted nothing"):
        regress(episodes, actor(Recaller(recalled(episodes))), world=Silent())


def test_a_page_of_a_world_model_that_broke_says_why_there_is_no_bound(
    fakes: ModuleType, episodes: list[Episode], tmp_path: Path
) -> None:
    made = regress(episodes, actor(Recaller(recalled(episodes))), world=fakes.FakeModel(broken=True))
    first = dataclasses.replace(made.episodes[0], world={}, hold={})
    made = dataclasses.replace(made, episodes=(first, *made.episodes[1:]))
    assert "an interval over episodes needs at least two" in write_page(tmp_path / "page.html", made).read_text()


def test_a_moment_without_rows_is_no_moment(fakes: ModuleType) -> None:
    episode = told_apart(fakes.episode(1), 1)
    rows = episode.streams["observation.state"]
    gap = rows.gap.copy()
    gap[:10] = True
    held = dataclasses.replace(rows, gap=gap)
    episode = dataclasses.replace(episode, streams={**episode.streams, "observation.state": held})
    made = regress([episode], actor(Recaller(recalled([episode]))))
    assert min(moment.start_s for moment in moments(made)) == 1.0
