import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

pytest.importorskip("matplotlib")
pytest.importorskip("librosa")

from echoic.audio.plot import (
    plot_overview,
    plot_spectrogram,
    plot_waveform,
    save_figure,
    to_image,
)
from echoic.audio.vad import SpeechSegment

RECORDING = Path(__file__).parents[1] / "data" / "sense-and-sensibility-0880.opus"


@dataclass(frozen=True)
class Word:
    start: float
    end: float
    word: str


@pytest.fixture(scope="module")
def speech() -> Tensor:
    return torch.from_numpy(soundfile.read(RECORDING, dtype="float32")[0])


def waveform(wav: Tensor, rate: int = 16000) -> Any:
    """Return the axes untyped: matplotlib's stubs only know what all artists share."""
    return plot_waveform(wav, rate)


def mesh_of(axes: Any) -> Any:
    return axes.collections[0]


def tone(hertz: float, rate: int = 16000, seconds: float = 1.0) -> Tensor:
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(int(rate * seconds)) / rate)


def spans(axes) -> list[tuple[float, float]]:
    """Return the x ranges of the shaded stretches."""
    return [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]


def test_waveform_has_its_true_extent(speech):
    axes = waveform(speech)
    assert axes.get_xlim() == pytest.approx((0, speech.numel() / 16000))
    assert axes.get_xlabel() == "Time (s)"
    assert axes.get_ylabel() == "Amplitude"
    assert axes.get_ylim()[1] == pytest.approx(float(speech.abs().max()) * 1.05)


def test_short_waveform_is_drawn_sample_by_sample():
    wav = torch.tensor([0.0, 0.5, -0.25, 0.125])
    line = waveform(wav, 4).lines[0]
    assert line.get_xdata().tolist() == [0, 0.25, 0.5, 0.75]
    assert line.get_ydata().tolist() == wav.tolist()


@pytest.mark.parametrize("at", [0, 123_456, 1_000_002])
def test_long_waveform_keeps_every_click(at):
    wav = torch.zeros(1_000_003)
    wav[at] = -0.8
    (envelope,) = waveform(wav).collections
    points = envelope.get_paths()[0].vertices
    assert len(points) < 20_000
    assert points[:, 1].min() == pytest.approx(-0.8)
    clicks = points[points[:, 1] < -0.7]
    assert clicks[:, 0] == pytest.approx(at / 16000, abs=0.05)


def test_stereo_draws_both_channels():
    axes = waveform(torch.stack([tone(3, 100), -tone(5, 100)]), 100)
    assert [len(line.get_ydata()) for line in axes.lines[:2]] == [100, 100]
    assert axes.lines[0].get_ydata()[3] != axes.lines[1].get_ydata()[3]


