"""Previews: what strips and plots show of an episode, and what nobody may see."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import NotFound
from worldgate.core.report import Picture
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets
from worldgate.data.datasets.card import write_html
from worldgate.data.datasets.previews import CHANNELS, COLUMNS, draw_plot, draw_strip, previews
from worldgate.data.ingest import ingest
from worldgate.data.logs import mcap
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

CAMERA, STATE, DEPTH, CLASSES = (
    "observation.images.front", "observation.state", "observation.depth.front", "observation.segmentation.front",
)  # fmt: skip
RED = np.array([220, 20, 20], np.uint8)


def rows(name: str, kind: Kind, values: Any, *, unit: str = "", names: Any = (), gap: Any = None) -> Rows:
    count = len(values)
    index, zeros = np.arange(count, dtype=np.int64), np.zeros(count, np.int64)
    return Rows(
        info=StreamInfo(name=name, kind=kind, count=count, shape=values.shape[1:], unit=unit, names=names),
        values=values, index=index, source_ns=index, skew_ns=zeros, staleness_ns=zeros,
        gap=np.zeros(count, np.bool_) if gap is None else gap,
    )  # fmt: skip


def episode(*streams: Rows, count: int = 40) -> Episode:
    return Episode(
        id=sha256(b"e"), log=sha256(b"l"), name="run", alignment=sha256(b"a"), origin=Origin.SIMULATED, rate_hz=10.0,
        times_ns=np.arange(count, dtype=np.int64) * SECOND // 10, streams={r.info.name: r for r in streams},
    )  # fmt: skip


def opened(picture: Picture) -> bytes:
    return base64.b64decode(picture.source.partition("base64,")[2])


def seen(picture: Picture) -> np.ndarray[Any, Any]:
    """(H, W, 3) RGB."""
    shown = cv2.imdecode(np.frombuffer(opened(picture), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    return np.asarray(shown[..., ::-1])


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.split())] for line in found]


def test_a_strip_shows_pictures_spread_over_the_episode_and_none_of_its_gaps() -> None:
    images = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[:, None, None, None], 60, axis=1).repeat(80, axis=2)
    images, gap = images.repeat(3, axis=3), np.arange(40) < 10
    images[:10] = RED
    (strip,) = previews(episode(rows(CAMERA, Kind.IMAGE, images, gap=gap)))
    shown = seen(strip)
    wide = (shown.shape[1] + 2) // COLUMNS
    middles = [shown[60, wide * k + 40].astype(int) for k in range(COLUMNS)]
    levels = [int(m.mean()) for m in middles]
    assert levels == sorted(levels) and levels[0] > 40 and levels[-1] > 185
    assert all(np.ptp(m) < 20 for m in middles), "no red one"
    assert "1.0 to 3.9 s, simulated" in strip.alt and strip.caption == f"{CAMERA} of run"
    assert len(opened(strip)) < 40_000


def test_the_origin_stands_in_the_pixels_of_every_picture() -> None:
    pictures = np.full((3, 48, 64, 3), 90, np.uint8)
    real, simulated = (draw_strip(pictures, np.arange(3.0), origin) for origin in (Origin.REAL, Origin.SIMULATED))
    words = [sheet[-14:, 151 * k : 151 * k + 149] for sheet in (real, simulated) for k in range(3)]
    assert all(((word[..., 0] > 180) & (word[..., 2] < 120)).sum() > 20 for word in words)
    assert not np.array_equal(words[0], words[3])


def test_depth_and_classes_become_colours() -> None:
    depth = np.tile(np.linspace(0.5, 2.0, 64, dtype=np.float32), (40, 48, 1))
    depth[:, :, :8] = 0.0
    ids = np.zeros((40, 48, 64), np.uint8)
    ids[:, :, 32:] = 7
    far, classes = (
        seen(p) for p in previews(episode(rows(DEPTH, Kind.DEPTH, depth), rows(CLASSES, Kind.SEGMENTATION, ids)))
    )
    assert far[60, 2].max() < 20 and far[60, 40].mean() > far[60, 140].mean() + 50
    assert classes[60, 20].max() < 25 and np.ptp(classes[60, 120]) > 30


def test_a_plot_has_a_line_a_channel_broken_by_gaps_and_a_plot_a_unit() -> None:
    values = np.column_stack([np.sin(np.arange(40)), np.cos(np.arange(40)), np.arange(40) / 9])
    values[30, 0] = np.nan
    gap = (np.arange(40) >= 10) & (np.arange(40) < 15)
    state = rows(STATE, Kind.VECTOR, values, unit="rad,rad,m", names=("a<b", "b", "c"), gap=gap)
    angles, places = previews(episode(state))
    drawn = polylines(opened(angles).decode())
    assert [len(line) for line in drawn] == [10, 15, 9, 10, 25]
    assert [len(line) for line in polylines(opened(places).decode())] == [10, 25]
    assert "[rad]" in angles.caption and "[m]" in places.caption
    assert "a&lt;b" in opened(angles).decode() and "a<b" not in opened(angles).decode()


def test_a_row_that_is_known_alone_between_gaps_is_a_dot() -> None:
    gap = np.arange(40) % 3 > 0
    (plot,) = previews(episode(rows(STATE, Kind.VECTOR, np.sin(np.arange(40.0))[:, None], gap=gap)))
    svg = opened(plot).decode()
    assert svg.count("<circle") == 14 and not polylines(svg)


def test_no_spike_of_a_long_stream_is_lost_and_only_some_channels_are_drawn() -> None:
    values = np.zeros((50_000, 30))
    values[31_234, 0] = 5.0
    (plot,) = previews(episode(rows(STATE, Kind.VECTOR, values), count=50_000))
    lines = polylines(opened(plot).decode())
    assert len(lines) == CHANNELS and f"the first {CHANNELS} of 30 channels" in plot.caption
    assert min(y for _, y in lines[0]) == 6.0, "the top of the plot"
    assert len(opened(plot)) < 60_000


@pytest.mark.parametrize("values", [np.full((5, 2), np.nan), np.zeros((5, 2)), np.array([[np.inf, 1.0]])])
def test_a_plot_of_nothing_much_is_still_a_plot(values: Any) -> None:
    svg = draw_plot(values, np.arange(len(values)) / 10, np.zeros(len(values), np.bool_), ["a", "b"], "")
    assert svg.startswith("<svg") and "nan" not in svg and "inf" not in svg


def test_hidden_streams_are_not_drawn() -> None:
    images = np.full((40, 48, 64, 3), 90, np.uint8)
    held = episode(rows(CAMERA, Kind.IMAGE, images), rows(STATE, Kind.VECTOR, np.zeros((40, 2))))
    assert [p.caption for p in previews(held, {CAMERA})] == [f"{STATE} [unit not stated] of run"]
    assert previews(held, {CAMERA, STATE}) == []


# ------------------------------------------------------------------ in the page


def contract(ws: Workspace, name: str, **privacy: Any) -> Ref:
    tree = {
        "name": name,
        "streams": {CAMERA: {"kind": "image"}, STATE: {"kind": "vector"}},
        "alignment": {"rate_hz": 5.0},
        "splits": {"fractions": {"train": 1.0}},
        "privacy": privacy,
    }
    return contracts.add(ws, contracts.from_tree(tree, where="test"))


@pytest.fixture
def dataset(workspace: Workspace, tmp_path: Path) -> Ref:
    """One episode of red pictures, under a contract that hides nothing."""
    times = np.arange(10, dtype=np.int64) * (SECOND // 10)
    image = StreamInfo(name=CAMERA, kind=Kind.IMAGE, count=10, shape=(48, 64, 3), rate_hz=10.0)
    state = StreamInfo(name=STATE, kind=Kind.VECTOR, count=10, shape=(2,), unit="rad")
    held = [
        Stream(info=image, times_ns=times, values=np.tile(RED, (10, 48, 64, 1))),
        Stream(info=state, times_ns=times, values=np.column_stack([np.sin(np.arange(10.0)), np.arange(10.0)])),
    ]
    (tmp_path / "logs").mkdir()
    mcap.write_log(tmp_path / "logs" / "run.mcap", held, origin=Origin.REAL)
    ingest(workspace, tmp_path / "logs")
    return datasets.snapshot(workspace, contract(workspace, "open"), name="d")


def shown(page: Path) -> list[np.ndarray[Any, Any]]:
    found = re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', page.read_text())
    return [seen(Picture(source=source, alt="")) for source in found]


def test_a_page_shows_its_episodes(workspace: Workspace, dataset: Ref, tmp_path: Path) -> None:
    page = write_html(workspace, dataset, tmp_path / "page.html")
    (strip,) = shown(page)
    assert np.abs(strip[60, 20].astype(int) - RED).max() < 25
    assert page.read_text().count("data:image/svg+xml") == 1
    assert "Episode run.mcap, split train" in page.read_text()
    with pytest.raises(NotFound, match=r"run\.mcap"):
        write_html(workspace, dataset, tmp_path / "other.html", episodes=["walk"])


@pytest.mark.parametrize(
    "privacy",
    [{"mask": {"observation.images.*": {"detectors": ["skin"]}}}, {"forbidden": ["observation.images.*"]}],
    ids=["masked", "forbidden"],
)
def test_what_any_recorded_contract_hides_is_not_on_the_page(
    privacy: dict[str, Any], workspace: Workspace, dataset: Ref, tmp_path: Path
) -> None:
    contract(workspace, "later", **privacy)
    page = write_html(workspace, dataset, tmp_path / "page.html")
    assert shown(page) == []
    assert f"Not shown, because a contract masks or forbids it: {CAMERA}." in page.read_text()
    assert page.read_text().count("data:image/svg+xml") == 1, "the numbers are"
