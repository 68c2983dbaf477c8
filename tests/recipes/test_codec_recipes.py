"""The recipes of codecs: each runs, made small, and asks for what was published."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from codec_runs import write_tones
from typer.testing import CliRunner

from echoic.codecs.discriminators import PeriodConfig, ScaleConfig, SpectrogramConfig
from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.hificodec.config import HiFiCodecConfig
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.registry import codec_class, load_codec
from echoic.codecs.settings import build
from echoic.codecs.training.build import codec_of_run, codec_settings, read_run
from echoic.recipes.cli import build_app
from echoic.recipes.prepare.codec_box import main

FOLDER = Path(__file__).parents[2] / "recipes" / "codec"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
RATE = 8000
SMALL_BOOKS = {"dim": 16, "codebook_size": 8, "reservoir": 2, "warmup_steps": 0, "decay": 0.9}
ECHO = {"sample_rate": RATE, "width": 8, "n_fft": 640, "encoder_outer": 1, "encoder_inner": 1}
ECHO |= {"decoder_inner": 1, "decoder_outer": 1, "quantizer": SMALL_BOOKS | {"num_layers": 4}}
GENERATOR = {"rates": [8, 8], "kernels": [16, 16], "channels": 8, "block_kernels": [3]}
GENERATOR |= {"block_dilations": [[1]]}
DISTIL = {
    "mel": {"sample_rate": RATE, "hop_length": 64, "n_fft": 256, "num_mels": 8},
    "widths": [8, 16],
    "depths": [1, 1],
    "generator": GENERATOR,
}
# What makes the published models small, by kind.
MODELS: dict[str, dict[str, Any]] = {
    "echocodec": ECHO,
    "hificodec": {
        "sample_rate": RATE,
        "encoder_channels": 8,
        "norm_channels": 4,
        "generator": GENERATOR | {"channels": 16},
        "quantizer": {"dim": 32, "codebook_size": 8},
    },
    "languagecodec": {
        "sample_rate": RATE,
        "ratios": [8, 8],
        "encoder_channels": 4,
        "lstm_layers": 1,
        "width": 8,
        "hidden": 8,
        "blocks": 1,
        "n_fft": 256,
        "quantizer": SMALL_BOOKS,
    },
    "distilcodec": DISTIL | {"quantizer": {"dim": 16, "codebook_size": 32, "codebook_dim": 24}},
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "mpd": {"channels": [2, 4]},
    "msd": {"width": 1 / 128},
    "ms_stft": {"filters": 2, "n_ffts": [128]},
}


def recipe(name: str) -> dict[str, Any]:
    return yaml.safe_load(RECIPES[name].read_text(encoding="utf-8"))


def small(name: str, folder: Path, **changes: Any) -> Path:
    """The shipped recipe with a small model, small discriminators and sounds of its own."""
    values = recipe(name)
    task, data = values["model"]["init_args"], values["data"]["init_args"]
    task["model"] = {k: v for k, v in task["model"].items() if k != "preset"}
    task["model"] |= MODELS[task["model"]["kind"]]
    if name == "distilcodec-teacher":
        task["model"]["quantizer"] = SMALL_BOOKS | {
            "num_layers": 2,
            "num_groups": 2,
            "codebook_dim": None,
        }
    for family, settings in task.get("discriminators", {}).items():
        settings |= DISCRIMINATORS[family.split(".")[0]]
    task |= {"ignore_end": 0} | changes
    if "adversarial" in task:
        task["adversarial"]["start_step"] = 1
    tones = [{"path": str(write_tones(folder / "tones"))}]
    data |= {"train": tones, "validation": tones, "sample_rate": RATE, "num_workers": 0}
    data |= {"validation_batches": 1}
    data["crops"] |= {"seconds": 0.5, "batch_size": 2}
    checkpoints = values["trainer"]["callbacks"][0]
    assert checkpoints["class_path"].endswith("ModelCheckpoint")
    checkpoints["init_args"] = {"dirpath": str(folder), "every_n_train_steps": 1, "save_last": True}
    values["trainer"] |= {
        "max_steps": 2,
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "val_check_interval": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": [checkpoints],
        "default_root_dir": str(folder),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def train(path: Path, *words: str) -> Path:
    """Run a recipe and return its checkpoint."""
    result = CliRunner().invoke(
        build_app(["train"]), ["train", "fit", "--config", str(path), *words]
    )
    assert result.exit_code == 0, result.output
    return path.parent / "last.ckpt"


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"distilcodec"}))
def test_runs(name: str, tmp_path: Path) -> None:
    run = train(small(name, tmp_path))
    assert read_run(run)["global_step"] == 2
    assert codec_of_run(run).kind == recipe(name)["model"]["init_args"]["model"]["kind"]


def test_the_two_stages_of_distilcodec_and_the_folder_made_of_them(tmp_path: Path) -> None:
    for stage in ("teacher", "student"):
        (tmp_path / stage).mkdir()
    teacher = train(small("distilcodec-teacher", tmp_path / "teacher"))
    recipe_of_student = small("distilcodec", tmp_path / "student", teacher=str(teacher))
    student = train(recipe_of_student)
    assert codec_of_run(student).num_codebooks == 1
    assert not any("teacher" in name for name in read_run(student)["state_dict"])
    ablation = train(recipe_of_student, "--model.init_args.distillation", "0")
    assert read_run(ablation)["global_step"] == 2
    box = tmp_path / "box"
    assert main([str(student), str(box), "--description", "A student"]) == 0
    assert 'A student"' in (box / "config.json").read_text()
    teachers = tmp_path / "teachers"
    assert main([str(teacher), str(teachers), "--layers", "1"]) == 0
    assert load_codec(teachers).num_codebooks == codec_of_run(teacher).num_codebooks // 2
    assert main([str(teacher), str(teachers), "--layers", "3"]) == 2
    loaded, wav = load_codec(box), torch.zeros(1, 640)
    assert loaded.decode(loaded.encode(wav)).shape == wav.shape


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("hificodec", HiFiCodecConfig.preset("24k-320d")),
        ("languagecodec", LanguageCodecConfig.preset("24k")),
        ("distilcodec", DistilCodecConfig()),
        ("distilcodec-teacher", DistilCodecConfig().as_teacher()),
        ("echocodec", EchoCodecConfig.base_24k()),
        ("echo-16k-tiny", EchoCodecConfig.tiny_16k()),
    ],
)
def test_asks_for_the_published_model(name: str, config: Any) -> None:
    values = recipe(name)
    settings = codec_settings(values["model"]["init_args"]["model"])
    found = build(codec_class(settings["model"]).config_class, settings)
    assert found == config
    assert values["data"]["init_args"]["sample_rate"] == config.sample_rate


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_is_understood_as_it_is_shipped(name: str) -> None:
    words = ["train", "fit", "--config", str(RECIPES[name]), "--print_config"]
    result = CliRunner().invoke(build_app(["train"]), words)
    assert result.exit_code == 0, result.output
    shown = yaml.safe_load(result.stdout)
    asked = recipe(name)["model"]["init_args"]["optimizer"]
    assert asked.items() <= shown["model"]["init_args"]["optimizer"].items()


def test_a_run_without_books_makes_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small("echocodec", tmp_path)
    run = train(path, "--model.init_args.model.quantizer.warmup_steps", "50")
    assert main([str(run), str(tmp_path / "box")]) == 2
    assert "codebooks have not started yet" in capsys.readouterr().err
    assert main([str(path), str(tmp_path / "box")]) == 2
    assert "was refused: not a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"echo-16k-tiny"}))
def test_names_discriminators_that_there_are(name: str) -> None:
    kinds = {"mpd": PeriodConfig, "msd": ScaleConfig, "ms_stft": SpectrogramConfig}
    for family, settings in recipe(name)["model"]["init_args"]["discriminators"].items():
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        kinds[family.split(".")[0]](**values)
