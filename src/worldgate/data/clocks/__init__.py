"""Clocks: models of sensor clocks in fixed numbers, and how such numbers are estimated from a log."""
