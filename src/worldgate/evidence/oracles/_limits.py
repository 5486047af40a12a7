"""A limit must be a number that can be broken and be measured."""

from __future__ import annotations

import math

from worldgate.core.errors import ConfigError


def check_limit(oracle: str, limit: float, plausible: float) -> None:
    """Refuse a limit that says nothing.

    Raises:
        ConfigError: a limit that is negative, not finite, or at or beyond what is plausible.
    """
    if not math.isfinite(plausible) or not 0 <= limit < plausible:
        hint = "units stand in the names of the keys"
        got = f"{limit:g} of {plausible:g}"
        raise ConfigError("a limit lies between 0 and the largest plausible reading", got=got, where=oracle, hint=hint)
