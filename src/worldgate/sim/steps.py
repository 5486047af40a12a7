"""Recording what moves in whole steps: one message a stream and step, stamped with the simulation's own time.

Between two steps there is nothing to measure; only the arrival of a message at the recorder is later, as it is on a
robot. Gymnasium environments and tasks are recorded by this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from worldgate.core.streams import Kind, StreamInfo
from worldgate.sim.recorder import START_NS, Recorder

_DELAY_NS = {Kind.IMAGE: 25_000_000, Kind.ACTION: 400_000}
_NUMBER_DELAY_NS = 1_200_000


class StepRecorder:
    """The messages of one run.

    Args:
        rate_hz: steps a second.
        seed: of the run.
        steps: longest run.
    """

    def __init__(self, rate_hz: float, *, seed: int, steps: int) -> None:
        self.rate_hz = rate_hz
        self._clock = _Steps(1.0 / rate_hz)
        self._recorder = Recorder(self._clock, (), seed=seed, duration_s=steps / rate_hz)

    @property
    def count(self) -> int:
        """Steps done."""
        return self._clock.step_index

    def add(self, name: str, kind: Kind, value: Any) -> None:
        """Keep a message of this instant."""
        self._recorder.add(name, value, delay_ns=_DELAY_NS.get(kind, _NUMBER_DELAY_NS))

    def advance(self) -> None:
        """A step was done."""
        self._recorder.run_to(self.count + 1)

    def write(
        self,
        path: Path,
        infos: Sequence[StreamInfo],
        *,
        facts: Mapping[str, str | float | bool],
        start_ns: int = START_NS,
        profile: Literal["foxglove", "ros2"] = "foxglove",
    ) -> Path:
        """Write the log, marked ``simulated``; its duration stands in the facts.

        Args:
            path: the file to make.
            infos: the streams.
            facts: what is known of the run.
            start_ns: time of its start, ns UTC.
            profile: family of MCAP schemas.

        Raises:
            AlreadyExists: ``path`` exists.
        """
        whole = {"duration_s": round(self.count / self.rate_hz, 6), **facts}
        return self._recorder.write(path, extra=infos, facts=whole, start_ns=start_ns, profile=profile)


class _Steps:
    """Time that goes on in whole steps."""

    def __init__(self, timestep_s: float) -> None:
        self.timestep_s, self.step_index = timestep_s, 0

    def run_to(self, step: int) -> None:
        self.step_index = step

    def settle(self) -> None:
        """Nothing lies between two steps."""
