"""Runs in lerobot's own environment: makes small policies, saves them as lerobot does, and says how they act.

Given a folder, it writes one a policy into it, random weights and statistics, and ``actions.npz`` in each: observations
of a run, and the actions that lerobot's own ``select_action`` gives for them, processors included.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lerobot_told
import numpy as np
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors

STEPS, SEED, WIDTH, ACTION = 12, 7, 5, 3
FRONT, WRIST, STATE, AROUND = (
    "observation.images.front",
    "observation.images.wrist",
    "observation.state",
    "observation.environment_state",
)
SMALL = {"dim_model": 32, "n_heads": 4, "dim_feedforward": 64, "latent_dim": 8, "n_vae_encoder_layers": 1}
UNET = {"down_dims": (32, 64), "diffusion_step_embed_dim": 16, "spatial_softmax_num_keypoints": 6, "horizon": 8}
UNET |= {"n_action_steps": 4, "num_train_timesteps": 20}
QUANTILES = {"STATE": NormalizationMode.QUANTILES, "ACTION": NormalizationMode.QUANTILES}
CASES = {
    "act_two_cameras": ("act", (FRONT, WRIST), (STATE,), {**SMALL, "chunk_size": 6, "n_action_steps": 4}),
    "act_ensemble": ("act", (FRONT,), (STATE,), {
        **SMALL, "chunk_size": 6, "n_action_steps": 1, "temporal_ensemble_coeff": 0.01, "pre_norm": True}),
    "act_vectors": ("act", (), (STATE, AROUND), {
        **SMALL, "chunk_size": 5, "n_action_steps": 5, "use_vae": False, "feedforward_activation": "gelu",
        "normalization_mapping": {**QUANTILES, "ENV": NormalizationMode.MIN_MAX}}),
    "act_resnet34": ("act", (FRONT,), (STATE,), {
        **SMALL, "chunk_size": 4, "n_action_steps": 2, "vision_backbone": "resnet34", "n_decoder_layers": 2}),
    "diffusion_ddpm": ("diffusion", (FRONT,), (STATE,), {**UNET, "crop_shape": (56, 70)}),
    "diffusion_ddim": ("diffusion", (FRONT, WRIST), (STATE, AROUND), {
        **UNET, "noise_scheduler_type": "DDIM", "num_inference_steps": 5, "use_separate_rgb_encoder_per_camera": True,
        "use_group_norm": False, "crop_shape": None}),
    "diffusion_sample": ("diffusion", (), (STATE, AROUND), {
        **UNET, "prediction_type": "sample", "beta_schedule": "linear", "n_obs_steps": 3,
        "use_film_scale_modulation": False}),
}  # fmt: skip


def statistics(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Random numbers that could be measured: pictures have one a colour."""
    size = (3, 1, 1) if len(shape) == 3 else shape
    mean, std = torch.rand(size), 0.5 + torch.rand(size)
    return {
        "mean": mean,
        "std": std,
        "min": mean - 2 * std,
        "max": mean + 2 * std,
        "q01": mean - std,
        "q99": mean + std,
    }


def make(root: Path, name: str) -> None:
    """One policy's folder."""
    if name in lerobot_told.CASES:
        kind, count, more = lerobot_told.CASES[name]
        cameras, vectors, picture = (WRIST, FRONT)[:count], (STATE,), (3, 20, 30)  # an order that must be kept
    else:
        kind, cameras, vectors, more = CASES[name]
        picture = (3, 64, 96)
    torch.manual_seed(len(name))
    folder = root / name
    folder.mkdir()
    shapes = {vector: (WIDTH + (vector == AROUND),) for vector in vectors} | dict.fromkeys(cameras, picture)
    kinds = {STATE: FeatureType.STATE, AROUND: FeatureType.ENV}
    inputs = {key: PolicyFeature(kinds.get(key, FeatureType.VISUAL), shape) for key, shape in shapes.items()}
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))}
    about = {"input_features": inputs, "output_features": outputs, "device": "cpu", **more}
    if name in lerobot_told.CASES:
        policy, processors = lerobot_told.make(kind, folder, about)
    elif kind == "act":
        about["pretrained_backbone_weights"] = None
        policy, processors = ACTPolicy(ACTConfig(**about)), make_act_pre_post_processors
    else:
        about["pretrained_backbone_weights"] = None
        policy, processors = DiffusionPolicy(DiffusionConfig(**about)), make_diffusion_pre_post_processors
    with torch.no_grad():  # running statistics as after training, else a mistake in their use would not show
        for key, buffer in policy.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    stats = {key: statistics(shape) for key, shape in {**shapes, "action": (ACTION,)}.items()}
    before, after = processors(policy.config, stats)
    before.steps[0].rename_map = lerobot_told.RENAMED.get(name, {})
    own = {theirs: ours for ours, theirs in before.steps[0].rename_map.items()}
    policy.save_pretrained(folder)
    before.save_pretrained(folder)
    after.save_pretrained(folder)
    rng = np.random.default_rng(5)
    seen = {key: rng.normal(0.3, 1, (STEPS, *shapes[key])).astype(np.float32) for key in vectors}
    seen |= {key: rng.integers(0, 256, (STEPS, *picture[1:], 3), dtype=np.uint8) for key in cameras}
    policy.eval()
    policy.reset()
    torch.manual_seed(SEED)
    actions = []
    for t in range(STEPS):
        row = {key: torch.from_numpy(rows[t]) for key, rows in seen.items()}
        row |= {key: row[key].permute(2, 0, 1).float() / 255 for key in cameras}
        row = {own.get(key, key): held for key, held in row.items()}
        row |= {"task": lerobot_told.TASK} if name in lerobot_told.CASES else {}
        actions.append(after(policy.select_action(before(row))).numpy()[0])
    held = {own.get(key, key): rows for key, rows in seen.items()}
    np.savez(folder / "actions.npz", actions=np.stack(actions), **held)


if __name__ == "__main__":
    import lerobot

    cases = [*CASES, *lerobot_told.CASES]
    for case in cases:
        make(Path(sys.argv[1]), case)
    about = {"lerobot": lerobot.__version__, "torch": torch.__version__, "seed": SEED, "task": lerobot_told.TASK}
    print(json.dumps({**about, "cases": cases}))
