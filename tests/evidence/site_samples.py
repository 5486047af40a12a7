"""Site reports and pairs of trials that are good in every respect, with knobs that make them worse in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worldgate.core.digest import sha256
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence.site_report import Calibrated, EpisodeSums, SiteReport, Sums
from worldgate.evidence.trials import RecordedTrial

STATE, FORCE, LIDAR = "observation.state", "observation.force", "observation.lidar"
RATE_HZ, STEP = 10.0, 10
GOOD: Mapping[tuple[str, int, str], tuple[float | None, ...]] = {
    ("states/action_gain", STEP, "model"): (40.0, 38.0),
    ("states/action_gain", STEP, "real"): (40.0, 37.0),
    ("states/action_r2", STEP, "model"): (100.0, 12.0, 0.0, 100.0),
    ("states/action_r2", STEP, "real"): (100.0, 10.0, 0.0, 100.0),
    (f"{STATE}/still_motion", 0, "model"): (0.1, 4.0),
    (f"{STATE}/still_motion", 0, "real"): (2.0, 4.0),
    (f"{STATE}/counterfactual_gain", STEP, "model"): (8.0, 7.0),
    (f"{FORCE}/onset_f1", 0, "model"): (4.0, 0.0, 0.0),
    (f"{FORCE}/onset_f1", 0, "real"): (4.0, 0.0, 0.0),
    (f"{FORCE}/onset_late", 0, "model"): (0.0, 1.0, 2.0, 1.0, 0.0),
    ("violations/limits", 0, "model"): (0.0, 2.0),
    ("violations/limits", 0, "real"): (0.0, 0.25),
    (f"{STATE}/coverage_90_drawn", STEP, "model"): (36.0, 40.0),
    (f"{STATE}/optimism", 0, "model"): (0.0, 4.0),
    (f"{STATE}/pessimism", 0, "model"): (0.0, 4.0),
    (f"{STATE}/recall", 0, "model"): (2.0, 2.0),
    (f"{FORCE}/force_crossings", 0, "model"): (1.0, 0.0, 0.0, 3.0),
    (f"{LIDAR}/occupied_iou", STEP, "model"): (180.0, 200.0),
    (f"{LIDAR}/occupied_iou", STEP, "real"): (200.0, 200.0),
    (f"{LIDAR}/free_iou", STEP, "model"): (950.0, 1000.0),
    (f"{LIDAR}/free_iou", STEP, "real"): (1000.0, 1000.0),
    (f"{LIDAR}/path_error", STEP, "model"): (1.0, 100.0),
    (f"{LIDAR}/path_error", STEP, "real"): (0.0, 100.0),
    ("same_seed", 0, "model"): (1.0, 1.0),
}


def report(
    episodes: int = 40,
    *,
    site: str = "bench",
    subject: str = "",
    change: Mapping[str, Callable[[int], tuple[float | None, ...] | None]] | None = None,
    shift: int = 0,
    **fields: Any,
) -> SiteReport:
    """A report of equal, good episodes.

    Args:
        episodes: how many.
        site: of all of them.
        subject: digest of the model.
        change: figure -> number of the episode -> the model's sums instead; None: not measured in it.
        shift: of their features against the calibration set.
        fields: of the report itself.
    """
    made = [_episode(i, site, dict(change or {}), shift) for i in range(episodes)]
    known = [
        Calibrated(episode=sha256(f"train{i}".encode()), site="bench", features=(37 * i % 101, 53 * i % 89))
        for i in range(20)
    ]
    held: dict[str, Any] = {
        "subject": subject or format(0, "064x"), "origin": Origin.REAL, "dataset": format(1, "064x"),
        "rate_hz": RATE_HZ, "horizons": (1, 5, STEP), "samples": 8, "cameras": ("observation.images.front",),
        "nonfinite": 0, "settings": {"contact_tolerance_s": 0.15, "force_limit_n": 40.0}, "not_measured": {},
        "features": ("a", "b"), "episodes": tuple(made),
        "calibration": tuple(known), **fields,
    }  # fmt: skip
    return SiteReport(**held)


def _episode(
    number: int, site: str, change: Mapping[str, Callable[[int], tuple[float | None, ...] | None]], shift: int
) -> EpisodeSums:
    rows = []
    for (figure, step, who), sums in GOOD.items():
        told = change[figure](number) if figure in change and who == "model" else sums
        if told is not None:
            rows.append(Sums(figure=figure, step=step, contender=who, sums=told))
    name = f"held{site}{number}"
    look = (37 * number % 101 + shift, 53 * number % 89 + shift)
    digest = sha256(name.encode())
    return EpisodeSums(
        episode=digest, log=digest, name=name, site=site, features=look,
        rows=tuple(sorted(rows, key=lambda r: (r.figure, r.step, r.contender))),
    )  # fmt: skip


Outcome = Callable[[int, int], tuple[bool, int]]
"""(release, scene) -> success and violations."""


def agreeing(release: int, scene: int) -> tuple[bool, int]:
    """Release i fails every scene beyond a number of its own; every second failure crosses a limit."""
    ok = scene % 20 < 4 + 2 * release
    return ok, int(not ok and scene % 2 == 1)


def trials(
    *,
    releases: int = 8,
    scenes: int = 60,
    real: Outcome = agreeing,
    imagined: Outcome = agreeing,
    world: str = "",
    steps: float | None = 5.0,
    executor: Origin = Origin.REAL,
    slot: str = "bench/ur5/left",
    only: Sequence[int] | None = None,
) -> tuple[RecordedTrial, ...]:
    """Pairs of trials: each release on each scene, first for real, then in the world model."""
    out: list[Trial] = []
    for side, outcome in ((executor, real), (Origin.IMAGINED, imagined)):
        for i in range(releases):
            for j in range(scenes):
                inside = side is Origin.IMAGINED
                if inside and only is not None and j not in only:
                    continue
                success, violations = outcome(i, j)
                out.append(
                    Trial(
                        scenario=sha256(f"scene{j}".encode()),
                        release=sha256(f"release{i}".encode()),
                        executor=side,
                        slot=slot,
                        seed=j,
                        success=success,
                        violations=violations,
                        metrics={} if steps is None else {"steps": steps},
                        world=(world or format(0, "064x")) if inside else "",
                    )
                )
    return tuple(RecordedTrial(digest=sha256(repr(t).encode()), trial=t, chosen_by="") for t in out)
