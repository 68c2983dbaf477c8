"""The recipe of the talker, tried small on real speech: from a manifest to a talker that speaks."""

from dataclasses import replace
from pathlib import Path

import pytest
from speech_data import DATA
from typer.testing import CliRunner

from echoic.recipes.cli import build_app
from echoic.tts.lm.guard import Bounds
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker

FOLDER = Path(__file__).parents[2] / "recipes" / "tts"
# What makes no talkers: see test_flow_recipes.py and test_unified_recipes.py.
OTHERS = ("flow", "vocoder", "unified")
RECIPES = {p.stem: p for p in sorted(FOLDER.glob("*.yaml")) if not p.stem.startswith(OTHERS)}


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_runs_and_what_it_made_speaks(name: str, tmp_path: Path) -> None:
    line = ["train", "fit", "--config", str(RECIPES[name]), "--smoke", str(DATA)]
    line += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "talker"
    line = ["export", str(tmp_path / "smoke"), str(folder), "--license", "apache-2.0"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 0, done.output
    card = (folder / "README.md").read_text()
    for told in ("text-to-speech", "| codec | echo-16k-tiny |", "echoic speak", "| val/first |"):
        assert told in card
    talker = Talker.from_pretrained(folder)
    assert talker.settings.g2p == ""
    settings = replace(talker.settings, bounds=Bounds(0.01, 0.02, least=0.2))
    short = Talker(talker.model, talker.codec, talker.alphabet, settings)
    speech = Synthesizer(short).speak("Hello there.")
    assert speech.sample_rate == 16_000
    assert 0.02 <= len(speech.wav) / 16_000 <= 0.5
    assert bool(speech.wav.isfinite().all())
