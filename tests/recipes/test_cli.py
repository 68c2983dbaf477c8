"""The table of verbs: quick to print, and true to what the folders register."""

import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from echoic.recipes.cli import VERBS, build_app

ECHOIC = Path(sys.executable).with_name("echoic")
HELP_SECONDS = 0.5
HEAVY = ("torch", "numpy", "transformers", "huggingface_hub", "soundfile")


def echoic(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ECHOIC, *words], capture_output=True, text=True)


def cpu_seconds_of_help() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert echoic("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_is_quick_and_names_every_verb():
    # The least of three: the first may have to compile, and others work on the same processors.
    assert min(cpu_seconds_of_help() for _ in range(3)) < HELP_SECONDS
    page = echoic("--help").stdout
    for name, verb in VERBS.items():
        assert name in page
        assert verb.help in page


@pytest.mark.parametrize("arguments", [[], ["--help"], *([name] for name in VERBS)])
def test_nothing_heavy_is_imported_before_a_command_runs(arguments: list[str]):
    code = (
        "import sys\n"
        "from echoic.recipes.cli import build_app\n"
        f"build_app({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # `transcribe` brings echoic.asr, and with it the guard of echoic.audio, but no torch.
    assert done.stdout.strip() == "[]"


def test_version():
    done = echoic("--version")
    assert done.returncode == 0
    assert done.stdout == f"echoic {version('echoic')}\n"


@pytest.mark.parametrize("words", [["sing"], ["--loud"], ["transcribe", "--loud"]])
def test_wrong_usage_is_exit_code_2_and_no_traceback(words: list[str]):
    done = echoic(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words[-1] in done.stderr
    assert "Traceback" not in done.stderr
    assert f"see `{' '.join(['echoic', *words[:-1]])} --help`" in done.stderr


def registered(module: str) -> dict[str, str]:
    """Return the verbs that a module adds, with the first line of each one's help."""
    app = typer.Typer()
    sys.modules[module].register(app)
    verbs = {command.name: command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        assert inner.registered_callback is not None
        verbs[group.name] = inner.registered_callback.callback
    return {
        name or "": (callback.__doc__ or "").splitlines()[0]
        for name, callback in verbs.items()
        if callback is not None
    }


@pytest.mark.parametrize("module", sorted({verb.module for verb in VERBS.values()}))
def test_the_table_is_what_the_modules_register(module: str):
    name = next(name for name, verb in VERBS.items() if verb.module == module)
    build_app([name])
    table = {name: verb.help for name, verb in VERBS.items() if verb.module == module}
    found = registered(module)
    assert set(found) == set(table)
    for name, sentence in table.items():
        assert found[name].startswith(sentence.removesuffix("."))


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_a_help_page(name: str):
    result = CliRunner().invoke(build_app([name]), [name, "--help"])
    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.stdout


def test_a_word_after_an_option_is_the_verb():
    result = CliRunner().invoke(build_app(["--version", "env"]), ["--version", "env"])
    assert result.exit_code == 0
    assert result.stdout.startswith("echoic ")
