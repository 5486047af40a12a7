"""Oracles: each file judges one thing about a run, from what the site measured and never from what the policy claims.

A module has ``KIND`` (``success``, ``envelope``, ``progress`` or ``time``), a frozen ``Config`` of plain values,
``judge(config, run) -> Judged`` and ``reads(config)``, the signals it needs. One of an envelope has ``limit(config)``,
what its extreme is held against; one that gives another figure names it in ``METRIC``. It is pure. An oracle whose
input is missing, NaN, or in another unit or frame says "not measured"; none says "met" on less than the whole run.
"""
