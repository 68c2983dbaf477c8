"""The guard in front of torchaudio: with fakes of both kinds, and with the real wheel."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from echoic.audio import torchaudio_guard

LOADS = """
_IS_TORCHAUDIO_EXT_AVAILABLE = True
_IS_ALIGN_AVAILABLE = True
def fail_if_no_align(func):
    return func
"""
DIES = LOADS + "raise OSError('libcudart.so.13: cannot open shared object file')\n"
BROKEN = "raise ImportError('another trouble')\n"
PACKAGE = """
from torchaudio import _extension

@_extension.fail_if_no_align
def forced_align():
    return "aligned"
"""


@pytest.fixture
def no_torchaudio() -> Iterator[None]:
    """Without the modules that other tests imported; they are put back."""
    kept = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "torchaudio"}
    _forget()
    yield
    _forget()
    sys.modules.update(kept)


def _forget() -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
        del sys.modules[name]


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    package = tmp_path / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "_extension" / "__init__.py").write_text(extension)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("no_torchaudio")
def test_stands_in_for_a_library_that_does_not_load(tmp_path: Path, monkeypatch):
    fake(tmp_path, monkeypatch, DIES)
    torchaudio_guard.install()
    torchaudio = importlib.import_module("torchaudio")
    assert Path(str(torchaudio.__file__)).is_relative_to(tmp_path)
    assert torchaudio._extension._IS_ALIGN_AVAILABLE is False
    assert torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE is False
    assert torchaudio_guard.missing_library() is not None
    assert "libcudart.so.13" in str(torchaudio_guard.missing_library())
    with pytest.raises(RuntimeError, match="PyTorch CPU index") as raised:
        torchaudio.forced_align()
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.usefixtures("no_torchaudio")
def test_leaves_alone_what_loads(tmp_path: Path, monkeypatch):
    fake(tmp_path, monkeypatch, LOADS)
    torchaudio_guard.install()
    torchaudio = importlib.import_module("torchaudio")
    assert torchaudio._extension._IS_ALIGN_AVAILABLE is True
    assert torchaudio.forced_align() == "aligned"
    assert torchaudio_guard.missing_library() is None


@pytest.mark.usefixtures("no_torchaudio")
def test_other_errors_stay_errors(tmp_path: Path, monkeypatch):
    fake(tmp_path, monkeypatch, BROKEN)
    torchaudio_guard.install()
    with pytest.raises(ImportError, match="another trouble"):
        importlib.import_module("torchaudio")


@pytest.mark.usefixtures("no_torchaudio")
def test_missing_torchaudio_is_missing(monkeypatch):
    torchaudio_guard.install()
    monkeypatch.setattr(PathFinder, "find_spec", classmethod(lambda *_a: None))
    with pytest.raises(ModuleNotFoundError, match="torchaudio"):
        importlib.import_module("torchaudio")


def test_stands_once():
    for _ in range(2):
        torchaudio_guard.install()
    guards = [f for f in sys.meta_path if isinstance(f, torchaudio_guard._GuardFinder)]
    assert len(guards) == 1


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("first", ["echoic.audio", "echoic.asr"])
def test_transformers_and_peft_import_beside_this_torch(first: str):
    for module in ("transformers", "peft", "torchaudio"):
        pytest.importorskip(module)
    done = run(
        f"import {first}\n"
        "from transformers import pipeline\n"
        "import peft, torchaudio, torch\n"
        "print(torchaudio.functional.resample(torch.ones(16), 2, 1).shape[0])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8"]


def test_without_the_guard_a_missing_library_is_fatal():
    pytest.importorskip("torchaudio")
    found = run(
        "import echoic.audio, torchaudio\n"
        "from echoic.audio import torchaudio_guard\n"
        "print(torchaudio_guard.missing_library() or '')"
    )
    assert found.returncode == 0, found.stderr
    if not found.stdout.strip():
        pytest.skip("torchaudio's native library loads here: there is nothing to guard against")
    unguarded = run("import torchaudio")
    assert unguarded.returncode == 1
    assert "OSError" in unguarded.stderr
