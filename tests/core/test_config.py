"""Configuration: precedence, the nearest key, and that nothing unknown is ignored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worldgate.core.config import decode, flatten, read_toml, resolve
from worldgate.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimiser:
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    steps: int = 100
    optimiser: Optimiser = field(default_factory=Optimiser)


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    name: str = "demo"
    train: Train = field(default_factory=Train)


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_source_overrides_the_one_before_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "[train]\nsteps = 2\noptimiser.rate = 0.2\n")
    found = resolve(Whole(), file=path)
    assert found.value.train == Train(steps=2, optimiser=Optimiser(rate=0.2))
    monkeypatch.setenv("WORLDGATE_TRAIN__STEPS", "3")
    monkeypatch.setenv("WORLDGATE_TRAIN__OPTIMISER__RATE", "0.3")
    found = resolve(Whole(), file=path, sets=["train.steps=4"])
    assert found.value.train == Train(steps=4, optimiser=Optimiser(rate=0.3))
    assert found.sources == {
        "train.steps": "--set",
        "train.optimiser.rate": "$WORLDGATE_TRAIN__OPTIMISER__RATE",
    }
    assert found.value.name == "demo", "what nobody overrides stays as the recipe built it"


def test_the_environment_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDGATE_TRAIN__STEPS", "3")
    assert resolve(Whole(), environment=False).value == Whole()


@pytest.mark.parametrize("name", ["WORLDGATE_REQUIRE", "WORLDGATE_WORKSPACE", "WORLDGATE_DATA"])
def test_the_programs_own_variables_are_no_keys(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "all")
    assert resolve(Whole()).value == Whole()


def test_a_misspelt_key_names_file_key_and_nearest_key(tmp_path: Path) -> None:
    path = file(tmp_path, "[train]\nstep = 2\n")
    with pytest.raises(ConfigError) as caught:
        resolve(Whole(), file=path)
    assert caught.value.exit_code == 2
    assert caught.value.where == f"{path}:train.step"
    assert caught.value.hint == "did you mean steps?"


def test_a_misspelt_key_deep_in_the_tree_names_the_nearest_key_there() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Whole(), sets=["train.optimiser.rat=1"])
    assert caught.value.hint == "did you mean rate?"


def test_a_misspelt_variable_is_an_error_not_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDGATE_TRAIN__STEPPS", "3")
    with pytest.raises(ConfigError) as caught:
        resolve(Whole())
    assert "$WORLDGATE_TRAIN__STEPPS" in str(caught.value)


def test_a_key_unlike_any_other_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Whole(), sets=["zzz=1"])
    assert caught.value.hint == "one of name, train"


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ("train.steps=many", "train.steps"),
        ("train=3", "train"),
        ("train.steps.more=3", "train.steps"),
        ("train.optimiser.betas=[1]", "betas"),
    ],
)
def test_a_value_of_the_wrong_shape_names_its_key(item: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Whole(), sets=[item])
    assert part in str(caught.value)


def test_set_without_an_equals_sign_shows_the_form() -> None:
    with pytest.raises(ConfigError, match="key=value"):
        resolve(Whole(), sets=["train.steps"])


def test_set_reads_toml_values_and_falls_back_to_text() -> None:
    found = resolve(Whole(), sets=["train.optimiser.betas=[0.5, 0.6]", "name=near miss = here"])
    assert found.value.train.optimiser.betas == (0.5, 0.6)
    assert found.value.name == "near miss = here"


@pytest.mark.parametrize("content", [b"[train\n", b"a = 1\na = 2\n", b"\xff\xfe"])
def test_broken_toml_is_a_usage_error_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert caught.value.where == path


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_toml(tmp_path / "none.toml")


def test_decoding_refuses_keys_at_the_top_too() -> None:
    with pytest.raises(ConfigError):
        decode(Whole, {"naem": "x"}, where="here")


def test_a_key_of_the_file_that_is_no_configuration_can_be_set_aside(tmp_path: Path) -> None:
    path = file(tmp_path, 'recipe = "demo"\nname = "x"\n')
    assert resolve(Whole(), file=path, ignore={"recipe"}).value.name == "x"
    with pytest.raises(ConfigError):
        resolve(Whole(), file=path)


def test_a_tree_is_flattened_to_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


def test_one_value_where_a_list_belongs_is_told_the_form_of_a_list() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Whole(), sets=["train.optimiser.betas=half"])
    assert caught.value.hint == 'a list, such as train.optimiser.betas=["half"]'


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    first: int = 0
    last: int = 10

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ConfigError("ends before it begins", got=f"{self.first} to {self.last}", where="span")


@pytest.mark.parametrize("sets", [["first=20", "last=30"], ["last=30", "first=20"]])
def test_values_that_only_fit_together_may_be_given_in_any_order(sets: list[str]) -> None:
    assert resolve(Span(), sets=sets, environment=False).value == Span(first=20, last=30)
    with pytest.raises(ConfigError, match="ends before it begins"):
        resolve(Span(), sets=sets[:1] if sets[0].startswith("first") else sets[1:], environment=False)
