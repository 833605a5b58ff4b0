"""Nothing mixes tensors of two devices, nor takes a device's for numpy's: on a device that is none (`device_kit`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(900)  # some twenty seconds of computing, on a machine that others may use


@pytest.fixture(scope="module")
def found() -> dict[str, str | None]:
    """What went wrong in each case; they run in a process of their own, where torch knows the device."""
    pytest.importorskip("torch.utils.backend_registration")
    path = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "device_cases.py")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_the_device_refuses_what_a_gpu_refuses(found):
    assert "of two devices" in str(found["mixing"])


def test_nothing_mixes_devices(found):
    wrong = {name: told for name, told in found.items() if told is not None and name != "mixing"}
    assert not wrong, "\n".join(f"{name}: {told}" for name, told in wrong.items())
