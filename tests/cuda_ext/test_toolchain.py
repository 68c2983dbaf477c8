import sys
from pathlib import Path

import pytest

from echoic.cuda_ext import toolchain


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH, without the user's choices."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CXX", "CUDA_HOME", "CUDA_PATH", "ECHOIC_EXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolchain, "CUDA_FOLDERS", ())
    return tmp_path


def test_finds_nothing(path: Path):
    assert toolchain.probe() == toolchain.Toolchain(None, "", None, "")


def test_finds_compilers_and_reads_their_versions(path: Path):
    cxx = program(path, "c++", "print('g++ 12.2.0\\nCopyright')")
    nvcc = program(path, "nvcc", "print('nvcc: NVIDIA\\nBuild cuda_13.0')")
    found = toolchain.probe()
    assert found.cxx == str(cxx)
    assert found.cxx_version == "g++ 12.2.0"
    assert found.nvcc == str(nvcc)
    assert found.nvcc_version == "Build cuda_13.0"


def test_takes_the_compiler_that_the_user_names_with_its_flags(path: Path, monkeypatch):
    program(path, "c++", "print('not me')")
    chosen = program(path, "clang++-18", "print('clang 18')")
    monkeypatch.setenv("CXX", "clang++-18 -stdlib=libc++")
    found = toolchain.probe()
    assert found.cxx == str(chosen)
    assert found.cxx_version == "clang 18"


def test_a_named_compiler_that_is_missing_is_not_replaced(path: Path, monkeypatch):
    program(path, "g++", "print('not me')")
    monkeypatch.setenv("CXX", "icpx")
    assert toolchain.probe().cxx is None


@pytest.mark.parametrize("flags", ["", "   ", "'unclosed"])
def test_an_empty_or_torn_name_is_no_crash(flags: str, path: Path, monkeypatch):
    cxx = program(path, "g++", "print('g++ 12')")
    monkeypatch.setenv("CXX", flags)
    assert toolchain.probe().cxx == (None if flags.strip() else str(cxx))


def test_finds_nvcc_beside_the_path(path: Path, monkeypatch):
    (path / "cuda" / "bin").mkdir(parents=True)
    nvcc = program(path / "cuda" / "bin", "nvcc", "print('Build cuda_13.0')")
    monkeypatch.setenv("CUDA_HOME", str(path / "cuda"))
    assert toolchain.probe().nvcc == str(nvcc)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise SystemExit(3)", "does not run: "),
        ("", ""),
        ("import sys; sys.stdout.buffer.write(b'\\xff 1.0\\n')", "\ufffd 1.0"),
    ],
)
def test_a_broken_compiler_is_a_line_of_text(body: str, expected: str, path: Path):
    program(path, "c++", body)
    version = toolchain.probe().cxx_version
    assert version.startswith(expected)
    assert "\n" not in version


@pytest.mark.parametrize("mode", ["auto", "off", "require"])
def test_modes(mode: str, monkeypatch):
    monkeypatch.setenv("ECHOIC_EXT", mode)
    assert toolchain.extension_mode() == mode


@pytest.mark.parametrize("mode", ["", "yes", "AUTO "])
def test_unknown_modes_are_named(mode: str, monkeypatch):
    monkeypatch.setenv("ECHOIC_EXT", mode)
    if not mode:  # set to nothing is not set
        assert toolchain.extension_mode() == "auto"
        return
    with pytest.raises(ValueError, match="auto, off or require") as raised:
        toolchain.extension_mode()
    assert repr(mode) in str(raised.value)
