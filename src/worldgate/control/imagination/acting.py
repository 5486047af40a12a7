"""An actor at work: observations filtered by a recurrent world model, one row at a time, in numpy alone.

It computes what :class:`worldgate.worlds.nn.rssm.Rssm` and the actor compute in torch; a test holds both equal. One row
takes a tenth of what torch needs, which is what makes collecting cheap.

Shape legend: D state channels, X channels once angles are two, A action channels, S variables of C classes, G blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from worldgate.core.errors import WeightsRefused
from worldgate.core.streams import Array, FloatArray

LEAST_STD, MOST_STD = 0.1, 1.0
_TINY = 1e-4


class Acting:
    """The recurrent state of one run.

    Args:
        tensors: of the encoder (``encoder.``), the dynamics (``rssm.``) and the actor (``actor.``).
        classes: C of each variable.
        uniform: share of uniform chances in what is drawn.
        turning: (D,) which channels are angles that wrap.

    Raises:
        WeightsRefused: a tensor is missing.
    """

    def __init__(
        self, tensors: Mapping[str, Array], *, classes: int, uniform: float, turning: tuple[bool, ...]
    ) -> None:
        self._tensors = {name: np.asarray(held, np.float32) for name, held in tensors.items()}
        self.classes, self.uniform, self._turning = classes, uniform, np.asarray(turning, bool)
        self.inputs = self._of("encoder.0.linear.weight").shape[1]
        self.actions = self._of("rssm.from_action.linear.weight").shape[1]
        self.reset(seed=0)

    def _of(self, name: str) -> FloatArray:
        if name not in self._tensors:
            raise WeightsRefused("a tensor is missing", got=name, hint="the weights of an actor trained in imagination")
        return self._tensors[name]

    def reset(self, *, seed: int) -> None:
        """Remember nothing."""
        self._rng = np.random.default_rng(seed)
        self._deter: FloatArray = np.zeros(self._of("rssm.mix_norm.scale_D").shape, np.float32)
        self._stoch: FloatArray = np.zeros(len(self._of("rssm.posterior_head.bias")), np.float32)
        self._action: FloatArray = np.zeros(self.actions, np.float32)

    def act(self, normalised_D: FloatArray, plain_D: FloatArray, *, explore: bool) -> FloatArray:
        """(A,) an action from -1 to 1.

        Args:
            normalised_D: what is seen now, by the normaliser.
            plain_D: the same in the streams' units, of which angles are read.
            explore: draw the action and the classes, instead of taking the likeliest.
        """
        squashed = np.sign(normalised_D) * np.log1p(np.abs(normalised_D))
        squashed = np.where(self._turning, np.sin(plain_D), squashed)
        seen = np.concatenate([squashed, np.cos(plain_D[self._turning])]).astype(np.float32)
        self._advance()
        hidden = self._linear("rssm.seen_deter", self._deter)
        hidden = hidden + self._of("rssm.seen.weight") @ self._mlp("encoder", seen)
        hidden = _silu(_norm(hidden, self._of("rssm.seen_norm.scale_D")))
        self._stoch = self._draw(self._linear("rssm.posterior_head", hidden), explore)
        said = self._mlp("actor.head", np.concatenate([self._deter, self._stoch]))
        mean, width = np.asarray(np.tanh(said[: self.actions])), said[self.actions :]
        action: FloatArray = mean
        if explore:
            std = LEAST_STD + (MOST_STD - LEAST_STD) * _sigmoid(width + 2)
            action = mean + std * self._rng.standard_normal(self.actions)
        self._action = np.asarray(np.clip(action, -1, 1), np.float32)
        return np.asarray(self._action, np.float64)

    def _advance(self) -> None:
        blocks, _, part = self._of("rssm.mix.weight_GIO").shape
        told = [
            self._layer("rssm.from_deter", self._deter),
            self._layer("rssm.from_stoch", self._stoch),
            self._layer("rssm.from_action", self._action),
        ]
        parts = self._deter.reshape(blocks, part)
        joined = np.concatenate([parts, np.broadcast_to(np.concatenate(told), (blocks, sum(map(len, told))))], axis=1)
        mixed_D = _silu(_norm(self._block("rssm.mix", joined).reshape(-1), self._of("rssm.mix_norm.scale_D")))
        reset, candidate, update = np.split(self._block("rssm.gates", mixed_D.reshape(blocks, part)), 3, axis=1)
        candidate = np.tanh(_sigmoid(reset) * candidate)
        share = _sigmoid(update - 1)
        self._deter = np.asarray(parts + share * (candidate - parts)).reshape(-1)

    def _draw(self, logits: FloatArray, explore: bool) -> FloatArray:
        rows = logits.reshape(-1, self.classes)
        if explore:
            raw = np.exp(rows - rows.max(axis=1, keepdims=True))
            chances = (1 - self.uniform) * raw / raw.sum(axis=1, keepdims=True) + self.uniform / self.classes
            rows = chances / self._rng.exponential(size=rows.shape)
        return np.asarray(np.eye(self.classes, dtype=np.float32)[rows.argmax(axis=1)]).reshape(-1)

    def _mlp(self, name: str, x: FloatArray) -> FloatArray:
        place = 0
        while f"{name}.{place}.linear.weight" in self._tensors:
            x, place = self._layer(f"{name}.{place}", x), place + 1
        return self._linear(f"{name}.{place}", x)

    def _layer(self, name: str, x: FloatArray) -> FloatArray:
        return _silu(_norm(self._linear(f"{name}.linear", x), self._of(f"{name}.norm.scale_D")))

    def _linear(self, name: str, x: FloatArray) -> FloatArray:
        return np.asarray(self._of(f"{name}.weight") @ x + self._of(f"{name}.bias"))

    def _block(self, name: str, x_GI: FloatArray) -> FloatArray:
        out = np.matmul(x_GI[:, None], self._of(f"{name}.weight_GIO"))[:, 0]
        return np.asarray(out + self._of(f"{name}.bias_GO"))


def _norm(x: FloatArray, scale: FloatArray) -> FloatArray:
    return np.asarray(x / math.sqrt(float(np.mean(x * x)) + _TINY) * scale)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _silu(x: FloatArray) -> FloatArray:
    return np.asarray(x * _sigmoid(x))
