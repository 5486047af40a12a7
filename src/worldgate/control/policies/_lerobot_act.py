"""ACT as LeRobot trains it: the same arithmetic and the same names of tensors, for acting alone.

Source: lerobot's policy ``act`` (Apache-2.0), versions 0.4.4 and 0.6.2; Zhao et al. 2023, arXiv 2304.13705. The
latent's encoder serves training alone and is left out; the latent is zero.

Shape legend: B batch, S tokens, K actions of a chunk, W width, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.control.policies import _resnet
from worldgate.core.errors import CapabilityMissing

ENVIRONMENT = "observation.environment_state"
STATE = "observation.state"
Part = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfig:
    """Those of LeRobot's keys that shape what it does when it acts."""

    chunk_size: int
    n_action_steps: int
    n_obs_steps: int = 1
    vision_backbone: str = "resnet18"
    replace_final_stride_with_dilation: bool = False
    pre_norm: bool = False
    dim_model: int = 512
    n_heads: int = 8
    dim_feedforward: int = 3200
    feedforward_activation: str = "relu"
    n_encoder_layers: int = 4
    n_decoder_layers: int = 1
    latent_dim: int = 32
    temporal_ensemble_coeff: float | None = None


class _Layer(nn.Module):
    """What encoder and decoder layers share; ``pre_norm`` normalises before, else after."""

    def __init__(self, config: ActConfig, norms: int) -> None:
        super().__init__()
        width = config.dim_model
        self.self_attn = nn.MultiheadAttention(width, config.n_heads)
        self.linear1 = nn.Linear(width, config.dim_feedforward)
        self.linear2 = nn.Linear(config.dim_feedforward, width)
        for number in range(norms):
            self.add_module(f"norm{number + 1}", nn.LayerNorm(width))
        self.norms = norms
        self.before, self.act = config.pre_norm, _activation(config.feedforward_activation)

    def _norm(self, number: int, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(f"norm{number}")(x)
        return out

    def _around(self, number: int, x: Tensor, inner: Part) -> Tensor:
        """A part beside its short cut, normalised before or after."""
        if self.before:
            return x + inner(self._norm(number, x))
        return self._norm(number, x + inner(x))

    def _feed(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.act(self.linear1(x)))
        return out


class _EncoderLayer(_Layer):
    def __init__(self, config: ActConfig) -> None:
        super().__init__(config, 2)

    def forward(self, x_SBW: Tensor, place_S1W: Tensor) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            out: Tensor = self.self_attn(x + place_S1W, x + place_S1W, x)[0]
            return out

        return self._around(2, self._around(1, x_SBW, attend), self._feed)


class _DecoderLayer(_Layer):
    def __init__(self, config: ActConfig) -> None:
        super().__init__(config, 3)
        self.multihead_attn = nn.MultiheadAttention(config.dim_model, config.n_heads)

    def forward(self, x_KBW: Tensor, memory_SBW: Tensor, query_K1W: Tensor, place_S1W: Tensor) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            out: Tensor = self.self_attn(x + query_K1W, x + query_K1W, x)[0]
            return out

        def look(x: Tensor) -> Tensor:
            out: Tensor = self.multihead_attn(x + query_K1W, memory_SBW + place_S1W, memory_SBW)[0]
            return out

        return self._around(3, self._around(2, self._around(1, x_KBW, attend), look), self._feed)


class _Stack(nn.Module):
    def __init__(self, layers: Sequence[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.layers, self.norm = nn.ModuleList(layers), norm

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *more)
        out: Tensor = self.norm(x)
        return out


class _Act(nn.Module):
    def __init__(self, config: ActConfig, vectors: dict[str, int], cameras: Sequence[str], action: int) -> None:
        super().__init__()
        width = config.dim_model
        self.config, self.cameras = config, tuple(cameras)
        self.vectors = tuple(name for name in (STATE, ENVIRONMENT) if name in vectors)
        self.encoder_latent_input_proj = nn.Linear(config.latent_dim, width)
        if STATE in vectors:
            self.encoder_robot_state_input_proj = nn.Linear(vectors[STATE], width)
        if ENVIRONMENT in vectors:
            self.encoder_env_state_input_proj = nn.Linear(vectors[ENVIRONMENT], width)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + len(self.vectors), width)
        if cameras:
            self.backbone = _resnet.body(config.vision_backbone, _resnet.FrozenNorm, numbered=False)
            self.encoder_img_feat_input_proj = nn.Conv2d(_resnet.WIDTH, width, 1)
        after = nn.LayerNorm(width) if config.pre_norm else nn.Identity()
        self.encoder = _Stack([_EncoderLayer(config) for _ in range(config.n_encoder_layers)], after)
        self.decoder = _Stack([_DecoderLayer(config) for _ in range(config.n_decoder_layers)], nn.LayerNorm(width))
        self.decoder_pos_embed = nn.Embedding(config.chunk_size, width)
        self.action_head = nn.Linear(width, action)

    def forward(self, seen: dict[str, Tensor]) -> Tensor:
        """(B, K, A) of normalised numbers (B, D) and pictures (B, 3, H, W)."""
        rows = len(next(iter(seen.values())))
        enter = {STATE: "encoder_robot_state_input_proj", ENVIRONMENT: "encoder_env_state_input_proj"}
        lines = [self.encoder_latent_input_proj(torch.zeros(rows, self.config.latent_dim))]
        lines += [self.get_submodule(enter[name])(seen[name]) for name in self.vectors]
        tokens, places = [torch.stack(lines)], [self.encoder_1d_feature_pos_embed.weight[:, None]]
        for camera in self.cameras:
            map_BCHW = self.backbone(seen[camera])
            places.append(_sines(map_BCHW.shape[2], map_BCHW.shape[3], self.config.dim_model))
            tokens.append(self.encoder_img_feat_input_proj(map_BCHW).flatten(2).permute(2, 0, 1))
        place_S1W = torch.cat(places)
        memory_SBW = self.encoder(torch.cat(tokens), place_S1W)
        blank_KBW = torch.zeros(self.config.chunk_size, rows, self.config.dim_model)
        placed = self.decoder(blank_KBW, memory_SBW, self.decoder_pos_embed.weight[:, None], place_S1W)
        out: Tensor = self.action_head(placed.transpose(0, 1))
        return out


class Act(nn.Module):
    """Weights of a LeRobot ACT checkpoint; tensors begin with ``model.``, as in its files."""

    ignored = ("model.vae_encoder",)
    """Tensors that only served to learn."""

    def __init__(self, config: ActConfig, vectors: dict[str, int], cameras: Sequence[str], action: int) -> None:
        super().__init__()
        if config.replace_final_stride_with_dilation or config.n_obs_steps != 1:
            raise CapabilityMissing("this ACT is not read", got="dilation" if config.n_obs_steps == 1 else "history")
        if not set(vectors) <= {STATE, ENVIRONMENT}:
            raise CapabilityMissing(
                "ACT reads these vectors alone", got=sorted(vectors), hint=f"{STATE}, {ENVIRONMENT}"
            )
        self.model = _Act(config, vectors, cameras, action)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A); chance is not asked."""
        out: Tensor = self.model(seen)
        return out


def _activation(name: str) -> Part:
    known: dict[str, Part] = {"relu": functional.relu, "gelu": functional.gelu}
    if name not in known:
        raise CapabilityMissing("this activation is not read", got=name, hint=f"one of {', '.join(known)}")
    return known[name]


def _sines(height: int, width: int, channels: int) -> Tensor:
    """(H * W, 1, W) sines and cosines of rows, then of columns; both begin above zero and end at 2 pi."""
    half = channels // 2
    pitch = 10_000 ** (2 * (torch.arange(half, dtype=torch.float32) // 2) / half)

    def waves(count: int) -> Tensor:
        line = torch.arange(1, count + 1, dtype=torch.float32)
        angle = (line / (line[-1] + 1e-6) * (2 * math.pi))[:, None] / pitch
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)

    rows, columns = waves(height)[:, None].expand(-1, width, -1), waves(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)[:, None]
