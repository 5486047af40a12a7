"""What gates read and say: statistics, metrics, the gap to real telemetry, trials, checks, decisions, approvals.

This room sees arrays and the protocols of core, never a model: no gate can favour one.
"""
