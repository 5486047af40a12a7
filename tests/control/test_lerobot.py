"""LeRobot's policies: a folder that lerobot 0.4.4 wrote acts as it did there, and folders that do not fit are refused.

``tests/golden/lerobot_act`` is the case ``act_vectors`` of ``benchmarks/peers/lerobot_policies.py``; that benchmark
holds all cases, pictures and Diffusion among them, against lerobot itself. ``test_lerobot_told.py`` has what is told in
words.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from worldgate.control import policies
from worldgate.control.policies import _lerobot_files, lerobot
from worldgate.control.policies._lerobot_diffusion import Diffusion, DiffusionConfig
from worldgate.core.errors import CapabilityMissing, DataRefused, NotFound, UsageError, WeightsRefused
from worldgate.fleet import releases

GOLDEN = Path(__file__).parents[1] / "golden" / "lerobot_act"
STATE, AROUND, CAMERA = "observation.state", "observation.environment_state", "observation.images.front"


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "policy"
    shutil.copytree(GOLDEN, copy)
    return copy


def changed(path, **keys):
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def loaded(workspace, folder, **options):
    fitted = lerobot.read(folder, **{"rate_hz": 30.0, **options})
    release = releases.load(workspace, fitted.publish(workspace, name="theirs").digest)
    return release, policies.load(release, workspace.store)


def test_every_action_is_lerobots(workspace):
    release, policy = loaded(workspace, GOLDEN)
    held = np.load(GOLDEN / "actions.npz")
    policy.reset(seed=7)
    ours = [policy.act({name: held[name][t] for name in (STATE, AROUND)}) for t in range(len(held["actions"]))]
    np.testing.assert_allclose(np.stack(ours), held["actions"], atol=1e-5)
    assert (release.controller.chunk, release.controller.execute) == (5, 5)


def test_statistics_rate_unit_and_convention_are_part_of_the_release(workspace, folder):
    first, _ = loaded(workspace, folder, unit="rad", names=("a", "b", "c"))
    others = [{"rate_hz": 50.0}, {"unit": "deg"}, {"convention": "joint_velocity"}, {"names": ("c", "b", "a")}]
    base = {"unit": "rad", "names": ("a", "b", "c")}
    digests = {loaded(workspace, folder, **{**base, **other})[0].digest for other in others}
    path = folder / "policy_preprocessor_step_3_normalizer_processor.safetensors"
    statistics = load_file(path)
    statistics["observation.state.q99"] += 0.5
    save_file(statistics, path)
    moved, _ = loaded(workspace, folder, **base)
    assert len({first.digest, moved.digest, *digests}) == 6
    assert moved.weights == first.weights


def test_an_older_folder_keeps_its_statistics_among_the_weights(workspace, folder):
    _, newer = loaded(workspace, folder)
    statistics = load_file(folder / "policy_preprocessor_step_3_normalizer_processor.safetensors")
    weights = load_file(folder / "model.safetensors")
    for key, value in statistics.items():
        stream, _, statistic = key.rpartition(".")
        side = "unnormalize_outputs" if stream == "action" else "normalize_inputs"
        weights[f"{side}.buffer_{stream.replace('.', '_')}.{statistic}"] = value
    save_file(weights, folder / "model.safetensors")
    for path in folder.glob("policy_*"):
        path.unlink()
    _, older = loaded(workspace, folder)
    seen = {STATE: np.linspace(-1, 1, 5), AROUND: np.linspace(0, 1, 6)}
    np.testing.assert_array_equal(older.act(seen), newer.act(seen))


def test_folders_that_are_not_whole_are_refused(folder, tmp_path):
    with pytest.raises(NotFound):
        lerobot.read(tmp_path / "nowhere", rate_hz=30)
    weights = (folder / "model.safetensors").read_bytes()
    for data in (weights[:-7], weights[:5], b"\x80\x04pickle"):
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(WeightsRefused):
            lerobot.read(folder, rate_hz=30)
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotFound):
        lerobot.read(folder, rate_hz=30)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsRefused, match="safetensors alone"):
        lerobot.read(folder, rate_hz=30)


@pytest.mark.parametrize("key", ["missing", "unknown", "nan", "shape"])
def test_tensors_that_are_not_this_policys_are_refused(folder, key):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if key == "missing":
        del tensors["model.action_head.bias"]
    elif key == "unknown":
        tensors["model.extra"] = np.zeros(2, np.float32)
    elif key == "nan":
        tensors["model.action_head.bias"] = tensors["model.action_head.bias"] * np.nan
    else:
        tensors["model.action_head.bias"] = np.zeros(4, np.float32)
    save_file(tensors, path)
    with pytest.raises(WeightsRefused):
        lerobot.read(folder, rate_hz=30)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"type": "pi0_fast"}, CapabilityMissing),
        ({"replace_final_stride_with_dilation": True}, CapabilityMissing),
        ({"feedforward_activation": "glu"}, CapabilityMissing),
        ({"chunk_size": "many"}, DataRefused),
        ({"input_features": {}}, DataRefused),
        ({"input_features": {CAMERA: {"type": "VISUAL", "shape": [4, 8, 8]}}}, DataRefused),
    ],
)
def test_configurations_that_are_not_read_are_refused(folder, keys, error):
    changed(folder / "config.json", **keys)
    with pytest.raises(error):
        lerobot.read(folder, rate_hz=30)


def test_statistics_that_are_missing_are_refused(folder):
    path = folder / "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("action.")}
    save_file(kept, path)
    with pytest.raises(DataRefused, match="statistics are missing"):
        lerobot.read(folder, rate_hz=30)


def test_processing_that_is_not_read_is_refused(folder):
    path = folder / "policy_preprocessor.json"
    tree = json.loads(path.read_text())
    for steps in (
        [*tree["steps"], {"registry_name": "tokenizer_processor", "config": {}}],
        [{"registry_name": "rename_observations_processor", "config": {"rename_map": {"a": "b"}}}, *tree["steps"][1:]],
    ):
        path.write_text(json.dumps(tree | {"steps": steps}))
        with pytest.raises(CapabilityMissing):
            lerobot.read(folder, rate_hz=30)
    path.write_text("[")
    with pytest.raises(DataRefused):
        lerobot.read(folder, rate_hz=30)


def test_a_rate_that_is_none_and_names_that_do_not_fit_are_refused(folder):
    with pytest.raises(UsageError):
        lerobot.read(folder, rate_hz=0)
    with pytest.raises(UsageError):
        lerobot.read(folder, rate_hz=30, names=("a",))


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "QUANTILE10", "IDENTITY"])
def test_every_way_of_normalising_becomes_a_mean_and_a_deviation(mode):
    rng = np.random.default_rng(1)
    low, values = rng.normal(size=3), rng.normal(size=(5, 3))
    width = np.array([0.5, 0.0, 2.0])
    told = {"mean": low, "std": width + 0.1, "min": low, "max": low + width, "q10": low, "q90": low + width}
    if mode == "IDENTITY":
        wanted = values
    elif mode == "MEAN_STD":
        wanted = (values - low) / (width + 0.1)
    else:
        wanted = 2 * (values - low) / np.where(width == 0, 1e-8, width) - 1
    found = _lerobot_files._resolved("observation.state", (3,), mode, told, Path())
    np.testing.assert_allclose(found.apply(values), wanted, rtol=1e-6)


def test_diffusion_with_pictures_remembers_rows_and_wants_their_size(workspace):
    """Small random weights through a release: history, chance by seed, and pictures of another size."""
    config = DiffusionConfig(
        down_dims=(16, 32), n_groups=4, diffusion_step_embed_dim=8, horizon=8, n_action_steps=3, num_train_timesteps=4,
        crop_shape=(32, 32), spatial_softmax_num_keypoints=2,
    )  # fmt: skip
    torch.manual_seed(0)
    head = Diffusion(config, {STATE: 2}, [CAMERA], (40, 48), 2)
    shapes = {STATE: ("STATE", (2,)), CAMERA: ("VISUAL", (3, 40, 48))}
    folder = workspace.root / "theirs"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {
                "type": "diffusion",
                **dataclasses.asdict(config),
                "input_features": {name: {"type": kind, "shape": shape} for name, (kind, shape) in shapes.items()},
                "output_features": {"action": {"type": "ACTION", "shape": (2,)}},
            }
        )
    )
    save_file({name: tensor.numpy() for name, tensor in head.state_dict().items()}, folder / "model.safetensors")
    release, policy = loaded(workspace, folder)
    assert (release.controller.chunk, release.controller.execute) == (7, 3)
    rng = np.random.default_rng(0)
    seen = [{STATE: rng.normal(size=2), CAMERA: rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)} for _ in range(4)]
    runs = []
    for seed in (1, 1, 2):
        policy.reset(seed=seed)
        runs.append(np.stack([policy.act(row) for row in seen]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-3
    policy.reset(seed=1)
    other = [policy.act(row) for row in (seen[0], seen[1], seen[0], seen[3])]  # another row before the second look
    np.testing.assert_array_equal(np.stack(other[:3]), runs[0][:3])
    assert np.abs(other[3] - runs[0][3]).max() > 1e-6
    for wrong in (np.zeros((41, 48, 3), np.uint8), np.zeros((3, 40, 48), np.uint8)):
        with pytest.raises(DataRefused):
            policy.act(seen[0] | {CAMERA: wrong})
