"""The recorder: runs something that moves, reads every sensor when its clock says so, and writes the log as MCAP.

It knows nothing of the cell, so a user's own model is recorded by the same code. A value is taken at the physics step
nearest to the instant of measurement, at most 1 ms away at 500 Hz. Messages are kept until the run is over, because how
it ended stands in the facts, which come first in the file; a run that fails leaves no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from worldgate.core.streams import Origin, StreamInfo
from worldgate.data.logs.mcap import McapWriter
from worldgate.sim.clocks import ClockConfig, beats

START_NS = 1_767_600_000_000_000_000
"""2026-01-05T08:00:00Z, when a recording starts where no time is given: a run must repeat to the byte."""


class Plant(Protocol):
    """Something that moves in physics steps."""

    step_index: int

    @property
    def timestep_s(self) -> float: ...

    def run_to(self, step: int) -> None:
        """Advance to a step."""
        ...

    def settle(self) -> None:
        """Bring all poses up to the step before sensors look."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One device: a clock, the streams it fills, and how it reads them."""

    name: str
    clock: ClockConfig
    infos: tuple[StreamInfo, ...]
    read: Callable[[int], tuple[Any, ...]]
    """Number of the measurement -> one value a stream."""
    scan_rad: tuple[float, float] | None = None
    """Bearings of the first and last beam of a lidar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    log_ns: int
    stream: str
    value: Any
    stamp_ns: int


class Recorder:
    """Records one run.

    Args:
        plant: what moves.
        sensors: what is read.
        seed: of the clocks.
        duration_s: longest run.
        watch: called at every ``watch_s``: gives events (stream, JSON) that happened since the last call.
        watch_s: how often.
    """

    def __init__(
        self,
        plant: Plant,
        sensors: Sequence[Sensor],
        *,
        seed: int,
        duration_s: float,
        watch: Callable[[], list[tuple[str, str]]] | None = None,
        watch_s: float = 0.01,
    ) -> None:
        self._plant, self._sensors = plant, tuple(sensors)
        self._watch = watch
        self._watch_steps = round(watch_s / plant.timestep_s)
        self._messages: list[_Message] = []
        self._beats = [beats(sensor.name, sensor.clock, seed=seed, duration_s=duration_s) for sensor in self._sensors]
        self._due = sorted(
            (round(float(true) / plant.timestep_s), number, k)
            for number, timing in enumerate(self._beats)
            for k, true in enumerate(timing.true_s)
        )
        self._next = 0

    def run_to(self, step: int) -> None:
        """Advance the plant to a step, reading every sensor that is due on the way."""
        while self._plant.step_index < step:
            target = step
            if self._next < len(self._due):
                target = min(target, self._due[self._next][0])
            if self._watch is not None:
                target = min(target, (self._plant.step_index // self._watch_steps + 1) * self._watch_steps)
            self._plant.run_to(target)
            if self._watch is not None and target % self._watch_steps == 0:
                for stream, event in self._watch():
                    self.add(stream, event)
            self._read_due()

    def _read_due(self) -> None:
        settled = False
        while self._next < len(self._due) and self._due[self._next][0] <= self._plant.step_index:
            _, number, k = self._due[self._next]
            self._next += 1
            if not settled:
                self._plant.settle()
                settled = True
            sensor, timing = self._sensors[number], self._beats[number]
            values = sensor.read(k)
            if timing.kept[k]:
                log_ns, stamp_ns = int(timing.log_ns[k]), int(timing.stamp_ns[k])
                self._messages += [
                    _Message(log_ns=log_ns, stream=info.name, value=value, stamp_ns=stamp_ns)
                    for info, value in zip(sensor.infos, values, strict=True)
                ]

    def add(self, stream: str, value: Any, *, delay_ns: int = 0) -> None:
        """Keep a message of this instant, that reaches the recorder ``delay_ns`` later."""
        now = round(self._plant.step_index * self._plant.timestep_s * 1e9)
        self._messages.append(_Message(log_ns=now + delay_ns, stream=stream, value=value, stamp_ns=now))

    def write(
        self,
        path: Path,
        *,
        extra: Sequence[StreamInfo],
        facts: Mapping[str, str | float | bool],
        start_ns: int,
        profile: Literal["foxglove", "ros2"] = "foxglove",
    ) -> Path:
        """Write the log, marked ``simulated``.

        Args:
            path: the file to make.
            extra: streams beside those of the sensors: actions, events.
            facts: what is known of the run.
            start_ns: time of the start of the run.
            profile: family of MCAP schemas.

        Raises:
            AlreadyExists: ``path`` exists.
        """
        with McapWriter(path, origin=Origin.SIMULATED, facts=facts, profile=profile) as writer:
            for sensor in self._sensors:
                for info in sensor.infos:
                    writer.add_stream(info, scan_rad=sensor.scan_rad)
            for info in extra:
                writer.add_stream(info)
            for message in sorted(self._messages, key=lambda m: m.log_ns):
                # A sensor whose clock runs early may stamp before the run's start; an MCAP time cannot be negative.
                stamp_ns = max(0, start_ns + message.stamp_ns)
                writer.write(message.stream, start_ns + message.log_ns, message.value, stamp_ns)
        return path
