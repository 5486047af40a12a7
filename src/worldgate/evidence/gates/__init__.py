"""Checks of the two gates: pure functions of recorded evidence, one file each.

Every module holds ``CARD``, ``GATE`` (``admission`` or ``promotion``), a frozen ``Config`` of plain JSON values and
``check(config, evidence) -> tuple[CheckResult, ...]``. A check never passes on what is missing, zero or not finite; the
``detail`` of an inconclusive result says what is still needed. A module with ``ADVISES = True`` can block but not
promote: no policy may rest on such checks alone.
"""
