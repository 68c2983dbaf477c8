"""When words are said: by talkers whose text runs along, from their own voice and from others."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from small_talker import small_talker

from echoic.tts.errors import TtsError
from echoic.tts.lm.guard import Bounds
from echoic.tts.synthesizer import Sentence, Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.text.pieces import Mark, Utterance, Word
from echoic.tts.text.spans import Span
from echoic.tts.voice import Voice, make_voice
from echoic.tts.words import said_words

HERE = Span(0, 1)


def along() -> Talker:
    talker = small_talker("along")
    settings = replace(talker.settings, bounds=Bounds(shortest=0.0, longest=1.0, least=5.0))
    return Talker(talker.model, talker.codec, talker.alphabet, settings, talker.units)


def voice(seconds: float = 2.0) -> Voice:
    noise = 0.1 * torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(5))
    return make_voice(along(), noise, "It was so.", name="noise")


def test_words_by_their_units() -> None:
    pieces = (Word("so", None, HERE), Mark(",", HERE), Word("it", None, HERE))
    utterance = Utterance(pieces, HERE)
    # begin, s, o, comma, blank, i, t, end
    of, begins = [-1, 0, 0, 1, -1, 2, 2, -1], [0, 5, 7, 10, 12, 13, 15, 20]
    words = said_words(utterance, of, begins, 25, 50.0, start=1.0)
    assert words == [("so", 1.1, 1.2), ("it", 1.26, 1.4)]
    cut = said_words(utterance, of, begins[:6], 14, 50.0)
    assert cut == [("so", 0.1, 0.2), ("it", 0.26, 0.28)]


def test_each_word_has_its_time() -> None:
    synthesizer = Synthesizer(along())
    said: list[Sentence] = []
    chunks = list(synthesizer.stream("One and two. Then three!", said=said))
    assert [[w.text for w in s.words] for s in said] == [["One", "and", "two"], ["Then", "three"]]
    assert [s.ending for s in said] == ["end", "end"]
    for sentence in said:
        assert sentence.words[0].start > sentence.start
        assert sentence.words[-1].end <= sentence.end
        for word, following in pairwise(sentence.words):
            assert word.start < word.end <= following.start
    assert said[1].start == pytest.approx(said[0].end)
    assert sum(len(chunk.wav) for chunk in chunks) / 16_000 == pytest.approx(said[1].end)
    other: list[Sentence] = []
    list(Synthesizer(small_talker()).stream("One and two.", said=other))
    assert other[0].words == ()


def test_a_voice_of_a_recording() -> None:
    synthesizer = Synthesizer(along())
    own, theirs = [], []
    list(synthesizer.stream("One and two.", said=own))
    list(synthesizer.stream("One and two.", said=theirs, voice=voice()))
    assert [w.text for w in theirs[0].words] == ["One", "and", "two"]
    assert theirs[0].words[0].start > 0
    assert theirs[0].words != own[0].words
    with pytest.raises(TtsError, match="too short to say all of its text"):
        synthesizer.stream("One.", voice=replace(voice(1.0), text="So it was. " * 30))


def test_its_aligner_is_kept(tmp_path: Path) -> None:
    talker = along()
    talker.save_pretrained(tmp_path / "t")
    read = Talker.from_pretrained(tmp_path / "t")
    ids, frames = torch.tensor([65, 66, 67]), voice().frames[:, :2]
    starts, again = talker.align(ids, frames), read.align(ids, frames)
    assert starts is not None
    assert again is not None
    assert torch.equal(starts, again)
    assert small_talker().align(ids, frames) is None
    (tmp_path / "t" / "aligner.safetensors").unlink()
    bare = Synthesizer(Talker.from_pretrained(tmp_path / "t"))
    assert len(bare.speak("One.").wav)
    with pytest.raises(TtsError, match="has one voice, its own"):
        bare.stream("One.", voice=voice())
    assert talker.units is not None
    few = talker.units._replace(emissions=talker.units.emissions[:1])
    with pytest.raises(TtsError, match="does not belong to this model"):
        Talker(talker.model, talker.codec, talker.alphabet, talker.settings, few)
