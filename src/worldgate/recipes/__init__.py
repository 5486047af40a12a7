"""Whole runs as functions: each file is a recipe that ``worldgate run NAME`` (or ``worldgate demo``) starts."""
