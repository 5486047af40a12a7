"""Logs become episodes and datasets: readers, alignment, checks, contracts, ingest, snapshots, clips."""
