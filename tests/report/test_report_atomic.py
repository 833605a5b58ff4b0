"""Outputs that appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from raydm.errors import RunError
from raydm.report.atomic import check_free, new_file, new_folder


def test_a_folder_appears_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "run"
    with new_folder(place) as folder:
        (folder / "a").write_text("1")
        assert not place.exists()
        assert folder.parent == place.parent  # so that the rename is one
    assert [p.name for p in place.iterdir()] == ["a"]
    assert place.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in place.parent.iterdir()] == ["run"]


def test_a_file_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "values"
    with new_file(place) as file:
        file.write_text("1")
        assert not place.exists()
    assert place.read_text() == "1"
    assert [p.name for p in place.parent.iterdir()] == ["values"]


@pytest.mark.parametrize("new", [new_folder, new_file])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError(), RunError("torn")])
def test_when_the_block_raises_nothing_is_left(tmp_path: Path, new: object, error: BaseException) -> None:
    assert callable(new)
    with pytest.raises(type(error)), new(tmp_path / "deep" / "down" / "run"):
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("new", [new_folder, new_file])
def test_a_full_disk_is_told_with_its_place(tmp_path: Path, new: object) -> None:
    assert callable(new)
    with pytest.raises(RunError, match=r"run: cannot be written \(No space left on device\)"), new(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_folders_above_that_others_use_by_now_stay(tmp_path: Path) -> None:
    def two_runs() -> None:
        with new_folder(tmp_path / "runs" / "mine"):
            (tmp_path / "runs" / "theirs").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two_runs()
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["theirs"]


@pytest.mark.parametrize("new", [new_folder, new_file])
def test_what_came_to_stand_there_meanwhile_is_kept(tmp_path: Path, new: object) -> None:
    assert callable(new)
    place = tmp_path / "run"
    with pytest.raises(RunError, match="exists already"), new(place):
        place.write_text("dear")
    assert place.read_text() == "dear"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, full, empty, link = (tmp_path / name for name in ("file", "full", "empty", "link"))
    file.write_text("")
    full.mkdir()
    (full / "a").write_text("")
    empty.mkdir()
    link.symlink_to(empty)
    for free in (tmp_path / "new", tmp_path / "deep" / "new", empty):
        check_free(free)
    for taken in (file, full):
        with pytest.raises(RunError, match="exists already, and results are never overwritten"):
            check_free(taken)
    with pytest.raises(RunError, match="is a link, a mount or the current folder"):
        check_free(link)
    monkeypatch.chdir(empty)
    with pytest.raises(RunError, match="the current folder"):
        check_free(Path())
    for impossible in (file / "new", file / "deep" / "new", tmp_path / ("x" * 300)):
        with pytest.raises(RunError, match="cannot be made"):
            check_free(impossible)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "full", "link"]  # asking leaves nothing


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    with new_folder(place) as folder:
        (folder / "a").write_text("1")
    assert (place / "a").read_text() == "1"


def test_a_file_does_not_take_the_place_of_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "values").mkdir()
    with pytest.raises(RunError, match="is a folder"), new_file(tmp_path / "values"):
        pytest.fail("it began")
    assert (tmp_path / "values").is_dir()
