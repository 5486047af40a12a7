"""What a tokenizer keeps and what it costs: distortion of each modality at a rate in bits a frame.

PSNR is of all pixels of all clips together; SSIM as :mod:`worldgate.evidence.metrics.video_ssim`; AbsRel is the mean
of ``|predicted - true| / true`` where both have a return; mIoU the mean over classes that occur. Codebook use counts
the codes that occur, perplexity is the exponential of their entropy. Continuous values have no rate of their own: they
get one by rounding each to a few levels.

Shape legend: N clips, T frames, Z latents in time, P places, C channels, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from worldgate.core.streams import Array, ByteArray, FloatArray, Kind
from worldgate.evidence.metrics.video_ssim import measure as ssim
from worldgate.worlds.devices import home
from worldgate.worlds.nn.bottlenecks import Fsq, Gaussian, rounded
from worldgate.worlds.tokenizers._video import VideoTokenizer

_LEVELS = 8
_REACH_OF_DRAWS = 3.0


@torch.no_grad()
def figures(
    tokenizer: VideoTokenizer,
    clips: Mapping[str, Tensor],
    against: Mapping[str, Tensor] | None,
    baseline: Mapping[str, Tensor],
    *,
    levels: int = _LEVELS,
) -> dict[str, float]:
    """Figures of every camera, ``figure/camera`` each.

    Args:
        tokenizer: set to evaluation.
        clips: raw, camera -> (N, T, S, S, ...).
        against: contexts, where the tokenizer wants them.
        baseline: camera -> (N, S, S, ...): what showing no frame at all would give, such as the empty scene.
        levels: that continuous values are rounded to.
    """
    values = tokenizer.encode(clips, against)
    shown, bits = decoded_at_rate(tokenizer, values, against, levels=levels)
    out: dict[str, float] = {}
    for camera, held in values.items():
        squeeze = tokenizer.part(camera).squeeze
        if isinstance(squeeze, Fsq):
            used = codebook(squeeze.codes(held).cpu(), squeeze.size)
            out |= {f"{name}/{camera}": value for name, value in used.items()}
        out[f"bits_per_frame/{camera}"] = bits[camera] * held.shape[1] / clips[camera].shape[1]
        kind, true = tokenizer.kind(camera), clips[camera]
        plain = baseline[camera].unsqueeze(1).expand_as(true)
        for name, value in distortion(kind, home(shown[camera]), home(true)).items():
            out[f"{name}/{camera}"] = value
        for name, value in distortion(kind, home(plain), home(true)).items():
            out[f"{name}_of_baseline/{camera}"] = value
    return out


def decoded_at_rate(
    tokenizer: VideoTokenizer,
    values: Mapping[str, Tensor],
    against: Mapping[str, Tensor] | None,
    *,
    levels: int = _LEVELS,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What is left of values (N, Z, P, C) at a rate, and that rate: camera -> bits of the P places of one latent.

    Codes have their own rate; continuous values are rounded to ``levels`` each.
    """
    sent, bits = {}, {}
    for camera, held in values.items():
        squeeze = tokenizer.part(camera).squeeze
        if isinstance(squeeze, Fsq):
            sent[camera], place = held, squeeze.bits
        else:
            reach = _REACH_OF_DRAWS if isinstance(squeeze, Gaussian) else 1.0
            sent[camera], place = rounded(held, levels, reach), held.shape[-1] * math.log2(levels)
        bits[camera] = held.shape[2] * place
    return tokenizer.decode(sent, against), bits


def distortion(kind: Kind, shown: Array, true: Array) -> dict[str, float]:
    """Of raw pictures (N, T, S, S, ...), by what their kind is measured in."""
    if kind is Kind.DEPTH:
        return {"abs_rel": _abs_rel(shown, true), "valid_iou": _iou(shown > 0, true > 0)}
    if kind is Kind.SEGMENTATION:
        return {"miou": float(np.mean([_iou(shown == i, true == i) for i in np.unique(true)]))}
    square = float(((shown.astype(np.float64) - true) ** 2).mean())
    return {"psnr": 10 * math.log10(255**2 / max(square, 1e-9)), "ssim": float(similarity(shown, true).mean())}


def similarity(shown: ByteArray, true: ByteArray) -> FloatArray:
    """Structural similarity of every picture: (N, T, S, S, 3) to (N * T,)."""
    shown, true = (part.reshape(-1, *part.shape[2:]) for part in (shown, true))
    return ssim(shown, true, true[0]).error


def codebook(codes: Tensor, size: int) -> dict[str, float]:
    """How many codes occur, as a share, and the perplexity of their frequencies."""
    share = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    held = share[share > 0]
    return {"codes_used": len(held) / size, "perplexity": float((-(held * held.log()).sum()).exp())}


def _abs_rel(shown: Array, true: Array) -> float:
    both = (shown > 0) & (true > 0)
    return float((np.abs(shown - true)[both] / true[both]).mean()) if both.any() else float("nan")


def _iou(shown: Array, true: Array) -> float:
    either = np.logical_or(shown, true).sum()
    return float(np.logical_and(shown, true).sum() / either) if either else 1.0
