"""Diffusion Policy as LeRobot trains it: the same arithmetic and the same names of tensors, for acting alone.

Source: lerobot's policy ``diffusion`` (Apache-2.0), versions 0.4.4 and 0.6.2; Chi et al. 2023, arXiv 2303.04137; DDPM
and DDIM as diffusers computes them with "leading" steps. Chance is drawn in the order in which lerobot draws it, so
that a seed gives the same actions.

Shape legend: B batch, N rows of history, T steps of the trajectory, A action channels, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.control.policies import _resnet
from worldgate.core.errors import CapabilityMissing

STATE, ENVIRONMENT = "observation.state", "observation.environment_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig:
    """Those of LeRobot's keys that shape what it does when it acts."""

    n_obs_steps: int = 2
    horizon: int = 16
    n_action_steps: int = 8
    vision_backbone: str = "resnet18"
    resize_shape: tuple[int, int] | None = None
    crop_shape: tuple[int, int] | None = None
    use_group_norm: bool = True
    spatial_softmax_num_keypoints: int = 32
    use_separate_rgb_encoder_per_camera: bool = False
    down_dims: tuple[int, ...] = (512, 1024, 2048)
    kernel_size: int = 5
    n_groups: int = 8
    diffusion_step_embed_dim: int = 128
    use_film_scale_modulation: bool = True
    noise_scheduler_type: str = "DDPM"
    num_train_timesteps: int = 100
    beta_schedule: str = "squaredcos_cap_v2"
    beta_start: float = 0.0001
    beta_end: float = 0.02
    prediction_type: str = "epsilon"
    clip_sample: bool = True
    clip_sample_range: float = 1.0
    num_inference_steps: int | None = None


class _Pool(nn.Module):
    """Where in a picture each channel lies on the whole: spatial softmax."""

    pos_grid: Tensor

    def __init__(self, height: int, width: int, points: int) -> None:
        super().__init__()
        self.nets = nn.Conv2d(_resnet.WIDTH, points, 1)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("pos_grid", torch.stack([columns.flatten(), rows.flatten()], dim=1))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        out: Tensor = functional.softmax(self.nets(map_BCHW).flatten(2), dim=-1) @ self.pos_grid
        return out.flatten(1)


