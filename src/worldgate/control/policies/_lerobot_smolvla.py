"""SmolVLA as LeRobot trains it: SmolVLM2's first layers see and read, an expert beside them carries noise to actions.

Source: lerobot's policy ``smolvla`` (Apache-2.0), version 0.6.1; Shukor et al. 2025, arXiv 2506.01844. Every second
layer of the expert looks only across, at what the language model kept; in the others an action sees all that is seen
and the actions before it. Heads and norms stand in the language model's own configuration, not in LeRobot's.

Shape legend: as in ``_lerobot_vlm.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    Parts,
    Shapes,
    boxed,
    carry,
    padded,
    place,
    size,
    waves,
)
from worldgate.core.errors import CapabilityMissing, DataRefused

_MODEL = "model.vlm_with_expert"
_EYE, _JOIN, _TEXT, _EXPERT = (
    f"{_MODEL}.vlm.model.vision_model",
    f"{_MODEL}.vlm.model.connector.modality_projection.proj",
    f"{_MODEL}.vlm.model.text_model",
    f"{_MODEL}.lm_expert",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmolVlaConfig:
    """Those of LeRobot's keys that shape what it does when it acts, and four of the language model's."""

    chunk_size: int = 50
    n_action_steps: int = 50
    n_obs_steps: int = 1
    max_state_dim: int = 32
    max_action_dim: int = 32
    resize_imgs_with_padding: tuple[int, int] = (512, 512)
    """Width, height."""
    tokenizer_max_length: int = 48
    num_steps: int = 10
    attention_mode: str = "cross_attn"
    self_attn_every_n_layers: int = 2
    expert_width_multiplier: float = 0.75
    min_period: float = 4e-3
    max_period: float = 4.0
    heads: int
    """Of the language model; the next is how many of them have keys and values of their own."""
    shared: int
    eye_heads: int
    eps: float


def of_language_model(tree: Mapping[str, object], where: object) -> dict[str, float]:
    """What SmolVLM's own ``config.json`` adds to the configuration.

    Raises:
        DataRefused: it does not say.
        CapabilityMissing: a language model of another form.
    """
    text, eye = tree.get("text_config"), tree.get("vision_config")
    if not isinstance(text, dict) or not isinstance(eye, dict):
        raise DataRefused("not the configuration of a SmolVLM", got=tree.get("model_type"), where=where)
    form = (text.get("model_type", "llama"), text.get("hidden_act", "silu"), text.get("attention_bias", False))
    if form != ("llama", "silu", False) or eye.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise CapabilityMissing("this language model is not read", got=form, where=where, hint="a SmolVLM2 on SmolLM2")
    try:
        heads = int(text["num_attention_heads"])
        shared = int(text.get("num_key_value_heads", heads))
        eye_heads = int(eye.get("num_attention_heads", 16))
        eps = float(text.get("rms_norm_eps", 1e-6))
    except (KeyError, TypeError, ValueError) as error:
        raise DataRefused("not the configuration of a SmolVLM", got=str(error)[:80], where=where) from error
    if min(heads, shared, eye_heads) < 1:
        raise DataRefused("heads that cannot be", got=(heads, shared, eye_heads), where=where)
    return {"heads": heads, "shared": shared, "eye_heads": eye_heads, "eps": eps}


class _Model(nn.Module):
    def __init__(self, config: SmolVlaConfig, cameras: Sequence[str], action: int, shapes: Shapes) -> None:
        super().__init__()
        words, width = (size(shapes, f"{_TEXT}.embed_tokens.weight", axis) for axis in (0, 1))
        joined = size(shapes, f"{_JOIN}.weight", 1)
        head = size(shapes, f"{_TEXT}.layers.0.self_attn.q_proj.weight") // config.heads
        eye = Eye(shapes, f"{_EYE}.", config.eye_heads)
        form = Form(
            heads=config.heads, shared=config.shared, head=head, eps=config.eps, one=0.0, act=functional.silu
        )  # fmt: skip
        inner, every = int(width * config.expert_width_multiplier), config.self_attn_every_n_layers
        text = Decoder(shapes, f"{_TEXT}.", width, form, words=words)
        cross = config.attention_mode == "cross_attn"
        across = frozenset(n for n in range(len(text.layers)) if cross and not (every > 0 and n % every == 0))
        expert = Decoder(shapes, f"{_EXPERT}.", inner, form, across=across)
        if len(expert.layers) != len(text.layers) or config.attention_mode not in {"cross_attn", "self_attn"}:
            got = f"{config.attention_mode}, {len(expert.layers)} layers beside {len(text.layers)}"
            raise CapabilityMissing("an expert of this form is not read", got=got)
        self.config, self.cameras, self.action = config, tuple(cameras), action
        self._shrink = math.isqrt(joined // eye.width)
        box = config.resize_imgs_with_padding
        if box[0] != box[1] or box[0] % (eye.patch * max(self._shrink, 1)):
            hint = f"a square of a multiple of {eye.patch * self._shrink} pixels"
            raise CapabilityMissing("pictures that do not divide into tokens", got=box, hint=hint)
        self.vocabulary = words
        self._parts = Parts(eye=eye, join=nn.Linear(joined, width, bias=False), text=text, expert=expert)
        for path, part in zip((_EYE, _JOIN, _TEXT, _EXPERT), self._parts.all, strict=True):
            place(self, path.removeprefix("model."), part)
        self.state_proj = nn.Linear(config.max_state_dim, width)
        self.action_in_proj = nn.Linear(config.max_action_dim, inner)
        self.action_out_proj = nn.Linear(inner, config.max_action_dim)
        self.action_time_mlp_in = nn.Linear(2 * inner, inner)
        self.action_time_mlp_out = nn.Linear(inner, inner)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """See :class:`SmolVla`."""
        config, expert = self.config, self._parts.expert
        x_BNW = self._seen(seen)
        sees_NN = torch.ones(x_BNW.shape[1], x_BNW.shape[1], dtype=torch.bool)
        sees_NN[:-1, -1] = False  # pictures and words do not see the state
        kept = self._parts.text.keep(x_BNW, sees_NN)
        later_KK = torch.ones(config.chunk_size, config.chunk_size, dtype=torch.bool).tril()

        def speed(x_BKA: Tensor, time: float) -> Tensor:
            entered = self.action_in_proj(x_BKA)
            wave = waves(time, entered.shape[-1], config.min_period, config.max_period).expand_as(entered)
            mixed = self.action_time_mlp_in(torch.cat([entered, wave], dim=-1))
            followed = expert.follow(self.action_time_mlp_out(functional.silu(mixed)), kept, later_KK)
            out: Tensor = self.action_out_proj(followed)
            return out

        noise = torch.randn(len(x_BNW), config.chunk_size, config.max_action_dim, generator=random)
        return carry(noise, config.num_steps, speed)[..., : self.action]

    def _seen(self, seen: dict[str, Tensor]) -> Tensor:
        """(B, N, W): every picture, the words, the state."""
        width, height = self.config.resize_imgs_with_padding
        boxes = [boxed(seen[camera], height, width, middle=False) for camera in self.cameras]
        parts = [self._parts.join(self._gathered(self._parts.eye(box))) for box in boxes]
        parts.append(self._parts.text.embed_tokens(seen[WORDS]).expand(len(seen[STATE]), -1, -1))
        state = self.state_proj(padded(seen[STATE], self.config.max_state_dim))[:, None]
        scale = math.sqrt(state.shape[-1])
        return torch.cat([*(part * scale for part in parts), state], dim=1)

    def _gathered(self, x_BNC: Tensor) -> Tensor:
        """Neighbouring patches become one token: n x n of them, row by row."""
        n, side = self._shrink, math.isqrt(x_BNC.shape[1])
        squares = x_BNC.reshape(len(x_BNC), side // n, n, side // n, n, -1).transpose(2, 3)
        return squares.flatten(3).flatten(1, 2)


class SmolVla(nn.Module):
    """Weights of a LeRobot SmolVLA checkpoint, named as in its file."""

    ignored = (f"{_MODEL}.vlm.lm_head.", f"{_TEXT}.norm.")
    """Tensors that actions do not come from."""

    def __init__(self, config: SmolVlaConfig, cameras: Sequence[str], action: int, shapes: Shapes) -> None:
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
