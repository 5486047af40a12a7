"""Planners by name: each file searches for the actions that cost least."""
