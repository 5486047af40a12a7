"""Metrics of a prediction against what really happened, one file each, behind one of two forms.

The plain form, which gaps use too: ``CARD``, ``UNIT`` (empty: the signal's own), ``BETTER`` (``lower`` or ``higher``)
and ``measure(predicted_K, real_K, last) -> Measured``, a pure function on the arrays of one window. ``last`` is the
last known row, the same for everyone who is measured.

The full form, for what needs several futures, actions, a read-out or all windows together: ``CARD`` and
``build(setup) -> Measure`` (:mod:`worldgate.evidence.evaluation.measures`), which raises ``NotMeasured`` with the
reason where a model or dataset lacks what it needs. It names its figures with unit, direction and reduction.
"""
