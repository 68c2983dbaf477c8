"""Talkers and voices on disk, and parts that do not belong together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_talker import small_talker
from tiny_codec import tiny_codec

from echoic.tts.errors import TtsError
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.text.alphabet import IPA
from echoic.tts.voice import Voice, make_voice


def test_there_and_back(tmp_path: Path) -> None:
    talker = small_talker()
    talker.save_pretrained(tmp_path / "t")
    loaded = Talker.from_pretrained(tmp_path / "t", arithmetic="float32")
    assert loaded.settings == talker.settings
    text = "Hello there. You."
    one, other = Synthesizer(loaded).speak(text), Synthesizer(talker).speak(text)
    assert torch.equal(one.wav, other.wav)


def test_what_it_speaks_in(tmp_path: Path) -> None:
    talker = small_talker()
    talker.save_pretrained(tmp_path / "t")
    assert talker.speaking is talker.model
    for arithmetic in ("auto", "bfloat16", "int8"):
        loaded = Talker.from_pretrained(tmp_path / "t", arithmetic=arithmetic)
        assert loaded.speaking is not loaded.model
        assert len(Synthesizer(loaded).speak("Hello.").wav)
        loaded.save_pretrained(tmp_path / "again")  # the model as it was read
        again = Talker.from_pretrained(tmp_path / "again").model.state_dict()
        assert all(torch.equal(again[k], v) for k, v in loaded.model.state_dict().items())


def test_a_codec_beside_it_is_found_by_name(tmp_path: Path) -> None:
    talker = small_talker()
    tiny_codec().save_pretrained(tmp_path / "codec")
    settings = replace(talker.settings, codec=str(tmp_path / "codec"))
    Talker(talker.model, talker.codec, talker.alphabet, settings).save_pretrained(tmp_path / "t")
    assert not (tmp_path / "t" / "codec").exists()
    assert Talker.from_pretrained(tmp_path / "t").settings.codec == str(tmp_path / "codec")
    (tmp_path / "codec" / "model.safetensors").unlink()
    with pytest.raises(TtsError, match="needs its codec"):
        Talker.from_pretrained(tmp_path / "t")


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    talker = small_talker()
    with pytest.raises(TtsError, match="get the codec that it came with"):
        Talker(talker.model, tiny_codec(1), talker.alphabet, talker.settings)
    with pytest.raises(TtsError, match="an alphabet of"):
        Talker(talker.model, talker.codec, IPA, talker.settings)
    four = small_talker(books=3).model
    bad = replace(four.config, frames=replace(four.config.frames, codebook_size=16))
    four.config, before = bad, four.config
    try:
        with pytest.raises(TtsError, match="the model writes 3 codes of 16 values"):
            Talker(four, talker.codec, talker.alphabet, talker.settings)
    finally:
        four.config = before
    talker.save_pretrained(tmp_path / "t")
    path = tmp_path / "t" / "config.json"
    values = json.loads(path.read_text())
    for change, message in (
        ({"talker": values["talker"] | {"speed": 2}}, "no settings of a talker"),
        ({"alphabet": {"kind": "runes"}}, "'runes'"),
        ({"talker": values["talker"] | {"g2p": "magic"}}, "no G2P 'magic'"),
        ({"talker": values["talker"] | {"language": "tlh"}}, "no text front end"),
    ):
        path.write_text(json.dumps(values | change))
        with pytest.raises(TtsError, match=message):
            Talker.from_pretrained(tmp_path / "t").reader()
    del values["talker"]
    path.write_text(json.dumps(values))
    with pytest.raises(TtsError, match="no section 'talker'"):
        Talker.from_pretrained(tmp_path / "t")


def noise(seconds: float) -> torch.Tensor:
    return 0.1 * torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(0))


def test_recordings_that_make_no_voice() -> None:
    talker = small_talker()
    with pytest.raises(TtsError, match=r"lasts 0\.5 s: a voice is made of 1 to 30 s"):
        make_voice(talker, noise(0.5), "Hello.")
    with pytest.raises(TtsError, match="lasts 31"):
        make_voice(talker, noise(31), "Hello.")
    with pytest.raises(TtsError, match="give the text, word by word"):
        make_voice(talker, noise(2), "  ")
    with pytest.raises(TtsError, match="silent or damaged"):
        make_voice(talker, torch.zeros(32_000), "Hello.")
    with pytest.raises(TtsError, match="silent or damaged"):
        make_voice(talker, torch.full((32_000,), torch.nan), "Hello.")


def test_files_that_are_no_voice(tmp_path: Path) -> None:
    path = tmp_path / "x.voice"
    with pytest.raises(TtsError, match=r"x\.voice is not there: make a voice"):
        Voice.load(path)
    path.write_bytes(b"RIFF")
    with pytest.raises(TtsError, match="is damaged or no voice"):
        Voice.load(path)
    save_file({"codes": torch.zeros(2, 2)}, path)
    with pytest.raises(TtsError, match="is no voice"):
        Voice.load(path)
    voice = make_voice(small_talker(), noise(2), "Hello.")
    voice.save(path)
    header = {"version": 2, "text": "a", "codec_hash": "b"}
    save_file({"codes": torch.zeros(2, 2)}, path, metadata={"echoic-voice": json.dumps(header)})
    with pytest.raises(TtsError, match="another version"):
        Voice.load(path)
    header = {"version": 1, "text": "a", "codec_hash": "b", "age": 3}
    save_file({"codes": torch.zeros(2, 2)}, path, metadata={"echoic-voice": json.dumps(header)})
    with pytest.raises(TtsError, match="is damaged"):
        Voice.load(path)


def test_a_voice_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.voice"
    Voice(torch.zeros(3, 2, dtype=torch.int64), "before", "").save(path)

    def broken(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="No space left"):
        Voice(torch.ones(3, 2, dtype=torch.int64), "after", "").save(path)
    assert Voice.load(path).text == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_voice_of_another_codec() -> None:
    voice = replace(make_voice(small_talker(), noise(2), "Hello."), codec_hash="sha256:0")
    with pytest.raises(TtsError, match="another codec than this talker's"):
        Synthesizer(small_talker()).stream("Hello.", voice=voice)
    silent = replace(make_voice(small_talker(), noise(2), "Hello."), text="...")
    with pytest.raises(TtsError, match="has no words"):
        Synthesizer(small_talker()).stream("Hello.", voice=silent)
