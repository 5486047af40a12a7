"""Training: one loop for all families, checkpoints, exact resume, and the stage that records what made what."""
