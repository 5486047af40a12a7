"""World models: tokenizers, model families, their training, checkpoints, and imagined rollouts. Torch lives here."""
