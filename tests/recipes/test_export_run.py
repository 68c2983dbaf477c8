"""`echoic export`: runs of every kind made folders that load, with a card."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from clicking_corpus import clicking_corpus, write_corpus
from codec_runs import write_tones
from huggingface_hub import ModelCard
from paraformer_runs import short_ones, write_manifest
from typer.testing import CliRunner, Result
from whisper_factory import write_folder

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.training.export import model_of_runs
from echoic.asr.whisper.adapter import load_adapter
from echoic.codecs.registry import load_codec
from echoic.recipes.cli import build_app
from echoic.recipes.export_run import best_of, choose, different
from echoic.recipes.prepare import causal_box
from echoic.recipes.run_folder import Found, find_run

RECIPES = Path(__file__).parents[2] / "recipes"


def echoic(*words: str | Path) -> Result:
    line = [str(word) for word in words]
    return CliRunner().invoke(build_app(line), line)


def tried(recipe: str, root: Path, manifest: Path, *words: str | Path) -> Found:
    """The run of a shipped recipe, made small."""
    done = echoic(
        "train", "fit", "--config", RECIPES / f"{recipe}.yaml", "--smoke", manifest,
        "--trainer.default_root_dir", root, "--trainer.enable_progress_bar", "false", *words,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return find_run(root / "smoke")


@pytest.fixture(scope="module")
def paraformer(tmp_path_factory: pytest.TempPathFactory) -> Found:
    root = tmp_path_factory.mktemp("paraformer")
    return tried("paraformer/paraformer-tiny-en", root, write_manifest(root))


def test_a_paraformer_with_its_card(paraformer: Found, tmp_path: Path) -> None:
    folder = tmp_path / "parrot"
    done = echoic(
        "export", paraformer.folder.parents[1], folder, "--checkpoint", "best", "--license", "mit",
        "--dataset", "owner/corpus", "--description", "Parrot", "--precision", "float32",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert done.stdout.startswith(f"{folder}: Parrot, ")
    ours = model_of_runs(best_of(paraformer)[:1])
    model = Paraformer.from_pretrained(folder)
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name
    wav = short_ones()[0].wav[None]
    assert model.recognize(wav)[0].text == ours.recognize(wav)[0].text
    card = ModelCard.load(folder / "README.md")
    assert card.data.to_dict() == {
        "license": "mit",
        "language": ["en"],
        "datasets": ["owner/corpus"],
        "library_name": "echoic",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["echoic", "speech", "paraformer"],
        "metrics": ["wer", "cer"],
    }
    assert card.text.strip().startswith("# parrot")
    for told in ("| what | Parrot |", "paraformer-tiny-en.yaml", "echoic train fit", "| val/wer |",
                 "`smoke/manifest.jsonl`", "| steps | 3 |"):  # fmt: skip
        assert told in card.text
    assert str(paraformer.folder.parent) not in card.text


def test_which_checkpoints_are_meant(paraformer: Found, tmp_path: Path) -> None:
    assert choose(paraformer, ["last"], 1) == [paraformer.last]
    best = best_of(paraformer)
    assert choose(paraformer, ["best"], 1) == best[:1]
    files = [str(path) for path in paraformer.checkpoints[:2]]
    assert choose(paraformer, files, 1) == paraformer.checkpoints[:2]
    # All are of the third step, the newest of them stands for it.
    assert different(paraformer) == paraformer.checkpoints[:1]
    for words, message in (
        (["best", files[0]], "best stands alone"),
        ([files[0]], "--average is for last and best"),
        (["last"], "holds 1 checkpoints for a mean of 2"),
    ):
        with pytest.raises(ValueError, match=message):
            choose(paraformer, words, 2)
    state = torch.load(paraformer.last, weights_only=True)
    state["callbacks"] = {
        "ModelCheckpoint{'monitor': 'a', 'mode': 'max'}": {
            "monitor": "a",
            "best_k_models": {"/gone/one.ckpt": torch.tensor(1.0), "/gone/two.ckpt": 2.0},
        }
    }
    moved = [tmp_path / "two.ckpt", tmp_path / "one.ckpt"]
    for path in moved:
        torch.save(state, path)
    assert best_of(Found(tmp_path, moved)) == moved
    torch.save({"callbacks": {"EarlyStopping": {"monitor": "a"}}}, moved[0])
    with pytest.raises(ValueError, match="kept no checkpoint for a figure"):
        best_of(Found(tmp_path, moved))


def test_the_mean_of_files(paraformer: Found, tmp_path: Path) -> None:
    state = torch.load(paraformer.last, weights_only=True)
    state["state_dict"] = {name: torch.zeros_like(v) for name, v in state["state_dict"].items()}
    torch.save(state, tmp_path / "zero.ckpt")
    words = ("--checkpoint", tmp_path / "zero.ckpt", "--checkpoint", paraformer.last, "--raw")
    folder = tmp_path / "mean"
    done = echoic("export", paraformer.folder, folder, *words, "--precision", "float32")
    assert done.exit_code == 0, done.output
    assert "say --license to publish it" in done.stderr
    key = "encoder.blocks.0.attention.qkv.weight"
    whole = model_of_runs([paraformer.last], averaged=False).state_dict()[key]
    found = Paraformer.from_pretrained(folder).state_dict()[key]
    torch.testing.assert_close(found, whole / 2)
    assert "| weights | mean of 2 checkpoints |" in (folder / "README.md").read_text()


def test_a_codec(tmp_path: Path) -> None:
    run = tried("codec/echo-16k-tiny", tmp_path, write_tones(tmp_path / "tones"))
    folder = tmp_path / "codec"
    assert echoic("export", run.last, folder).exit_code == 0
    codec = load_codec(folder)
    wav = torch.zeros(1, 3200)
    assert codec.decode(codec.encode(wav)).shape == wav.shape
    card = ModelCard.load(folder / "README.md")
    assert card.data.get("pipeline_tag") == "audio-to-audio"
    assert "| val/mel |" in card.text
    assert echoic("export", run.last, folder).exit_code == 2  # not empty any more
    for words, message in (
        (("--precision", "int8"), "a codec cannot be stored in int8; choose one of float16"),
        (("--checkpoint", run.last) * 2, "the mean of several checkpoints of a codec is none"),
    ):
        done = echoic("export", run.last, tmp_path / "other", *words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert message in done.stderr


def test_a_whisper_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write_folder(tmp_path / "base")
    manifest = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path))
    only_checkpoints = yaml.safe_load((RECIPES / "whisper/causal-tiny.en.yaml").read_text())
    callbacks = only_checkpoints["trainer"]["callbacks"][:1]
    over = tmp_path / "over.yaml"
    over.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
    run = tried(
        "whisper/causal-tiny.en", tmp_path, manifest, "--config", over, "--trainer.max_steps", "1",
        "--model.init_args.base", base, "--data.init_args.base", base,
    )  # fmt: skip
    folder = tmp_path / "adapter"
    assert echoic("export", run.folder, folder, "--precision", "float32").exit_code == 0
    state = torch.load(run.last, weights_only=True)["state_dict"]
    adapter = load_adapter(folder)
    assert adapter.streaming is not None
    assert len(adapter.state) == len(state)
    card = ModelCard.load(folder / "README.md")
    assert card.data.get("library_name") == "peft"
    assert card.data.get("base_model") is None  # a folder is on no hub
    times = {"median": 0.5, "p95": 1.0}
    result = {
        "policy": "causal",
        "chunk_ms": 320,
        "errors": {"rate": 0.1234},
        "audio_clock": dict.fromkeys(("first_word", "shown", "settled", "promised"), times),
        "churn": 0.02,
        "end_error": times,
        "start_error": {"median": 0.025},
    }
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"results": [result], "offline": {"rate": 0.1}}))
    words = ["causal_box", str(run.last), str(tmp_path / "boxed"), "--report", str(report)]
    monkeypatch.setattr("sys.argv", words)
    causal_box.main()
    told = (tmp_path / "boxed" / "README.md").read_text()
    assert "| causal | 320 | 12.3 | 0.50 | 0.50 | 1.00 |" in told
    assert "the same base model has 10.0 % on these" in told
    assert "| training | 1 steps; `echoic train fit --config" in told


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for run, message in (
        ("none", "none: no such run; give a folder that `echoic train` wrote"),
        ("text.ckpt", "was refused: not a checkpoint of tensors and plain values"),
        ("other.ckpt", "holds no model that can be exported; there are Paraformer, codec"),
    ):
        done = echoic("export", tmp_path / run, tmp_path / "out")
        assert (done.exit_code, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("echoic: ")
        assert message in line
    assert not (tmp_path / "out").exists()


def test_a_run_may_be_called_as_another_command() -> None:
    page = echoic("export", "onnx", "--help")
    assert page.exit_code == 0
    assert "OUT_DIR" in page.stdout
    done = echoic("export", "./onnx", "out")
    assert done.exit_code == 1
    assert "onnx: no such run" in done.stderr
