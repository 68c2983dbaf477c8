import subprocess
import sys
from pathlib import Path

import pytest
from whisper_factory import random_state, write_folder

from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.recipes.prepare.whisper_box import main


def test_makes_a_whole_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_folder(tmp_path / "hf")
    assert main([str(source), str(tmp_path / "mini.en")]) == 0
    assert "mini.en: " in capsys.readouterr().out
    box = load_checkpoint(tmp_path / "mini.en")
    for name, tensor in random_state().items():
        assert (box.state[name] - tensor).norm() < 0.01 * tensor.norm()
    card = (box.folder / "README.md").read_text()
    assert "Whisper `mini.en`" in card
    assert "MIT" in card
    assert "python -m echoic.recipes.prepare.whisper_box SRC DST" in card
    assert "$" not in card
    assert "Copyright (c) 2022 OpenAI" in (box.folder / "LICENSE").read_text()


def test_a_bad_source_is_one_line_and_exit_code_1(tmp_path: Path):
    command = [sys.executable, "-m", "echoic.recipes.prepare.whisper_box"]
    done = subprocess.run(
        [*command, str(tmp_path), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("whisper_box: ")
    assert "has no config.json" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
