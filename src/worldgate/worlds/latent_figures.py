"""How good latents are on held-out clips: each error beside that of doing nothing.

Shape legend: N samples, K rows ahead, D latent, M members, C rows of an action chunk, A action channels.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from worldgate.core.streams import BoolArray, FloatArray
from worldgate.worlds.devices import home

_TINY = 1e-12


class Tally:
    """Collects batches; :meth:`figures` sums them up."""

    def __init__(self) -> None:
        self._held: dict[str, list[FloatArray]] = {}

    def _add(self, name: str, values: Tensor) -> None:
        self._held.setdefault(name, []).append(home(values.double().flatten()))

    def predicted(self, ours_MNKD: Tensor, wrong_MNKD: Tensor, now_N1D: Tensor, ahead_NKD: Tensor) -> None:
        """Latents under the actions that were taken and under other clips' actions."""
        ours = ours_MNKD.mean(dim=0)
        self._add("error", (ours - ahead_NKD).square().mean(dim=-1))
        self._add("wrong", (wrong_MNKD.mean(dim=0) - ahead_NKD).square().mean(dim=-1))
        self._add("copy", (now_N1D - ahead_NKD).square().mean(dim=-1))
        self._add("last_error", (ours - ahead_NKD)[:, -1].square().mean(dim=-1))
        self._add("last_copy", (now_N1D - ahead_NKD)[:, -1].square().mean(dim=-1))
        if len(ours_MNKD) > 1:
            self._add("spread", ours_MNKD.var(dim=0).mean(dim=-1))

    def acted(self, said_NCA: Tensor, truth_NCA: Tensor, left_N: Tensor) -> None:
        """Standardised next actions towards hindsight goals; their spread is the error of always giving the mean."""
        self._add("action_error", (said_NCA - truth_NCA)[left_N > 0, 0].square())
        self._add("action_spread", truth_NCA[left_N > 0, 0].square())

    def reached(self, logit_N: Tensor, left_N: Tensor, limit_N: Tensor) -> None:
        """Whether hindsight goals lie within limits."""
        ahead = left_N > 0
        self._add("reach", logit_N[ahead])
        self._add("within", (left_N <= limit_N)[ahead].float())

    def told(self, stream: str, apart_NC: Tensor) -> None:
        """Errors of numbers read out, in their spread in training."""
        self._add(f"told {stream}", apart_NC[torch.isfinite(apart_NC)].square())

    def figures(self) -> dict[str, float]:
        """Ratios below 1 are better than doing nothing; ``skill`` above 0."""
        held = {name: np.concatenate(parts) for name, parts in self._held.items()}
        mean = {name: float(values.mean()) if len(values) else float("nan") for name, values in held.items()}
        out = {
            "latent_skill_over_copy_last": 1 - _share(mean["error"], mean["copy"]),
            "latent_skill_over_copy_last_at_the_end": 1 - _share(mean["last_error"], mean["last_copy"]),
            "latent_action_sensitivity": _share(mean["wrong"], mean["error"]),
        }
        if "spread" in held:
            out["disagreement_follows_error_rank_correlation"] = float(spearmanr(held["spread"], held["error"])[0])
        if "action_error" in held:
            out["inverse_dynamics_skill_over_mean_action"] = 1 - _share(mean["action_error"], mean["action_spread"])
        if "reach" in held:
            out["reachability_auc"] = _auc(held["reach"], held["within"] > 0)
        for name, value in mean.items():
            if name.startswith("told "):
                out[f"probe_skill_over_mean/{name.removeprefix('told ')}"] = 1 - value
        return out


def _share(part: float, whole: float) -> float:
    """Nothing of nothing is all of it."""
    return (part + _TINY) / (whole + _TINY)


def _auc(score: FloatArray, positive: BoolArray) -> float:
    """Area under the receiver operating characteristic: Mann and Whitney's U."""
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return float("nan")
    return float((rankdata(score)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))
