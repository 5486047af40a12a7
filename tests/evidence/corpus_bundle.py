"""What is done to copies of bundles, by somebody with the files or by their maker; see :mod:`tests.evidence.corpus`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.evidence.corpus_record import Change, _flipped, _unquoted

from worldgate.core.digest import canonical, sha256
from worldgate.core.names import Name
from worldgate.record import keys
from worldgate.record.bundles import ENVELOPE, LEDGER, MANIFEST, TYPE
from worldgate.record.signing import sign_statement, statement_type
from worldgate.record.workspace import Workspace

# ---- changes to a bundle --------------------------------------------------------------------------------------------


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / LEDGER).read_bytes().splitlines()]


def _put_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    (path / LEDGER).write_bytes(b"".join(canonical(line) + b"\n" for line in lines))


def _resign(path: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> None:
    """As its maker could: the manifest of what the folder holds now, signed with the maker's key."""
    tree = json.loads((path / MANIFEST).read_bytes())
    tree["files"] = {
        p.relative_to(path).as_posix(): sha256(p.read_bytes())
        for p in path.rglob("*")
        if p.is_file() and p.name not in (MANIFEST, ENVELOPE, "done") and "objects" not in p.relative_to(path).parts[:1]
    }
    out = change(tree) if change is not None else None
    told = out if isinstance(out, bytes) else canonical(tree)
    home = Path((path.parent / f"{path.name}.home").read_text())
    with Workspace.open(home) as ws:
        envelope = sign_statement(told, TYPE, ws.signer())
    (path / MANIFEST).write_bytes(told)
    (path / ENVELOPE).write_bytes(canonical(envelope))


def _manifest(name: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    def signed(path: Path, rng: random.Random) -> None:
        _resign(path, change)

    signed.__name__ = name
    return signed


def flip_a_file(path: Path, rng: random.Random) -> None:
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "done" and p.stat().st_size)
    file = rng.choice([p for p in files if p.name not in (MANIFEST,) and "objects" not in p.relative_to(path).parts])
    file.write_bytes(_flipped(file.read_bytes(), rng))


def flip_the_manifest(path: Path, rng: random.Random) -> None:
    (path / MANIFEST).write_bytes(_flipped((path / MANIFEST).read_bytes(), rng))


def flip_the_readme(path: Path, rng: random.Random) -> None:
    text = (path / "README.md").read_text()
    (path / "README.md").write_text(text.replace("not shown", "shown"))


def add_a_file(path: Path, rng: random.Random) -> None:
    (path / "certificate.md").write_text("All is well.")


def lose_a_file(path: Path, rng: random.Random) -> None:
    rng.choice([path / name for name in ("README.md", "trials.csv", "decision.json", ENVELOPE)]).unlink()


def lose_a_line(path: Path, rng: random.Random) -> None:
    lines = _lines(path)
    del lines[rng.randrange(2, len(lines) - 1)]
    _put_lines(path, lines)
    _resign(path)


def swap_lines(path: Path, rng: random.Random) -> None:
    lines = _lines(path)
    at = rng.randrange(3, len(lines) - 1)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    _put_lines(path, lines)
    _resign(path)


def cut_lines(path: Path, rng: random.Random) -> None:
    _put_lines(path, _lines(path)[: -rng.randrange(1, 3)])
    _resign(path)


def cut_lines_and_head(path: Path, rng: random.Random) -> str:
    lines = _lines(path)
    kept = lines[-1]
    _put_lines(path, lines[:-1])
    _resign(path, lambda m: m.update(head={"seq": lines[-2]["seq"], "hash": lines[-2]["hash"]}))
    return f"{kept['seq']}:{kept['hash']}"


def junk_line(path: Path, rng: random.Random) -> None:
    data = (path / LEDGER).read_bytes().split(b"\n")
    data[rng.randrange(2, len(data) - 2)] = rng.choice([b"", b"null", b'{"seq":1}', b"x", b"[]"])
    (path / LEDGER).write_bytes(b"\n".join(data))
    _resign(path)


def loose_line(path: Path, rng: random.Random) -> None:
    """The same record in another spelling."""
    data = (path / LEDGER).read_bytes().split(b"\n")
    at = rng.randrange(2, len(data) - 2)
    data[at] = json.dumps(json.loads(data[at])).encode()
    (path / LEDGER).write_bytes(b"\n".join(data))
    _resign(path)


def _hide(kind: str, why: str, name: str) -> Change:
    """The maker withholds a record that belongs to the story."""

    def change(path: Path, rng: random.Random) -> None:
        lines = _lines(path)
        line = rng.choice([x for x in lines if x["kind"] == kind and x["payload"] is not None])
        line.update(payload=None, signature="", why=why)
        _put_lines(path, lines)
        _resign(path)

    change.__name__ = name
    return change


def show_something_else(path: Path, rng: random.Random) -> None:
    """A withheld record gets a payload that its digest does not name."""
    lines = _lines(path)
    line = rng.choice([x for x in lines if x["payload"] is None] or lines[3:])
    other = rng.choice([x for x in lines if x["payload"] is not None and x is not line])
    line.update(payload=other["payload"], signature=other["signature"], why="")
    _put_lines(path, lines)
    _resign(path)


