"""`--config FILE` on every verb: flags from YAML or JSON, those on the command line win, unknown names are refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import Call, Files
from hypothesis import given
from hypothesis import strategies as st

from raydm.cli import VERBS
from raydm.errors import ParameterError
from raydm.flags.config import add_config, arguments_of, read_config, with_config, words_of
from raydm.flags.mix import MIX
from raydm.flags.value import VALUE
from raydm.flags.verb import Verb
from raydm.flags.weight import WEIGHT


def parser_of(verb: Verb) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raydm")
    own = parser.add_subparsers().add_parser(verb.name)
    verb.add(own)
    add_config(own)
    return parser


def parsed(verb: Verb, content: Any, *words: str) -> argparse.Namespace:
    Path("c.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    line = with_config(parser_of(verb), [verb.name, "--config", "c.yaml", *words])
    return parser_of(verb).parse_args(line)


def test_values_of_every_form() -> None:
    found = parsed(MIX, {
        "train": ["a.csv", "b.csv"], "valid": "v.csv", "label": ["y", "z"], "kind": {"a=b": "numeric"}, "steps": 7,
        "mean-bounds": [0.1, 0.8], "predictor_args": {"hidden": [3]}, "lam": "beta", "anneal": False, "quiet": True,
        "warm_start": False, "threshold": 1e-5, "data_options": "1..3", "memory": 1024, "outer_batch": None,
        "schedule": {5: {"reward_scale": 2}}, "thresholds": None,
    })  # fmt: skip
    assert (found.train, found.valid, found.label) == (["a.csv", "b.csv"], ["v.csv"], ["y", "z"])
    assert found.kind == [("a=b", "numeric")]
    assert (found.steps, found.mean_bounds, found.predictor_args) == (7, [0.1, 0.8], {"hidden": [3]})
    assert (found.lam, found.anneal, found.quiet, found.warm_start) == ("beta", False, True, False)
    assert (found.threshold, found.data_options, found.memory) == (1e-5, "1..3", 1024)
    assert (found.outer_batch, found.schedule) == (None, {"5": {"reward_scale": 2}})
    assert parsed(MIX, {"train": "a", "no-anneal": True}).anneal is False
    assert parsed(MIX, {"train": "a", "anneal": True}).anneal is True


def test_the_command_line_wins() -> None:
    content = {"train": ["a.csv"], "label": ["y"], "steps": 7, "anneal": False, "mean_bounds": [0.2, 0.3]}
    found = parsed(MIX, content, "b.csv", "--label", "z", "--steps=9", "--mean-bounds", "0", "1")
    assert (found.train, found.label, found.steps) == (["b.csv"], ["z"], 9)
    assert (found.mean_bounds, found.anneal) == ([0.0, 1.0], False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"stepps": 3}, r"the key 'stepps' is no flag of `raydm mix`. Did you mean 'steps'\?"),
        ({"zzz": 3}, "the key 'zzz' is no flag of `raydm mix`. See `raydm mix --help`"),
        ({"config": "other"}, "'config' is no flag"), ({"module": "value"}, "'module' is no flag"),
        ({"help": True}, "'help' is no flag"), ({"verb": "value"}, "is for `raydm value`, and not for `raydm mix`"),
        ({"no-anneal": True, "anneal": False}, "'no-anneal' and 'anneal' are the same flag"),
        ({"warm_start": 1}, "warm_start: is true or false. Got 1"),
        ({"steps": [1]}, "steps: expected text or a number"), ({"valid": [["a"]]}, "valid: expected text or a number"),
        ([1], "a config names flags"), (3, "a config names flags"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused_by_name(content: Any, told: str) -> None:
    with pytest.raises(ParameterError, match=f"^c.yaml: .*{told}"):
        parsed(MIX, content, "a.csv")


def test_files_that_cannot_be_read() -> None:
    for text in ("a: [", "a: !!python/object/apply:os.system [x]", "a: &x [1]\nb: *x", "\x00", "a: 1\n\tb: 2"):
        Path("c.yaml").write_text(text)
        with pytest.raises(ParameterError, match=r"^c.yaml: cannot be read as a config"):
            read_config(Path("c.yaml"))
    Path("c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match=r"^c.yaml: cannot be read"):
        read_config(Path("c.yaml"))
    Path("c.json").write_text("{'a': 1}")
    with pytest.raises(ParameterError, match=r"^c.json: cannot be read"):
        read_config(Path("c.json"))
    Path("c.json").write_text("[" * 100_000)
    with pytest.raises(ParameterError, match=r"^c.json: cannot be read"):
        read_config(Path("c.json"))
    Path("c.yaml").write_text("a: " + "x" * 2**20)
    with pytest.raises(ParameterError, match="larger than any config"):
        read_config(Path("c.yaml"))
    with pytest.raises(ParameterError, match=r"absent.yaml: cannot be read as a config"):
        read_config(Path("absent.yaml"))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_config_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(content)
    try:
        found = read_config(file)
        words_of(parser_of(MIX), found, "c", set())
    except ParameterError:
        return
    assert all(isinstance(key, str) for key in found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    ["steps", "train", "kind", "anneal", "no-anneal", "mean_bounds", "predictor_args", "lam", "label"]
)


@given(st.dictionaries(_KEYS | st.text(max_size=6), _JSON, max_size=4))
def test_any_content_gives_arguments_or_is_refused(content: dict[str, Any]) -> None:
    try:
        found = arguments_of(MIX, {"train": ["a"], **content})
    except ParameterError:
        return
    assert isinstance(found.steps, int)
    assert found.train


def test_arguments_are_those_of_the_command_line() -> None:
    line = ["mix", "a.csv", "--valid", "v.csv", "--learning-rate", "0.30000000000000004", "--no-anneal"]
    expected = vars(parser_of(MIX).parse_args(line))
    config = {"train": ["a.csv"], "valid": ["v.csv"], "learning_rate": 0.1 + 0.2, "anneal": False}
    assert vars(arguments_of(MIX, config)) == expected
    with pytest.raises(ParameterError, match=r"--decay is for --method weight; it has no part in base"):
        arguments_of(WEIGHT, {"train": "a", "method": "base", "decay": 2.0})
    with pytest.raises(ParameterError, match=r"argument --steps: invalid int value: '2.5'"):
        arguments_of(VALUE, {"train": "a", "steps": 2.5})


def test_every_verb_has_it(call: Call) -> None:
    Path("c.json").write_text(json.dumps({"no such flag": 1}))
    for verb in (verb for verb in VERBS if verb.name != "data"):
        own = verb.name if verb.name != "sweep" else "sweep mix"
        if " {" in _usage(verb) and verb.name != "sweep":  # verbs with actions of their own
            continue
        done = call(*own.split(), "--config", "c.json")
        assert (done.code, done.out) == (2, ""), verb.name
        assert f"raydm: c.json: the key 'no such flag' is no flag of `raydm {own}`" in done.err


def _usage(verb: Verb) -> str:
    parser = argparse.ArgumentParser()
    verb.add(parser)
    return " {" if any(isinstance(a, argparse._SubParsersAction) for a in parser._actions) else ""


def test_a_run_by_a_config_is_the_run_by_flags(call: Call, files: Files) -> None:
    flags = {"steps": 2, "rollouts": 4, "outer-batch": 32, "evidence": ["validation", "neighbors"], "judge": 0}
    Path("c.yaml").write_text(
        yaml.safe_dump({"verb": "value", "train": str(files.train), "valid": str(files.valid), **flags, "seed": 5})
    )
    words = ("--steps", "2", "--rollouts", "4", "--outer-batch", "32", "--evidence", "validation", "neighbors")
    plain = call("value", files.train, "--valid", files.valid, *words, "--judge", "0", "--quiet", "--out", "a").line
    line = call("value", "--config", "c.yaml", "--seed", "0", "--quiet", "--out", "b").line
    assert {**line, "run": "", "seconds": 0} == {**plain, "run": "", "seconds": 0}
    configs = [json.loads(Path(out, "config.json").read_text())["arguments"] for out in "ab"]
    assert configs[0] == configs[1]
