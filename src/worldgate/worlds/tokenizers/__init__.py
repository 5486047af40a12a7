"""Seam: maps video to codes or vectors and back; one file is one tokenizer."""
