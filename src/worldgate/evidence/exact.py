"""Numbers that everyone recomputes to the same digit: rational parameters and bounds rounded outward.

A bound enters a decision as text with at most twelve significant digits, rounded away from the claim it supports: a
lower bound down, an upper bound up. Rounding is that of the decimal module on exact operands, so a second program in
another language or library version writes the same text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from worldgate.core.errors import UsageError

DIGITS = 12
"""Significant digits of a recorded bound."""

Number: TypeAlias = Fraction | Decimal | int | float | str
Direction: TypeAlias = Literal["down", "up"]


def ratio(value: Number) -> Fraction:
    """The exact rational that a person meant: ``0.05`` is 1/20, not the nearest binary fraction.

    Raises:
        UsageError: not a finite number.
    """
    try:
        return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise UsageError("not a finite number", got=repr(value)) from error


def probability(value: Number, name: str) -> Fraction:
    """An exact probability strictly between 0 and 1.

    Raises:
        UsageError: outside (0, 1).
    """
    out = ratio(value)
    if not 0 < out < 1:
        raise UsageError(f"{name} must lie strictly between 0 and 1", got=str(value))
    return out


def rounded(value: Fraction | float, direction: Direction) -> Decimal:
    """``value`` to twelve significant digits, towards minus infinity (``down``) or plus infinity (``up``)."""
    exact = Fraction(value)
    context = Context(prec=DIGITS, rounding=ROUND_FLOOR if direction == "down" else ROUND_CEILING)
    return context.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def text(value: Decimal) -> str:
    """A decimal in positional notation without trailing zeros: ``0.861``, ``-1.5``, ``0``."""
    plain = format(value, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in {"-0", ""} else plain


def outward(value: Fraction | float, direction: Direction) -> str:
    """``value`` rounded outward to twelve significant digits, as text.

    A float stands for the exact binary fraction it holds.

    Raises:
        UsageError: NaN or infinity, which are no bounds.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError("a bound must be finite", got=value)
    return text(rounded(value, direction))


def step(value: Decimal) -> Decimal:
    """The unit in the last of twelve significant digits of ``value``."""
    exponent = value.adjusted() if value else 0
    return Decimal((0, (1,), exponent - DIGITS + 1))


def largest(guess: float, holds: Callable[[Fraction], bool]) -> Decimal:
    """The largest twelve-digit decimal in [0, 1] for which a decreasing property holds, from a guess nearby."""
    at = rounded(min(max(guess, 0.0), 1.0), "down")
    while at > 0 and not holds(Fraction(at)):
        at = max(at - step(at), Decimal(0))
    while at < 1 and holds(Fraction(at + step(at))):
        at += step(at)
    return at


def percent(value: Number) -> str:
    """A share for people: ``"0.05"`` as ``5 %``."""
    exact = ratio(value) * 100
    return f"{text(Context(prec=DIGITS).divide(Decimal(exact.numerator), Decimal(exact.denominator)))} %"


def shown(value: float) -> str:
    """An estimate for people: six significant digits."""
    return f"{value:.6g}"
