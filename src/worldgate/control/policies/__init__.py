"""Policies by the name that a release carries; each file builds one from the release and its verified weights.

A policy acts on normalised observations through the release's own statistics, so what was measured at a gate is what
runs. The seam: ``build(release, weights) -> Policy``; acting needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from worldgate.control.policies._release import Fitted as Fitted
from worldgate.control.policies._release import goals_of as goals_of
from worldgate.core import seams
from worldgate.core.digest import short
from worldgate.core.errors import DataRefused, WeightsRefused
from worldgate.core.worlds import Policy
from worldgate.fleet.releases import Release


class Store(Protocol):
    """Where the weights lie; ``get`` verifies the digest."""

    def get(self, digest: str) -> bytes: ...


class PolicyModule(Protocol):
    """One file of this seam."""

    def build(self, release: Release, weights: Mapping[str, bytes]) -> Policy:
        """Build the policy that a release describes.

        Args:
            release: the executable identity.
            weights: file name -> bytes of a safetensors file, verified against the release.

        Raises:
            WeightsRefused: not safetensors, or tensors that do not fit the release.
        """
        ...


def load(release: Release, store: Store) -> Policy:
    """Build a release's policy from the store.

    Raises:
        NotFound: no policy of this name, or weights that are gone.
        Tampered: weights that are not the digest they are named by.
        WeightsRefused: weights that do not fit the release.
    """
    if not release.weights:
        raise WeightsRefused("a release without weights", got=release.policy)
    module = cast(PolicyModule, seams.load("policies", release.policy))
    return module.build(release, {name: store.get(digest) for name, digest in release.weights.items()})


def follows(policy: Policy) -> bool:
    """Whether it is told in words what to do: it takes words, and has no instruction of its own."""
    return hasattr(policy, "tell") and not getattr(policy, "own_instruction", "")


def admit(release: Release, *, rate_hz: float, normaliser: str = "") -> None:
    """Refuse to run a release otherwise than it says: at another rate, or on other statistics.

    Args:
        release: the executable identity.
        rate_hz: at which it is to act.
        normaliser: digest of the statistics that it is to run on; empty: its own.

    Raises:
        DataRefused: they are another machine's.
    """
    own = release.controller.rate_hz
    if abs(own - rate_hz) > 1e-6 * own:
        got, hint = f"{rate_hz:g} Hz", f"it is a release for {own:g} Hz; train one for this rate"
        raise DataRefused("another control rate than the release's", got=got, where=short(release.digest), hint=hint)
    if normaliser and normaliser != release.normaliser.digest:
        got, hint = (
            short(normaliser),
            f"its own are {short(release.normaliser.digest)}; other ones make another release",
        )
        raise DataRefused("other statistics than the release's", got=got, where=short(release.digest), hint=hint)
