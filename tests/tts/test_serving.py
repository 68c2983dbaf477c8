"""A talker as a server has it."""

import numpy as np
import pytest
import torch
from small_talker import small_talker

from echoic.streaming.server.models import Refused
from echoic.tts.serving import OWN_VOICE, ServedTalker
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.voice import make_voice

TEXT = "One. And another one."


def talker() -> ServedTalker:
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(24_000, generator=generator)
    voice = make_voice(small_talker(), wav, "one two", name="ann")
    return ServedTalker("small", Synthesizer(small_talker()), {"ann": voice})


def test_speech_is_the_synthesizers_also_from_pieces_of_text():
    served = talker()
    expected = Synthesizer(small_talker()).speak(TEXT, seed=3).wav.numpy()
    for text in (TEXT, ["One. And an", "other one."]):
        wav = np.concatenate(list(served.speak(text, voice=OWN_VOICE, seed=3)))
        assert np.array_equal(wav, expected)


def test_it_has_its_own_voice_and_those_of_its_folder():
    served = talker()
    assert served.voices == (OWN_VOICE, "ann")
    own, ann = (
        np.concatenate(list(served.speak("One.", voice=voice, seed=0))) for voice in served.voices
    )
    assert own.shape != ann.shape or not np.array_equal(own, ann)


def test_text_that_cannot_be_read_is_refused():
    with pytest.raises(Refused):
        list(talker().speak("<speak><dance/>", voice=OWN_VOICE, seed=0))
