"""Looking ahead in latents: the cost of a plan is how far its predicted latents are from the goal's.

Distances are means of squares over the latents that the goal shows, as a share of the distance now.

Shape legend: M members, N plans, K knots, L rows ahead, D latent, A action channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldgate.control.lookahead import CostConfig, Seen, held
from worldgate.control.lookahead.history import prompt_of
from worldgate.control.lookahead.terms import Term, penalty, require
from worldgate.control.planners import Space
from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import ModelSpec, Observation
from worldgate.worlds.devices import home, sent
from worldgate.worlds.latents import Aim, Latent

_NEAR = 1e-3
"""Distances below this share of a latent's variance count as this: at the goal nothing is far."""

_LIKELY = 0.5
"""Probability from which on a goal counts as reached in time."""


class LatentLookahead:
    """Fulfils :class:`worldgate.control.lookahead.Lookahead`.

    Args:
        model: latents to plan in.
        spec: of the same model.
        low: (A,) least action.
        high: (A,) greatest.
    """

    def __init__(self, model: Latent, spec: ModelSpec, low: Sequence[float], high: Sequence[float]) -> None:
        assert spec.action is not None
        self.model, self.spec, self.rows, self.action = model, spec, spec.context, spec.action.name
        self.low_A, self.high_A = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._aim: Aim | None = None
        self._held: tuple[Seen, Tensor] | None = None

    @property
    def goal(self) -> Aim:
        """The goal in force."""
        if self._aim is None:
            raise UsageError("where to? aim at a goal first", hint="PlanningPolicy.aim(goal, steps=…)")
        return self._aim

    def aim(self, goal: Observation) -> None:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        self._aim = self.model.aim(goal)

    def scorer(self, seen: Seen, *, ahead: int, left: int, costs: CostConfig, terms: Sequence[Term]) -> LatentScorer:
        """See :class:`worldgate.control.lookahead.Lookahead`."""
        if terms:
            told = (*self.spec.states, *self.spec.reads) if self.model.tells else ()
            require(terms, told, f"this {self.spec.family} model")
        space = Space(knots=ahead // costs.hold, low_A=self.low_A, high_A=self.high_A)
        return LatentScorer(self.model, self._now(seen), self.goal, space, left, costs, terms)

    @torch.inference_mode()
    def warm(self, seen: Seen, left: int) -> FloatArray | None:
        """Inverse dynamics, where the model learned it and the goal shows all that it learned from."""
        if not self.model.points or not bool(self.goal.weight_D.all()):
            return None
        now_1D = self._now(seen)[-1:]
        rows = torch.tensor([self._soonest(now_1D, left)], device=now_1D.device)
        actions = home(self.model.toward(now_1D, self.goal.latent_D[None], rows)[0]).astype(np.float64)
        return np.clip(actions, self.low_A, self.high_A)

    def _soonest(self, now_1D: Tensor, left: int) -> int:
        """Rows in which the goal is more likely reached than not; inverse dynamics told of all that is left dawdles."""
        if not self.model.reaches:
            return left
        within = torch.arange(1, left + 1, device=now_1D.device)
        now_XD, goal_XD = now_1D.expand(left, -1), self.goal.latent_D.expand(left, -1)
        likely = torch.nonzero(self.model.reachable(now_XD, goal_XD, within) >= _LIKELY)
        return int(within[likely[0]]) if len(likely) else left

    @torch.inference_mode()
    def reachable(self, seen: Seen, left: int) -> float | None:
        """The model's own estimate, where it learned one and the goal shows all that it learned from."""
        if not self.model.reaches or not bool(self.goal.weight_D.all()):
            return None
        now_1D = self._now(seen)[-1:]
        rows = torch.tensor([left], device=now_1D.device)
        return float(self.model.reachable(now_1D, self.goal.latent_D[None], rows)[0])

    def _now(self, seen: Seen) -> Tensor:
        """(H, D) latents of what is seen, encoded once a plan: warm start, reachability and costs all begin there."""
        if self._held is None or self._held[0] is not seen:
            # An ordinary tensor even where the caller is in inference mode, for planners that follow slopes.
            with torch.inference_mode(False):
                self._held = seen, self.model.perceive(prompt_of(self.spec, seen))
        return self._held[1]


class LatentScorer:
    """Fulfils :class:`worldgate.control.planners.Sloped`."""

    def __init__(
        self, model: Latent, known_HD: Tensor, aim: Aim, space: Space, left: int, config: CostConfig,
        terms: Sequence[Term],
    ) -> None:  # fmt: skip
        if config.reach and not model.reaches:
            hint = "train with net.reach = true, or cost.reach = 0"
            raise CapabilityMissing("this model learned no reachability", got=f"cost.reach = {config.reach}", hint=hint)
        if config.uncertainty and model.members == 1:
            hint = "train with net.members = 3, or cost.uncertainty = 0"
            got = f"cost.uncertainty = {config.uncertainty}"
            raise CapabilityMissing("one member alone tells no uncertainty", got=got, hint=hint)
        self.model, self.known_HD, self.aim, self.space, self.left = model, known_HD, aim, space, left
        self.config, self.terms = config, terms
        self.rows = [config.hold * (k + 1) - 1 for k in range(space.knots)]
        self.scale = self._apart(known_HD[-1]).clamp(min=_NEAR)

    def costs(self, plans_NKA: FloatArray) -> FloatArray:
        """(N,)."""
        with torch.inference_mode():
            actions = sent(held(plans_NKA, self.config.hold), self.known_HD.device)
            latents_MNKD = self.model.foresee(self.known_HD, actions, self.rows)
            out = home(self._costs(latents_MNKD)).astype(np.float64)
            if self.terms:
                read = self.model.read(latents_MNKD.mean(dim=0))
                out += penalty(self.terms, {name: home(values) for name, values in read.items()}, len(out))
        return out

    def slopes(self, plans_NKA: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N,) costs and (N, K, A) slopes.

        Raises:
            CapabilityMissing: constraints, which tell no slopes.
        """
        if self.terms:
            got = type(self.terms[0]).__name__
            raise CapabilityMissing("constraints tell no slopes", got=got, hint="plan with cem, icem, mppi or shooting")
        plans = sent(np.asarray(plans_NKA, np.float32), self.known_HD.device).requires_grad_(True)
        with torch.enable_grad():
            rows = plans.repeat_interleave(self.config.hold, dim=1)
            costs = self._costs(self.model.foresee(self.known_HD, rows, self.rows))
            (slopes,) = torch.autograd.grad(costs.sum(), plans)
        return home(costs.detach()).astype(np.float64), home(slopes).astype(np.float64)

    def _apart(self, latents_XD: Tensor) -> Tensor:
        weight_D = self.aim.weight_D
        return ((latents_XD - self.aim.latent_D).square() * weight_D).sum(dim=-1) / weight_D.sum()

    def _costs(self, latents_MNKD: Tensor) -> Tensor:
        config, mean_NKD = self.config, latents_MNKD.mean(dim=0)
        apart_NK = self._apart(mean_NKD) / self.scale
        out = config.path * apart_NK.mean(dim=1) + config.final * apart_NK[:, -1]
        if config.uncertainty:
            spread_NK = (latents_MNKD.var(dim=0) * self.aim.weight_D).sum(dim=-1) / self.aim.weight_D.sum()
            out = out + config.uncertainty * spread_NK.mean(dim=1) / self.scale
        if config.reach:
            last_ND = mean_NKD[:, -1]
            left_N = torch.full((len(last_ND),), max(1, self.left - self.rows[-1] - 1), device=last_ND.device)
            goal_ND = self.aim.latent_D.expand_as(last_ND)
            out = out + config.reach * (1 - self.model.reachable(last_ND, goal_ND, left_N))
        return out
