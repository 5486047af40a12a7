"""Imagined rollouts: made from episodes, written to files, wrapped as environments; always marked imagined."""

from worldgate.worlds.imagine.rollouts import imagine, prompt_at, recorded_actions

__all__ = ["imagine", "prompt_at", "recorded_actions"]
