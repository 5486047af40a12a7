"""Duplicates: the same evidence more than once, under whatever name, container, codec, crop or clock.

Three questions, from cheap to dear. *Exact*: is the content the same (:mod:`.content`)? *Near*: do the numbers or the
moving parts of the pictures run alike along one span, at one offset (:mod:`.sketches`, :mod:`.vectors`, :mod:`.index`,
:mod:`.voting`, :mod:`.verify`, :mod:`.match`)? *So what*: which logs belong together, which one is kept, and does a
dataset have one of them on each side (:mod:`.clusters`, :mod:`.finding`)?

Episodes of one rig share their background, their home pose and often their task. So a frame is only looked at for what
moves in it, and a motion only while it moves.
"""
