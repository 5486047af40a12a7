"""Metrics of a prediction against what really happened: pure functions on arrays, one file each.

Every module holds ``CARD``, ``UNIT`` (empty: the signal's own), ``BETTER`` (``lower`` or ``higher``) and
``measure(predicted_K, real_K, last) -> Measured``. ``last`` is the last known row, the same for everyone who is
measured.
"""
