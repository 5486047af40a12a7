"""``worldgate world tokens`` as people call it."""

from __future__ import annotations

import json

from worldgate.cli import _main as cli
from worldgate.worlds.tokens.reading import TokenDataset


def call(made, *arguments):
    return cli.main(["world", "tokens", *map(str, arguments), "--workspace", str(made.ws.root)])


def test_the_command_says_which_ids_mean_what(made, tmp_path, capsys):
    out = tmp_path / "tokens"
    assert call(made, "cell", out, "--pictures", "pictures", "--actions", "bins", "--rows", 9, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["version"]) == ("worldgate.world.tokens", 1)
    ranges = told["exported"]["vocabulary"]["ranges"]
    assert [held["role"] for held in ranges] == ["picture", "picture", "picture", "action"]
    held = TokenDataset.open(out)
    assert told["exported"]["sequences"] == len(held)
    assert max(sequence.rows for sequence in held) == 9
    assert call(made, "cell", tmp_path / "again", "--actions", "bins") == 0
    assert "action" in capsys.readouterr().out


def test_what_cannot_be_written_ends_with_its_exit_code(made, tmp_path, capsys):
    assert call(made, "cell", tmp_path / "a") == 2
    assert "need a tokenizer" in capsys.readouterr().err
    assert call(made, "cell", tmp_path / "a", "--actions", "bins", "--rows", -1) == 2
    assert call(made, "cell", tmp_path / "a", "--actions", "nobody") == 2
    assert call(made, "cell", tmp_path / "a", "--actions", "bins", "--split", "test") == 2
    assert list(tmp_path.iterdir()) == []
