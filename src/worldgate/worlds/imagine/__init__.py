"""Imagined rollouts: made from episodes, written to files, wrapped as environments; always marked imagined."""
