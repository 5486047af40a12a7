"""How much of the cell's person each privacy detector hides, and how much else, by pixels and frames.

The truth is the cell's own segmentation. The control is the same rule on runs without a person: everything hidden there
is waste. Intervals are one-sided 95 % bootstrap bounds over episodes. What this cannot show is how the detectors fare
on real people: no picture of one may be shipped here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from worldgate.data.logs import open_folder
from worldgate.data.privacy.recall import Recall, measure
from worldgate.data.privacy.rules import MaskRule
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.sim.attributes import PRESETS
from worldgate.sim.camera import CameraConfig
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.scene import CLASSES
from worldgate.sim.sensing import SensorConfig

CAMERA, TRUTH = "observation.images.front", "observation.segmentation.front"
RULES = {
    "persons": MaskRule(detectors=("persons",)),
    "faces": MaskRule(detectors=("faces",)),
    "screens": MaskRule(detectors=("screens",)),
    "skin": MaskRule(detectors=("skin",)),
    "entrants": MaskRule(detectors=("entrants",)),
    "persons, faces and entrants": MaskRule(detectors=("persons", "faces", "entrants")),
}


def runs(folder: Path, count: int, attribute: str, size: int) -> list[Path]:
    """Recorded episodes of one kind, pictures of ``size`` pixels square."""
    sensors = SensorConfig(
        cameras=("front",),
        camera_hz=5.0,
        camera=CameraConfig(width=size, height=size),
        geometry=("segmentation",),
        lidar=False,
    )
    config = RecordConfig(sensors=sensors)
    unusual = PRESETS[attribute]
    return [
        record(folder / f"{attribute}{seed}.mcap", seed=seed, attributes=unusual, duration_s=8.0, config=config)
        for seed in range(count)
    ]


def measured(paths: Sequence[Path], rule: MaskRule) -> list[Recall]:
    """What a rule hides in each episode."""
    logs = [log for path in paths for log in open_folder(path).logs]
    person = [CLASSES["person"]]
    return [measure(log, rule, camera=CAMERA, segmentation=TRUTH, classes=person) for log in logs]


def share(above: Sequence[int], below: Sequence[int]) -> tuple[float, str]:
    """A share over episodes and its interval as text."""
    if not any(above):
        return 0.0, "0 hits"
    found = ratio_interval([float(a) for a in above], [float(b) for b in below])
    return found.estimate, f"{float(found.lower):.3f} to {float(found.upper):.3f}"


def rows(scratch: Path, *, episodes: int, sizes: Sequence[int]) -> list[dict[str, object]]:
    """Every row of the table."""
    out: list[dict[str, object]] = []
    for size in sizes:
        folder = scratch / str(size)
        folder.mkdir()
        with_person, without = (runs(folder, episodes, kind, size) for kind in ("person", "none"))
        for name, rule in RULES.items():
            seen = [r for r in measured(with_person, rule) if r.shown]
            clean = measured(without, rule)
            pixels, interval = share([r.hidden for r in seen], [r.pixels for r in seen])
            frames, of_frames = share([r.masked for r in seen], [r.shown for r in seen])
            waste, of_waste = share([r.wasted for r in clean], [r.elsewhere for r in clean])
            for what, value, around in (
                ("person's pixels hidden", pixels, interval),
                ("frames with 95 % of the person hidden", frames, of_frames),
                ("pixels hidden where nobody is", waste, of_waste),
            ):
                out.append(
                    {
                        "what": f"{name}, {size} px: {what}",
                        "value": round(value, 3),
                        "unit": "share",
                        "interval": around,
                        "episodes": len(seen),
                        "peer": "",
                        "peer_value": None,
                        "ratio": None,
                        "bar": None,
                        "ok": None,
                    }
                )
    return out


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="few episodes of one size")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    told = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = rows(Path(scratch), episodes=3 if told.quick else 20, sizes=(96,))
    if told.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(json.dumps({"name": "masking", "machine": machine, "rows": table}, indent=1))
        return
    for row in table:
        print(f"{row['what']:72} {row['value']:>6}  ({row['interval']}; {row['episodes']} episodes)")


if __name__ == "__main__":
    main()
