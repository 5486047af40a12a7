"""Seam: world-model families; one file is one family."""
