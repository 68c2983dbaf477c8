"""The recipe of a language adapter, made small: from recordings to a model that holds it."""

from pathlib import Path

import pytest
import torch
from adapted_whisper import calm_whisper, some_adapter
from clicking_corpus import clicking_corpus, write_corpus
from huggingface_hub import ModelCard
from speech_data import DATA
from typer.testing import CliRunner, Result

from echoic.asr.errors import CheckpointError
from echoic.asr.models import load_model
from echoic.asr.whisper.language_adapter_file import load_language_adapter, save_language_adapter
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.recipes.cli import build_app
from echoic.recipes.prepare.merge_adapters import main

RECIPES = Path(__file__).parents[2] / "recipes" / "whisper"


def echoic(*words: str | Path) -> Result:
    line = [str(word) for word in words]
    return CliRunner().invoke(build_app(line), line)


def tried(recipe: str, manifest: Path, root: Path) -> None:
    done = echoic(
        "train", "fit", "--config", RECIPES / recipe, "--smoke", manifest,
        "--trainer.default_root_dir", root, "--trainer.enable_progress_bar", "false",
    )  # fmt: skip
    assert done.exit_code == 0, done.output


def test_a_run_becomes_an_adapter_with_its_card(tmp_path: Path) -> None:
    tried("language-adapter.yaml", DATA, tmp_path)
    folder = tmp_path / "accent"
    done = echoic("export", tmp_path / "smoke", folder, "--license", "mit", "--checkpoint", "best")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{folder}: Adapter of Whisper tiny.en for English, ")
    adapter = load_language_adapter(folder)
    assert (adapter.config.languages, adapter.config.bottleneck) == (("en",), 4)
    assert adapter.state["layers.3.up.weight"].any()
    model = load_model(
        "tiny.en", device=torch.device("cpu"), dtype="float32", language_adapters=[folder]
    )
    assert isinstance(model, WhisperModel)
    assert model.adapter_numbers == {"en": 1}
    wav = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        changed = model.encode([wav], languages=[None]).states
        assert not torch.equal(changed, model.encode([wav]).states)
    card = ModelCard.load(folder / "README.md")
    for told in ("bottleneck 4", "whole windows", "--language en --language-adapter accent",
                 "language-adapter.yaml", "| val/loss |"):  # fmt: skip
        assert told in card.text


def test_a_run_on_a_causal_model_becomes_an_adapter_that_streams(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path))
    tried("language-adapter-causal.yaml", manifest, tmp_path)
    folder = tmp_path / "accent"
    done = echoic("export", tmp_path / "smoke", folder, "--license", "mit")
    assert done.exit_code == 0, done.output
    card = ModelCard.load(folder / "README.md")
    assert "echoic stream FILE --model tiny.en-causal --language en" in card.text
    assert "| hears | blocks, by LoRA adapter " in card.text
    recognizer = load_recognizer("tiny.en", dtype="float32", language_adapters=[folder])
    state, _ = recognizer.step(recognizer.initial_state(), torch.zeros(1, 8000))
    recognizer.finish(state)
    with pytest.raises(CheckpointError, match="was trained on a causal model"):
        load_model("tiny.en", device=torch.device("cpu"), language_adapters=[folder])


def test_adapters_are_merged_by_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = calm_whisper()
    for seed, code in enumerate(("es", "fr")):
        save_language_adapter(tmp_path / code, some_adapter(model, code, seed=seed))
    both = tmp_path / "both"
    words = [str(both), f"{tmp_path / 'es'}=0.25", f"{tmp_path / 'fr'}=0.75"]
    assert main([*words, "--precision", "float32"]) == 0
    assert capsys.readouterr().out == f"{both}: 2 adapters merged, for es, fr\n"
    es, fr, merged = (load_language_adapter(tmp_path / n).state for n in ("es", "fr", "both"))
    for name, value in merged.items():
        torch.testing.assert_close(value, 0.25 * es[name] + 0.75 * fr[name])
    assert main([*words[:2], f"{tmp_path / 'fr'}=0.5"]) == 1
    assert "expected shares of 1" in capsys.readouterr().err
    for wrong in ([*words[:2], str(tmp_path / "fr")], [str(both), f"{tmp_path / 'es'}=much"]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
