"""LeRobot's SmolVLA, pi0 and pi0.5: folders that lerobot 0.6.1 wrote act as they did there; others are refused.

``tests/golden/lerobot_{smolvla,pi0,pi05}`` are the cases of that name of ``benchmarks/peers/lerobot_told.py``: random
weights in lerobot's own modules, at small sizes, on a language model and a tokenizer made there.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from worldgate.control import policies
from worldgate.control.policies import lerobot
from worldgate.control.policies._release import WEIGHTS
from worldgate.core.errors import CapabilityMissing, DataRefused, MissingExtra, NotFound, UsageError, WeightsRefused
from worldgate.fleet import releases

pytest.importorskip("tokenizers")

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("smolvla", "pi0", "pi05")
STATE, FRONT, WRIST, TOP = "observation.state", *(f"observation.images.{name}" for name in ("front", "wrist", "top"))
CAMERAS = {"smolvla": [TOP, FRONT], "pi0": [WRIST, FRONT], "pi05": [WRIST]}
"""In the order of the weights; SmolVLA's pipeline renames one, pi0's a black one is left out."""
TASK = "push the red_block left"
EYE = {
    "smolvla": "model.vlm_with_expert.vlm.model.vision_model.post_layernorm.bias",
    "pi0": "model.paligemma_with_expert.paligemma.model.vision_tower.vision_model.post_layernorm.bias",
}
EYE["pi05"] = EYE["pi0"]
GEMMA = "model.paligemma_with_expert.paligemma"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    return copied(kind, tmp_path)


def copied(kind, tmp_path):
    copy = tmp_path / f"{kind}_policy"
    shutil.copytree(GOLDEN / f"lerobot_{kind}", copy)
    return copy


def changed(path, **keys):
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def reweighted(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def loaded(workspace, folder, **options):
    fitted = lerobot.read(folder, **{"rate_hz": 30.0, **options})
    release = releases.load(workspace, fitted.publish(workspace, name="theirs").digest)
    return release, policies.load(release, workspace.store)


def run(policy, folder, rows=12):
    held = np.load(folder / "actions.npz")
    policy.reset(seed=7)
    policy.tell(TASK)
    seen = [{name: held[name][t] for name in held.files if name != "actions"} for t in range(rows)]
    return np.stack([policy.act(row) for row in seen]), held["actions"][:rows]


def row(folder):
    held = np.load(folder / "actions.npz")
    return {name: held[name][0] for name in held.files if name != "actions"}


def test_every_action_is_lerobots(kind, workspace):
    folder = GOLDEN / f"lerobot_{kind}"
    release, policy = loaded(workspace, folder)
    ours, theirs = run(policy, folder)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (release.controller.chunk, release.controller.execute) == (6, 4)
    cameras = [s.name for s in release.observation if len(s.shape) == 3]
    assert cameras == CAMERAS[kind]


def test_everything_that_is_seen_and_said_matters(kind, workspace):
    folder = GOLDEN / f"lerobot_{kind}"
    _, policy = loaded(workspace, folder)

    def planned(seen, text=TASK):
        policy.reset(seed=7)
        policy.tell(text)
        return policy.plan(seen)

    seen = row(folder)
    first = planned(seen)
    np.testing.assert_array_equal(first, planned(seen))
    others = [planned(seen | {name: np.zeros_like(seen[name])}) for name in seen]
    others.append(planned(seen, "lift the red_block left"))
    if kind != "pi05":
        first_camera, second = CAMERAS[kind]
        others.append(planned(seen | {first_camera: seen[second], second: seen[first_camera]}))
    assert min(np.abs(other - first).max() for other in others) > 2e-4


def test_pictures_of_another_size_are_brought_into_the_box(kind, workspace):
    folder = GOLDEN / f"lerobot_{kind}"
    _, policy = loaded(workspace, folder)
    policy.tell(TASK)
    seen = row(folder)
    larger = {name: held.repeat(2, 0).repeat(2, 1) if held.ndim == 3 else held for name, held in seen.items()}
    assert np.isfinite(policy.plan(seen | larger)).all()


def test_it_acts_only_when_told_and_forgets_at_the_start_of_a_run(kind, workspace):
    folder = GOLDEN / f"lerobot_{kind}"
    _, policy = loaded(workspace, folder)
    seen = row(folder)
    for _ in range(2):
        with pytest.raises(UsageError, match="not told what to do"):
            policy.act(seen)
        policy.tell(TASK)
        policy.act(seen)
        policy.reset(seed=7)
    for text in ("", " \n"):
        with pytest.raises(UsageError, match="without words"):
            policy.tell(text)
    with pytest.raises(UsageError, match="longer than this policy reads"):
        policy.tell("push the block " * 20)


def test_other_words_discard_what_was_planned(workspace):
    _, policy = loaded(workspace, GOLDEN / "lerobot_pi0")
    seen = row(GOLDEN / "lerobot_pi0")
    policy.reset(seed=7)
    policy.tell(TASK)
    policy.act(seen)
    held = policy.act(seen)
    policy.reset(seed=7)
    policy.tell(TASK)
    policy.act(seen)
    policy.tell("lift the red_block left")
    assert np.abs(policy.act(seen) - held).max() > 1e-3


def test_the_release_names_statistics_tokenizer_prompt_cameras_rate_and_chunk(workspace, tmp_path):
    folder = copied("pi0", tmp_path)
    first, _ = loaded(workspace, folder)
    others = [loaded(workspace, folder, **o)[0] for o in ({"rate_hz": 50.0}, {"convention": "joint_velocity"})]
    assert first.pre["prompt"] == "{task}\n"
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer + "\n")
    others.append(loaded(workspace, folder)[0])
    assert others[-1].pre["tokenizer"] != first.pre["tokenizer"]
    config = json.loads((folder / "config.json").read_text())
    changed(folder / "config.json", input_features=dict(reversed(config["input_features"].items())))
    others.append(loaded(workspace, folder)[0])
    changed(folder / "config.json", n_action_steps=2)
    others.append(loaded(workspace, folder)[0])
    path = folder / "policy_preprocessor_step_6_normalizer_processor.safetensors"
    save_file({name: tensor + 0.5 for name, tensor in load_file(path).items()}, path)
    others.append(loaded(workspace, folder)[0])
    assert len({first.digest, *(other.digest for other in others)}) == 7


def test_weights_of_other_widths_are_computed_in_float32(workspace, tmp_path):
    folder = copied("smolvla", tmp_path)
    plans = []
    for types in ((torch.bfloat16,), (torch.bfloat16, torch.float64)):
        for kept in types:
            reweighted(folder, lambda tensors, kept=kept: tensors.update({n: t.to(kept) for n, t in tensors.items()}))
        plans.append(run(loaded(workspace, folder)[1], folder, rows=1)[0])
    np.testing.assert_array_equal(*plans)


@pytest.mark.parametrize("form", ["shared", "short", "older"])
def test_other_forms_of_the_same_weights_act_the_same(workspace, tmp_path, form):
    """One tensor for words read and said, names without ``model.``, and statistics among the weights."""
    folder = copied("pi0", tmp_path)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if form == "shared":
        tensors[f"{GEMMA}.lm_head.weight"] = tensors.pop(f"{GEMMA}.model.language_model.embed_tokens.weight")
    elif form == "short":
        tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    else:
        for number, side, stream in ((6, "normalize_inputs", STATE), (0, "unnormalize_outputs", "action")):
            name = "normalizer" if number else "unnormalizer"
            pipe = "pre" if number else "post"
            held = load_file(folder / f"policy_{pipe}processor_step_{number}_{name}_processor.safetensors")
            for key in ("mean", "std"):
                tensors[f"{side}.buffer_{stream.replace('.', '_')}.{key}"] = held[f"{stream}.{key}"]
        for old in folder.glob("policy_*"):
            old.unlink()
    save_file(tensors, path)
    ours, theirs = run(loaded(workspace, folder)[1], folder, rows=1)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "unknown", "nan", "shape", "layer"])
def test_tensors_that_are_not_this_policys_are_named(folder, kind, fault):
    name = EYE[kind]
    end = "model.action_in_proj.weight"

    def change(tensors):
        if fault == "missing":
            del tensors[name]
        elif fault == "unknown":
            tensors["model.extra"] = torch.zeros(2)
        elif fault == "nan":
            tensors[name] = tensors[name] * torch.nan
        elif fault == "shape":
            tensors[name] = torch.zeros(5)
        else:
            del tensors[end]

    reweighted(folder, change)
    with pytest.raises(WeightsRefused) as refused:
        lerobot.read(folder, rate_hz=30)
    wanted = {"unknown": "model.extra", "layer": end}.get(fault, name)
    assert wanted in str(refused.value.got)


@pytest.mark.parametrize("missing", ["tokenizer.json", "vlm_config.json"])
def test_a_file_that_must_be_copied_is_named_with_where_it_comes_from(tmp_path, missing):
    folder = copied("smolvla", tmp_path)
    (folder / missing).unlink()
    with pytest.raises(NotFound) as refused:
        lerobot.read(folder, rate_hz=30)
    source = "config.json" if missing == "vlm_config.json" else missing
    assert refused.value.got == f"no {missing}"
    assert f"copy {source} of HuggingFaceTB/SmolVLM2-500M-Video-Instruct to {folder}" in str(refused.value.hint)


def test_a_tokenizer_that_is_none_or_another_policys_is_refused(workspace, folder):
    path = folder / "tokenizer.json"
    tree = json.loads(path.read_text())
    path.write_text("{}")
    with pytest.raises(WeightsRefused, match="not a tokenizer"):
        lerobot.read(folder, rate_hz=30)
    tree["model"]["vocab"]["o"] = 4000
    path.write_text(json.dumps(tree))
    with pytest.raises(WeightsRefused, match="another policy"):
        lerobot.read(folder, rate_hz=30)


def test_without_the_library_the_command_to_install_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra) as refused:
        lerobot.read(GOLDEN / "lerobot_pi0", rate_hz=30)
    assert "worldgate[tokens]" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("kind", "keys", "error"),
    [
        ("smolvla", {"adapt_to_pi_aloha": True}, CapabilityMissing),
        ("smolvla", {"add_image_special_tokens": True}, CapabilityMissing),
        ("smolvla", {"attention_mode": "else"}, CapabilityMissing),
        ("smolvla", {"n_obs_steps": 2}, CapabilityMissing),
        ("smolvla", {"use_cache": False}, CapabilityMissing),
        ("smolvla", {"max_state_dim": 3}, DataRefused),
        ("smolvla", {"resize_imgs_with_padding": None}, DataRefused),
        ("smolvla", {"resize_imgs_with_padding": [24, 24]}, CapabilityMissing),
        ("pi0", {"use_relative_actions": True}, CapabilityMissing),
        ("pi0", {"rtc_config": {"enabled": True}}, CapabilityMissing),
        ("pi05", {"use_proprioceptive_memory": True}, CapabilityMissing),
        ("pi05", {"max_action_dim": 2}, DataRefused),
        ("pi05", {"num_inference_steps": "many"}, DataRefused),
        ("pi05", {"input_features": {STATE: {"type": "STATE", "shape": [5]}}}, DataRefused),
    ],
)
def test_configurations_that_are_not_read_are_refused(tmp_path, kind, keys, error):
    folder = copied(kind, tmp_path)
    changed(folder / "config.json", **keys)
    with pytest.raises(error):
        lerobot.read(folder, rate_hz=30)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"text_config": {"model_type": "qwen2", "num_attention_heads": 4}}, CapabilityMissing),
        ({"text_config": {"model_type": "llama"}}, DataRefused),
        ({"text_config": {"model_type": "llama", "num_attention_heads": 0}}, DataRefused),
        ({"vision_config": None}, DataRefused),
    ],
)
def test_a_language_model_that_is_not_read_is_refused(tmp_path, keys, error):
    folder = copied("smolvla", tmp_path)
    changed(folder / "vlm_config.json", **keys)
    with pytest.raises(error):
        lerobot.read(folder, rate_hz=30)


@pytest.mark.parametrize("renamed", [{"state": STATE}, {TOP: "observation.images.none"}, {FRONT: WRIST}])
def test_renaming_of_anything_but_a_camera_is_refused(tmp_path, renamed):
    folder = copied("smolvla", tmp_path)
    path = folder / "policy_preprocessor.json"
    tree = json.loads(path.read_text())
    tree["steps"][0]["config"]["rename_map"] = renamed
    path.write_text(json.dumps(tree))
    with pytest.raises(CapabilityMissing, match="renaming is not read"):
        lerobot.read(folder, rate_hz=30)


def test_actions_relative_to_the_state_and_missing_statistics_are_refused(tmp_path):
    folder = copied("pi0", tmp_path)
    path = folder / "policy_preprocessor.json"
    tree = json.loads(path.read_text())
    for step in tree["steps"]:
        if step["registry_name"] == "relative_actions_processor":
            step["config"]["enabled"] = True
    path.write_text(json.dumps(tree))
    with pytest.raises(CapabilityMissing, match="relative to the state"):
        lerobot.read(folder, rate_hz=30)
    folder = copied("smolvla", tmp_path)
    save_file({"none": torch.zeros(1)}, folder / "policy_postprocessor_step_0_unnormalizer_processor.safetensors")
    with pytest.raises(DataRefused, match="statistics are missing"):
        lerobot.read(folder, rate_hz=30)


@pytest.mark.parametrize("fault", ["camera", "grey", "float", "state", "nan"])
def test_an_observation_that_does_not_fit_is_refused(workspace, fault):
    folder = GOLDEN / "lerobot_smolvla"
    _, policy = loaded(workspace, folder)
    policy.tell(TASK)
    seen = row(folder)
    wrong = {
        "camera": {FRONT: np.zeros(0)},
        "grey": {FRONT: seen[FRONT][..., :1]},
        "float": {FRONT: seen[FRONT] / 255},
        "state": {STATE: seen[STATE][:-1]},
        "nan": {STATE: seen[STATE] * np.nan},
    }[fault]
    with pytest.raises(DataRefused):
        policy.act(seen | wrong)


def test_another_rate_and_other_statistics_are_refused(workspace):
    release, _ = loaded(workspace, GOLDEN / "lerobot_pi05")
    policies.admit(release, rate_hz=30)
    with pytest.raises(DataRefused, match="control rate"):
        policies.admit(release, rate_hz=20)


def test_weights_without_their_tokenizer_are_refused(workspace, tmp_path):
    fitted = lerobot.read(GOLDEN / "lerobot_pi0", rate_hz=30)
    path = tmp_path / WEIGHTS
    fitted.save(path)
    release = fitted.release({WEIGHTS: "0" * 64})
    data = path.read_bytes().replace(b"tokenizer.json", b"tokenizer.jsom", 1)
    with pytest.raises(WeightsRefused):
        lerobot.build(release, {WEIGHTS: data})
