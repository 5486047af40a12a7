"""Privacy: what a rule hides is hidden in every frame, the raw is sealed or gone, and unmasked logs go nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.conftest import FakeFrames, FakeLog, stream
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, ContractBroken, DataRefused, NotAuthorised, NotFound
from worldgate.core.seams import cards
from worldgate.core.streams import Kind, Log, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets, retention
from worldgate.data.detectors import prepare
from worldgate.data.ingest import open_log
from worldgate.data.logs import mcap
from worldgate.data.privacy import intake
from worldgate.data.privacy.intake import ingest_under, open_sealed
from worldgate.data.privacy.masks import GREY, MaskedFrames, mask
from worldgate.data.privacy.rules import MASKED, MaskRule, Privacy
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

pyrage = pytest.importorskip("pyrage")
CAMERA = "observation.images.front"
SKIN = np.array([200, 140, 110], np.uint8)
ROOM = np.array([40, 60, 90], np.uint8)


def room(hands: list[tuple[int, int] | None], *, size: int = 64) -> np.ndarray[Any, Any]:
    """(N, H, W, 3) pictures of a blue room with a hand of 16 pixels where one is."""
    images = np.tile(ROOM, (len(hands), size, size, 1))
    for image, at in zip(images, hands, strict=True):
        if at is not None:
            image[at[1] : at[1] + 16, at[0] : at[0] + 16] = SKIN
    return images


def skin(images: np.ndarray[Any, Any]) -> int:
    """Pixels that show skin."""
    return int((np.abs(images.astype(int) - SKIN.astype(int)).max(axis=-1) < 30).sum())


def camera(hands: list[tuple[int, int] | None], rate_hz: float = 10.0) -> Stream:
    times = np.arange(len(hands)) * int(SECOND / rate_hz)
    return stream(CAMERA, times, FakeFrames(room(hands)), kind=Kind.IMAGE, rate_hz=rate_hz)


def rules(**changes: Any) -> Privacy:
    rule = {"detectors": ("skin",), "margin": 0.1, "hold_s": 0.0, **changes}
    return Privacy(mask={"observation.images.*": MaskRule(**rule)})


def test_a_hand_is_painted_over_and_the_room_is_not() -> None:
    log = FakeLog(held={CAMERA: camera([(20, 20), None])})
    shown = mask(log, rules()).read(CAMERA).frames.read(np.array([0, 1]))
    assert skin(room([(20, 20)])) == 256
    assert skin(shown) == 0
    assert (shown[0, 20:36, 20:36] == GREY).all()
    assert (shown[1] == ROOM).all()
    assert (shown[0, :10] == ROOM).all()


def test_a_detector_that_blinks_shows_nobody_within_the_hold() -> None:
    hands: list[tuple[int, int] | None] = [None, None, (20, 20), None, None, None]
    log = FakeLog(held={CAMERA: camera(hands)})
    found = mask(log, rules(hold_s=0.1)).boxes[CAMERA]
    assert [len(boxes) > 0 for boxes in found] == [False, True, True, True, False, False]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 48), st.integers(0, 48))), min_size=1, max_size=8),
       st.permutations(range(8)))  # fmt: skip
def test_no_skin_is_left_wherever_the_hand_is_and_in_whatever_order_frames_are_read(
    hands: list[tuple[int, int] | None], order: list[int]
) -> None:
    hidden = mask(FakeLog(held={CAMERA: camera(hands)}), rules())
    index = np.array([i for i in order if i < len(hands)], np.int64)
    assert skin(hidden.read(CAMERA).frames.read(index)) == 0
    window = hidden.read(CAMERA, (0, SECOND // 5))
    assert skin(window.frames.read(np.arange(len(window)))) == 0
    assert len(window) == min(2, len(hands))


def test_other_streams_and_cameras_without_a_rule_pass_as_they_are() -> None:
    wrist = stream("observation.wrist", [0, 1], FakeFrames(room([(1, 1), (2, 2)])), kind=Kind.IMAGE)
    state = stream("observation.state", [0, 1, 2])
    log = FakeLog(held={CAMERA: camera([(3, 3)]), "observation.wrist": wrist, "observation.state": state})
    hidden = mask(log, rules())
    assert set(hidden.boxes) == {CAMERA}
    assert hidden.read("observation.wrist") is wrist
    assert hidden.read("observation.state") is state
    assert hidden.facts[MASKED] == rules().digest()


def test_masked_frames_have_another_identity_than_the_raw() -> None:
    images = room([(3, 3)])
    keep = np.array([0])
    none, one = (np.empty((0, 4), np.int64), np.array([[1, 1, 5, 5]]))
    digests = {FakeFrames(images).content_digest()}
    digests |= {MaskedFrames(FakeFrames(images), [boxes], keep).content_digest() for boxes in (none, one)}
    assert len(digests) == 3


# ------------------------------------------------------------------ detectors


@pytest.mark.parametrize("name", sorted(cards("detectors")))
def test_nobody_is_found_on_a_blank_wall(name: str) -> None:
    wall = stream(CAMERA, [0, 1], np.full((2, 240, 160, 3), 90, np.uint8), kind=Kind.IMAGE)
    assert prepare(name)(wall)(wall.array[0]).shape == (0, 4)


def test_a_lit_screen_is_found_and_a_round_lamp_is_not() -> None:
    image = np.full((120, 160, 3), 50, np.uint8)
    corners = np.array([[30, 30], [90, 36], [86, 80], [28, 74]])
    cv2.fillPoly(image, [corners], (210, 220, 230))
    cv2.circle(image, (130, 90), 20, (230, 230, 230), -1)
    (box,) = prepare("screens")(stream(CAMERA, [0], image[None], kind=Kind.IMAGE))(image)
    assert box[0] <= 30
    assert box[1] <= 31
    assert box[2] >= 89
    assert box[2] < 110
    assert box[3] >= 79


def test_what_reaches_in_from_the_edge_is_found_and_what_moves_inside_is_not() -> None:
    images = np.tile(ROOM, (20, 96, 96, 1))
    for i in range(20):
        images[i, 40:48, 40 + i : 48 + i] = (10, 160, 20)  # the robot's load, inside
    for i in range(8, 12):
        images[i, 60:70, : 10 * (i - 7)] = (90, 20, 90)  # a sleeve, from the left
    detect = prepare("entrants")(stream(CAMERA, np.arange(20), images, kind=Kind.IMAGE))
    found = [detect(image) for image in images]
    assert [len(boxes) > 0 for boxes in found] == [8 <= i < 12 for i in range(20)]
    painted = np.zeros((96, 96), bool)
    for x0, y0, x1, y1 in found[11]:
        painted[y0:y1, x0:x1] = True
    assert painted[61:69, :39].all()
    assert not painted[:50].any()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_detectors_answer_on_pictures_of_any_size_with_boxes_inside_them(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for name in cards("detectors"):
        boxes = prepare(name)(stream(CAMERA, [0], image[None], kind=Kind.IMAGE))(image)
        assert boxes.dtype == np.int64
        assert boxes.shape[1] == 4
        assert ((boxes >= 0) & (boxes <= [width, height, width, height])).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()


# ------------------------------------------------------------------ under contract


@pytest.fixture
def officer(tmp_path: Path) -> tuple[str, Path]:
    key = pyrage.x25519.Identity.generate()
    file = tmp_path / "officer.txt"
    file.write_text(f"# privacy officer\n{key}\n")
    return str(key.to_public()), file


def contract(ws: Workspace, recipient: str = "", version: int = 1, **more: Any) -> Ref:
    tree = {
        "name": "hall",
        "version": version,
        "streams": {CAMERA: {"kind": "image"}, "observation.state": {"kind": "vector"}},
        "alignment": {"rate_hz": 5.0},
        "splits": {"fractions": {"train": 1.0}},
        "privacy": {
            "mask": {"observation.images.*": {"detectors": ["skin"], "hold_s": 0.2, "margin": 0.2}},
            "sealed_for": [recipient] if recipient else [],
        },
        "retention": {"raw": {"at_most_days": 30}},
        **more,
    }
    return contracts.add(ws, contracts.from_tree(tree, where="test"))


def room_stream(hands: list[tuple[int, int] | None]) -> Stream:
    times = np.arange(len(hands), dtype=np.int64) * (SECOND // 10)
    info = StreamInfo(name=CAMERA, kind=Kind.IMAGE, count=len(hands), shape=(64, 64, 3), rate_hz=10.0)
    return Stream(info=info, times_ns=times, values=room(hands))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    times = np.arange(10, dtype=np.int64) * (SECOND // 10)
    hands: list[tuple[int, int] | None] = [(2 * i, 20) for i in range(10)]
    info = StreamInfo(name=CAMERA, kind=Kind.IMAGE, count=10, shape=(64, 64, 3), rate_hz=10.0)
    held = [Stream(info=info, times_ns=times, values=room(hands))]
    numbers = np.column_stack([np.sin(np.arange(10.0)), np.arange(10.0)])
    state = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=10, shape=(2,), unit="rad")
    held.append(Stream(info=state, times_ns=times, values=numbers))
    path = tmp_path / "logs" / "run.mcap"
    path.parent.mkdir()
    mcap.write_log(path, held, origin=Origin.REAL, facts={"task": "wave"})
    return path


def test_under_contract_only_masked_pictures_and_a_sealed_raw_lie_in_the_workspace(
    workspace: Workspace, raw: Path, officer: tuple[str, Path], tmp_path: Path
) -> None:
    ref = contract(workspace, officer[0])
    (log,) = ingest_under(workspace, raw.parent, ref, site="hall")
    held = open_log(workspace, log.digest)
    frames = held.read(CAMERA)
    assert skin(frames.frames.read(np.arange(10))) == 0
    assert frames.times_ns.tolist() == (np.arange(10) * (SECOND // 10)).tolist()
    assert held.facts["task"] == "wave"
    plain = raw.read_bytes()
    for digest in workspace.store.digests():
        assert plain[:4096] not in workspace.store.get(digest)
    assert len(datasets.load(workspace, datasets.snapshot(workspace, ref, name="d").digest)) == 1
    (sealed,) = workspace.artifacts("sealed")
    (file,) = open_sealed(workspace, sealed, tmp_path / "open", identity=officer[1], reason="claim 17")
    assert file.read_bytes() == plain
    assert [event.body["reason"] for event in workspace.ledger.events("log.unsealed")] == ["claim 17"]
    assert verify(workspace).problems == ()
    again = ingest_under(workspace, raw.parent, ref, site="hall")
    assert again == [log]
    assert len(workspace.artifacts("sealed")) == 1


def test_under_contract_every_format_of_a_folder_is_masked(
    workspace: Workspace, raw: Path, officer: tuple[str, Path]
) -> None:
    samples.make_ulog(raw.parent / "flight.ulg")
    refs = ingest_under(workspace, raw.parent, contract(workspace, officer[0]))
    held = [open_log(workspace, ref.digest) for ref in refs]
    assert len(held) == 2
    assert all(log.facts[MASKED] for log in held)
    assert len(workspace.artifacts("sealed")) == 2


def test_a_log_is_masked_once_and_again_only_when_something_changed(
    workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked: list[str] = []

    def counted(log: Log, *args: Any, **more: Any) -> Any:
        looked.append(log.name)
        return mask(log, *args, **more)

    monkeypatch.setattr(intake, "mask", counted)
    one = contract(workspace)
    (first,) = ingest_under(workspace, raw.parent, one)
    assert ingest_under(workspace, raw.parent, one) == [first]
    assert looked == ["run.mcap"]
    for held in (workspace.cache / "results").rglob("*.json"):
        assert len(held.read_bytes()) < 10_000, "digests, no pictures"
    shutil.copy(raw, raw.with_name("zzz.mcap"))
    mcap.write_log(raw.with_name("other.mcap"), [room_stream([(30, 30)] * 4)], origin=Origin.REAL)
    both = ingest_under(workspace, raw.parent, one)
    assert first in both and len(both) == 2
    assert looked == ["run.mcap", "other.mcap"], "the copy has another name and the same content"
    wider = {"mask": {"observation.images.*": {"detectors": ["skin"], "hold_s": 0.2, "margin": 0.3}}}
    ingest_under(workspace, raw, contract(workspace, version=2, privacy=wider))
    assert looked[2:] == ["run.mcap"]


def test_what_was_erased_does_not_come_back_from_memory(workspace: Workspace, raw: Path) -> None:
    rules = contract(workspace)
    (log,) = ingest_under(workspace, raw, rules)
    retention.erase(workspace, [log], reason="asked")
    with pytest.raises(DataRefused, match="was erased"):
        ingest_under(workspace, raw, rules)


def test_other_facts_for_a_masked_log_are_refused_as_for_any(workspace: Workspace, raw: Path) -> None:
    rules = contract(workspace)
    ingest_under(workspace, raw, rules, site="hall")
    with pytest.raises(DataRefused):
        ingest_under(workspace, raw, rules, site="yard")


def test_another_key_does_not_open_what_is_sealed(
    workspace: Workspace, raw: Path, officer: tuple[str, Path], tmp_path: Path
) -> None:
    (log,) = ingest_under(workspace, raw, contract(workspace, officer[0]))
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(NotAuthorised, match="does not open"):
        open_sealed(workspace, log, tmp_path / "open", identity=other, reason="curious")


def test_without_a_recipient_the_raw_is_not_kept(workspace: Workspace, raw: Path, tmp_path: Path) -> None:
    (log,) = ingest_under(workspace, raw, contract(workspace))
    assert workspace.artifacts("sealed") == []
    with pytest.raises(NotFound, match="nothing is sealed"):
        open_sealed(workspace, log, tmp_path / "open", identity=tmp_path / "none", reason="x")


def test_a_log_that_was_ingested_unmasked_goes_into_no_dataset(workspace: Workspace, raw: Path) -> None:
    ingest_under(workspace, raw, None)
    with pytest.raises(ContractBroken, match="is not masked"):
        datasets.snapshot(workspace, contract(workspace), name="d")


def test_a_log_masked_by_weaker_rules_is_not_masked_as_the_contract_asks(workspace: Workspace, raw: Path) -> None:
    weak = contract(workspace)
    ingest_under(workspace, raw, weak)
    mask_ = {"mask": {"observation.images.*": {"detectors": ["skin", "faces"], "hold_s": 1.0}}}
    with pytest.raises(ContractBroken, match="is not masked"):
        datasets.snapshot(workspace, contract(workspace, version=2, privacy=mask_), name="d")


def test_the_sealed_raw_has_its_own_retention_and_goes_with_its_log(
    workspace: Workspace, raw: Path, officer: tuple[str, Path]
) -> None:
    (log,) = ingest_under(workspace, raw, contract(workspace, officer[0]))
    told = {item.log: item for item in retention.keeping(workspace)}
    (sealed,) = workspace.artifacts("sealed")
    month = told[sealed.digest].ingested_ns + 30 * 86_400 * SECOND
    assert told[sealed.digest].due(month)
    assert not told[log.digest].due(month)
    retention.erase(workspace, [sealed], reason="a month is over")
    assert not workspace.store.has(sealed.digest)
    open_log(workspace, log.digest)
    assert verify(workspace).problems == ()


def test_erasing_a_log_erases_its_sealed_raw(workspace: Workspace, raw: Path, officer: tuple[str, Path]) -> None:
    (log,) = ingest_under(workspace, raw, contract(workspace, officer[0]))
    (sealed,) = workspace.artifacts("sealed")
    parts = workspace.store.parts(sealed.digest)
    retention.erase(workspace, [log], reason="asked")
    assert not any(workspace.store.has(digest) for digest in (sealed.digest, *parts.values()))
    assert verify(workspace).problems == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask": {"a": {"detectors": []}}},
        {"mask": {"a": {"detectors": ["facess"]}}},
        {"mask": {"a": {"detectors": ["faces"], "params": {"persons": {}}}}},
        {"mask": {"a": {"detectors": ["faces"], "params": {"faces": {"neighbors": 3}}}}},
        {"mask": {"a": {"margin": -0.1}}},
        {"sealed_for": ["ssh-ed25519 AAAA"]},
    ],
)
def test_rules_that_cannot_be_kept_are_refused_when_the_contract_is_read(
    workspace: Workspace, wrong: dict[str, Any]
) -> None:
    with pytest.raises((ConfigError, NotFound)):
        contract(workspace, privacy=wrong)
