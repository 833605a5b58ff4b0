"""Nothing that is loaded runs code, and no password is shown."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from text_kit import write_tiny_bert

from raydm.data import downloads
from raydm.data.downloads import DataFile, find_file
from raydm.errors import DataError, ParameterError
from raydm.report.atomic import new_file, new_folder
from raydm.text import hub

NAME, CONTENT = "made/up.txt", b"the right bytes"
CODE = "from pathlib import Path\nPath({mark!r}).touch()\nclass Own: pass\n"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Appears where code ran."""
    return tmp_path / "ran"


@pytest.fixture
def with_code(tmp_path: Path, mark: Path) -> Path:
    """A model whose folder brings code of its own."""
    folder = write_tiny_bert(tmp_path / "model")
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    auto = {"AutoConfig": "own.Own", "AutoModel": "own.Own", "AutoModelForMaskedLM": "own.Own"}
    for file, more in {
        "config.json": {"model_type": "own", "auto_map": auto},
        "tokenizer_config.json": {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}},
    }.items():
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | more))
    return folder


LOADERS: dict[str, Any] = {
    "tokenizer": hub.load_tokenizer,
    "encoder": hub.load_encoder,
    "masked": hub.load_masked_lm,
    "built": functools.partial(hub.built, "AutoModel"),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_model_s_own_code_is_refused_and_nobody_is_asked(
    with_code: Path, mark: Path, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "y")
    with pytest.raises(DataError, match="contains custom code"):
        LOADERS[loader](with_code)
    assert not mark.exists()
    assert not asked


class Guarded(http.server.BaseHTTPRequestHandler):
    """Serves one file to who says the right name and password."""

    def do_GET(self) -> None:
        right = "Basic " + base64.b64encode(b"me@home:hu/sh").decode()
        code = 200 if self.headers.get("Authorization") == right else 401
        self.send_response(code)
        self.end_headers()
        if code == 200:
            self.wfile.write(CONTENT)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """Its port; the set has one file, and no folder, cache or public address."""
    monkeypatch.delenv("RAYDM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(downloads.FILES, NAME, DataFile(hashlib.sha256(CONTENT).hexdigest()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


def test_a_password_in_an_address_is_used_and_not_shown(
    server: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAYDM_DATA_URL", f"http://me%40home:hu%2Fsh@127.0.0.1:{server}/")
    assert find_file(NAME).read_bytes() == CONTENT
    assert "hu" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://me:hush@127.0.0.1:{port}", "http://127.0.0.1:{port}/made/up.txt: HTTPError: 401"),
        ("http://me:hush@127.0.0.1:9", "http://127.0.0.1:9/made/up.txt: ConnectionError"),
        ("ftp://me:hush@127.0.0.1", "Got 'ftp://127.0.0.1/made/up.txt' instead"),
        ("http://me:hush@[127.0.0.1", "Got 'an address that cannot be read' instead"),
        ("http://me:hu@sh@127.0.0.1:9", "http://127.0.0.1:9/made/up.txt: ConnectionError"),
    ],
)
def test_a_password_is_in_no_error(
    server: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], address: str, told: str
) -> None:
    monkeypatch.setenv("RAYDM_DATA_URL", address.format(port=server))
    with pytest.raises((DataError, ParameterError)) as caught:
        find_file(NAME)
    assert told.format(port=server) in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:  # those before it are shown with a traceback
        assert "hu" not in str(error)
        error = error.__cause__ or error.__context__
    assert "hu" not in "".join(capfd.readouterr())


def test_what_is_written_is_its_owner_s(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with new_folder(tmp_path / "run") as folder:
            (folder / "config.json").write_text("{}")
        with new_file(tmp_path / "rows") as file:
            file.write_text("rows")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "rows").stat().st_mode) == 0o600
