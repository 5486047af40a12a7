"""Incidents: what is frozen, that it stays frozen, and what it takes to close one."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused, NotAuthorised, NotFound, Tampered, UsageError
from worldgate.core.names import Slot
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.data import retention
from worldgate.data.alignment import AlignmentSpec
from worldgate.data.ingest import ingest
from worldgate.data.logs import mcap
from worldgate.evidence import scenarios
from worldgate.fleet import incidents
from worldgate.fleet.as_of import as_of
from worldgate.fleet.deployments import Deployments
from worldgate.fleet.incidents import Severity, close_incident, open_incident
from worldgate.record.events import Ref

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
SLOT = Slot.parse("north/nr1/left")
R1 = sha256(b"r1")


def stream(name, rate_hz, seconds, start_ns, seed=0):
    count = int(rate_hz * seconds)
    times = start_ns + (np.arange(count) * SECOND // rate_hz).astype(np.int64)
    rows = np.random.default_rng([seed, count]).normal(size=(count, 2))
    info = StreamInfo(name=name, kind=Kind.VECTOR, count=count, shape=(2,), names=("x", "y"), unit="m", rate_hz=rate_hz)
    return Stream(info=info, times_ns=times, values=rows)


@pytest.fixture
def recorded(workspace, tmp_path):
    def make(name="run", start_ns=START, seconds=10, release=R1, arm="left"):
        path = tmp_path / f"{name}.mcap"
        seed = 0 if name == "run" else len(name)
        rates = {"observation.state": 100, "action": 10}
        streams = [stream(key, rate, seconds, start_ns, seed) for key, rate in rates.items()]
        facts = {"release": release, "clock_error_s": 0.01, "task": name}
        mcap.write_log(path, streams, origin=Origin.SIMULATED, facts=facts)
        (ref,) = ingest(workspace, path, site="north", robot="nr1", arm=arm)
        return ref

    return make


def opened(ws, at=START + 5 * SECOND, **changes):
    fields = {"before_ns": 2 * SECOND, "after_ns": SECOND, "note": "too near", "severity": Severity.NEAR_MISS}
    return open_incident(ws, SLOT, at, **{**fields, "by": "tester", **changes})


def test_the_window_of_every_log_of_the_arm_is_frozen(workspace, recorded):
    log = recorded()
    recorded("other-arm", arm="right")
    recorded("other-day", start_ns=START + 86_400 * SECOND)
    incident = incidents.load(workspace, opened(workspace).digest)
    (piece,) = incident.slices
    assert piece.log == log.digest
    assert set(piece.streams) == {"observation.state", "action"}
    assert incident.start_ns - 10_000_000 <= piece.start_ns < incident.start_ns + 10_000_000
    assert piece.end_ns <= incident.end_ns + 10_000_001


def test_an_incident_holds_its_logs_against_erasure_until_a_person_lifts_it(workspace, recorded):
    log = recorded()
    incident = incidents.load(workspace, opened(workspace).digest)
    with pytest.raises(DataRefused, match="is held"):
        retention.erase(workspace, [log], reason="asked")
    (held,) = retention.holds(workspace)
    retention.lift(workspace, held.id, reason="settled")
    retention.erase(workspace, [log], reason="asked")
    assert not workspace.store.has(incident.slices[0].file)


def test_what_was_known_is_frozen_and_asking_again_gives_it_again(workspace, recorded):
    recorded()
    ref = opened(workspace)
    incident = incidents.load(workspace, ref.digest)
    assert incident.release == R1
    workspace.record(
        "deployment.reported",
        body={"slot": str(SLOT), "release": sha256(b"r2"), "form": "span"},
        valid_from_ns=START,
        valid_to_ns=START + 100 * SECOND,
    )
    assert as_of(workspace, SLOT, incident.at_ns).certainty == "AMBIGUOUS"
    again = as_of(Deployments.of(workspace, until_seq=incident.ledger_seq), SLOT, incident.at_ns)
    assert again.release == incident.release
    assert incidents.load(workspace, ref.digest) == incident


def test_decisions_in_force_are_frozen(workspace, recorded):
    recorded()
    for name, begins, slots in (("a", START, [str(SLOT)]), ("b", START + 99 * SECOND, [str(SLOT)]), ("c", START, [])):
        body = {"decision": sha256(name.encode()), "slots": slots}
        workspace.record("gate.decided", body=body, valid_from_ns=begins, valid_to_ns=begins + 99 * SECOND)
    assert incidents.load(workspace, opened(workspace).digest).decisions == (sha256(b"a"),)


def test_the_frozen_window_aligns_to_what_was_recorded(workspace, recorded):
    recorded()
    incident = incidents.load(workspace, opened(workspace).digest)
    episode = incidents.episode(workspace, incident, AlignmentSpec(reference="action"))
    assert episode.origin is Origin.SIMULATED
    assert len(episode) == pytest.approx(30, abs=1)
    whole = stream("action", 10, 10, START)
    first = int(np.flatnonzero(whole.times_ns == episode.times_ns[0])[0])
    np.testing.assert_allclose(episode.array("action"), whole.array[first : first + len(episode)])


def test_a_slice_that_was_changed_in_the_store_is_refused(workspace, recorded):
    recorded()
    incident = incidents.load(workspace, opened(workspace).digest)
    path = workspace.store.path(incident.slices[0].file)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Tampered):
        incidents.episode(workspace, incident, AlignmentSpec(reference="action"))


def test_an_incident_without_a_recording_is_opened_and_says_so(workspace):
    incident = incidents.load(workspace, opened(workspace).digest)
    assert incident.slices == ()
    with pytest.raises(DataRefused, match="not certain"):
        _ = incident.release
    with pytest.raises(NotFound):
        incidents.episode(workspace, incident, AlignmentSpec(reference="action"))


def test_two_logs_in_one_window_need_a_choice(workspace, recorded):
    one, _two = recorded("one"), recorded("two", seconds=9)
    incident = incidents.load(workspace, opened(workspace).digest)
    with pytest.raises(UsageError):
        incidents.episode(workspace, incident, AlignmentSpec(reference="action"))
    assert (
        incidents.episode(workspace, incident, AlignmentSpec(reference="action"), log=one.digest).facts["task"] == "one"
    )


@pytest.mark.parametrize("changes", [{"before_ns": -1}, {"before_ns": 0, "after_ns": 0}, {"note": "  "}])
def test_an_incident_that_says_nothing_is_refused(workspace, changes):
    with pytest.raises(UsageError):
        opened(workspace, **changes)
    assert not list(workspace.ledger.events("incident.opened"))


def scenario(ws, incident, *, site="north", source="incident", name="near-miss"):
    made = scenarios.Scenario(name=name, site=site, initial={}, source=source, incident=incident.digest)
    return scenarios.register(ws, made, inputs=(incident,))


def test_closing_by_a_scenario_puts_it_before_every_later_gate_of_the_site(workspace, recorded):
    recorded()
    ref = opened(workspace)
    made = scenario(workspace, ref)
    close_incident(workspace, ref, by="tester", scenario=made)
    head = workspace.ledger.head().seq
    assert [s["scenario"] for s in scenarios.incident_scenarios(workspace, upto_seq=head)] == [made.digest]


def test_closing_by_a_reason_is_signed_by_the_person(workspace):
    event = close_incident(workspace, opened(workspace), by="tester", reason="the sensor fell off; nothing to replay")
    assert event.actor == workspace.signer("tester").public_key.keyid
    assert event.body["person"] == "tester"


def test_closing_takes_exactly_one_of_scenario_and_reason(workspace):
    ref = opened(workspace)
    made = scenario(workspace, ref)
    for fields in ({}, {"reason": "  "}, {"reason": "x", "scenario": made}):
        with pytest.raises(UsageError):
            close_incident(workspace, ref, by="tester", **fields)
    assert not list(workspace.ledger.events("incident.closed"))


def test_an_incident_is_closed_once(workspace):
    ref = opened(workspace)
    close_incident(workspace, ref, by="tester", reason="r")
    with pytest.raises(UsageError, match="closed already"):
        close_incident(workspace, ref, by="tester", reason="r")


def test_a_service_or_robot_does_not_close_an_incident(workspace):
    with pytest.raises(NotAuthorised):
        close_incident(workspace, opened(workspace), by="service", reason="r")


@pytest.mark.parametrize("changes", [{"site": "south"}, {"source": "authored"}])
def test_a_scenario_of_something_else_does_not_close_it(workspace, changes):
    ref = opened(workspace)
    with pytest.raises(DataRefused):
        close_incident(workspace, ref, by="tester", scenario=scenario(workspace, ref, **changes))


def test_a_scenario_of_another_incident_does_not_close_it(workspace):
    first, second = opened(workspace), opened(workspace, note="another one")
    with pytest.raises(DataRefused):
        close_incident(workspace, second, by="tester", scenario=scenario(workspace, first))


def test_what_was_never_opened_or_made_is_not_found(workspace):
    ref = opened(workspace)
    with pytest.raises(NotFound):
        close_incident(workspace, ref, by="tester", scenario=Ref("scenario", sha256(b"none")))
    with pytest.raises(NotFound):
        close_incident(workspace, Ref("incident", sha256(b"none")), by="tester", reason="r")
    with pytest.raises(DataRefused):
        incidents.load(workspace, workspace.put_json({"schema": "other"}))
