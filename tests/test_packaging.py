"""pyproject.toml against the tree, and the wheel that comes out of it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from house import FOLDERS, ROOT, module_files, package_folders

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed():
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(package_folders())


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in module_files().values()}
    assert folders == set(package_folders().values())


@pytest.mark.parametrize("folder", package_folders().values(), ids=package_folders())
def test_every_package_is_typed(folder: Path):
    assert (folder / "py.typed").is_file()


def test_only_packages_are_typed():
    typed = {p.parent for folder in FOLDERS for p in (ROOT / folder).rglob("py.typed")}
    assert typed == set(package_folders().values())


def test_type_checker_looks_at_every_folder():
    assert set(PYPROJECT["tool"]["pyright"]["include"]) == {*FOLDERS, "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy because setuptools leaves folders beside the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in (*FOLDERS, "tests"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.opus")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('out'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(copy / "out" / done.stdout.split()[-1])


def test_wheel_holds_the_modules_and_the_box(wheel: zipfile.ZipFile):
    assert wheel.filename is not None
    assert wheel.filename.endswith("-py3-none-any.whl")
    expected = {_in_wheel(path) for path in module_files().values()}
    expected |= {_in_wheel(folder / "py.typed") for folder in package_folders().values()}
    box = [path for room in ("asr", "codecs", "tts") for path in (ROOT / room).glob("**/box/*/*")]
    assert {p.parent.name for p in box} >= {
        "tiny.en",
        "paraformer-tiny-en",
        "echo-16k-tiny",
        "talker-tiny-en",
    }
    assert {p.name for p in box} >= {"model.safetensors", "tokenizer.json", "tokens.json"}
    expected |= {_in_wheel(path) for path in box}
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert expected - shipped == set(), "missing in the wheel"
    assert {n for n in shipped - expected if n.endswith(".py") or "test" in n} == set()


def test_wheel_tells_its_licence_and_its_command(wheel: zipfile.ZipFile):
    info = {Path(n).name: n for n in wheel.namelist() if ".dist-info/" in n}
    assert {"LICENSE", "NOTICE"} <= set(info)
    metadata = wheel.read(info["METADATA"]).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "echoic = echoic.recipes.cli:main" in wheel.read(info["entry_points.txt"]).decode()


def _in_wheel(path: Path) -> str:
    return f"echoic/{path.relative_to(ROOT).as_posix()}"
