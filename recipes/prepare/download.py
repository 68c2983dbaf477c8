"""Data sets fetched where there is a network, by torchaudio, which knows their checksums.

Archives are fetched and unpacked in SRC/.download and only then moved to their place, so that a
data set is there as a whole or not at all; a whole archive is not fetched twice.
"""

import http.client
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

TEMPORARY = ".download"


class Subset(StrEnum):
    """A subset of LibriSpeech or LibriTTS."""

    DEV_CLEAN = "dev-clean"
    DEV_OTHER = "dev-other"
    TEST_CLEAN = "test-clean"
    TEST_OTHER = "test-other"
    TRAIN_CLEAN_100 = "train-clean-100"
    TRAIN_CLEAN_360 = "train-clean-360"
    TRAIN_OTHER_500 = "train-other-500"


def librispeech_at(folder: Path, subset: Subset | None) -> Path:
    """Return the folder to look into; a subset that is asked for is fetched first, as below.

    Raises:
        ImportError: torchaudio is not installed.
        OSError: it cannot be fetched.
    """
    if subset is None:
        return folder
    return fetch(folder, f"LibriSpeech/{subset}", "LIBRISPEECH", url=subset.value)


def libritts_at(folder: Path, subset: Subset | None) -> Path:
    """Return the folder to look into, see `librispeech_at`.

    Raises:
        ImportError, OSError: see there.
    """
    if subset is None:
        return folder
    return fetch(folder, f"LibriTTS/{subset}", "LIBRITTS", url=subset.value)


def ljspeech_at(folder: Path, download: bool) -> Path:
    """Return the folder with metadata.csv, fetched first if that is asked for.

    Raises:
        ImportError, OSError: see `librispeech_at`.
    """
    return fetch(folder, "LJSpeech-1.1", "LJSPEECH") if download else folder


def vctk_at(folder: Path, download: bool) -> Path:
    """Return the folder of VCTK, fetched first if that is asked for.

    Raises:
        ImportError, OSError: see `librispeech_at`.
    """
    return fetch(folder, "VCTK-Corpus-0.92", "VCTK_092") if download else folder


def fetch(folder: Path, inner: str, name: str, **options: Any) -> Path:
    """Fetch a data set, if it is not there.

    Args:
        folder: to put it into.
        inner: where it is in there.
        name: of torchaudio's class.
        options: of that.

    Returns:
        Its folder.

    Raises:
        ImportError: torchaudio is not installed.
        OSError: it cannot be fetched or unpacked.
    """
    target = folder / inner
    if target.is_dir():
        return target
    make = _class_of(name)
    temporary = folder / TEMPORARY
    temporary.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary / inner, ignore_errors=True)  # half unpacked when it was stopped
    try:
        make(str(temporary), download=True, **options)
    except (
        OSError,
        EOFError,
        RuntimeError,  # another checksum
        http.client.HTTPException,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as e:
        reason = " ".join(str(e).split())
        raise OSError(
            f"{inner} cannot be fetched ({reason}); connect to the network, or unpack it yourself "
            f"as {target}"
        ) from e
    target.parent.mkdir(parents=True, exist_ok=True)
    (temporary / inner).replace(target)
    shutil.rmtree(temporary)
    return target


def _class_of(name: str) -> Callable[..., object]:
    # The import of echoic.audio lets torchaudio be imported beside any torch.
    from echoic.audio import torchaudio_guard

    torchaudio_guard.install()
    try:
        from torchaudio import datasets
    except ImportError as e:
        raise ImportError("--download needs torchaudio: pip install 'echoic[train]'") from e
    return getattr(datasets, name)
