"""LeWM as its own training script builds it, in three sizes; runs in .venv-swm and knows nothing of Worldgate.

Encoder, predictor, projectors, action encoder and loss are those of stable-worldmodel's wheel. What its script
(scripts/train/lewm.py and its configuration, outside the wheel) adds is written down here: the ViT, which its helper
makes by ``transformers.ViTModel`` with these same arguments, the normalisation of pictures and actions, and the numbers
of the optimisation. ``published`` has the published nets and numbers; the others turn the script's own knobs, their
rates too: of 3e-4, 1e-3 and 3e-3 the last predicted held-out clips of ``two_room`` best after 60 s of ``small``.

Shape legend: N clips, T frames, H x W pixels, A action channels, B rows of a block, D latent.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # environments that are not installed
    from stable_worldmodel.wm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor

BLOCK, HISTORY, FRAMES = 5, 3, 4
"""Rows of a block; frames that a prediction sees; frames of a clip."""
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
SPREAD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
"""Of ImageNet's pictures, which are what pixels are normalised by."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What its configuration lets one choose; the values are the published ones, but for pictures of 64 pixels."""

    pixels: int = 64
    """The published 224 would show no more of pictures that were recorded with 64, and take nine times as long."""
    patch: int = 8
    width: int = 192
    layers: int = 12
    heads: int = 3
    depth: int = 6
    """Of the predictor."""
    predictor_heads: int = 16
    head_width: int = 64
    hidden: int = 2048
    """Of the predictor's blocks."""
    projector: int = 2048
    projections: int = 1024
    """Of SIGReg."""
    sigreg: float = 0.09
    """Weight of SIGReg."""
    batch: int = 128
    rate: float = 5e-5
    decay: float = 1e-3


SIZES = {
    "published": Size(),
    "middle": Size(
        width=64, layers=2, heads=2, depth=3, predictor_heads=8, head_width=16, hidden=512, projector=512,
        projections=256, batch=64, rate=1e-3,
    ),
    "small": Size(
        patch=16, width=64, layers=2, heads=2, depth=2, predictor_heads=4, head_width=16, hidden=256, projector=256,
        projections=128, batch=64, rate=3e-3,
    ),
}  # fmt: skip


def made(size: Size, actions: int) -> LeWM:
    """An untrained model for so many action channels."""
    config = ViTConfig(
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        image_size=size.pixels,
        patch_size=size.patch,
    )
    projector = partial(MLP, size.width, size.projector, size.width, norm_fn=nn.BatchNorm1d)
    return LeWM(
        encoder=ViTModel(config, add_pooling_layer=False, use_mask_token=False),
        predictor=Predictor(
            num_frames=HISTORY,
            input_dim=size.width,
            hidden_dim=size.width,
            output_dim=size.width,
            depth=size.depth,
            heads=size.predictor_heads,
            mlp_dim=size.hidden,
            dim_head=size.head_width,
            dropout=0.1,
        ),
        action_encoder=Embedder(input_dim=BLOCK * actions, emb_dim=size.width),
        projector=projector(),
        pred_proj=projector(),
    )


def pictures(frames: Any) -> Tensor:
    """(…, 3, H, W) as the encoder wants them, of (…, H, W, 3) in uint8."""
    return (torch.as_tensor(np.asarray(frames)).movedim(-1, -3).float() / 255 - MEAN) / SPREAD


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that can be planned with."""

    model: LeWM
    mean_A: Tensor
    """Of the actions that were learned from."""
    spread_A: Tensor

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """What ``lewm_train.py`` left there."""
        about = json.loads((folder / "model.json").read_text())
        model = made(Size(**about["size"]), len(about["mean"]))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        model.eval().requires_grad_(False)
        return cls(model=model, mean_A=torch.tensor(about["mean"]), spread_A=torch.tensor(about["spread"]))