def another_kind_said(path: Path, rng: random.Random) -> None:
    """A withheld record said to be of another kind: nobody can see it, and nothing may rest on it."""
    lines = _lines(path)
    hidden = [x for x in lines if x["payload"] is None and x["kind"] not in ("key.added", "gate.decided")]
    for line in hidden[:1]:
        line["kind"] = "note.made"
    _put_lines(path, lines)
    _resign(path)


def lose_a_document(path: Path, rng: random.Random) -> None:
    tree = json.loads((path / MANIFEST).read_bytes())
    names = [tree["decision"], json.loads((path / "decision.json").read_bytes())["policy"]["digest"]]
    digest = rng.choice([n for n in names if (path / "objects" / n[:2] / n[2:]).is_file()])
    (path / "objects" / digest[:2] / digest[2:]).unlink()


def withhold_a_document(path: Path, rng: random.Random) -> None:
    """Named as withheld, without the word that it was redacted: the decision cannot be computed again."""
    digest = json.loads((path / "decision.json").read_bytes())["policy"]["digest"]
    (path / "objects" / digest[:2] / digest[2:]).unlink()
    _resign(path, lambda m: m["withheld"].update({digest: "too large"}))


def redact_a_document(path: Path, rng: random.Random) -> None:
    digest = json.loads((path / "decision.json").read_bytes())["policy"]["digest"]
    (path / "objects" / digest[:2] / digest[2:]).unlink()
    _resign(path, lambda m: m["withheld"].update({digest: "redacted: words"}))


def a_key_of_mine(path: Path, rng: random.Random) -> None:
    """Redaction forged: another public key in the place of a withheld one."""
    stranger = keys.generate(path.parent, Name(f"stranger-{path.name}"))
    public = stranger.public_key.keyval["public"]
    _resign(path, lambda m: m["keys"][0].update(public=public, keyid=stranger.public_key.keyid))


def an_idle_key_of_mine(path: Path, rng: random.Random) -> None:
    """The same with a key that signed nothing shown: nobody can see it, and nothing rests on it."""
    stranger = keys.generate(path.parent, Name(f"stranger-{path.name}"))
    public = stranger.public_key.keyval["public"]
    _resign(path, lambda m: m["keys"][-1].update(public=public, keyid=stranger.public_key.keyid))


def a_key_misnamed(path: Path, rng: random.Random) -> None:
    _resign(path, lambda m: m["keys"][-1].update(public="0" * 64))


def a_key_too_many(path: Path, rng: random.Random) -> None:
    stranger = keys.generate(path.parent, Name(f"stranger-{path.name}"))
    told = {"keyid": stranger.public_key.keyid, "public": stranger.public_key.keyval["public"], "role": "person"}

    def change(m: dict[str, Any]) -> None:
        m["keys"].append({**told, "ledger": m["ledger"], "owner": "person-9", "added": 3})

    _resign(path, change)


def signed_by_me(path: Path, rng: random.Random) -> None:
    """A manifest that a stranger signed."""
    stranger = keys.generate(path.parent, Name(f"stranger-{path.name}"))
    tree = json.loads((path / MANIFEST).read_bytes())
    told = canonical({**tree, "signer": stranger.public_key.keyid})
    (path / MANIFEST).write_bytes(told)
    (path / ENVELOPE).write_bytes(canonical(sign_statement(told, TYPE, stranger)))


def signed_as_a_decision(path: Path, rng: random.Random) -> None:
    home = Path((path.parent / f"{path.name}.home").read_text())
    with Workspace.open(home) as ws:
        envelope = sign_statement((path / MANIFEST).read_bytes(), statement_type("decision"), ws.signer())
    (path / ENVELOPE).write_bytes(canonical(envelope))


MANIFESTS = (
    _manifest("another decision", lambda m: m.update(decision="a" * 64)),
    _manifest("another record", lambda m: m.update(decision_seq=m["decision_seq"] - 1)),
    _manifest("a record beyond the end", lambda m: m.update(decision_seq=99_999)),
    _manifest("another end", lambda m: m["head"].update(hash="0" * 64)),
    _manifest("a head that nobody kept", lambda m: m.update(witness={"seq": 3, "hash": "0" * 64})),
    _manifest("another ledger", lambda m: m.update(ledger="0" * 32)),
    _manifest("an unknown field", lambda m: m.update(critical=True)),
    _manifest("a missing field", lambda m: m.pop("redacted")),
    _manifest("a newer schema", lambda m: m.update(schema="worldgate/bundle/2")),
    _manifest("another schema", lambda m: m.update(schema="worldgate/decision/1")),
    _manifest("a number as text", lambda m: m.update(decision_seq=str(m["decision_seq"]))),
    _manifest("a truth as a number", lambda m: m["head"].update(seq=True)),
    _manifest("a time as a number", lambda m: _unquoted(canonical(m), b'"made_at_ns":"', b'","redacted"')),
    _manifest("a key twice", lambda m: canonical(m).replace(b'{"decision"', b'{"decision":"x","decision"', 1)),
    _manifest("a list", lambda m: canonical([m])),
    _manifest("a file outside", lambda m: m["files"].update({"../x": "0" * 64})),
    _manifest("the ledger unnamed", lambda m: m["files"].pop(LEDGER)),
)  # fmt: skip
