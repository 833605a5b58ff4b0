"""Records: what was written whole is read back; what was torn, damaged or not written is told."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raydm.errors import RaydmWarning, RunError
from raydm.records import Records

CONTENTS = [b"", b"one", b"x" * 5000, bytes(100), b"rdm1"]


def written(file: Path) -> bytes:
    with Records(file) as records:
        for content in CONTENTS:
            records.add(content)
    return file.read_bytes()


def read(file: Path) -> list[bytes]:
    with Records(file) as records:
        return [records.read(k) for k in range(len(records.spans))]


def test_records_are_read_back_and_added_to(tmp_path: Path) -> None:
    file = tmp_path / "a" / "records"
    written(file)
    assert read(file) == CONTENTS
    with Records(file) as records:
        records.add(b"more")
    assert read(file) == [*CONTENTS, b"more"]


def test_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path / "a" / "records")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "records").stat().st_mode) == 0o600


def test_nothing_is_made_before_the_first_record(tmp_path: Path) -> None:
    with Records(tmp_path / "a" / "records"):
        assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.floats(0, 1, exclude_max=True), zeros=st.sampled_from([0, 7, 4000]))
@example(kept=0.0, zeros=0)
@example(kept=0.0001, zeros=0)
@example(kept=0.5, zeros=4000)
def test_a_torn_end_is_cut_off(tmp_path: Path, kept: float, zeros: int) -> None:
    """However much of the file a dying machine wrote, with blocks of zeros behind or not."""
    file = tmp_path / "records"
    file.unlink(missing_ok=True)
    whole = written(file)
    kept_bytes = int(kept * len(whole))
    file.write_bytes(whole[:kept_bytes] + bytes(zeros))
    ends = [0]
    for content in CONTENTS:
        ends.append(ends[-1] + 32 + len(content))
    least = sum(end <= kept_bytes for end in ends) - 1  # zeros may make one whole that ends in them
    if file.stat().st_size in ends:
        found = read(file)
    else:
        with pytest.warns(RaydmWarning, match="last record was torn"):
            found = read(file)
    assert found[:least] == CONTENTS[:least]
    assert found == CONTENTS[: len(found)]
    assert read(file) == found  # without a warning: it is gone
    with Records(file) as records:
        records.add(b"again")
    assert read(file) == [*found, b"again"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_never_read(tmp_path: Path, where: float, flip: int) -> None:
    file = tmp_path / "records"
    file.unlink(missing_ok=True)
    changed = bytearray(written(file))
    last = len(changed) - 32 - len(CONTENTS[-1])
    at = int(where * len(changed))
    changed[at] ^= flip
    file.write_bytes(changed)
    if at >= last + 32:  # in the last content: as if torn
        with pytest.warns(RaydmWarning, match="torn"):
            assert read(file) == CONTENTS[:-1]
    else:
        with pytest.raises(RunError, match=r"damaged at byte \d+"):
            read(file)
        assert file.read_bytes() == changed  # nothing was cut off


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(min_size=1, max_size=300))
@pytest.mark.filterwarnings("ignore::raydm.errors.RaydmWarning")
def test_any_file_is_read_or_refused(tmp_path: Path, junk: bytes) -> None:
    file = tmp_path / "records"
    file.write_bytes(junk)
    with suppress(RunError):
        assert read(file) == []


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "records"
    with Records(file) as mine:
        mine.add(b"mine")
        with pytest.raises(RunError, match="another process writes it"):
            Records(file)
    fresh, other = Records(tmp_path / "new"), Records(tmp_path / "new")
    fresh.add(b"first")
    with pytest.raises(RunError, match="another process has begun the same"):
        other.add(b"second")
    fresh.close()


def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    """In a process that may write 10,000 bytes a file."""
    code = """
import resource, sys
from pathlib import Path
from raydm.errors import RunError
from raydm.records import Records
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
records = Records(Path(sys.argv[1]))
try:
    for k in range(100):
        records.add(bytes([k]) * 1500)
except RunError as error:
    print(k, error)
records.add(b"small")  # there is room for this
"""
    file = tmp_path / "records"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("6 ")
    assert "cannot be written (File too large)" in done.stdout
    assert "--resume" in done.stdout
    assert read(file) == [*(bytes([k]) * 1500 for k in range(6)), b"small"]


def test_a_full_device_is_told(tmp_path: Path) -> None:
    (tmp_path / "records").symlink_to("/dev/full")
    with Records(tmp_path / "records") as records, pytest.raises(RunError, match="No space left on device"):
        records.add(b"anything")
