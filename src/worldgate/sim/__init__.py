"""Controllable physics: a MuJoCo table-top cell, or a user's own model, recorded as logs marked ``simulated``."""
