"""How much better than standing still: errors of imagined pictures where they move, and of states, by horizon.

Shape legend: N windows, K steps, V cameras, P pixels a side, D state channels.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from worldgate.evidence.moving import THRESHOLD

MOVING = THRESHOLD / 255
"""Difference in some colour, of the full intensity, from which a pixel counts as changed: as the gap counts it."""


def pictures(ours: Tensor, wrong: Tensor, now: Tensor, real: Tensor, horizons: Mapping[str, int]) -> dict[str, float]:
    """Skill over copy-last and action sensitivity, where pictures have changed since now.

    Args:
        ours: (N, K, V, P, P, 3) imagined, intensities from 0 to 1.
        wrong: the same under actions of other windows.
        now: (N, V, P, P, 3) the last known pictures.
        real: what came.
        horizons: name -> step, from 1.
    """
    still = now.unsqueeze(1)
    region = ((real - still).abs().amax(dim=-1, keepdim=True) > MOVING).cummax(dim=1).values
    copy, mine, other = (_error(shown, real, region) for shown in (still, ours, wrong))
    out: dict[str, float] = {}
    for tag, k in horizons.items():
        out[f"video_skill_over_copy_last_{tag}"] = float(1 - mine[k - 1] / copy[k - 1])
        out[f"video_action_sensitivity_{tag}"] = float(other[k - 1] / mine[k - 1])
    return out


def _error(shown: Tensor, true: Tensor, region: Tensor) -> Tensor:
    """(K,) mean squared error over the region."""
    axes = (0, *range(2, true.ndim))
    square = ((shown - true).square() * region).sum(dim=axes) / true.shape[-1]
    return square / region.sum(dim=axes).clamp(min=1) + 1e-12


def states(ours: Tensor, wrong: Tensor, now: Tensor, real: Tensor, horizons: Mapping[str, int]) -> dict[str, float]:
    """Skill over hold-last and action sensitivity of entries of unit spread, (N, K, D); ``now`` is (N, D)."""
    copy, mine, other = ((shown - real).square().mean(dim=(0, 2)) + 1e-12 for shown in (now.unsqueeze(1), ours, wrong))
    out: dict[str, float] = {}
    for tag, k in horizons.items():
        out[f"skill_over_hold_last_{tag}"] = float(1 - mine[k - 1] / copy[k - 1])
        out[f"action_sensitivity_{tag}"] = float(other[k - 1] / mine[k - 1])
    return out
