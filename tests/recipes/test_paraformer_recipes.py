"""The recipes of Paraformer: each runs, made small, from the commands that its data are made by."""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from paraformer_runs import MODEL, short_ones, write_manifest
from speech_data import novel
from typer.testing import CliRunner

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import build, model_config, read_statistics
from echoic.asr.paraformer.training.export import model_of_runs, read_run
from echoic.audio.io import save
from echoic.recipes.cli import build_app
from echoic.recipes.export_run import best_of
from echoic.recipes.prepare.aishell import main as aishell
from echoic.recipes.prepare.cmvn import main as cmvn
from echoic.recipes.prepare.paraformer_box import main as make_box
from echoic.recipes.prepare.vocabulary import main as vocabulary
from echoic.recipes.run_folder import Found, find_run

FOLDER = Path(__file__).parents[2] / "recipes" / "paraformer"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
# Parameters in millions, and tokens of the vocabulary that the recipe makes.
SIZES = {
    "paraformer-tiny-en": (12.4, 500),
    "aishell1": (28.5, 4236),
    "librispeech": (38.8, 500),
}


def recipe(name: str) -> dict[str, Any]:
    return yaml.safe_load(RECIPES[name].read_text(encoding="utf-8"))


def train(*words: str):
    return CliRunner().invoke(build_app(["train"]), ["train", "fit", *words])


def tried(name: str, folder: Path, *words: str) -> Found:
    """The run of a shipped recipe on prompts, made small: a step, and what follows it."""
    folder.mkdir(exist_ok=True)
    line = ["--config", str(RECIPES[name]), "--smoke", str(write_manifest(folder))]
    line += ["--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false"]
    line += ["--trainer.enable_model_summary", "false", "--trainer.logger", "false"]
    done = train(*line, "--trainer.max_steps", "1", *words)
    assert done.exit_code == 0, done.output
    return find_run(folder / "smoke")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_runs(name: str, tmp_path: Path) -> None:
    run = tried(name, tmp_path)
    assert read_run(run.last)["global_step"] == 1
    (best,) = best_of(run)
    assert best.name.startswith(("best-1-wer-", "best-1-cer-"))
    model = model_of_runs([best])
    kinds = {"librispeech": "ctc", "paraformer-tiny-en": "spikes"}
    assert model.config.predictor.kind == kinds.get(name, "cif")


def test_a_stage_goes_on_from_the_one_before(tmp_path: Path) -> None:
    first = tried("paraformer-tiny-en", tmp_path / "first").last
    # The model must not be nearer to a random one than to what it began as.
    second = tried(
        "paraformer-tiny-en", tmp_path / "second", "--trainer.max_steps", "2",
        "--model.init_args.init_from", str(first), "--model.init_args.mwer.weight", "0.1",
    ).last  # fmt: skip
    states = [model_of_runs([p]).state_dict() for p in (first, second)]
    key = "encoder.blocks.0.attention.qkv.weight"
    assert 0 < float((states[0][key] - states[1][key]).abs().max()) < 0.02


def test_a_model_that_streams_too(tmp_path: Path) -> None:
    cuts = '[{"look_back": 2, "stride": 4, "look_ahead": 2}, {"stride": 8}]'
    chunks = ["--model.init_args.chunks.cuts", cuts, "--model.init_args.chunks.probability", "1"]
    config = model_of_runs([tried("paraformer-tiny-en", tmp_path, *chunks).last]).config
    assert config.decoder.shift == 1
    assert config.chunks == Chunks(2, 4, 2)


