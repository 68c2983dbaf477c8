"""The recipes of unified models, tried small on real speech: from a manifest to a folder."""

from pathlib import Path

import pytest
from speech_data import DATA
from typer.testing import CliRunner

from echoic.recipes.cli import build_app
from echoic.tts.lm.guard import Bounds
from echoic.tts.unified.files import load_unified
from echoic.tts.unified.generation import SpeakRequest, speak
from echoic.tts.unified.lora import has_lora
from echoic.tts.unified.sequences import Segment

FOLDER = Path(__file__).parents[2] / "recipes" / "tts"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("unified-*.yaml"))}


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_runs_and_what_it_made_speaks(name: str, tmp_path: Path) -> None:
    line = ["train", "fit", "--config", str(RECIPES[name]), "--smoke", str(DATA)]
    line += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "model"
    line = ["export", str(tmp_path / "smoke"), str(folder), "--license", "apache-2.0"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 0, done.output
    card = (folder / "README.md").read_text()
    for told in ("text-to-speech", "| codec | echo-16k-tiny |", "load_unified("):
        assert told in card
    unified = load_unified(folder)
    assert not has_lora(unified.model.backbone)
    prompt = unified.sequencer.prompt([Segment("Hello.")], "audio")
    request = SpeakRequest(prompt, 6, bounds=Bounds(0.01, 0.02, least=0.1))
    (said,) = speak(unified.model, request)
    assert 3 <= len(said.frames) <= 6
