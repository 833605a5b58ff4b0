"""One Ray for the whole folder: its own temporary folder and ports, no dashboard, four half-CPU places on any machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raydm.distributed import Connection, connect


@pytest.fixture(scope="session")
def cluster() -> Iterator[Connection]:
    connection = connect(num_cpus=4)
    yield connection
    connection.close()