def test_recipes_are_laid_over_each_other(tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("model: {init_args: {ema_decay: 0.5}}\ntrainer: {max_steps: 7}\n")
    both = ["--config", str(RECIPES["paraformer-tiny-en"]), "--config", str(over)]
    shown = yaml.safe_load(train(*both, "--trainer.precision", "32-true", "--print_config").stdout)
    asked = recipe("paraformer-tiny-en")
    assert shown["model"]["init_args"]["ema_decay"] == 0.5
    assert shown["model"]["init_args"]["vocabulary"] == asked["model"]["init_args"]["vocabulary"]
    assert (shown["trainer"]["max_steps"], shown["trainer"]["precision"]) == (7, "32-true")
    assert len(shown["trainer"]["callbacks"]) == len(asked["trainer"]["callbacks"])


def test_the_help_of_a_class_lists_every_field() -> None:
    for section in ("model", "data"):
        kind = recipe("paraformer-tiny-en")[section]["class_path"]
        page = train(f"--{section}.help", kind)
        assert page.exit_code == 0
        module, _, name = kind.rpartition(".")
        fields = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        assert len(fields) > 10
        assert [f for f in fields if f"--{section}.{f} " not in page.stdout] == []


def test_steps_of_several_batches_in_half_precision(tmp_path: Path) -> None:
    small = tried("paraformer-tiny-en", tmp_path).folder / "config.yaml"
    root = tmp_path / "again"
    done = train(
        "--config", str(small), "--trainer.default_root_dir", str(root),
        "--trainer.accumulate_grad_batches", "2", "--trainer.precision", "bf16-mixed",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    run = read_run(find_run(root).last)
    assert run["global_step"] == 1
    assert run["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 2
    # The mean of the weights has followed, and is not the weights.
    assert int(run["state_dict"]["average.updates"]) == 1
    key = "model.encoder.blocks.0.attention.qkv.weight"
    assert not torch.equal(run["state_dict"][key], run["state_dict"][f"average.{key}"])


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    # The recipe of a run is one that runs.
    path = tried("paraformer-tiny-en", tmp_path).folder / "config.yaml"
    manifest = tmp_path / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    no_text = tmp_path / "no_text.jsonl"
    no_text.write_text("".join(json.dumps({"audio": row["audio"]}) + "\n" for row in rows))
    (tmp_path / "empty.jsonl").write_text("")
    for words, message in (
        (["--data.init_args.train", f'[{{"path": "{no_text}"}}]'], "line 1: expected what is said"),
        (["--data.init_args.train", f'[{{"path": "{tmp_path}/empty.jsonl"}}]'], "no utterances"),
        (["--data.init_args.vocabulary", str(tmp_path / "none")], "none has no tokens.json"),
        (
            ["--model.init_args.cmvn=null", "--model.init_args.model.frontend.features=fbank"],
            "no cmvn: name one made by",
        ),
        (["--model.init_args.cmvn", str(manifest)], "holds no feature statistics"),
        (["--model.init_args.init_from", "none.ckpt"], "none.ckpt is not there"),
        (["--model.init_args.optimizer.schedule", "flat"], "schedule"),
        (
            ["--model.init_args.model.decoder.shift", "0"],
            "expected a model with decoder.shift",
        ),
    ):
        result = train("--config", str(path), *words)
        assert result.exit_code == 2, (words, result.output)
        lines = [line for line in result.stderr.splitlines() if line.startswith("echoic: ")]
        assert len(lines) == 1
        assert message in lines[0]
        assert "Traceback" not in result.output


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_is_understood_and_asks_for_the_size_it_names(name: str) -> None:
    result = CliRunner().invoke(
        build_app(["train"]), ["train", "fit", "--config", str(RECIPES[name]), "--print_config"]
    )
    assert result.exit_code == 0, result.output
    shown = yaml.safe_load(result.stdout)["model"]["init_args"]
    asked = recipe(name)["model"]["init_args"]
    assert asked["optimizer"].items() <= shown["optimizer"].items()
    if shown["spec_augment"] is not None:
        assert shown["spec_augment"]["stacked"] == FrontendConfig().lfr_m
    millions, tokens = SIZES[name]
    vocabulary_of = Tokenizer([*(str(i) for i in range(tokens - 1)), "<unk>"])
    with torch.device("meta"):
        model = Paraformer(model_config(asked["model"], tokens), vocabulary_of)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_a_vocabulary_of_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path)
    assert vocabulary([str(manifest), str(tmp_path / "tokens"), "--size", "48"]) == 0
    assert "48 tokens, " in capsys.readouterr().out
    tokenizer = Tokenizer.from_folder(tmp_path / "tokens")
    assert len(tokenizer) == 48
    assert tokenizer.tokens[:3] == ("<blank>", "<s>", "</s>")
    text = "call forwarding"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.unknown not in tokenizer.encode(text)
    assert (tmp_path / "tokens" / "bpe.model").stat().st_size < 4000
    again = tmp_path / "again"
    assert vocabulary([str(manifest), str(again), "--size", "48"]) == 0
    assert (again / "tokens.json").read_bytes() == (tmp_path / "tokens/tokens.json").read_bytes()


def test_what_cannot_be_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = str(write_manifest(tmp_path))
    out = str(tmp_path / "out")
    for command, words, message in (
        (vocabulary, [manifest, out, "--size", "5000"], "no vocabulary of 5000 tokens can be made"),
        (vocabulary, [manifest, out, "--size", "9"], "no vocabulary of 9 tokens can be made"),
        (vocabulary, [f"{manifest},split=eval", out], "no utterances of split 'eval' with a text"),
        (vocabulary, [f"{manifest},speaker=me", out], "is not PATH[,split=NAME][,lang=NAME]"),
        (vocabulary, ["none.jsonl", out], "none.jsonl: No such file"),
        (cmvn, [f"{manifest},lang=zh", out], "no recordings of lang 'zh'"),
        (cmvn, ["none.jsonl", out], "none.jsonl: No such file"),
        (make_box, [manifest, out], "was refused: not a checkpoint"),
    ):
        assert command(words) == 1
        error = capsys.readouterr().err.splitlines()
        assert message in error[-1]
        assert not Path(out).exists()


def test_statistics_of_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path)
    out = tmp_path / "deep" / "cmvn.json"
    assert cmvn([str(manifest), str(out)]) == 0
    assert "560 features of 6 files" in capsys.readouterr().out
    found = read_statistics(out, FrontendConfig())
    frames = torch.cat([Frontend()(u.wav[None])[0][0] for u in short_ones()]).double()
    assert torch.allclose(found.mean.double(), frames.mean(0), atol=1e-4)
    assert torch.allclose(found.std.double(), frames.std(0, correction=0), atol=1e-4)
    assert cmvn([str(manifest), str(out), "--recordings", "2"]) == 0
    assert "of 2 files" in capsys.readouterr().out
    assert not torch.equal(read_statistics(out, FrontendConfig()).mean, found.mean)
    with pytest.raises(ValueError, match="no vocabulary: name one made by"):
        build(MODEL, None, str(out), None, None)


def write_aishell(folder: Path) -> Path:
    speaker = folder / "data_aishell" / "wav" / "dev" / "S0724"
    speaker.mkdir(parents=True)
    transcripts = folder / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"
    transcripts.parent.mkdir()
    for number in range(3):
        save(speaker / f"BAC009S0724W012{number}.wav", novel()[number].wav[None, :16_000], 16_000)
    transcripts.write_text(
        "BAC009S0724W0120 \u5e7f\u5dde \u5e02\nBAC009S0724W0121 \u4e0d \u662f\n", encoding="utf-8"
    )
    return folder / "data_aishell"


def test_aishell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_aishell(tmp_path), tmp_path / "data" / "dev.jsonl"
    assert aishell([str(folder), "dev", str(out)]) == 0
    assert "2 utterances, 0.00 hours" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["\u5e7f\u5dde\u5e02", "\u4e0d\u662f"]
    assert {(row["speaker"], row["lang"], row["duration"]) for row in rows} == {("S0724", "zh", 1)}
    assert all((out.parent / row["audio"]).is_file() for row in rows)
    assert vocabulary([str(out), str(tmp_path / "tokens"), "--kind", "characters"]) == 0
    assert len(Tokenizer.from_folder(tmp_path / "tokens")) == 5 + 4
    assert aishell([str(folder), "test", str(out)]) == 1
    assert "no recordings in wav/test; unpack" in capsys.readouterr().err
    (folder / "transcript" / "aishell_transcript_v0.8.txt").write_text("NAME\n")
    assert aishell([str(folder), "dev", str(out)]) == 1
    assert "line 1: expected NAME TEXT" in capsys.readouterr().err
    assert aishell([str(tmp_path), "dev", str(out)]) == 1
    assert "expected the folder data_aishell" in capsys.readouterr().err
