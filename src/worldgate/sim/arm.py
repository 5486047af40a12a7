"""Closed-form kinematics of the cell's arm: yaw, shoulder, elbow and a wrist that keeps the tool vertical.

Source: the planar two-link solution, elbow up (Craig, *Introduction to Robotics*, §4.4). Angles in rad, positive yaw to
the left, positive pitch up; at zero the arm is stretched along +x.
"""

from __future__ import annotations

import math

BASE = (-0.40, 0.0)
"""Where the arm stands, table frame, m."""
SHOULDER_M = 0.22
"""Height of the shoulder axis above the table."""
UPPER_M = 0.40
FORE_M = 0.40
TOOL_M = 0.13
"""From the wrist axis to the tip of the tool."""
TIP_M = 0.012
"""Height at which the tip travels."""
REACH_M = 0.775
"""Largest horizontal distance from the arm's axis at which the wrist is asked to be."""

Joints = tuple[float, float, float, float]


def inverse(x: float, y: float, z: float = TIP_M) -> Joints:
    """Joint angles that bring the tip to (x, y, z) with the tool vertical; a point out of reach is drawn into reach."""
    dx, dy = x - BASE[0], y - BASE[1]
    radius = min(max(math.hypot(dx, dy), 0.18), REACH_M)
    height = z + TOOL_M - SHOULDER_M
    cosine = (radius * radius + height * height - UPPER_M**2 - FORE_M**2) / (2 * UPPER_M * FORE_M)
    elbow = -math.acos(min(1.0, max(-1.0, cosine)))
    inner = math.atan2(FORE_M * math.sin(elbow), UPPER_M + FORE_M * math.cos(elbow))
    shoulder = math.atan2(height, radius) - inner
    return math.atan2(dy, dx), shoulder, elbow, -math.pi / 2 - shoulder - elbow


def forward(joints: Joints) -> tuple[float, float, float]:
    """Position of the tip (x, y, z), m."""
    yaw, shoulder, elbow, wrist = joints
    pitches = (shoulder, shoulder + elbow, shoulder + elbow + wrist)
    lengths = (UPPER_M, FORE_M, TOOL_M)
    radius = sum(length * math.cos(pitch) for length, pitch in zip(lengths, pitches, strict=True))
    height = sum(length * math.sin(pitch) for length, pitch in zip(lengths, pitches, strict=True))
    return BASE[0] + radius * math.cos(yaw), BASE[1] + radius * math.sin(yaw), SHOULDER_M + height