class _Encoder(nn.Module):
    def __init__(self, config: DiffusionConfig, height: int, width: int) -> None:
        super().__init__()
        if config.resize_shape is not None:
            raise CapabilityMissing("pictures that are resized by the policy are not read", got=config.resize_shape)
        self.crop = config.crop_shape
        norm = _resnet.grouped if config.use_group_norm else nn.BatchNorm2d
        self.backbone = _resnet.body(config.vision_backbone, norm, numbered=True)
        height, width = self.crop or (height, width)
        points = config.spatial_softmax_num_keypoints
        self.pool = _Pool(math.ceil(height / 32), math.ceil(width / 32), points)
        self.out = nn.Linear(2 * points, 2 * points)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 2 * points); the middle of the picture is looked at."""
        if self.crop is not None:
            top, left = (round((side - crop) / 2) for side, crop in zip(x_BCHW.shape[2:], self.crop, strict=True))
            x_BCHW = x_BCHW[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        out: Tensor = functional.relu(self.out(self.pool(self.backbone(x_BCHW))))
        return out


class _Block(nn.Module):
    def __init__(self, before: int, after: int, config: DiffusionConfig) -> None:
        super().__init__()
        size = config.kernel_size
        self.block = nn.Sequential(
            nn.Conv1d(before, after, size, padding=size // 2), nn.GroupNorm(config.n_groups, after), nn.Mish()
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        out: Tensor = self.block(x_BCT)
        return out


class _Residual(nn.Module):
    """Two convolutions over time, the first followed by what is seen: a shift, and a scale where asked."""

    def __init__(self, before: int, after: int, seen: int, config: DiffusionConfig) -> None:
        super().__init__()
        self.scales = config.use_film_scale_modulation
        self.conv1, self.conv2 = _Block(before, after, config), _Block(after, after, config)
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(seen, after * (2 if self.scales else 1)))
        self.residual_conv = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x_BCT: Tensor, seen_BC: Tensor) -> Tensor:
        out, told = self.conv1(x_BCT), self.cond_encoder(seen_BC)[..., None]
        if self.scales:
            scale, told = told.tensor_split(2, dim=1)
            out = scale * out
        done: Tensor = self.conv2(out + told) + self.residual_conv(x_BCT)
        return done


class _Sines(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = width // 2

    def forward(self, step_B: Tensor) -> Tensor:
        pitch = torch.exp(torch.arange(self.pairs) * (-math.log(10_000) / (self.pairs - 1)))
        angle = step_B[:, None] * pitch
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class _Unet(nn.Module):
    def __init__(self, config: DiffusionConfig, seen: int, action: int) -> None:
        super().__init__()
        width, dims = config.diffusion_step_embed_dim, config.down_dims
        self.diffusion_step_encoder = nn.Sequential(
            _Sines(width), nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width)
        )
        seen += width

        def two(before: int, after: int, last: nn.Module) -> nn.ModuleList:
            return nn.ModuleList([_Residual(before, after, seen, config), _Residual(after, after, seen, config), last])

        steps = list(zip((action, *dims[:-1]), dims, strict=True))
        self.down_modules = nn.ModuleList(
            two(a, b, nn.Conv1d(b, b, 3, 2, 1) if k < len(steps) - 1 else nn.Identity())
            for k, (a, b) in enumerate(steps)
        )
        self.mid_modules = nn.ModuleList(_Residual(dims[-1], dims[-1], seen, config) for _ in range(2))
        self.up_modules = nn.ModuleList(
            two(2 * b, a, nn.ConvTranspose1d(a, a, 4, 2, 1)) for a, b in reversed(steps[1:])
        )
        self.final_conv = nn.Sequential(_Block(dims[0], dims[0], config), nn.Conv1d(dims[0], action, 1))

    def forward(self, x_BTA: Tensor, step_B: Tensor, seen_BC: Tensor) -> Tensor:
        """(B, T, A): what the network says of the noise."""
        seen, x = torch.cat([self.diffusion_step_encoder(step_B), seen_BC], dim=-1), x_BTA.transpose(1, 2)
        kept = []
        for part in self.down_modules:
            assert isinstance(part, nn.ModuleList)
            x = part[1](part[0](x, seen), seen)
            kept.append(x)
            x = part[2](x)
        for middle in self.mid_modules:
            x = middle(x, seen)
        for part in self.up_modules:
            assert isinstance(part, nn.ModuleList)
            x = part[2](part[1](part[0](torch.cat([x, kept.pop()], dim=1), seen), seen))
        out: Tensor = self.final_conv(x).transpose(1, 2)
        return out


class _Model(nn.Module):
    def __init__(
        self,
        config: DiffusionConfig,
        vectors: dict[str, int],
        cameras: Sequence[str],
        size: tuple[int, int],
        action: int,
    ) -> None:
        super().__init__()
        width = sum(vectors.values())
        if cameras:
            apart = config.use_separate_rgb_encoder_per_camera
            eyes = [_Encoder(config, *size) for _ in range(len(cameras) if apart else 1)]
            self.rgb_encoder: nn.Module = nn.ModuleList(eyes) if apart else eyes[0]
            width += 2 * config.spatial_softmax_num_keypoints * len(cameras)
        self.unet = _Unet(config, width * config.n_obs_steps, action)


class Diffusion(nn.Module):
    """Weights of a LeRobot Diffusion checkpoint; tensors begin with ``diffusion.``, as in its files."""

    ignored: tuple[str, ...] = ()
    """No tensor only served to learn."""

    def __init__(
        self,
        config: DiffusionConfig,
        vectors: dict[str, int],
        cameras: Sequence[str],
        size: tuple[int, int],
        action: int,
    ) -> None:
        super().__init__()
        if STATE not in vectors or not set(vectors) <= {STATE, ENVIRONMENT}:
            raise CapabilityMissing(
                "Diffusion reads these vectors", got=sorted(vectors), hint=f"{STATE}, {ENVIRONMENT}"
            )
        self.config, self.vectors, self.cameras, self.action = config, vectors, tuple(cameras), action
        self.diffusion = _Model(config, vectors, cameras, size, action)
        self.kept_T = _kept(config)

    def sample(self, seen: dict[str, Tensor], random: torch.Generator) -> Tensor:
        """(B, K, A) from now on; numbers come as (B, N, D), pictures as (B, N, 3, H, W)."""
        config = self.config
        seen_BC = self._seen(seen)
        x = torch.randn(len(seen_BC), config.horizon, self.action, generator=random)
        count = config.num_inference_steps or config.num_train_timesteps
        ratio = config.num_train_timesteps // count
        for step in range((count - 1) * ratio, -1, -ratio):
            told = self.diffusion.unet(x, torch.full((len(x),), step), seen_BC)
            x = self._stepped(told, x, step, step - ratio, random)
        return x[:, config.n_obs_steps - 1 :]

    def _seen(self, seen: dict[str, Tensor]) -> Tensor:
        """(B, C): the state, the pictures, the environment's state, row by row of the history."""
        parts = [seen[STATE]]
        shape = parts[0].shape[:2]
        encoder = getattr(self.diffusion, "rgb_encoder", None)
        for number, camera in enumerate(self.cameras):
            eye = encoder[number] if isinstance(encoder, nn.ModuleList) else encoder
            assert eye is not None
            parts.append(eye(seen[camera].flatten(0, 1)).unflatten(0, shape))
        if ENVIRONMENT in self.vectors:
            parts.append(seen[ENVIRONMENT])
        return torch.cat(parts, dim=-1).flatten(1)

    def _stepped(self, told: Tensor, x: Tensor, step: int, after: int, random: torch.Generator) -> Tensor:
        """One step of DDPM or DDIM."""
        config, one = self.config, torch.ones(())
        kept, next_kept = self.kept_T[step], self.kept_T[after] if after >= 0 else one
        clean = (x - (1 - kept).sqrt() * told) / kept.sqrt() if config.prediction_type == "epsilon" else told
        if config.clip_sample:
            clean = clean.clamp(-config.clip_sample_range, config.clip_sample_range)
        if config.noise_scheduler_type == "DDIM":
            noise = told if config.prediction_type == "epsilon" else (x - kept.sqrt() * told) / (1 - kept).sqrt()
            return next_kept.sqrt() * clean + (1 - next_kept).sqrt() * noise
        share = 1 - kept / next_kept
        mean = next_kept.sqrt() * share / (1 - kept) * clean
        mean = mean + (kept / next_kept).sqrt() * (1 - next_kept) / (1 - kept) * x
        if not step:
            return mean
        spread = ((1 - next_kept) / (1 - kept) * share).clamp_min(1e-20).sqrt()
        return mean + spread * torch.randn(x.shape, generator=random)


def _kept(config: DiffusionConfig) -> Tensor:
    """(T,) share of the signal's variance that is left at each step of training.

    Raises:
        CapabilityMissing: another schedule, sampler or target.
    """
    count = config.num_train_timesteps
    if config.noise_scheduler_type not in {"DDPM", "DDIM"} or config.prediction_type not in {"epsilon", "sample"}:
        got = f"{config.noise_scheduler_type}, {config.prediction_type}"
        raise CapabilityMissing("this sampler is not read", got=got, hint="DDPM or DDIM; epsilon or sample")
    if config.beta_schedule == "squaredcos_cap_v2":

        def cosine(share: float) -> float:
            return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

        lost = torch.tensor([min(1 - cosine((k + 1) / count) / cosine(k / count), 0.999) for k in range(count)])
    elif config.beta_schedule == "linear":
        lost = torch.linspace(config.beta_start, config.beta_end, count)
    else:
        raise CapabilityMissing("this schedule is not read", got=config.beta_schedule, hint="squaredcos_cap_v2, linear")
    return torch.cumprod(1 - lost, dim=0)