@pytest.mark.parametrize("kind", ["mel", "stft"])
@pytest.mark.parametrize(("hertz", "rate"), [(440.0, 16000), (3000.0, 16000), (9000.0, 44100)])
def test_spectrogram_shows_a_tone_at_its_frequency(kind, hertz, rate):
    axes = plot_spectrogram(tone(hertz, rate), rate, kind)
    mesh = mesh_of(axes)
    values = mesh.get_array()
    centre = values[:, values.shape[1] // 2]
    heights = mesh.get_coordinates()[:, 0, 1]
    loudest = int(centre.argmax())
    assert heights[max(0, loudest - 1)] <= hertz <= heights[loudest + 2]
    assert float(values.max()) == pytest.approx(0, abs=1e-3)
    assert axes.get_xlim() == pytest.approx((0, 1.0))
    assert axes.get_ylabel() == "Frequency (Hz)"
    assert axes.get_ylim()[1] == pytest.approx(rate / 2, rel=0.01)


def test_spectrogram_places_sound_in_time():
    wav = torch.cat([torch.zeros(16000), tone(1000), torch.zeros(16000)])
    mesh = mesh_of(plot_spectrogram(wav, 16000))
    loud = mesh.get_array().max(axis=0) > -20
    times = mesh.get_coordinates()[0, :-1, 0][loud]
    assert times.min() == pytest.approx(1.0, abs=0.03)
    assert times.max() == pytest.approx(2.0, abs=0.03)


def test_spectrogram_beside_another_is_drawn_on_its_scale():
    loud = tone(440.0, 16000)
    mesh = mesh_of(plot_spectrogram(0.01 * loud, 16000, beside=loud))
    assert float(torch.tensor(mesh.get_array()).max()) == pytest.approx(-40, abs=0.01)


def test_spectrogram_of_silence_and_of_a_few_samples(recwarn):
    for wav in (torch.zeros(8000), tone(1000)[:50]):
        assert torch.isfinite(
            torch.tensor(plot_spectrogram(wav, 16000).collections[0].get_array())
        ).all()
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_overview_shades_speech_segments(speech):
    figure = plot_overview(speech, 16000, [SpeechSegment(1600, 16000), SpeechSegment(24000, 32000)])
    above, below, bar = figure.axes
    assert [tuple(s) for s in spans(above)] == [
        pytest.approx((0.1, 1.0)),
        pytest.approx((1.5, 2.0)),
    ]
    assert above.get_xlim() == below.get_xlim() == pytest.approx((0, speech.numel() / 16000))
    assert bar.get_ylabel() == "dB below the loudest"
    assert len(above.texts) == 0


def test_speech_segments_keep_their_time_at_other_sample_rates():
    figure = plot_overview(tone(300, 8000, 2.0), 8000, [SpeechSegment(16000, 24000)])
    assert spans(figure.axes[0]) == [pytest.approx((1.0, 1.5))]


def test_overview_labels_words(speech):
    words = [Word(0.1, 0.4, " he"), Word(0.5, 0.9, " was"), Word(99.0, 99.5, " outside")]
    figure = plot_overview(speech, 16000, words, title="A sentence")
    above: Any = figure.axes[0]
    assert [t.get_text() for t in above.texts] == ["he", "was"]
    assert [t.xy[0] for t in above.texts] == pytest.approx([0.25, 0.7])
    assert figure.get_suptitle() == "A sentence"
    to_image(figure)
    top = above.get_window_extent().y1
    assert all(t.get_window_extent().y0 >= top - 1 for t in above.texts)


def test_image_is_the_figure(speech):
    figure = plot_overview(speech, 16000)
    image = to_image(figure)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 500, 1000)
    assert torch.equal(image, to_image(figure))
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image.float().std() > 20
    marked = to_image(plot_overview(speech, 16000, [SpeechSegment(8000, 16000)]))
    other = to_image(plot_overview(speech.flip(0), 16000))
    assert (image != marked).any(0).float().mean() > 0.01
    assert (image != other).any(0).float().mean() > 0.1


def test_saved_picture_equals_the_image(speech, tmp_path):
    figure = waveform(speech).figure
    path = save_figure(figure, tmp_path / "wave.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert save_figure(figure, tmp_path / "wave.svg").read_text().lstrip().startswith("<?xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wave.png", "wave.svg"]


def test_failed_save_leaves_the_old_picture(tmp_path, monkeypatch):
    figure = waveform(torch.ones(10), 10).figure
    path = tmp_path / "wave.png"
    path.write_text("old")

    def full_disk(file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", full_disk)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_formats_and_folders_are_refused(tmp_path):
    figure = waveform(torch.ones(10), 10).figure
    with pytest.raises(ValueError, match=r"wave\.xyz.*png"):
        save_figure(figure, tmp_path / "wave.xyz")
    with pytest.raises(FileNotFoundError, match="create it first"):
        save_figure(figure, tmp_path / "none" / "wave.png")


def test_pyplot_keeps_no_figure(speech):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plot_overview(speech, 16000)
    waveform(speech)
    assert pyplot.get_fignums() == before


def test_threads_draw_at_once():
    expected = to_image(waveform(tone(5)).figure)
    images: list[Tensor] = []
    work = [
        threading.Thread(target=lambda: images.append(to_image(waveform(tone(5)).figure)))
        for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert [torch.equal(image, expected) for image in images] == [True] * 3


@pytest.mark.parametrize(
    ("missing", "draw"),
    [("matplotlib", plot_waveform), ("librosa", plot_spectrogram), ("matplotlib", plot_overview)],
)
def test_missing_library_names_the_extra(monkeypatch, missing, draw):
    for name in list(sys.modules):
        if name == missing or name.startswith(f"{missing}."):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'echoic\[plot\]'"):
        draw(tone(5), 16000)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)"):
        plot_waveform(torch.zeros(1, 2, 3), 16000)
    with pytest.raises(ValueError, match=r"\(0,\)"):
        plot_spectrogram(torch.zeros(0), 16000)
    with pytest.raises(ValueError, match="sample_rate is 0"):
        plot_overview(torch.zeros(100), 0)
    with pytest.raises(ValueError, match="kind is 'cqt'"):
        plot_spectrogram(torch.zeros(100), 16000, "cqt")  # pyright: ignore[reportArgumentType]
