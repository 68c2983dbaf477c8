import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from house import ROOT
from typer.testing import CliRunner, Result

from echoic.recipes import env
from echoic.recipes.env import Fact


def echoic_env(*options: str) -> Result:
    app = typer.Typer()
    env.register(app)
    result = CliRunner().invoke(app, list(options))
    assert result.exit_code == 0, result.output
    return result


def facts() -> dict[str, Fact]:
    found = list(env.gather())
    assert len({fact.topic for fact in found}) == len(found)
    return {fact.topic: fact for fact in found}


def test_text_has_a_line_for_every_fact():
    lines = echoic_env().stdout.splitlines()
    expected = facts()
    assert len(lines) == len(expected)
    for line, (topic, fact) in zip(lines, expected.items(), strict=True):
        assert line[2:].startswith(topic)
        assert line.startswith("- ") is (fact.state == "missing")
        assert fact.value in line
        assert fact.mend in line


def test_json_is_the_same_report():
    report = json.loads(echoic_env("--json").stdout)
    assert [Fact(**entry) for entry in report] == list(env.gather())
    assert next(e for e in report if e["topic"] == "echoic") == {
        "topic": "echoic",
        "state": "ok",
        "value": importlib.metadata.version("echoic"),
        "mend": "",
    }


def test_tells_what_the_house_stands_on():
    found = facts()
    assert found["torch"].value == importlib.metadata.version("torch")
    for name in ("tiny.en", "paraformer-tiny-en", "echo-16k-tiny", "talker-tiny-en"):
        assert found[f"model {name}"].value.endswith(name)
    assert "OGG" in found["libsndfile"].value
    assert sys.executable in found["python"].value


def test_requirements_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(env.REQUIRED) == names(project["dependencies"])
    told = set[str]()
    for package, mend in env.OPTIONAL.items():
        extra = mend.removeprefix("pip install 'echoic[").removesuffix("]'")
        assert package in names(project["optional-dependencies"][extra])
        told.add(extra)
    assert told == set(project["optional-dependencies"]) - {"test", "bench"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=[]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize(("name", "state"), [("soxr", "missing"), ("peft", "info")])
def test_a_missing_package_is_shown_with_its_mend(name: str, state: str, monkeypatch):
    known = importlib.metadata.version

    def version(wanted: str) -> str:
        if wanted == name:
            raise importlib.metadata.PackageNotFoundError(wanted)
        return known(wanted)

    monkeypatch.setattr(importlib.metadata, "version", version)
    fact = facts()[name]
    assert fact.state == state
    assert fact.value.startswith("not installed")
    assert fact.mend == {**env.REQUIRED, **env.OPTIONAL}[name]
    assert f"({fact.mend})" in echoic_env().stdout


def test_a_package_that_does_not_import_is_a_fact_and_the_rest_still_comes(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)  # `import soundfile` raises
    found = facts()
    assert found["libsndfile"].state == "missing"
    assert "ModuleNotFoundError" in found["libsndfile"].value
    assert "model tiny.en" in found


def test_whatever_a_probe_raises_is_one_line(monkeypatch):
    def broken():
        raise RuntimeError("no\n driver")
        yield

    monkeypatch.setattr(env, "_torch_facts", broken)
    assert facts()["torch devices"] == Fact("torch devices", "missing", "RuntimeError: no driver")


def test_a_wrong_mode_of_the_extension_is_shown_with_its_mend(monkeypatch):
    monkeypatch.setenv("ECHOIC_EXT", "sometimes")
    found = facts()
    assert found["extension"].state == "missing"
    assert "'sometimes'" in found["extension"].value
    assert found["extension"].mend == "unset ECHOIC_EXT"
    assert "nvcc" in found


def test_no_ffmpeg_is_told(monkeypatch):
    monkeypatch.setattr("echoic.audio.ffmpeg.find_ffmpeg", lambda: None)
    assert facts()["ffmpeg"].state == "missing"
    assert "echoic[ffmpeg]" in facts()["ffmpeg"].mend


def test_runs_where_torch_is_broken(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise OSError('libgomp.so.1: no such file')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from echoic.recipes.cli import build_app\n"
        "build_app(['env'])(['env'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "OSError: libgomp.so.1" in done.stdout
    assert "libsndfile" in done.stdout
    assert "Traceback" not in done.stderr
