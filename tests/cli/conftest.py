"""The command in this process, in an empty folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from cli_kit import Call, Files, Outcome, written

from raydm.cli import main


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs `raydm` with some words in this process."""

    def run(*words: str | os.PathLike[str]) -> Outcome:
        with warnings.catch_warnings():  # main replaces showwarning; this puts it back
            warnings.simplefilter("default")
            try:
                code = main([os.fspath(w) for w in words])
            except SystemExit as end:  # argparse
                code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default output paths are below the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """CSV files of 120, 40 and 80 rows."""
    return written(tmp_path_factory.mktemp("classes"), regression=False)


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same features with a real target."""
    return written(tmp_path_factory.mktemp("targets"), regression=True)
