"""The latent family: what keeps latents apart, what clips hold, predictions in blocks, goals, and the switches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worlds.synthetic import CAMERA, SIZE, debug_config, episode, episodes

from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, UsageError
from worldgate.core.normalisers import Statistics
from worldgate.core.worlds import Capability, Prompt
from worldgate.worlds import checkpoint
from worldgate.worlds.imagine import prompt_at
from worldgate.worlds.latent_figures import Tally
from worldgate.worlds.latent_training import Clips
from worldgate.worlds.latents import LatentConfig, Shaper
from worldgate.worlds.models import jepa
from worldgate.worlds.nn.foresight import Path, Reckoning, make_foresight
from worldgate.worlds.nn.sigreg import directions, sigreg
from worldgate.worlds.nn.standard import Standard
from worldgate.worlds.nn.trunks import Trunk, make_trunk
from worldgate.worlds.tracks import fit_normaliser, make_tracks, resolve_layout
from worldgate.worlds.train.loop import train


def config(**net):
    made = debug_config("jepa")
    return dataclasses.replace(made, net=dataclasses.replace(made.net, **net))


def untrained(made=None, count=4, **options):
    made, held = made or config(), episodes(count, **options)
    layout = resolve_layout(held, made.inputs)
    tracks = make_tracks(held, layout)
    torch.manual_seed(0)
    family = jepa.create(made, layout, fit_normaliser(tracks, layout))
    family.eval()
    return family, tracks


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "jepa"
    return checkpoint.load(train("jepa", episodes(6), episodes(2, first=50), config(), folder))


def test_sigreg_is_least_for_a_gaussian_and_grows_with_every_way_of_collapsing():
    torch.manual_seed(0)
    normal = torch.randn(1, 512, 8)
    along = directions(8, 64, torch.device("cpu"))
    assert torch.allclose(along.norm(dim=0), torch.ones(64))
    right = float(sigreg(normal, along))
    point, line, wide = torch.zeros_like(normal), normal[..., :1].expand(-1, -1, 8), 3 * normal
    for wrong in (point, line, wide, normal + 1.0):
        assert float(sigreg(wrong, along)) > 5 * right


def test_sigreg_looks_at_each_time_by_itself():
    torch.manual_seed(0)
    still = torch.randn(1, 256, 4).expand(6, -1, -1)
    apart = torch.randn(6, 1, 4).expand(-1, 256, -1)
    along = directions(4, 32, torch.device("cpu"))
    assert float(sigreg(apart, along)) > 20 * float(sigreg(still, along)), "a clip's mean is no spread over samples"


@pytest.mark.parametrize("kind", list(Reckoning))
def test_row_by_row_and_all_at_once_predict_the_same(kind):
    torch.manual_seed(0)
    net = make_foresight(kind, latent=5, known=2, actions=3, block=4, width=16, members=2)
    known, actions = torch.randn(7, 2, 5), torch.randn(7, 11, 3)
    rows = [0, 2, 3, 4, 7, 10]
    with torch.no_grad():
        whole = net(known, actions, rows)
        path = Path(net, known)
        each = torch.stack([path.step(actions[:, row]) for row in range(11)], dim=2)
    assert whole.shape == (2, 7, len(rows), 5)
    assert torch.allclose(whole, each[:, :, rows], atol=1e-6)
    later = actions.clone()
    later[:, 8:] += 1
    with torch.no_grad():
        assert torch.equal(net(known, later, rows)[:, :, :-1], whole[:, :, :-1]), "no row knows of later actions"


def test_members_differ_before_they_have_learned_and_one_alone_has_no_random_part():
    torch.manual_seed(0)
    many = make_foresight(Reckoning.PREFIX, latent=4, known=1, actions=2, block=2, width=8, members=3)
    with torch.no_grad():
        out = many(torch.zeros(1, 1, 4), torch.ones(1, 2, 2), [1])
    assert float(out.std(dim=0).min()) > 0
    assert "prior_MWD" not in dict(many.named_parameters()), "training cannot remove it"


@given(
    span=st.integers(6, 40),
    lengths=st.lists(st.integers(3, 40), min_size=1, max_size=4),
    hole=st.integers(0, 39),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_clips_never_cross_a_gap_and_goals_lie_ahead_in_the_same_run(span, lengths, hole, seed):
    held = []
    for i, length in enumerate(lengths):
        gap = np.zeros(length, bool)
        gap[hole % length] = True
        held.append(episode(i, length=length, gap=gap))
    made = config()
    layout = resolve_layout(held, made.inputs)
    learn = LatentConfig(steps=2, every=3, span=span, projections=4)
    tracks = make_tracks(held, layout)
    # Each row tells where it is from, so that what a clip holds can be seen.
    for t, track in enumerate(tracks):
        track.states_TD[:, 0] = 1000 * t + np.arange(len(track))
        track.actions_TA[:, 0] = 1000 * t + np.arange(len(track))
    clips = Clips(tracks, layout, learn, context=2, chunk=2)
    bad = {1000 * t + hole % length for t, length in enumerate(lengths)}
    if not len(clips.places_R4):
        assert all(max(hole % n, n - 1 - hole % n) < 7 for n in lengths)
        return
    batch = clips.draw(np.random.default_rng(seed), 8)
    rows, drive = batch["states"][..., 0].numpy(), batch["actions"][..., 0].numpy()
    left, chunks = batch["left"].numpy(), batch["chunks"][..., 0].numpy()
    for n in range(8):
        now, goal = rows[n, 1], rows[n, -1]
        assert goal - now == left[n, 0] and 1 <= left[n, 0] <= span
        touched = set(rows[n]) | set(drive[n]) | set(np.arange(now, goal + 1))
        assert not touched & bad
        assert len({int(row) // 1000 for row in touched}) == 1
        assert list(drive[n]) == list(now + np.arange(6))
        assert list(rows[n, 2:-1]) == [now + batch.numbers[f"ahead.{k}"] + 1 for k in range(2)]
        assert batch.numbers["ahead.1"] == 5, "the last row ahead is the furthest"
        assert rows[n, 0] in (now - 1, now)
        for g, first in enumerate((now, *rows[n, 2:-1])):
            assert chunks[n, g, 0] == first


def test_episodes_too_short_to_learn_from_are_refused(tmp_path):
    with pytest.raises(DataRefused, match="too short"):
        train("jepa", episodes(3, length=5), [], config(), tmp_path / "run")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"every": 0}, {"span": 3}])
def test_rows_that_cannot_be_learned_from_are_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be learned"):
        LatentConfig(**{"steps": 2, "every": 3, "span": 9} | wrong)


def test_what_a_trained_model_reads_out_is_better_than_the_mean_and_than_standing_still(model):
    held = episode(93)
    prompt = prompt_at(model, held, 14)
    actions = held.array("action")[14:32]
    frame = model.open(prompt, seed=0).step(np.asarray(actions, np.float32)[None])
    real = held.array("observation.state")[15:33]
    error = np.abs(frame.states["observation.state"][0] - real)[..., :2].mean()
    still = np.abs(real - held.array("observation.state")[14])[..., :2].mean()
    assert error < 0.6 * still
    assert (frame.uncertainty["observation.state"][0, :, :2] > 0).all()


def test_goals_may_be_shown_by_any_part_of_what_the_model_sees(model):
    held, family = episode(93), model.latent
    picture, state = held.streams[CAMERA].values[20], held.array("observation.state")[20]
    whole = family.aim({CAMERA: picture, "observation.state": state, "simulator.state": np.zeros(9)})
    assert bool(whole.weight_D.all())
    seen, told = family.aim({CAMERA: picture}), family.aim({"observation.state": state})
    assert torch.equal(seen.weight_D + told.weight_D, whole.weight_D)
    assert torch.allclose(seen.latent_D + told.latent_D, whole.latent_D, atol=1e-6)


@pytest.mark.parametrize(
    ("goal", "word"),
    [
        ({CAMERA: np.zeros((16, 16, 3), np.uint8)}, "another size"),
        ({"observation.state": np.zeros(5)}, "another size"),
        ({"observation.images.wrist": np.zeros((SIZE, SIZE, 3), np.uint8)}, "nothing this model sees"),
        ({}, "nothing this model sees"),
    ],
)
def test_goals_of_another_size_or_camera_set_are_refused(model, goal, word):
    with pytest.raises(UsageError, match=word):
        model.latent.aim(goal)


@pytest.mark.parametrize(
    ("switch", "asks", "word"),
    [
        ({"inverse": False}, lambda f, z, n: f.toward(z, z, n), "no inverse dynamics"),
        ({"reach": False}, lambda f, z, n: f.reachable(z, z, n), "no reachability"),
        ({"probe": False}, lambda f, z, n: f.read(z), "read nothing out"),
    ],
)
def test_every_head_is_a_switch_and_what_was_not_learned_is_refused(switch, asks, word):
    family, tracks = untrained(config(**switch))
    phase = family.phases(tracks, tracks)[0]
    assert bool(torch.isfinite(phase.loss(phase.draw(np.random.default_rng(0)))))
    assert all(np.isfinite(value) for value in phase.evaluate().values())
    with pytest.raises(CapabilityMissing, match=word):
        asks(family, torch.zeros(1, family.latent), torch.ones(1))


@pytest.mark.parametrize("shapers", [(), (Shaper.INVERSE,), (Shaper.PROBE,), (Shaper.INVERSE, Shaper.PROBE)])
@pytest.mark.parametrize("head", list(Shaper))
def test_only_the_heads_that_are_named_shape_the_latents(shapers, head):
    made = config(inverse=head is Shaper.INVERSE, probe=head is Shaper.PROBE, reach=False)
    family, tracks = untrained(dataclasses.replace(made, learn=dataclasses.replace(made.learn, shaped_by=shapers)))
    phase = family.phases(tracks, [])[0]
    batch = phase.draw(np.random.default_rng(0))
    z_NFD = phase._see(batch).detach().requires_grad_(True)
    phase._heads(batch, z_NFD, torch.zeros(2, len(z_NFD), 2, family.latent)).backward()
    assert (z_NFD.grad is not None and bool((z_NFD.grad != 0).any())) == (head in shapers)


@pytest.mark.parametrize("switch", [{"reckoning": Reckoning.STEP}, {"members": 1}, {"known": 1}])
def test_every_other_switch_trains(switch, tmp_path):
    made = config(**switch)
    made = dataclasses.replace(made, phase=dataclasses.replace(made.phase, steps=3))
    world = checkpoint.load(train("jepa", episodes(3), [], made, tmp_path / "run"))
    assert (Capability.PREFIX in world.capabilities) == (switch != {"reckoning": Reckoning.STEP})


def test_a_model_without_a_probe_tells_no_states_and_says_so(tmp_path):
    made = config(probe=False)
    made = dataclasses.replace(made, phase=dataclasses.replace(made.phase, steps=2))
    world = checkpoint.load(train("jepa", episodes(3), [], made, tmp_path / "run"))
    assert Capability.STATE not in world.capabilities
    with pytest.raises(CapabilityMissing, match="tells no states"):
        world.open(prompt_at(world, episode(9), 10), seed=0)


def test_numbers_alone_or_pictures_alone_are_enough(tmp_path):
    for inputs in ({"cameras": ()}, {"states": (), "read": ("observation.state",)}):
        made = config()
        made = dataclasses.replace(made, inputs=dataclasses.replace(made.inputs, **inputs))
        made = dataclasses.replace(made, phase=dataclasses.replace(made.phase, steps=2))
        world = checkpoint.load(train("jepa", episodes(3), episodes(1, first=20), made, tmp_path / inputs.popitem()[0]))
        frame = world.open(prompt_at(world, episode(9), 10), seed=0).step(np.zeros((1, 3, 2), np.float32))
        assert frame.states["observation.state"].shape == (1, 3, 3)


def test_a_family_that_sees_nothing_is_refused():
    with pytest.raises(CapabilityMissing, match="sees pictures, numbers or both"):
        made = config()
        untrained(dataclasses.replace(made, inputs=dataclasses.replace(made.inputs, cameras=(), states=())))


def test_angles_enter_as_sine_and_cosine_and_far_numbers_are_held():
    both = Standard([Statistics(mean=(1.0, 0.0), std=(2.0, 1.0), circular=(False, True))])
    out = both(torch.tensor([[3.0, torch.pi], [1e9, -torch.pi]]))
    assert torch.allclose(out[0], torch.tensor([1.0, 0.0, -1.0]), atol=1e-6)
    assert torch.allclose(out[1, 1:], out[0, 1:], atol=1e-6), "the same angle"
    assert float(out[1, 0]) == 10.0


@pytest.mark.parametrize("kind", list(Trunk))
@pytest.mark.parametrize("size", [32, 64])
def test_trunks_give_as_many_features_as_they_say(kind, size):
    trunk, features = make_trunk(kind, size, 16)
    assert trunk(torch.zeros(2, 3, size, size)).shape == (2, features)


def test_figures_tell_a_perfect_model_from_one_that_stands_still():
    torch.manual_seed(0)
    now, ahead = torch.zeros(64, 1, 4), torch.randn(64, 3, 4)
    perfect, still = Tally(), Tally()
    perfect.predicted(ahead[None], now.expand(1, 64, 3, 4), now, ahead)
    still.predicted(now.expand(1, 64, 3, 4), now.expand(1, 64, 3, 4), now, ahead)
    left, limit = torch.arange(1, 65), torch.full((64,), 32.0)
    perfect.reached(limit - left, left, limit)
    still.reached(torch.zeros(64), left, limit)
    good, bad = perfect.figures(), still.figures()
    assert good["latent_skill_over_copy_last"] == pytest.approx(1.0)
    assert bad["latent_skill_over_copy_last"] == pytest.approx(0.0)
    assert good["latent_action_sensitivity"] > 1e6
    assert good["reachability_auc"] == 1.0 and bad["reachability_auc"] == 0.5
    assert bad["latent_action_sensitivity"] == pytest.approx(1.0)


def test_prompts_need_as_many_rows_as_are_known(model):
    with pytest.raises(UsageError, match="another shape"):
        model.open(
            Prompt(
                states={"observation.state": np.zeros((1, 3))},
                frames={CAMERA: np.zeros((1, SIZE, SIZE, 3), np.uint8)},
                actions=np.zeros((1, 2)),
            ),
            seed=0,
        )
