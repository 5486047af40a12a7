"""Where planners look ahead: what plans cost in a model and in a simulator, and what constraints add."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.control.lookahead import CostConfig, Seen
from worldgate.control.lookahead.history import prompt_of
from worldgate.control.lookahead.model import ModelLookahead
from worldgate.control.lookahead.simulator import SimulatorLookahead
from worldgate.control.lookahead.terms import FORBIDDEN, Envelope, KeepOut, SelfCollision, penalty
from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, NotFound, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.core.worlds import Capability, Frame, ModelSpec, Signal
from worldgate.sim.tasks import open_task

PLACE, LOOK = "observation.state", "observation.images.top"
PLAIN = CostConfig(path=0.0, final=1.0)


class Walker:
    """A world model of a point that goes where it is told, and a camera whose brightness is its first coordinate."""

    def __init__(self, *, uncertain=True, pictures=True):
        cameras = (Signal(name=LOOK, shape=(4, 4, 3)),) if pictures else ()
        self.spec = ModelSpec(
            family="walker",
            digest="0" * 64,
            normaliser="",
            rate_hz=10.0,
            context=2,
            states=(Signal(name=PLACE, unit="m", shape=(2,)),),
            cameras=cameras,
            action=Signal(name="action", shape=(2,)),
        )
        have = {Capability.ACTIONS, Capability.STATE}
        have |= {Capability.UNCERTAINTY} if uncertain else set()
        self.capabilities = frozenset(have | ({Capability.FRAMES} if pictures else set()))

    def open(self, prompt, *, samples=1, seed):
        assert prompt.states[PLACE].shape == (2, 2)
        return Walk(self, prompt.states[PLACE][-1], samples)


class Walk:
    def __init__(self, model, place, samples):
        self.model, self.place = model, np.tile(place, (samples, 1))

    def step(self, actions):
        path = self.place[:, None] + np.cumsum(actions, axis=1)
        drawn = np.clip(path[..., :1, None, None] * 10, 0, 255).astype(np.uint8)
        shown = {LOOK: np.broadcast_to(drawn, (*path.shape[:2], 4, 4, 3))}
        return Frame(
            states={PLACE: path},
            frames=shown if Capability.FRAMES in self.model.capabilities else {},
            uncertainty={PLACE: np.abs(path)} if Capability.UNCERTAINTY in self.model.capabilities else {},
        )


def seen(place=(0.0, 0.0), pictures=True):
    row = {PLACE: np.array(place)}
    row |= {LOOK: np.zeros((4, 4, 3), np.uint8)} if pictures else {}
    return Seen(observations=[row], actions=[])


def look(goal, *, streams=(), **options):
    model = Walker(**options)
    ahead = ModelLookahead(model, {PLACE: np.array([1.0, 1.0])}, (-1, -1), (1, 1), streams)
    ahead.aim(goal)
    return ahead


def straight(speed, count=4):
    return np.tile(np.asarray(speed, float), (1, count, 1))


def test_plans_that_end_nearer_to_the_goal_cost_less_as_a_share_of_the_way():
    scorer = look({PLACE: np.array([4.0, 0.0])}).scorer(seen(), ahead=4, left=9, costs=PLAIN, terms=())
    there, half, still = (float(scorer.costs(straight(v))[0]) for v in ((1, 0), (0.5, 0), (0, 0)))
    assert (there, half, still) == pytest.approx((0.0, 0.25, 1.0))


def test_the_way_counts_where_it_is_asked_for():
    costs = CostConfig(path=1.0, final=0.0)
    scorer = look({PLACE: np.array([4.0, 0.0])}).scorer(seen(), ahead=4, left=9, costs=costs, terms=())
    early = np.array([[[1, 0], [1, 0], [0, 0], [0, 0]]], float)
    late = early[:, ::-1]
    assert scorer.costs(early)[0] < scorer.costs(late)[0]


def test_held_knots_move_as_far_as_rows():
    goal, costs = {PLACE: np.array([4.0, 0.0])}, CostConfig(path=0.0, hold=2)
    scorer = look(goal).scorer(seen(), ahead=4, left=9, costs=costs, terms=())
    assert scorer.space.knots == 2
    assert float(scorer.costs(straight((1, 0), 2))[0]) == pytest.approx(0.0)


def test_goals_shown_by_pictures_are_reached_in_pictures():
    goal = {LOOK: np.full((4, 4, 3), 20, np.uint8)}
    scorer = look(goal).scorer(seen(), ahead=2, left=9, costs=PLAIN, terms=())
    assert float(scorer.costs(straight((1, 0), 2))[0]) == pytest.approx(0.0)
    assert float(scorer.costs(straight((0, 1), 2))[0]) > 0.5


def test_what_counts_of_a_goal_can_be_chosen():
    goal = {PLACE: np.array([4.0, 0.0]), LOOK: np.zeros((4, 4, 3), np.uint8)}
    scorer = look(goal, streams=(PLACE,)).scorer(seen(), ahead=4, left=9, costs=PLAIN, terms=())
    assert float(scorer.costs(straight((1, 0)))[0]) == pytest.approx(0.0)


def test_plans_into_the_unknown_cost_more():
    goal = {PLACE: np.array([0.0, 0.0])}
    at = seen((0.0, 0.0))
    costs = CostConfig(path=0.0, final=1.0, uncertainty=1.0)
    with_it = look(goal).scorer(at, ahead=2, left=9, costs=costs, terms=())
    without = look(goal).scorer(at, ahead=2, left=9, costs=PLAIN, terms=())
    away = straight((1, 0), 2)
    assert with_it.costs(away)[0] > without.costs(away)[0]


@pytest.mark.parametrize(
    ("goal", "word"),
    [
        ({PLACE: np.zeros(3)}, "another size"),
        ({LOOK: np.zeros((8, 8, 3), np.uint8)}, "another size"),
        ({"observation.images.wrist": np.zeros((4, 4, 3), np.uint8)}, "nothing this model tells"),
    ],
)
def test_goals_that_a_model_cannot_compare_are_refused(goal, word):
    with pytest.raises(UsageError, match=word):
        look(goal)


def test_a_chosen_stream_that_the_goal_does_not_show_is_refused():
    with pytest.raises(UsageError, match="nothing this model tells"):
        look({PLACE: np.zeros(2)}, streams=(PLACE, LOOK))


@pytest.mark.parametrize(
    ("costs", "options"), [(CostConfig(reach=1.0), {}), (CostConfig(uncertainty=1.0), {"uncertain": False})]
)
def test_costs_that_a_model_cannot_tell_are_refused(costs, options):
    with pytest.raises(CapabilityMissing):
        look({PLACE: np.zeros(2)}, **options).scorer(seen(), ahead=2, left=9, costs=costs, terms=())


def test_a_constraint_on_what_is_not_predicted_is_refused():
    term = KeepOut(stream="observation.environment_state", channels=(5, 6), radius=0.2, centre=(0.0, 0.0))
    with pytest.raises(CapabilityMissing, match="cannot predict what a constraint asks") as caught:
        look({PLACE: np.zeros(2)}).scorer(seen(), ahead=2, left=9, costs=PLAIN, terms=(term,))
    assert "observation.environment_state" in str(caught.value)


def test_an_unlawful_plan_costs_more_than_any_lawful_one_and_the_less_the_better():
    term = KeepOut(stream=PLACE, channels=(0, 1), radius=1.0, centre=(2.0, 0.0))
    goal = {PLACE: np.array([4.0, 0.0])}
    scorer = look(goal).scorer(seen(), ahead=4, left=9, costs=PLAIN, terms=(term,))
    through, near = straight((1, 0)), straight((1, 0.2))
    away = straight((-1, -1))
    cost = [float(scorer.costs(plan)[0]) for plan in (through, near, away)]
    assert cost[0] > cost[1] > FORBIDDEN > cost[2]


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 2))
def test_keep_out_is_violated_by_how_deep_a_place_lies_inside(x, y, radius):
    states = {PLACE: np.array([[[x, y]]])}
    fixed = KeepOut(stream=PLACE, channels=(0, 1), radius=radius, centre=(0.0, 0.0))
    assert fixed.violation(states)[0, 0] == pytest.approx(max(0.0, radius - np.hypot(x, y)))
    moving = KeepOut(stream=PLACE, channels=(0, 1), radius=radius, centre_stream="hand", centre_channels=(1, 2))
    states["hand"] = np.array([[[9.0, x, y]]])
    assert moving.violation(states)[0, 0] == pytest.approx(radius)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_an_envelope_is_violated_by_how_far_a_channel_lies_outside(x, y):
    term = Envelope(stream=PLACE, channels=(0, 1), low=(-1.0, -2.0), high=(1.0, 2.0))
    found = term.violation({PLACE: np.array([[[x, y]]])})[0, 0]
    assert found == pytest.approx(max(0.0, abs(x) - 1) + max(0.0, abs(y) - 2))


ARM = """<mujoco><worldbody>
  <geom name="post" type="sphere" size="0.1" pos="1 0 0"/>
  <body><joint name="turn" type="hinge" axis="0 0 1"/>
    <geom name="link" type="capsule" fromto="0 0 0 0.95 0 0" size="0.02"/>
  </body></worldbody></mujoco>"""


def test_links_that_touch_are_told_by_the_robots_own_model(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    term = SelfCollision(path, "joints", {"turn": 1}, (("link", "post"),), margin_m=0.01)
    found = term.violation({"joints": np.array([[[9.0, 0.0], [9.0, 1.0]]])})
    assert found[0, 0] > 0.01 and found[0, 1] == 0.0
    with pytest.raises(NotFound, match="no such part"):
        SelfCollision(path, "joints", {"bend": 0}, (("link", "post"),)).violation({"joints": np.zeros((1, 1, 1))})
    path.write_text("<mujoco><worldbody>")
    with pytest.raises(ConfigError, match="not a model of a robot"):
        SelfCollision(path, "joints", {"turn": 0}, (("link", "post"),)).violation({"joints": np.zeros((1, 1, 1))})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Envelope(stream=PLACE, channels=(0, 1), low=(0.0,), high=(1.0,)),
        lambda: KeepOut(stream=PLACE, channels=(0, 1), radius=1.0),
        lambda: KeepOut(stream=PLACE, channels=(0, 1), radius=1.0, centre=(0.0, 0.0), centre_stream="hand"),
        lambda: CostConfig(path=0.0, final=0.0),
        lambda: CostConfig(hold=0),
    ],
)
def test_constraints_and_costs_that_mean_nothing_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_penalties_add_up_over_terms_by_the_worst_row():
    term = Envelope(stream=PLACE, channels=(0,), low=(0.0,), high=(1.0,))
    states = {PLACE: np.array([[[0.5, 0], [3.0, 0]], [[0.5, 0], [0.6, 0]]])}
    assert penalty((term, term), states, 2).tolist() == pytest.approx([2 * FORBIDDEN * 3.0, 0.0])


def test_before_the_first_row_stands_the_first_row():
    model = Walker()
    prompt = prompt_of(model.spec, seen((3.0, 4.0)))
    assert prompt.states[PLACE].tolist() == [[3.0, 4.0], [3.0, 4.0]]
    rows = [{PLACE: np.array([float(i), 0.0]), LOOK: np.zeros((4, 4, 3), np.uint8)} for i in range(3)]
    prompt = prompt_of(model.spec, Seen(observations=rows, actions=[np.array([1.0, 1.0]), np.array([2.0, 2.0])]))
    assert prompt.states[PLACE][:, 0].tolist() == [1.0, 2.0]
    assert prompt.actions is not None and prompt.actions[0].tolist() == [2.0, 2.0]


def test_observations_that_do_not_fit_the_model_are_refused():
    with pytest.raises(DataRefused, match="not what the model sees"):
        prompt_of(Walker().spec, seen(pictures=False))


def test_a_simulator_looks_ahead_without_error_and_is_left_alone_by_the_run():
    task, copy = open_task("two_room"), open_task("two_room")
    now = task.reset(seed=3)
    goal = task.goal()
    ahead = SimulatorLookahead(copy)
    ahead.aim(goal)
    plan = np.tile(np.array([[0.5, -0.5]]), (1, 6, 1))
    scorer = ahead.scorer(Seen(observations=[now], actions=[]), ahead=6, left=9, costs=PLAIN, terms=())
    best = scorer.costs(np.concatenate([plan, -plan]))
    done = [task.step(action).facts["distance"] for action in plan[0]]
    other = open_task("two_room")
    other.begin(now[TRUTH], goal[TRUTH], seed=0)
    back = [other.step(action).facts["distance"] for action in -plan[0]]
    assert best[0] / best[1] == pytest.approx(done[-1] / back[-1])


def test_a_simulator_needs_whole_states_and_tells_no_uncertainty():
    task = open_task("two_room")
    now = task.reset(seed=0)
    ahead = SimulatorLookahead(open_task("two_room"))
    with pytest.raises(UsageError, match="where to"):
        ahead.scorer(Seen(observations=[now], actions=[]), ahead=2, left=2, costs=PLAIN, terms=())
    with pytest.raises(UsageError, match="whole state"):
        ahead.aim({LOOK: now[LOOK]})
    ahead.aim(task.goal())
    with pytest.raises(DataRefused, match="whole state"):
        ahead.scorer(Seen(observations=[{LOOK: now[LOOK]}], actions=[]), ahead=2, left=2, costs=PLAIN, terms=())
    with pytest.raises(CapabilityMissing, match="neither reachability nor uncertainty"):
        unsure = CostConfig(uncertainty=1.0)
        ahead.scorer(Seen(observations=[now], actions=[]), ahead=2, left=2, costs=unsure, terms=())
