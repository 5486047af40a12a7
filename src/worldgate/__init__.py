"""Worldgate: robot logs to world models, and measured gates before new weights touch hardware.

Rooms, each importing only rooms named before it: ``core``, ``record``, ``data``, ``sim``, ``evidence``, ``fleet``,
``worlds``, ``control``, ``recipes``, ``cli``. Nothing is imported here, so that ``import worldgate`` stays fast.
"""

__version__ = "0.1.0"
