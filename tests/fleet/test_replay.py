"""Replay in a world whose laws are known, and the strip drawn of it."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import AlreadyExists, CapabilityMissing, DataRefused, NotFound, UsageError
from worldgate.core.names import Slot
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.core.worlds import Capability, Frame, ModelSpec, Signal
from worldgate.data.alignment import AlignmentSpec
from worldgate.data.ingest import ingest
from worldgate.data.logs import mcap
from worldgate.fleet import incidents
from worldgate.fleet.replay import ReplayConfig, admitted_steps, replay, replay_episode
from worldgate.fleet.strip import StripConfig, columns, film, save_mp4, save_png, strip

STATE, CAMERA = "observation.state", "observation.images.front"
SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
SIGNAL = Signal(name=STATE, unit="m", names=("x", "y", "hand"), shape=(3,))
ACTION = Signal(name="action", unit="m", names=("x", "y"), shape=(2,))
SIZE = 16


def render(state):
    """A bright pixel where the tool is."""
    picture = np.full((SIZE, SIZE, 3), 40, dtype=np.uint8)
    x, y = np.clip(np.asarray(state[:2]).round().astype(int), 0, SIZE - 1)
    picture[y, x] = 255
    return picture


class Law:
    """x and y move by the action; the hand stands still."""

    def __init__(self, *, frames=False, rate_hz=10.0, unit="m", capabilities=(Capability.ACTIONS,)):
        self.frames, self.capabilities, self.opened = frames, frozenset(capabilities), []
        self.spec = ModelSpec(
            family="law",
            digest=sha256(b"frames" if frames else b"states"),
            normaliser=sha256(b"n"),
            rate_hz=rate_hz,
            context=3,
            states=(Signal(name=STATE, unit=unit, names=SIGNAL.names, shape=(3,)),),
            cameras=(Signal(name=CAMERA, shape=(SIZE, SIZE, 3)),) if frames else (),
            action=ACTION,
        )

    def open(self, prompt, *, samples=1, seed):
        self.opened.append(prompt)
        return Unrolled(prompt.states[STATE][-1].copy(), frames=self.frames)


class Unrolled:
    def __init__(self, state, *, frames):
        self.state, self.frames = state, frames

    def step(self, actions_BKA):
        self.state = self.state + np.append(actions_BKA[0, 0], 0.0)
        frames = {CAMERA: render(self.state)[None, None]} if self.frames else {}
        return Frame(states={STATE: self.state[None, None]}, frames=frames)


class Push:
    """Moves by a constant step, but not when the hand is near."""

    def __init__(self, step, *, careful=False):
        self.step, self.careful, self.seen = np.array(step, float), careful, []
        self.digest = sha256(repr((step, careful)).encode())

    def reset(self, *, seed):
        self.seen.clear()

    def act(self, observation):
        self.seen.append(observation)
        near = abs(observation[STATE][2] - observation[STATE][0]) < 3
        return np.zeros(2) if self.careful and near else self.step


def rows(info, values, count):
    zero = np.zeros(count, dtype=np.int64)
    return Rows(info=info, values=values, index=zero, source_ns=zero, skew_ns=zero, staleness_ns=zero, gap=zero != 0)


def recorded_states(count=12):
    t = np.arange(count)
    return np.stack([1.0 * t, np.full(count, 2.0), 12.0 - 0.5 * t], axis=1)


def episode(count=12, names=SIGNAL.names):
    states = recorded_states(count)
    actions = np.tile([1.0, 0.0], (count, 1))
    frames = np.stack([render(s) for s in states])
    infos = {
        STATE: StreamInfo(name=STATE, kind=Kind.VECTOR, count=count, shape=(3,), names=names, unit="m"),
        "action": StreamInfo(name="action", kind=Kind.ACTION, count=count, shape=(2,), names=ACTION.names, unit="m"),
        CAMERA: StreamInfo(name=CAMERA, kind=Kind.IMAGE, count=count, shape=(SIZE, SIZE, 3)),
    }
    values = {STATE: states, "action": actions, CAMERA: frames}
    return Episode(
        id=sha256(b"e"),
        log=sha256(b"l"),
        name="e",
        alignment="",
        origin=Origin.SIMULATED,
        rate_hz=10.0,
        times_ns=START + np.arange(count, dtype=np.int64) * SECOND // 10,
        streams={name: rows(infos[name], values[name], count) for name in infos},
    )


def made(*, models=None, policies=None, steps=6, start=3, horizons=None, **config):
    return replay_episode(
        episode(),
        models or [Law(), Law(frames=True)],
        policies or {"r1": Push((1, 0)), "r2": Push((1, 0), careful=True)},
        ReplayConfig(start=start, steps=steps, **config),
        horizons={STATE: 4, CAMERA: 3} if horizons is None else horizons,
        measure=lambda row: {"gap": abs(row[STATE][2] - row[STATE][0])},
    )


def test_the_release_that_was_on_the_arm_is_imagined_as_it_happened():
    result = made(exogenous={STATE: ("hand",)})
    assert result.error("r1", STATE).max() == 0
    np.testing.assert_array_equal(result.recorded.frames[CAMERA], result.branch("r1").frames[CAMERA])


def test_the_policy_acts_on_what_is_imagined_not_on_what_was_recorded():
    policy = Push((0, 1))
    result = made(policies={"other": policy})
    np.testing.assert_array_equal(
        [o[STATE][1] for o in policy.seen], [2, *result.branch("other").states[STATE][:-1, 1]]
    )
    assert policy.seen[1][CAMERA][3, 3].max() == 255


def test_exogenous_channels_are_held_to_what_was_recorded():
    held = made(exogenous={STATE: ("hand",)}).branch("r1").states[STATE][:, 2]
    np.testing.assert_array_equal(held, recorded_states()[4:10, 2])
    free = made().branch("r1").states[STATE][:, 2]
    np.testing.assert_array_equal(free, np.full(6, recorded_states()[3, 2]))


def test_a_candidate_that_gives_way_keeps_further_off_in_the_same_events():
    result = made(exogenous={STATE: ("hand",)})
    assert result.branch("r2").facts["gap"].min() > result.branch("r1").facts["gap"].min()
    assert result.difference("r1", "r2", CAMERA).any()


def test_models_are_given_only_rows_up_to_the_start():
    model = Law(frames=True)
    made(models=[model], start=5)
    prompt = model.opened[0]
    np.testing.assert_array_equal(prompt.states[STATE], recorded_states()[3:6])
    assert prompt.frames[CAMERA].shape == (3, SIZE, SIZE, 3)
    assert prompt.actions.shape == (3, 2)


def test_a_replay_beyond_the_recording_compares_what_there_is():
    result = made(start=8, steps=10)
    assert len(result.recorded) == 3
    assert len(result.branch("r1")) == 10
    assert len(result.error("r1", STATE)) == 3


def test_a_stream_that_was_not_admitted_is_no_evidence():
    result = made(horizons={STATE: 4})
    assert result.valid(STATE) == 4
    assert result.valid(CAMERA) == result.valid(STATE, CAMERA) == 0


def test_admitted_steps_take_the_least_over_the_signals_of_a_stream():
    admitted = [
        {"signal": f"{STATE}[m]", "steps": 7},
        {"signal": f"{STATE}[rad]", "steps": 5},
        {"signal": f"{CAMERA}/video_moving", "steps": 3},
    ]
    assert admitted_steps({"admitted": admitted}) == {STATE: 5, CAMERA: 3}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"models": []}, None),
        ({"models": [Law(rate_hz=5.0)]}, DataRefused),
        ({"models": [Law(unit="mm")]}, DataRefused),
        ({"models": [Law(capabilities=())]}, CapabilityMissing),
        ({"start": 1}, UsageError),
        ({"start": 99}, UsageError),
        ({"steps": 0}, UsageError),
        ({"exogenous": {STATE: ("head",)}}, UsageError),
        ({"exogenous": {"other": ("x",)}}, UsageError),
    ],
)
def test_what_cannot_be_replayed_is_refused(changes, error):
    if error is None:
        with pytest.raises(UsageError):
            replay_episode(episode(), [], {}, ReplayConfig(start=3, steps=1), horizons={})
        return
    with pytest.raises(error):
        made(**changes)


def test_a_recording_with_other_channels_than_the_model_is_refused():
    other = episode(names=("y", "x", "hand"))
    with pytest.raises(DataRefused, match="names"):
        replay_episode(other, [Law()], {}, ReplayConfig(start=3, steps=1), horizons={})


def test_an_unknown_branch_is_not_found():
    with pytest.raises(NotFound):
        made().branch("r9")


def test_replaying_an_incident_is_recorded_with_what_it_was_made_from(workspace, tmp_path):
    count = 40
    states = recorded_states(count)
    times = START + np.arange(count, dtype=np.int64) * SECOND // 10
    infos = [
        StreamInfo(name=STATE, kind=Kind.VECTOR, count=count, shape=(3,), names=SIGNAL.names, unit="m"),
        StreamInfo(name="action", kind=Kind.ACTION, count=count, shape=(2,), names=ACTION.names, unit="m"),
    ]
    values = [states, np.tile([1.0, 0.0], (count, 1))]
    streams = [Stream(info=i, times_ns=times, values=v) for i, v in zip(infos, values, strict=True)]
    path = tmp_path / "run.mcap"
    facts = {"release": sha256(b"r1"), "clock_error_s": 0.0}
    mcap.write_log(path, streams, origin=Origin.SIMULATED, facts=facts)
    ingest(workspace, path, site="north", robot="nr1", arm="left")
    incident = incidents.open_incident(
        workspace,
        Slot.parse("north/nr1/left"),
        START + 2 * SECOND,
        before_ns=SECOND,
        after_ns=SECOND,
        note="too near",
        severity=incidents.Severity.NEAR_MISS,
        by="tester",
    )
    policies = {"r1": Push((1, 0)), "r2": Push((1, 0), careful=True)}
    config = ReplayConfig(start=5, steps=6)
    spec = AlignmentSpec(reference="action")
    result = replay(workspace, incident, spec, [Law()], policies, config, horizons={STATE: 4})
    assert result.recorded.release == sha256(b"r1")
    assert result.error("r1", STATE)[0] == pytest.approx(0.5)  # the hand moves, the law holds it
    (event,) = workspace.ledger.events("incident.replayed")
    assert [ref.kind for ref in event.inputs] == ["incident", "world_model", "release", "release"]
    assert [branch["origin"] for branch in event.body["branches"]] == ["simulated", "imagined", "imagined"]


def test_half_of_the_columns_lie_within_the_horizon_and_its_last_step_is_shown():
    for steps in range(1, 40):
        for valid in range(steps + 2):
            chosen = columns(steps, valid, 8)
            assert chosen == sorted(set(chosen))
            assert 1 <= len(chosen) <= min(8, steps)
            assert set(chosen) <= set(range(steps))
            within = min(valid, steps)
            assert sum(step < valid for step in chosen) >= min(4, within)
            if 1 <= valid <= steps:
                assert valid - 1 in chosen
            if valid < steps:
                assert steps - 1 in chosen


def saturation(picture):
    return picture.max(axis=-1).astype(int) - picture.min(axis=-1)


def test_the_strip_has_a_row_a_branch_and_words_in_every_picture():
    result = made()
    config = StripConfig(tile=96, columns=6)
    picture = strip(result, CAMERA, config)
    assert picture.shape == (26 + 4 * 100, 6 * 100, 3)
    for row, colour in enumerate(((30, 80, 160), (150, 70, 10), (150, 70, 10), (150, 70, 10))):
        for column in range(6):
            assert tuple(picture[26 + row * 100, column * 100]) == colour or column == 3  # the bar stands before 3


def test_imagined_pictures_after_the_horizon_are_greyed_and_recorded_ones_are_not():
    config = StripConfig(tile=96)
    frames = [film(made(), CAMERA, step, config) for step in (2, 3)]
    words = slice(20, 40)
    for column in (1, 2, 3):
        tile = slice(column * 100, column * 100 + 96)
        inside, beyond = frames[0][words, tile], frames[1][words, tile]
        assert saturation(beyond).max() == 0
        assert beyond.min() > 120
        assert inside.min() < 60
    assert frames[1][words, :96].min() < 60


def test_a_strip_without_an_admitted_camera_is_grey_throughout():
    config = StripConfig(tile=96)
    picture = film(made(horizons={}), CAMERA, 0, config)
    assert saturation(picture[20:40, 100:]).max() == 0


def test_a_strip_of_a_camera_that_was_not_imagined_is_refused():
    with pytest.raises(UsageError):
        strip(made(models=[Law()]), CAMERA)


def test_the_strip_is_saved_and_nothing_is_overwritten(tmp_path):
    picture = strip(made(), CAMERA)
    save_png(tmp_path / "strip.png", picture)
    back = cv2.cvtColor(cv2.imread(str(tmp_path / "strip.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(back, picture)
    with pytest.raises(AlreadyExists):
        save_png(tmp_path / "strip.png", picture)


def test_the_film_has_a_frame_a_step_at_the_replays_rate(tmp_path):
    save_mp4(tmp_path / "strip.mp4", made(), CAMERA, StripConfig(tile=64))
    with av.open(str(tmp_path / "strip.mp4")) as container:
        frames = list(container.decode(video=0))
        assert len(frames) == 6
        assert container.streams.video[0].average_rate == 10
