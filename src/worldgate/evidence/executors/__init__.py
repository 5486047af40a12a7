"""Executors: where a release is tried, one file each, behind one protocol.

A module has ``ORIGINS``, the marks that its trials may carry, ``CLOSED_LOOP``, and a class ``Executor`` whose instances
have ``digest``, of what stands in for the robot where that is a thing of its own (a world model, an episode), and
``run(policy, scenario, *, slot, seed, max_steps)``. In closed loop the answer is a
:class:`~worldgate.core.evidence.Trial`; open loop has an answer of its own that no gate counts. Real trials are run by
people and imported: :mod:`worldgate.evidence.trial_formats`.
"""
