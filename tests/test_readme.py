"""README.md does what it says: its blocks run, and show what they are said to show.

`sh` and `python` blocks are run in their order; a `text` block right after one is its whole output,
where "..." stands for anything. `bash` blocks need a network or an installation: `.ci/run` and the
block's own test below see to them.
"""

import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from house import FOLDERS, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A piece of README: its language, its lines, and the output shown after it, if any."""

    language: str
    code: str
    output: str | None


def blocks() -> Iterator[Block]:
    found = list(BLOCK.finditer(TEXT))
    for block, after in zip(found, [*found[1:], None], strict=True):
        shown = None
        if after is not None and after[1] == "text":
            shown = after[2] if not TEXT[block.end() : after.start()].strip() else None
        yield Block(block[1], block[2], shown)


BLOCKS = list(blocks())
COMMANDS = [b for b in BLOCKS if b.language == "bash"]


def check_output(block: Block, got: str) -> None:
    if block.output is not None:
        same = doctest.OutputChecker().check_output(block.output, got, doctest.ELLIPSIS)
        assert same, f"README shows:\n{block.output}\nbut it is:\n{got}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the top of the checkout and may be written to."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def shell(code: str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env={**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=lambda b: b.code)
def test_shell_blocks(block: Block, checkout: Path):
    check_output(block, shell(block.code, checkout))


def test_python_blocks(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(checkout)
    names: dict[str, Any] = {}
    found = [b for b in BLOCKS if b.language == "python"]
    assert len(found) >= 3
    for block in found:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(block.code, "README.md", "exec"), names)
        check_output(block, out.getvalue())


def test_the_first_command_shows_what_readme_shows(checkout: Path):
    steps = COMMANDS[0].code.strip().split(" && ")
    assert steps[:3] == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install ."]
    (transcribe,) = steps[3:]
    assert COMMANDS[0].output is not None
    check_output(COMMANDS[0], shell(transcribe, checkout))


def test_the_second_command_is_what_continuous_integration_runs():
    (command,) = COMMANDS[1].code.splitlines()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_first_two_blocks_are_one_line_each():
    assert [len(b.code.splitlines()) for b in COMMANDS[:2]] == [1, 1]


def test_every_path_of_the_tree_is_there():
    tree = TEXT.split("## The tree")[1].split("```")[1]
    folders: list[str] = []
    for line in tree.strip().splitlines():
        names = re.split(r" {2,}", line.strip())[0].split()
        depth = (len(line) - len(line.lstrip())) // 2
        for name in names:
            path = ROOT.joinpath(*folders[:depth], name)
            assert path.exists(), f"README's tree has {path}"
        folders[depth:] = [names[0]]
    shown = {line.split()[0].rstrip("/") for line in tree.strip().splitlines()}
    assert {*FOLDERS, "tests"} - shown <= {"tts", "demo", "cuda_ext"}  # share a line with codecs


def test_every_file_named_in_the_text_is_there():
    named = re.findall(r"`((?:tests|\.ci)/[\w./-]+|NOTICE)`", TEXT)
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).exists()] == []
