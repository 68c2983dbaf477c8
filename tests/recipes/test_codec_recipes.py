"""The recipes of codecs: each runs, made small, and asks for what was published."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from codec_runs import task, write_tones
from typer.testing import CliRunner

from echoic.codecs.discriminators import PeriodConfig, ScaleConfig, SpectrogramConfig
from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.hificodec.config import HiFiCodecConfig
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.registry import codec_class, load_codec
from echoic.codecs.settings import build
from echoic.codecs.training.build import SETTINGS_KEY, codec_of_run, codec_settings, read_run
from echoic.recipes.cli import build_app
from echoic.recipes.prepare.codec_box import main
from echoic.recipes.run_folder import find_run

FOLDER = Path(__file__).parents[2] / "recipes" / "codec"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def recipe(name: str) -> dict[str, Any]:
    return yaml.safe_load(RECIPES[name].read_text(encoding="utf-8"))


def train(name: str, folder: Path, *words: str) -> Path:
    """Try a shipped recipe on tones, and return its checkpoint."""
    tones = write_tones(folder / "tones")
    line = ["train", "fit", "--config", str(RECIPES[name]), "--smoke", str(tones)]
    line += ["--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false"]
    line += ["--trainer.logger", "false", "--trainer.max_steps", "2", *words]
    result = CliRunner().invoke(build_app(line), line)
    assert result.exit_code == 0, result.output
    return find_run(folder / "smoke").last


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"distilcodec"}))
def test_runs(name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    run = train(name, tmp_path)
    assert not [w for w in recwarn if "pre-optimization" in str(w.message)]
    assert read_run(run)["global_step"] == 2
    assert codec_of_run(run).kind == recipe(name)["model"]["init_args"]["model"]["kind"]


def test_the_two_stages_of_distilcodec_and_the_folder_made_of_them(tmp_path: Path) -> None:
    teacher = train("distilcodec-teacher", tmp_path / "teacher")
    given = ["--model.init_args.teacher", str(teacher)]
    student = train("distilcodec", tmp_path / "student", *given)
    assert codec_of_run(student).num_codebooks == 1
    assert not any("teacher" in name for name in read_run(student)["state_dict"])
    given += ["--model.init_args.distillation", "0"]
    ablation = train("distilcodec", tmp_path / "ablation", *given)
    assert read_run(ablation)["global_step"] == 2
    box = tmp_path / "box"
    assert main([str(student), str(box), "--description", "A student"]) == 0
    assert 'A student"' in (box / "config.json").read_text()
    teachers = tmp_path / "teachers"
    assert main([str(teacher), str(teachers), "--layers", "2"]) == 0
    assert load_codec(teachers).num_codebooks == codec_of_run(teacher).num_codebooks // 4
    assert main([str(teacher), str(teachers), "--layers", "9"]) == 2
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
    started = task()
    run = tmp_path / "run.ckpt"
    torch.save({"state_dict": started.state_dict(), SETTINGS_KEY: started.settings}, run)
    assert main([str(run), str(tmp_path / "box")]) == 2
    assert "codebooks have not started yet" in capsys.readouterr().err
    assert main([str(RECIPES["echocodec"]), str(tmp_path / "box")]) == 2
    assert "was refused: not a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"echo-16k-tiny"}))
def test_names_discriminators_that_there_are(name: str) -> None:
    kinds = {"mpd": PeriodConfig, "msd": ScaleConfig, "ms_stft": SpectrogramConfig}
    for family, settings in recipe(name)["model"]["init_args"]["discriminators"].items():
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        kinds[family.split(".")[0]](**values)
