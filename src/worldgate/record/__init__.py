"""The record: signed events on a chained ledger, the bytes they speak of, and who may sign."""
