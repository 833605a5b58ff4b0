"""Downloads: folder, cache, mirror, hashes; through a server of our own."""

import functools
import hashlib
import http.server
import threading

import pytest

from raydm.data import downloads
from raydm.data.downloads import DataFile, find_file, locate
from raydm.errors import DataError, ParameterError

NAME, CONTENT = "made/up.txt", b"the right bytes"
HASH = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    """No folder, no mirror, an empty cache, and one file without a public address."""
    monkeypatch.delenv("RAYDM_DATA", raising=False)
    monkeypatch.delenv("RAYDM_DATA_URL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(downloads.FILES, NAME, DataFile(HASH))


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which it is served."""
    folder = tmp_path / "served"
    (folder / "made").mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_download_from_a_mirror_once(served, monkeypatch, tmp_path):
    folder, address = served
    monkeypatch.setenv("RAYDM_DATA_URL", address + "/")
    assert locate(NAME) == "absent"
    path = find_file(NAME)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "cache")
    assert [p.name for p in path.parent.iterdir()] == ["up.txt"]  # no temporary file is left
    (folder / NAME).unlink()
    assert find_file(NAME) == path  # from the cache
    assert locate(NAME) == "downloaded"


def test_wrong_bytes_from_a_mirror_leave_nothing(served, monkeypatch, tmp_path):
    folder, address = served
    (folder / NAME).write_bytes(b"wrong")
    monkeypatch.setenv("RAYDM_DATA_URL", address)
    with pytest.raises(DataError) as caught:
        find_file(NAME)
    assert HASH in str(caught.value)
    assert hashlib.sha256(b"wrong").hexdigest() in str(caught.value)
    assert locate(NAME) == "absent"
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_public_address_after_the_mirror(served, monkeypatch):
    _, address = served
    monkeypatch.setitem(downloads.FILES, NAME, DataFile(HASH, f"{address}/{NAME}"))
    monkeypatch.setenv("RAYDM_DATA_URL", f"{address}/nothing-here")
    assert find_file(NAME).read_bytes() == CONTENT


def test_mirror_in_a_folder(served, monkeypatch):
    folder, _ = served
    monkeypatch.setenv("RAYDM_DATA_URL", folder.as_uri())
    assert find_file(NAME).read_bytes() == CONTENT


def test_the_data_folder_comes_first_and_is_checked(monkeypatch, tmp_path):
    folder = tmp_path / "data"
    (folder / "made").mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("RAYDM_DATA", str(folder))
    assert find_file(NAME) == folder / NAME
    assert locate(NAME) == "RAYDM_DATA"
    (folder / NAME).write_bytes(b"other")
    with pytest.raises(DataError, match=f"up.txt: SHA-256 {hashlib.sha256(b'other').hexdigest()} where {HASH}"):
        find_file(NAME)
    assert find_file(NAME, _copy(tmp_path / "given")).parent.parent.name == "given"  # an argument overrides


def _copy(folder):
    (folder / "made").mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    return folder


def test_nowhere_to_be_had_says_what_to_do(monkeypatch):
    with pytest.raises(
        DataError, match=r"made/up.txt: not in RAYDM_DATA \(not set\).*no public address.*Set RAYDM_DATA to"
    ):
        find_file(NAME)
    monkeypatch.setenv("RAYDM_DATA_URL", "http://127.0.0.1:9")  # the discard port, closed here
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/made/up.txt: ConnectionError.*RAYDM_DATA_URL"):
        find_file(NAME)
    monkeypatch.setenv("RAYDM_DATA_URL", "ftp://example.org")
    with pytest.raises(ParameterError, match="http, https or file"):
        find_file(NAME)


def test_the_table_of_files():
    for name, file in downloads.FILES.items():
        assert len(file.sha256) == 64
        assert file.url is None or file.url.startswith("https://raw.githubusercontent.com/"), name
    packed = {name.split("/")[0] for name, file in downloads.FILES.items() if file.url is None}
    assert packed == {"cifar10_jpg", "enron1", "fashion_mnist", "imdb", "made"}
