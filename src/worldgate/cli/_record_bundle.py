"""``worldgate record bundle``: the evidence of one decision in a folder that somebody else can verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.record.bundle_verify import BundleReport
    from worldgate.record.ledger import Head


def bundle(
    decision: str,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    redact: tuple[Literal["persons", "serials", "sites"], ...] = (),
    hide: tuple[str, ...] = (),
    claims: tuple[str, ...] = (),
    head: str | None = None,
    at: str | None = None,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Write the evidence bundle of a decision, for an insurer or an authority.

    For example:

        worldgate record bundle 4c7a9a17 --out evidence
        worldgate record bundle 4c7a9a17 --out evidence --redact persons --claims kitchen.toml --head 412:9f2c...

    The README in it says what is shown and what is not. tools/verify.py and `worldgate record verify FOLDER` check it
    offline. Exit code 1 if what it shows does not hold.

    Args:
        decision: Id of a decision.
        out: The folder to write; must not exist.
        redact: Names to hide: persons, serials, sites. May be given several times.
        hide: Another word to hide. May be given several times.
        claims: A safety case to ask, a TOML file or one that ships with Worldgate. May be given several times.
        head: SEQUENCE:HASH that somebody else kept.
        at: The moment it is made for, in ISO 8601 with a zone; else now. The same moment gives the same bytes.
        key: Name of the key that signs it; else the program's own.
    """
    from worldgate.core.times import now_ns, parse_ns
    from worldgate.evidence.claims import load
    from worldgate.fleet.bundle import Asked, make

    trees = tuple(load(name) for name in claims)
    asked = Asked(redact=redact, words=hide, claims=trees, witness=read_head(head))
    moment = now_ns() if at is None else parse_ns(at)
    with open_workspace(workspace) as ws:
        made = make(ws, ws.resolve(decision, "decision"), out, now_ns=moment, asked=asked, key=key)
    shown = Table(columns=("not shown",), rows=[(line,) for line in made.not_shown])
    body = {"folder": out, "manifest": made.manifest, "not_shown": made.not_shown, **_body(made.report)}
    said = [*_said(made.report), f"written to {out}"]
    answer("record.bundle", body, *_problems(made.report), shown, *said, as_json=json)
    return 0 if made.report.ok else 1


def verify_folder(folder: Path, witness: Head | None, *, as_json: bool) -> int:
    """Verify a bundle and say what holds; returns the exit code."""
    from worldgate.core.errors import NotFound
    from worldgate.evidence.recompute import RECOMPUTE
    from worldgate.record.bundle_verify import verify_bundle
    from worldgate.record.bundles import is_bundle

    if not is_bundle(folder):
        raise NotFound("no bundle here", where=folder, hint="worldgate record verify --workspace FOLDER, or bundle")
    found = verify_bundle(folder, recompute=RECOMPUTE, witness=witness)
    answer("record.verify", _body(found), *_problems(found), *_said(found), as_json=as_json)
    return 0 if found.ok else 1


def _problems(found: BundleReport) -> list[Table]:
    rows = [(problem.seq or "bundle", problem.digest[:12], problem.what) for problem in found.report.problems]
    return [Table(columns=("record", "id", "what does not hold"), rows=rows)] if rows else []


def _body(found: BundleReport) -> dict[str, object]:
    report = found.report
    return {
        "ok": found.ok,
        "records": report.records,
        "records_withheld": found.withheld_records,
        "objects": report.objects,
        "objects_withheld": found.withheld_objects,
        "recomputed": report.recomputed,
        "decision_withheld": found.decision_withheld,
        "head": report.head,
        "witnessed": report.witnessed,
        "problems": report.problems,
    }


def _said(found: BundleReport) -> list[str]:
    report = found.report
    out = [
        f"{report.records} records, {found.withheld_records} of them withheld; {report.objects} objects, "
        f"{found.withheld_objects} of them withheld; {report.recomputed} claims recomputed, "
        f"{len(report.problems)} problems; head {report.head.seq}:{report.head.hash}"
    ]
    if found.decision_withheld:
        out.append("the decision could not be computed again: evidence of it is redacted")
    if not report.witnessed:
        out.append("no head kept elsewhere was given: a cut tail or a re-issue would not show")
    return out


def read_head(text: str | None) -> Head | None:
    """``SEQUENCE:HASH`` as a head.

    Raises:
        UsageError: something else.
    """
    from worldgate.core.errors import UsageError
    from worldgate.record.ledger import Head

    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or not digest:
        raise UsageError(
            "not a head", got=ascii(text)[:80], hint="SEQUENCE:HASH, as `worldgate record verify` prints it"
        )
    return Head(int(seq), digest)
