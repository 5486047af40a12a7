"""pi0 and pi0.5 as LeRobot trains them: PaliGemma sees and reads, an expert of Gemma's form carries noise to actions.

Source: lerobot's policies ``pi0`` and ``pi05`` (Apache-2.0), version 0.6.1, which port openpi's; Black et al. 2024,
arXiv 2410.24164, and Physical Intelligence 2025, arXiv 2504.16054. pi0 shows the state to the expert as a token of its
own; pi0.5 reads it as words, and the time scales, shifts and gates its norms. Widths and depths are the weights'.

Shape legend: as in ``_lerobot_vlm.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.control.policies._lerobot_vlm import (
    STATE,
    WORDS,
    Decoder,
    Eye,
    Form,
    Kept,
    Parts,
    Shapes,
    boxed,
    carry,
    gelu,
    padded,
    place,
    size,
    waves,
)

_MODEL = "model.paligemma_with_expert"
_EYE, _JOIN, _TEXT, _EXPERT = (
    f"{_MODEL}.paligemma.model.vision_tower.vision_model",
    f"{_MODEL}.paligemma.model.multi_modal_projector.linear",
    f"{_MODEL}.paligemma.model.language_model",
    f"{_MODEL}.gemma_expert.model",
)
_EYE_HEADS, _SHARED = 16, 1
"""Of PaliGemma's eye, and of keys and values in both of Gemma's sizes that pi0 is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PiConfig:
    """Those of LeRobot's keys that shape what it does when it acts."""

    chunk_size: int = 50
    n_action_steps: int = 50
    n_obs_steps: int = 1
    max_state_dim: int = 32
    max_action_dim: int = 32
    image_resolution: tuple[int, int] = (224, 224)
    """Height, width."""
    num_inference_steps: int = 10
    min_period: float = 4e-3
    max_period: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pi0Config(PiConfig):
    """pi0."""

    tokenizer_max_length: int = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Pi05Config(PiConfig):
    """pi0.5."""

    tokenizer_max_length: int = 200


class _Model(nn.Module):
    def __init__(self, config: Pi0Config | Pi05Config, cameras: Sequence[str], action: int, shapes: Shapes) -> None:
        super().__init__()
        reads_state = isinstance(config, Pi05Config)
        words, width = (size(shapes, f"{_TEXT}.embed_tokens.weight", axis) for axis in (0, 1))
        inner, eye = size(shapes, "model.action_in_proj.weight"), Eye(shapes, f"{_EYE}.", _EYE_HEADS)
        asked, known = (size(shapes, f"{_TEXT}.layers.0.self_attn.{name}_proj.weight") for name in "qk")
        form = Form(heads=asked // known, shared=_SHARED, head=known, eps=1e-6, one=1.0, act=gelu)
        text = Decoder(shapes, f"{_TEXT}.", width, form, words=words)
        expert = Decoder(shapes, f"{_EXPERT}.", inner, form, told=inner if reads_state else 0)
        self.config, self.cameras, self.action, self.reads_state = config, tuple(cameras), action, reads_state
        self.vocabulary = words
        self._parts = Parts(eye=eye, join=nn.Linear(eye.width, width), text=text, expert=expert)
        for path, part in zip((_EYE, _JOIN, _TEXT, _EXPERT), self._parts.all, strict=True):
            place(self, path.removeprefix("model."), part)
        self.action_in_proj = nn.Linear(config.max_action_dim, inner)
        self.action_out_proj = nn.Linear(inner, config.max_action_dim)
        if reads_state:
            self.time_mlp_in, self.time_mlp_out = nn.Linear(inner, inner), nn.Linear(inner, inner)
        else:
            self.state_proj = nn.Linear(config.max_state_dim, inner)
            self.action_time_mlp_in = nn.Linear(2 * inner, inner)
            self.action_time_mlp_out = nn.Linear(inner, inner)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """See :class:`Pi`."""
        config = self.config
        x_BNW = self._seen(seen)
        kept = self._parts.text.keep(x_BNW, None)
        speed = self._timed if self.reads_state else self._stated
        state_BD = padded(seen[STATE], config.max_state_dim)
        noise = torch.randn(len(x_BNW), config.chunk_size, config.max_action_dim, generator=random)
        way = carry(noise, config.num_inference_steps, lambda x, time: speed(x, time, kept, state_BD))
        return way[..., : self.action]

    def _seen(self, seen: dict[str, Tensor]) -> Tensor:
        """(B, N, W): every picture, the words."""
        height, width = self.config.image_resolution
        boxes = [boxed(seen[camera], height, width, middle=True) for camera in self.cameras]
        parts = [self._parts.join(self._parts.eye(box)) for box in boxes]
        words = self._parts.text.embed_tokens(seen[WORDS]).expand(len(seen[STATE]), -1, -1)
        return torch.cat([*parts, words * math.sqrt(words.shape[-1])], dim=1)

    def _wave(self, time: float) -> Tensor:
        return waves(time, self.action_in_proj.out_features, self.config.min_period, self.config.max_period)

    def _stated(self, x_BKA: Tensor, time: float, kept: Sequence[Kept], state_BD: Tensor) -> Tensor:
        """pi0: the state does not see the actions."""
        entered = self.action_in_proj(x_BKA)
        mixed = self.action_time_mlp_in(torch.cat([entered, self._wave(time).expand_as(entered)], dim=-1))
        mixed = self.action_time_mlp_out(functional.silu(mixed))
        tokens = torch.cat([self.state_proj(state_BD)[:, None], mixed], dim=1)
        sees = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        sees[0, 1:] = False
        out: Tensor = self.action_out_proj(self._parts.expert.follow(tokens, kept, sees)[:, 1:])
        return out

    def _timed(self, x_BKA: Tensor, time: float, kept: Sequence[Kept], state_BD: Tensor) -> Tensor:
        """pi0.5: the state was read among the words."""
        del state_BD
        told = functional.silu(self.time_mlp_out(functional.silu(self.time_mlp_in(self._wave(time)))))
        followed = self._parts.expert.follow(self.action_in_proj(x_BKA), kept, None, told)
        out: Tensor = self.action_out_proj(followed)
        return out


class Pi(nn.Module):
    """Weights of a LeRobot pi0 or pi0.5 checkpoint, named as in its file."""

    ignored = (f"{_MODEL}.paligemma.lm_head.", f"{_TEXT}.norm.", f"{_MODEL}.gemma_expert.lm_head.")
    """Tensors that actions do not come from."""

    def __init__(self, config: Pi0Config | Pi05Config, cameras: Sequence[str], action: int, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.model = _Model(config, cameras, action, shapes)

    @property
    def vocabulary(self) -> int:
        """Words that it knows."""
        return self.model.vocabulary

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A); numbers come as (B, D), pictures as (B, 3, H, W), words as (1, N)."""
        return self.model.sample(seen, random)
