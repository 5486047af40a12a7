"""Seam: maps pictures or motion to codes or vectors and back; one file is one tokenizer."""
