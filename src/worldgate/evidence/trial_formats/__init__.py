"""Trial formats: files of trials that somebody else ran, one reader each.

A module has ``accepts(path) -> bool`` and ``read(path, asked) -> Told``: what the file says, every value with its
place. A reader knows the form alone; :mod:`worldgate.evidence.intake` holds what it says against the suite, the plan
and the ledger. A key that a reader does not know is refused, as it may be a unit or an outcome in disguise.
"""
