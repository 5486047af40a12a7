"""Datasets of token sequences: a vocabulary layout, a writer, a reader, and the way back to pictures and motion."""
