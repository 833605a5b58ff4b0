"""Every file of clusters/ says what to edit, how to start, submit and stop, and holds no secret."""

from __future__ import annotations

import re

import pytest
from clusters_kit import FOLDER, KUBERAY, LAUNCHERS, RAY, SCRIPTS

FILES = sorted(f.name for f in FOLDER.iterdir() if f.name != "README.md")
COMMANDS = {
    "Dockerfile": "docker build -f clusters/Dockerfile",
    "secrets.sh": "clusters/secrets.sh make FOLDER",
    "one-machine.sh": "clusters/one-machine.sh --gpus 1",
    "slurm.sh": "sbatch --nodes 4 clusters/slurm.sh",
    **{name: f"ray up -y clusters/{name}" for name in LAUNCHERS},
    **{name: f"kubectl apply -f clusters/{name}" for name in KUBERAY},
}
# What must stand in no file: tokens and keys as such, and a variable that is given one
SECRET = re.compile(
    r"\b[0-9a-f]{40,}\b|-----BEGIN|\bAKIA[0-9A-Z]{12,}|\bhf_\w{20,}|\bgh[pousr]_\w{20,}"
    r"|RAY_AUTH_TOKEN=(?!\$)|auth_token:\s*\S|(?i:password|secret_key|access_key)\s*[:=]"
)


def head(name: str) -> str:
    """The comment that a file begins with, below the line for the system and those for Slurm."""
    lines = (FOLDER / name).read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("#!", "#SBATCH"))]
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[:end])


def test_these_are_the_files() -> None:
    assert set(FILES) == {*COMMANDS} == {"Dockerfile", *LAUNCHERS, *KUBERAY, *SCRIPTS}


@pytest.mark.parametrize("name", FILES)
def test_the_head_says_what_to_edit_and_the_command(name: str) -> None:
    note = head(name)
    assert "Edit:" in note
    assert COMMANDS[name] in note


@pytest.mark.parametrize("name", [*LAUNCHERS, *KUBERAY, "one-machine.sh", "slurm.sh"])
def test_the_head_says_how_to_submit_and_to_stop(name: str) -> None:
    note = head(name)
    assert re.search(r"^# (Start and submit|Submit)\b", note, re.MULTILINE)
    assert re.search(r"^# Stop:", note, re.MULTILINE)
    assert "jobs/value.py" in (FOLDER / name).read_text()


@pytest.mark.parametrize("name", [*LAUNCHERS, "kuberay-cluster.yaml", "one-machine.sh"])
def test_the_head_submits_in_both_ways_and_with_the_token(name: str) -> None:
    note = head(name)
    assert "ray job submit --address http://127.0.0.1:8265" in note
    assert re.search(r"raydm submit value .*--address http://127\.0\.0\.1:8265", note)
    assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in note or "one-machine/env" in note


def test_the_readme_names_every_file() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [name for name in FILES if f"`{name}`" not in text] == []


def test_the_image_is_of_the_version_that_the_client_has() -> None:
    assert f"FROM rayproject/ray:{RAY}-py311-gpu\n" in (FOLDER / "Dockerfile").read_text()


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_no_file_holds_a_secret(name: str) -> None:
    assert SECRET.search((FOLDER / name).read_text()) is None


@pytest.mark.parametrize(
    "line",
    [
        "export RAY_AUTH_TOKEN=abc",
        "auth_token: super",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "-----BEGIN EC PRIVATE KEY-----",
        "aws_secret_key: x",
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_a_secret_would_be_seen(line: str) -> None:
    assert SECRET.search(line)
