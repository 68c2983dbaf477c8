"""The codec laboratory at its desk, with a codec of random weights."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from desk_parts import DeskBrowser, tone, wav_file
from tiny_codec import tiny_codec

from echoic.codecs.box import BoxCodec
from echoic.codecs.codec import Codec, Encoded
from echoic.codecs.container import EchoReader
from echoic.demo.codec_lab import CodecDesk
from echoic.demo.pictures import codes_picture, mel_pictures

BOX = [BoxCodec(name, Path(name), 0, "random") for name in ("one", "two")]


@pytest.fixture
def loaded() -> list[str]:
    return []


@pytest.fixture
def browser(loaded: list[str]) -> Iterator[DeskBrowser]:
    def load(name: str) -> Codec:
        loaded.append(name)
        return tiny_codec(["one", "two"].index(name))

    desk = CodecDesk(BOX, load)
    yield DeskBrowser(desk)
    desk.close()


def codes_of(browser: DeskBrowser) -> torch.Tensor:
    """What is in the file that the page can save."""
    file = io.BytesIO(base64.b64decode(browser.ask("export")["data"]))
    reader = EchoReader(file)
    return torch.cat([segment.codes for segment in reader], dim=2)


@pytest.mark.parametrize("n_q", [1, 2, 3])
def test_the_page_gets_what_the_codec_makes_of_the_first_layers(browser: DeskBrowser, n_q: int):
    data = wav_file(tone(0.5))
    wav = torch.from_numpy(sf.read(io.BytesIO(data), dtype="float32")[0])[None]
    browser.bring(data)
    result = browser.result("code", codec="one", n_q=n_q, fresh=True)
    codec = tiny_codec()
    np.testing.assert_allclose(browser.track("original") / 32767, wav[0], atol=1e-4)
    expected = codec.encode(wav, n_q=n_q)
    assert torch.equal(codes_of(browser), expected.codes)
    decoded = codec.decode(expected)[0].clamp(-1, 1)
    np.testing.assert_allclose(browser.track("decoded") / 32767, decoded, atol=1e-4)
    assert (result["books"], result["max_books"]) == (n_q, 3)
    assert result["kbits"] == pytest.approx(0.25 * n_q)
    assert result["bytes"] == len(base64.b64decode(browser.ask("export")["data"]))
    assert result["pcm_bytes"] == 16000
    picture = result["codes"]
    values = np.frombuffer(base64.b64decode(picture["data"]), "<u2")
    shown = values.reshape(picture["rows"], picture["columns"])
    assert np.array_equal(shown, expected.codes[0].numpy())


def test_fewer_layers_need_no_new_coding_and_another_codec_does(
    browser: DeskBrowser, loaded: list[str], monkeypatch: pytest.MonkeyPatch
):
    coded: list[int] = []
    whole = Codec.encode

    def counted(self: Codec, wav: torch.Tensor) -> Encoded:
        coded.append(wav.shape[1])
        return whole(self, wav)

    monkeypatch.setattr(Codec, "encode", counted)
    browser.bring(wav_file(tone(0.5)))
    assert browser.result("code", codec="one", n_q=0, fresh=True)["books"] == 3
    first = browser.result("code", codec="one", n_q=1)
    assert first["encode_rtf"] > 0
    assert coded == [8000]
    other = browser.result("code", codec="two", n_q=9)
    assert other["books"] == 3
    assert other["codes"]["data"] != first["codes"]["data"]
    assert loaded == ["one", "two"]
    assert coded == [8000, 8000]


def test_what_cannot_be_coded_is_a_line(browser: DeskBrowser):
    assert "nothing is coded" in browser.ask("export")["problem"]
    assert "no codec 'x': expected one, two" in browser.work("code", codec="x", n_q=1)["problem"]
    assert "choose a file" in browser.work("code", codec="one", n_q=1)["problem"]
    browser.bring(wav_file(np.zeros(1000 * 31), 1000))
    problem = browser.work("code", codec="one", n_q=1, fresh=True)["problem"]
    assert problem.startswith("talk.wav is longer than 30 s: `echoic codec encode FILE`")
    browser.bring(wav_file(np.zeros(8000)))
    silent = browser.result("code", codec="one", n_q=1, fresh=True)
    assert silent["si_sdr"] is None


def test_a_tone_is_a_line_in_the_picture_and_both_have_one_scale():
    wav = torch.from_numpy(tone(1.0, hertz=1000)).float()
    original, quiet = mel_pictures(wav, wav / 10, 16000)
    rows = original.values[:, 20:-20].argmax(0)
    assert len(set(rows.tolist())) == 1
    low, _ = mel_pictures(torch.from_numpy(tone(1.0, hertz=300)).float(), wav, 16000)
    assert low.values[:, 50].argmax() > rows[0], "low tones are at the bottom"
    loud, soft = original.values[rows[0], 50], quiet.values[rows[0], 50]
    # A tenth is 20 dB of the 80 that the scale has.
    assert loud == 255
    assert int(loud) - int(soft) == pytest.approx(255 / 4, abs=1)


def test_pictures_of_long_recordings_have_no_more_columns_than_a_screen():
    original, _ = mel_pictures(torch.zeros(16000 * 30), torch.zeros(16000 * 30), 16000)
    assert original.values.shape[1] <= 1250
    codes = torch.arange(6).reshape(2, 3)
    assert codes_picture(codes, 1024).to_dict() | {"data": ""} == {
        "rows": 2,
        "columns": 3,
        "size": 1024,
        "data": "",
    }
