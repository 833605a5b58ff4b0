"""Stdout has the JSON line of a verb and nothing else, whatever libraries print."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from typing import Any

import pytest
from cli_kit import QUICK, Call, Files

import raydm.verbs.mix
import raydm.verbs.value
from raydm.verbs.line import prints_line

WORDS = "(raylet) A worker died"


def test_what_a_thread_prints_meanwhile_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    @prints_line
    def run(arguments: Namespace) -> dict[str, Any]:
        thread = threading.Thread(target=lambda: print(WORDS))
        thread.start()
        thread.join()
        return {"x": float("nan")}

    before = sys.stdout
    run(Namespace())
    assert tuple(capsys.readouterr()) == ('{"x": null}\n', f"{WORDS}\n")
    assert sys.stdout is before


def test_an_error_leaves_stdout_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    @prints_line
    def run(arguments: Namespace) -> dict[str, Any]:
        raise ValueError(WORDS)

    before = sys.stdout
    with pytest.raises(ValueError, match="raylet"):
        run(Namespace())
    assert sys.stdout is before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verb", ["value", "mix"])
def test_a_verb_that_learns(
    call: Call, files: Files, targets: Files, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    module, name = (raydm.verbs.value, "learn") if verb == "value" else (raydm.verbs.mix, "_learn")
    learn = getattr(module, name)

    def noisy(*given: Any, **named: Any) -> None:
        print(WORDS)
        learn(*given, **named)

    monkeypatch.setattr(module, name, noisy)
    given = files if verb == "value" else targets
    mix = ("--method", "none", "--predictor", "linear", "--features", "a", "b", "--test-repeats", "1", "--quiet")
    done = call(verb, given.train, "--valid", given.valid, *(QUICK if verb == "value" else mix), "--out", "run")
    assert done.line["run"] == "run"
    assert WORDS in done.err
