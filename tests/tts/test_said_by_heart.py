"""Sentences learned by heart and spoken freely: what a recogniser hears is what counts."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.audio.data.manifest import Source
from echoic.codecs.codec import Codec
from echoic.codecs.registry import load_codec
from echoic.codecs.weights import weights_hash
from echoic.recipes.prepare.coded_speech import align_units, code
from echoic.recipes.prepare.synthetic import Plan, make
from echoic.recipes.prepare.voices import Voice
from echoic.tts.lm import SamplingConfig, SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.lm.loss import speech_losses
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker, TalkerSettings
from echoic.tts.text.alphabet import IPA
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.training.data import collate

pytest.importorskip("hibari")
CODEC = "echo-16k-tiny"
SENTENCES = """The garden gate was open.
We had lunch by the river.
Nobody came to the door.
She keeps her money in a tin.
The last bus leaves at ten.
It has been raining all day.
My sister plays the violin.
They painted the kitchen yellow.
He lost his keys again.
The soup needs more salt.
A cat slept on the roof.
I will call you tomorrow.
The children ran to school.
Put the books on the table.
Her train was an hour late.
You can see the sea from here.
The old man told a story.
There is snow on the hills.
We bought bread and cheese.
Please close the window.""".splitlines()


def coded(folder: Path, codec: Codec, sentences: Sequence[str]) -> CodedCorpus:
    """Have a voice read the sentences, and code them."""
    plan = Plan({Voice("hibari", "heart"): 1.0}, spread_speed=0, spread_pitch=0)
    texts = [(sentence, "here") for sentence in sentences]
    assert len(list(make(folder / "speech", texts, plan))) == len(sentences)
    manifest = str(folder / "speech" / "manifest.jsonl")
    out = str(folder / "codes")
    done = list(code(Source(manifest), out, codec, name=CODEC, n_q=4, phonemes="hibari"))
    assert done == [""] * len(sentences)
    assert align_units(out) == 0
    return CodedCorpus(out, aligned=True)


def learned(corpus: CodedCorpus, steps: int) -> SpeechLM:
    config = SpeechLMConfig(
        corpus.settings.format,
        IPA.size,
        text="along",
        backbone=TransformerConfig(128, 256, 3, 2, 2),
        depth=TransformerConfig(96, 192, 1, 2, 2),
        rest=1.0,
    )
    torch.manual_seed(0)
    model = SpeechLM(config)
    batch = collate([corpus], [(0, n) for n in range(len(corpus))], model.layout, 0)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps + 1, pct_start=0.1)
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            spoken = model(*batch[1:])
            losses = speech_losses(
                model, spoken, batch.steps, batch.step_lengths, batch.starts, batch.text_lengths
            )
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.mark.parametrize(
    ("count", "steps"), [(8, 150), pytest.param(20, 200, marks=pytest.mark.slow)]
)
def test_sentences_are_understood(tmp_path: Path, count: int, steps: int) -> None:
    codec, sentences = load_codec(CODEC), SENTENCES[:count]
    corpus = coded(tmp_path, codec, sentences)
    best = SamplingConfig(0.0, window=0)
    settings = TalkerSettings(CODEC, weights_hash(codec), g2p="hibari", sampling=best, rest=best)
    synthesizer = Synthesizer(Talker(learned(corpus, steps), codec, IPA, settings))
    recognizer = Transcriber.from_pretrained("tiny.en", dtype="float32")
    heard = [
        recognizer.transcribe(synthesizer.speak(text).wav, sample_rate=16_000).text
        for text in sentences
    ]
    errors = word_error_rate(sentences, heard, for_language("en"))
    assert errors.rate < 0.10, json.dumps(heard, indent=1)
