"""The recipe of the talker, tried small on real speech: from a manifest to a talker that speaks."""

from pathlib import Path

import pytest
from speech_data import DATA
from typer.testing import CliRunner

from echoic.codecs.registry import load_codec
from echoic.recipes.cli import build_app
from echoic.recipes.run_folder import find_run
from echoic.tts.lm.guard import Bounds
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker, TalkerSettings
from echoic.tts.text.alphabet import alphabet_from_config
from echoic.tts.training.export import model_of_run

FOLDER = Path(__file__).parents[2] / "recipes" / "tts"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_runs_and_what_it_made_speaks(name: str, tmp_path: Path) -> None:
    line = ["train", "fit", "--config", str(RECIPES[name]), "--smoke", str(DATA)]
    line += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    done = CliRunner().invoke(build_app(line), line)
    assert done.exit_code == 0, done.output
    trained = model_of_run(find_run(tmp_path / "smoke").last)
    codec = load_codec("echo-16k-tiny")
    settings = TalkerSettings(
        "echo-16k-tiny", trained.codec_hash, bounds=Bounds(0.01, 0.02, least=0.2)
    )
    alphabet = alphabet_from_config(trained.alphabet)
    Talker(trained.model, codec, alphabet, settings).save_pretrained(tmp_path / "talker")
    speech = Synthesizer(Talker.from_pretrained(tmp_path / "talker")).speak("Hello there.")
    assert speech.sample_rate == 16_000
    assert 0.02 <= len(speech.wav) / 16_000 <= 0.5
    assert bool(speech.wav.isfinite().all())
