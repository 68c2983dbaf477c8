"""`echoic codec eval` and `echoic codec plot`."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from codec_command import SHORT, SPEECH, codec, done, only_problem
from tiny_codec import saved_codec, tiny_codec

from echoic.audio.io import load
from echoic.codecs.metrics import evaluation
from echoic.codecs.metrics.distances import mel_distance
from echoic.codecs.metrics.scorers import Found
from echoic.codecs.plot import plot_codec

MISSING = {"pesq_wb": "pesq is not installed: pip install 'echoic[metrics]'"}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a codec's folder in the folder where commands are typed; no other scores."""
    saved_codec(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "find_scorers", lambda _: Found([], MISSING))
    return "tiny"


def test_a_table_for_people_and_json_for_programs(model):
    result = done("eval", SHORT, "-m", model, "--json", "o.json", "--n-q", "2")
    assert result.stderr == ""
    assert "tiny: 1 recordings, 3.0 s, 0.5 kbit/s" in result.stdout
    assert f"no PESQ-WB: {MISSING['pesq_wb']}" in result.stdout
    found = json.loads(Path("o.json").read_text())
    wav = load(SHORT).wav
    back = tiny_codec().decode(tiny_codec().encode(wav, n_q=2))
    distance = found["scores"]["mel_distance"]["mean"]
    assert distance == pytest.approx(mel_distance(wav, back, 16000), rel=1e-4)
    assert f"{distance:.3f}" in result.stdout
    assert (found["num_codebooks"], found["missing"]) == (2, MISSING)


def test_folders_manifests_and_limits(model):
    Path("m.jsonl").write_text("".join(json.dumps({"audio": str(p)}) + "\n" for p in SPEECH))
    printed = done("eval", "m.jsonl", SPEECH[0].parent, "-m", model, "--json", "-", "--limit", "2")
    found = json.loads(printed.stdout)
    assert [Path(row["name"]).name for row in found["rows"]] == [p.name for p in SPEECH[:2]]


def test_failures_are_listed_and_the_rest_is_measured(model):
    Path("text.wav").write_text("no sound")
    sf.write("short.wav", np.zeros(500), 16000)
    words = ["text.wav", SHORT, "gone.wav", "short.wav"]
    result = codec("eval", *words, "-m", model, "--json", "o.json")
    assert result.exit_code == 1
    lines = [line.removeprefix("echoic: ") for line in result.stderr.splitlines()]
    assert [line.split(": ")[0] for line in lines[:3]] == ["text.wav", "gone.wav", "short.wav"]
    assert lines[3] == "1 measured, 3 failed"
    assert "1 recordings" in result.stdout
    assert len(json.loads(Path("o.json").read_text())["failures"]) == 3


def test_nothing_measured_is_no_table(model):
    result = codec("eval", "gone.wav", "-m", model)
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_picture_is_drawn(model):
    pytest.importorskip("matplotlib")
    pytest.importorskip("librosa")
    done("plot", SHORT, "a.png", "-m", model, "--offset", "1", "--duration", "1.5")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert "--overwrite" in only_problem(codec("plot", SHORT, "a.png", "-m", model), 2)
    sf.write("crumb.wav", np.zeros((1, 2)), 96000)
    done("plot", "crumb.wav", "a.png", "-m", model, "--n-q", "1", "--overwrite")


@pytest.mark.parametrize("package", ["matplotlib", "librosa"])
def test_a_missing_package_is_one_line_with_its_mend(model, monkeypatch, package):
    pytest.importorskip("matplotlib")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    line = only_problem(codec("plot", SHORT, "a.png", "-m", model), 1)
    assert line.startswith(f"pictures need {package}")
    assert line.endswith("which is not installed: pip install 'echoic[plot]'")
    assert not Path("a.png").exists()


def test_the_picture_shows_sounds_on_one_scale_and_every_code():
    pytest.importorskip("matplotlib")
    pytest.importorskip("librosa")
    wav = load(SHORT).wav
    codes = torch.arange(2 * 150).reshape(2, 150)
    figure = plot_codec(
        wav, 0.1 * wav, codes, sample_rate=16000, frame_rate=50.0, codebook_size=300, title="t"
    )
    above, before, above_after, after, bar, below, code_bar = figure.axes
    assert [ax.get_title(loc="left") for ax in (above, above_after)] == [
        "Original",
        "Reconstruction",
    ]
    assert above.get_ylim() == above_after.get_ylim()
    loud, quiet = (np.asarray(ax.collections[0].get_array()) for ax in (before, after))
    assert loud.max() == pytest.approx(0, abs=1e-3)
    assert quiet.max() == pytest.approx(-20, abs=1e-3)
    assert np.array_equal(np.asarray(below.images[0].get_array()), codes.numpy())
    assert below.images[0].get_clim() == (0, 299)
    assert list(below.images[0].get_extent()) == [0, 3.0, 2.5, 0.5]
    assert (bar.get_ylabel(), code_bar.get_ylabel()) == ("dB below the original's loudest", "code")
    with pytest.raises(ValueError, match="expected two waveforms of one length"):
        plot_codec(wav, wav[:, 1:], codes, sample_rate=16000, frame_rate=50.0, codebook_size=300)
