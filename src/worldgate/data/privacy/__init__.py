"""Privacy under contract: what a picture must not show is painted over before a log becomes one of the workspace's.

The raw never enters the store in the clear: it is encrypted for the people that the contract names and nobody else, or
it is not kept. What is left out of this: depth, segmentation and lidar, which show a person's shape; text; and every
person that the detectors miss. :mod:`worldgate.data.privacy.recall` measures how many those are.
"""
