"""Columns of many CDR messages equal what mcap-ros2-support makes of each, for any definition and any values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from mcap.records import Channel, Schema
from mcap_ros2._cdr import CdrWriter, EncapsulationKind
from mcap_ros2._dynamic import _for_each_msgdef, _write_complex_type, generate_dynamic

from worldgate.core.errors import LogUnreadable
from worldgate.data.logs import _cdr as cdr
from worldgate.data.logs import _msgdef as msgdef
from worldgate.data.logs import _ros2 as ros2
from worldgate.data.logs._columns import ChannelReader
from worldgate.data.logs._limits import Limits
from worldgate.data.logs._mcap_decode import Codec, codec
from worldgate.data.logs._messages import ArrayOf, Numbers, get, stamp_ns

NAME = "pkg/msg/Top"
SEPARATOR = "\n" + "=" * 80 + "\n"
INTEGERS = {
    f"{sign}int{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits - (not sign)) - 1)
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(low, high) for name, (low, high) in INTEGERS.items()},
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "bool": st.booleans(),
    "char": st.integers(-128, 127),
    "byte": st.integers(0, 255),
    "string": st.text(st.characters(codec="utf-8"), max_size=9),
}


@dataclass(frozen=True)
class Member:
    name: str
    type: str
    count: int | None
    """None: one value; -1: a sequence; -2: a bounded one; above: fixed."""

    @property
    def line(self) -> str:
        suffix = {None: "", -1: "[]", -2: "[<=3]"}.get(self.count, f"[{self.count}]")
        return f"{self.type}{suffix} {self.name}"


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, list[Member]]:
    """Up to three types, each made of primitives and of the types behind it; the last may be empty."""
    names = ["Top", "Mid", "Low"][: draw(st.integers(1, 3))]
    out: dict[str, list[Member]] = {}
    for place, name in enumerate(names):
        types = [*SCALARS, *(f"pkg/{other}" for other in names[place + 1 :])]
        counts = st.sampled_from([None, None, None, 1, 3, -1, -2])
        least = 1 if place == 0 else 0
        members = draw(st.lists(st.tuples(st.sampled_from(types), counts), min_size=least, max_size=5))
        out[name] = [Member(f"f{i}", kind, count) for i, (kind, count) in enumerate(members)]
    if draw(st.booleans()):
        out["Top"].insert(0, Member("stamp", "builtin_interfaces/Time", None))
    return out


def text_of(types: dict[str, list[Member]]) -> str:
    top, *rest = types
    bodies = ["\n".join(m.line for m in types[top])]
    bodies += [f"MSG: pkg/{name}\n" + "\n".join(m.line for m in types[name]) for name in rest]
    bodies.append("MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec")
    return SEPARATOR.join(bodies)


def value_of(draw: st.DrawFn, types: dict[str, list[Member]], name: str, lengths: Iterator[int]) -> dict[str, Any]:
    """A message; ``lengths`` decides sequences and texts, so that messages can share a layout."""
    out: dict[str, Any] = {}
    for member in types[name]:
        if member.type == "builtin_interfaces/Time":
            out[member.name] = {"sec": draw(SCALARS["int32"]), "nanosec": draw(SCALARS["uint32"])}
            continue

        def one(kind: str = member.type) -> Any:
            if kind == "string":
                return draw(SCALARS["string"]) if next(lengths) == 3 else "ab" * next(lengths)
            return draw(SCALARS[kind]) if kind in SCALARS else value_of(draw, types, kind.partition("/")[2], lengths)

        if member.count is None:
            out[member.name] = one()
        else:
            out[member.name] = [one() for _ in range(next(lengths) if member.count < 0 else member.count)]
    return out


def encode(text: str, value: dict[str, Any], big: bool) -> bytes:
    specs: dict[str, Any] = {}
    _for_each_msgdef(NAME, text, lambda full, short, spec: specs.update({full: spec, short: spec}))
    out = BytesIO()
    writer = CdrWriter(out, EncapsulationKind.CDR_BE if big else EncapsulationKind.CDR_LE)
    _write_complex_type("Top", specs[NAME].fields, specs, value, writer)
    return out.getvalue()


@st.composite
def recordings(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    types = draw(definitions())
    text = text_of(types)
    rhythm = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    payloads = []
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 5)) == 0:
            rhythm = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))

        def lengths(beat: list[int] = rhythm) -> Iterator[int]:
            while True:
                yield from beat

        payloads.append(encode(text, value_of(draw, types, "Top", lengths()), draw(st.integers(0, 5)) == 0))
    return text, payloads


class Held:
    """Payloads of one channel."""

    def __init__(self, payloads: list[bytes]) -> None:
        self._payloads = payloads

    def payloads(self, channel: int, rows: Iterable[int]) -> Iterator[bytes]:
        return (self._payloads[row] for row in rows)


def codec_of(text: str, name: str = NAME) -> Codec:
    channel = Channel(id=1, topic="/x", message_encoding="cdr", metadata={}, schema_id=1)
    made = codec(channel, Schema(id=1, name=name, encoding="ros2msg", data=text.encode()), Limits())
    assert made is not None
    return made


def reader(text: str, payloads: list[bytes], name: str = NAME) -> ChannelReader:
    made = codec_of(text, name)
    return ChannelReader(Held(payloads), 1, made.decode, made.definition)


def values_of(definition: msgdef.Definition, name: str = "", prefix: str = "") -> list[Any]:
    """A value for every number and list of numbers outside lists of messages."""
    out: list[Any] = []
    for field in definition.types[name or definition.root]:
        path = f"{prefix}{field.name}"
        if not field.primitive:
            out += [] if field.count else values_of(definition, field.type, f"{path}.")
        elif field.type != "string" and not field.count:
            out.append(Numbers((path,)))
        elif field.type not in {"string", "uint8", "byte"}:
            out.append(ArrayOf(path))
    return out


def each(value: Any, messages: list[Any]) -> Any:
    """What the reference gives; None where the messages differ in length."""
    rows = [value(message) for message in messages]
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else None


@settings(max_examples=150, deadline=None)
@given(recording=recordings())
def test_columns_equal_the_reference_decoder(recording: tuple[str, list[bytes]]) -> None:
    text, payloads = recording
    reference = generate_dynamic(NAME, text)[NAME]
    messages = [reference(payload) for payload in payloads]
    columns = reader(text, payloads)
    definition = codec_of(text).definition
    assert definition is not None
    values = values_of(definition)
    rows = np.arange(len(payloads), dtype=np.int64)
    gathered, times = columns.read(values, rows, stamps=True)
    event("columns" if columns.decoded < len(payloads) else "each")
    for value, got in zip(values, gathered, strict=True):
        expected = each(value, messages)
        if expected is None:
            with pytest.raises(LogUnreadable, match="differ in length"):
                got.array(len(rows), "here")
        else:
            np.testing.assert_array_equal(got.array(len(rows), "here"), expected)
    stamps = [stamp_ns(message) or 0 for message in messages]
    assert times is not None and times.tolist() == stamps
    assert columns.stamps(rows).tolist() == stamps


@settings(max_examples=120, deadline=None)
@given(recording=recordings(), places=st.lists(st.tuples(st.integers(0, 7), st.floats(0, 1), st.integers(0, 255))))
def test_damaged_messages_are_refused_where_the_reference_refuses_and_equal_where_not(
    recording: tuple[str, list[bytes]], places: list[tuple[int, float, int]]
) -> None:
    text, payloads = recording
    for which, place, new in places:
        data = bytearray(payloads[which % len(payloads)])
        at = int(place * len(data))
        data[at : at + 1] = bytes([new])
        payloads[which % len(payloads)] = bytes(data[: len(data) - new % 3])
    decode = codec_of(text).decode
    messages, refused = [], False
    for payload in payloads:
        try:
            messages.append(decode(payload))
        except Exception:
            refused = True
    definition = codec_of(text).definition
    assert definition is not None
    values = values_of(definition)
    try:
        gathered, _ = reader(text, payloads).read(values, np.arange(len(payloads), dtype=np.int64))
    except Exception:
        assert refused
        return
    assert not refused
    for value, got in zip(values, gathered, strict=True):
        expected = each(value, messages)
        if expected is not None:
            np.testing.assert_array_equal(got.array(len(payloads), "here"), expected)


@settings(max_examples=50, deadline=None)
@given(recording=recordings())
def test_a_message_around_a_list_of_bytes_reads_as_the_reference_reads_it(recording: tuple[str, list[bytes]]) -> None:
    text, payloads = recording
    definition = codec_of(text).definition
    assert definition is not None
    flat = cdr.Flat(definition)
    reference = generate_dynamic(NAME, text)[NAME]
    for payload in payloads:
        message, expected = flat(payload), reference(payload)
        if message is None:
            continue
        for value in values_of(definition):
            np.testing.assert_array_equal(value(message), value(expected))
        for field in definition.types[definition.root]:
            if field.type == "string" and not field.count:
                assert get(message, field.name) == getattr(expected, field.name)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.lists(st.sampled_from(["", "cam", "grü", "left"]), min_size=1, max_size=8),
    sizes=st.lists(st.integers(0, 40), min_size=8, max_size=8),
    cut=st.integers(0, 3),
)
def test_images_read_as_the_reference_reads_them(frames: list[str], sizes: list[int], cut: int) -> None:
    for name in ("sensor_msgs/CompressedImage", "sensor_msgs/Image"):
        made = codec_of(ros2.definition(name), ros2.schema_name(name))
        reference = generate_dynamic(ros2.schema_name(name), ros2.definition(name))[ros2.schema_name(name)]
        for i, (frame, size) in enumerate(zip(frames, sizes, strict=False)):
            fields = {"header": ros2.header(-5 * 10**9 + 7 * i, frame), "data": bytes(range(size))}
            payload = ros2.encoder(name)(fields)
            message, expected = made.decode(payload), reference(payload)
            assert stamp_ns(message) == stamp_ns(expected)
            for path in ("header.frame_id", "data", "format", "height", "step", "encoding"):
                assert get(message, path) == get(expected, path)
            if 0 < cut <= size:
                with pytest.raises(ValueError, match="ends outside"):
                    made.decode(payload[:-cut])


# -------------------------------------------------------------------- what is read at once, and what is not


def joints(count: int, **changes: Any) -> list[bytes]:
    write = ros2.encoder("sensor_msgs/JointState")
    out = []
    for i in range(count):
        message = {
            "header": ros2.header(7 + i, "base"),
            "name": ["a", "bc"],
            "position": [float(i), math.nan],
            "velocity": [1.0, 2.0],
        }
        out.append(write(message | {key: change(i) for key, change in changes.items()}))
    return out


def joint_reader(payloads: list[bytes]) -> ChannelReader:
    return reader(ros2.definition("sensor_msgs/JointState"), payloads, "sensor_msgs/msg/JointState")


POSITION = ArrayOf("position", names_path="name", names=("a", "bc"))


def test_messages_of_one_layout_are_read_with_one_decoded_message() -> None:
    columns = joint_reader(joints(500))
    (position,), times = columns.read([POSITION], np.arange(500), stamps=True)
    assert columns.decoded == 1
    np.testing.assert_array_equal(position.array(500, ""), [[i, math.nan] for i in range(500)])
    assert times is not None and times.tolist() == list(range(7, 507))


def test_padding_may_hold_anything() -> None:
    payloads = []
    for i, payload in enumerate(joints(40)):
        data = bytearray(payload)
        at = data.index(b"a\0")
        assert data[at + 2 : at + 4] == b"\0\0"
        data[at + 2] = i
        payloads.append(bytes(data))
    columns = joint_reader(payloads)
    (position,), _ = columns.read([POSITION], np.arange(40))
    assert columns.decoded == 1
    assert position.array(40, "")[:, 0].tolist() == list(range(40))


def test_a_frame_that_changes_is_no_reason_to_decode_but_text_beyond_ascii_is() -> None:
    frames = ("base", "tool", "gr\u00fc")
    payloads = joints(30, header=lambda i: ros2.header(7, frames[i % 3]))
    assert len({len(p) for p in payloads}) == 1
    columns = joint_reader(payloads)
    (position,), _ = columns.read([POSITION], np.arange(30))
    assert columns.decoded == 2, "one layout a spelling that is not plainly valid"
    assert position.array(30, "")[:, 0].tolist() == list(range(30))


def test_text_that_is_not_utf8_is_refused_wherever_it_stands() -> None:
    payloads = joints(30)
    payloads[20] = payloads[20].replace(b"base", b"ba\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        joint_reader(payloads).read([POSITION], np.arange(30))


def test_joints_that_change_their_order_keep_their_columns() -> None:
    names = (["a", "bc"], ["bc", "a"])
    payloads = joints(20, name=lambda i: names[i % 2], position=lambda i: [[1.0, 2.0], [2.0, 1.0]][i % 2])
    (position,), _ = joint_reader(payloads).read([POSITION], np.arange(20))
    assert position.array(20, "").tolist() == [[1.0, 2.0]] * 20


def test_joints_of_other_names_are_refused() -> None:
    payloads = joints(20, name=lambda i: ["a", "bd"] if i == 11 else ["a", "bc"])
    with pytest.raises(LogUnreadable, match="name different entries"):
        joint_reader(payloads).read([POSITION], np.arange(20))


def test_lengths_without_end_do_not_learn_without_end() -> None:
    payloads = joints(200, effort=lambda i: [0.0] * i)
    columns = joint_reader(payloads)
    (position,), _ = columns.read([POSITION], np.arange(200))
    assert position.array(200, "")[:, 0].tolist() == list(range(200))
    assert columns._learned <= 9


@pytest.mark.parametrize("kind", [2, 3, 6, 7, 9, 255])
def test_other_encapsulations_are_refused_rather_than_misread(kind: int) -> None:
    payloads = [p[:1] + bytes([kind]) + p[2:] for p in joints(3)]
    with pytest.raises(LogUnreadable, match="plain CDR"):
        joint_reader(payloads).read([POSITION], np.arange(3))
    with pytest.raises(LogUnreadable, match="plain CDR"):
        joint_reader(payloads).stamps(np.arange(3))


def test_wide_text_is_not_read() -> None:
    with pytest.raises(LogUnreadable, match="definition"):
        codec_of("wstring a\nint32 b")


JOINT_IDL = """================================================================================
IDL: sensor_msgs/msg/JointState
module sensor_msgs { module msg {
struct JointState {
  std_msgs::msg::Header header; sequence<string> name;
  sequence<double> position; sequence<double> velocity; sequence<double> effort;
}; }; };
================================================================================
IDL: std_msgs/msg/Header
module std_msgs { module msg { struct Header { builtin_interfaces::msg::Time stamp; string frame_id; }; }; };
================================================================================
IDL: builtin_interfaces/msg/Time
module builtin_interfaces { module msg { struct Time { int32 sec; uint32 nanosec; }; }; };
"""


def test_a_type_that_is_given_in_idl_is_read_at_once_too() -> None:
    pytest.importorskip("rosbags")
    channel = Channel(id=1, topic="/x", message_encoding="cdr", metadata={}, schema_id=1)
    schema = Schema(id=1, name="sensor_msgs/msg/JointState", encoding="ros2idl", data=JOINT_IDL.encode())
    made = codec(channel, schema)
    assert made is not None
    payloads = joints(100)
    columns = ChannelReader(Held(payloads), 1, made.decode, made.definition)
    (position,), times = columns.read([POSITION], np.arange(100), stamps=True)
    assert columns.decoded == 1
    messages = [made.decode(payload) for payload in payloads]
    np.testing.assert_array_equal(position.array(100, ""), [message.position for message in messages])
    assert times is not None and times.tolist() == [stamp_ns(message) for message in messages]


# -------------------------------------------------------------------- hostile definitions


@pytest.mark.parametrize(
    "text",
    [
        "pkg/A a" + SEPARATOR + "MSG: pkg/A\npkg/A a",
        "pkg/A a" + SEPARATOR + "MSG: pkg/A\npkg/B[] b" + SEPARATOR + "MSG: pkg/B\npkg/A[2] a",
        SEPARATOR.join(
            ["pkg/A0 a", *(f"MSG: pkg/A{i}\npkg/A{i + 1} a\npkg/A{i + 1} b" for i in range(60)), "MSG: pkg/A60\nint8 x"]
        ),
        "\n".join(f"int32 f{i}" for i in range(100_000)),
        "int32 x\n" + "int32 " + "A" * 60 + "a=3",
        "string[] x [" + "'a'," * 100_000 + "]",
        "pkg/Unknown a",
        "int32",
        "int32 x\nint32 x",
        "x" * 2_000_000,
    ],
)
@pytest.mark.timeout(20)
def test_a_hostile_definition_is_refused_at_once(text: str) -> None:
    with pytest.raises(LogUnreadable, match="definition"):
        codec_of(text)


@pytest.mark.timeout(20)
def test_a_long_comment_is_not_searched() -> None:
    made = codec_of("int32 x #" + " " * 500_000 + "x")
    assert made.definition is not None and [f.name for f in made.definition.types[NAME]] == ["x"]


def test_constants_and_defaults_do_not_matter() -> None:
    made = codec_of("int32 A=3\nstring NAME = 'x # y'\nfloat64 x 1.5 # metres [m]\nint8[2] y [1, 2]\n")
    assert made.definition is not None
    assert [(f.name, f.type, f.count) for f in made.definition.types[NAME]] == [("x", "float64", 0), ("y", "int8", 2)]


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("pkg/A[] a" + SEPARATOR + "MSG: pkg/A\nuint8[1] x", b"\0\1\0\0" + b"\xff" * 4),
        ("pkg/A[1000000000] a" + SEPARATOR + "MSG: pkg/A\nuint8[1] x", b"\0\1\0\0" + bytes(100)),
        ("pkg/A[] a" + SEPARATOR + "MSG: pkg/A", b"\0\1\0\0" + b"\xff" * 4),
        ("string[] a", b"\0\1\0\0" + b"\xff" * 8),
        ("float64[] a", b"\0\1\0\0" + b"\xff" * 64),
        (
            SEPARATOR.join(
                ["pkg/A0 a", *(f"MSG: pkg/A{i}\npkg/A{i + 1}[9] a" for i in range(30)), "MSG: pkg/A30\nuint8[9] x"]
            ),
            b"\0\1\0\0" + bytes(64),
        ),
    ],
)
def test_a_message_that_claims_more_than_it_holds_ends_at_its_end(text: str, payload: bytes) -> None:
    with pytest.raises(Exception, match=r"ends outside|unpack_from|not plain|index"):
        codec_of(text).decode(payload)
    made = codec_of(text)
    assert made.definition is not None
    assert cdr.locate(made.definition, payload, frozenset({"a"})) is None
