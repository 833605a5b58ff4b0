"""What processes on a cluster see of it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import ray

from raydm.distributed import seeds, streaming
from raydm.distributed.cluster import hide_gpus


@pytest.fixture
def given(monkeypatch):
    """Says which GPUs Ray gave this process, of two that the machine has."""

    def give(*gpus: str) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(gpus) or "0,1")
        context = SimpleNamespace(get_accelerator_ids=lambda: {"GPU": list(gpus)})
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)

    return give


def test_who_asked_for_no_gpu_sees_none(given):
    given()
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_who_asked_for_one_sees_it(given):
    given("1")
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("gpus", [(), ("0",)], ids=["none", "one"])
def test_a_seed_s_training_and_a_stream_s_worker_see_what_they_asked_for(given, gpus):
    seen = []

    def look(*_: object) -> object:
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        raise KeyError

    class Case:
        def with_seed(self, seed: int) -> Case:
            return self

    given(*gpus)
    with pytest.raises(KeyError):
        seeds._one(look, Case(), 0, 1)
    given(*gpus)
    with pytest.raises(KeyError):
        streaming._Worker(look, 1, 1)
    assert seen == ["".join(gpus)] * 2
