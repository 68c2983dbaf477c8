"""The talker in the box: it speaks, and is understood."""

from pathlib import Path

import pytest

from echoic.asr.metrics import word_error_rate
from echoic.asr.options import TranscribeOptions
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.tts.box import DEFAULT, box_talkers, find_talker, find_voice
from echoic.tts.errors import TtsError
from echoic.tts.synthesizer import Sentence, Synthesizer
from echoic.tts.talker import Talker

SENTENCES = (
    "We had a very long day at the river.",
    "She was standing at the window when he came in.",
    "I do not believe a word of it, said the old man.",
)


def test_the_box_is_small_and_described() -> None:
    (talker,) = box_talkers()
    assert talker.name == DEFAULT
    assert talker.num_bytes < 40e6
    assert talker.description
    card = (talker.folder / "README.md").read_text(encoding="utf-8")
    for word in ("WER", "ceiling", "RTF", "first sound", "licence", "recipes/tts/"):
        assert word in card


def test_it_is_understood() -> None:
    pytest.importorskip("hibari")
    synthesizer = Synthesizer(Talker.from_pretrained())
    recognizer = Transcriber.from_pretrained("tiny.en", dtype="float32")
    said: list[Sentence] = []
    heard = []
    for text in SENTENCES:
        speech = synthesizer.speak(text)
        said += speech.sentences
        heard.append(recognizer.transcribe(speech.wav, sample_rate=speech.sample_rate).text)
    assert [sentence.ending for sentence in said] == ["end"] * 3
    assert [len(sentence.words) for sentence in said] == [len(t.split()) for t in SENTENCES]
    errors = word_error_rate(SENTENCES, heard, for_language("en"))
    assert errors.rate < 0.35, heard


def test_words_are_said_when_it_says() -> None:
    """By the ear of Whisper, which finds the times of words by itself."""
    pytest.importorskip("hibari")
    synthesizer = Synthesizer(Talker.from_pretrained())
    recognizer = Transcriber.from_pretrained("tiny.en", dtype="float32")
    apart: list[float] = []
    for text in SENTENCES:
        speech = synthesizer.speak(text)
        heard = recognizer.transcribe(
            speech.wav, TranscribeOptions(word_timestamps=True), sample_rate=speech.sample_rate
        )
        theirs = [word for segment in heard.segments for word in segment.words or ()]
        said = speech.sentences[0].words
        for one, other in zip(said, theirs, strict=False):
            if one.text.lower() != other.word.strip(" .,").lower():
                break  # misheard: from here on they are not the same words
            apart.append(abs(one.end - other.end))
    assert len(apart) > 10
    assert sorted(apart)[len(apart) // 2] < 0.1, apart


def test_names_of_talkers_and_voices(tmp_path: Path) -> None:
    assert find_talker(DEFAULT).is_dir()
    assert find_talker(tmp_path) == tmp_path
    for name in ("nobody", "./a/b", "a/b/c", ""):
        with pytest.raises(TtsError, match="no talker"):
            find_talker(name)
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "me.voice").write_bytes(b"")
    assert find_voice("me", tmp_path) == tmp_path / "voices" / "me.voice"
    file = tmp_path / "x.voice"
    file.write_bytes(b"")
    assert find_voice(str(file), tmp_path) == file
    with pytest.raises(TtsError, match=r"no voice 'you': .*me"):
        find_voice("you", tmp_path)
