"""Imagined rollouts: made from episodes, written to files, wrapped as environments; always marked imagined."""

from worldgate.worlds.imagine.rollouts import Asked, imagine, prompt_at, recorded_actions

__all__ = ["Asked", "imagine", "prompt_at", "recorded_actions"]
