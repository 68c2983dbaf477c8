"""One set of weights for recordings and for streams: a cut drawn for each batch."""

import random
import re

import torch
from speech_data import fifty
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.config import (
    DecoderConfig,
    EncoderConfig,
    ObjectiveConfig,
    ParaformerConfig,
)
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer
from echoic.asr.paraformer.tokenizer import Tokenizer

CUTS = [Chunks(0, 10, 5, 4, 1), Chunks(5, 8, 4, 2, 1)]
STEPS = 150


def test_speech_by_heart_whole_and_in_chunks():
    torch.manual_seed(0)
    said = [u for u in fifty() if len(u.wav) < 4 * 16_000][:3]
    texts = [" ".join(re.sub(r"[^a-z' ]", " ", u.text.lower()).split()) for u in said]
    tokenizer = Tokenizer.of_characters(texts)
    config = ParaformerConfig(
        len(tokenizer),
        encoder=EncoderConfig(dim=96, layers=3, ffn_dim=192, dropout=0.0),
        decoder=DecoderConfig(layers=2, cross_layers=2, ffn_dim=192, shift=5, dropout=0.0),
        objective=ObjectiveConfig(ctc=0.3),
    )
    model = Paraformer(config, tokenizer)
    wav = pad_sequence([u.wav for u in said], batch_first=True)
    samples = torch.tensor([len(u.wav) for u in said])
    plain, frames = model.frontend(wav, samples)
    real = torch.cat([x[:n] for x, n in zip(plain, frames, strict=True)])
    model.frontend.cmvn.shift.copy_(-real.mean(0))
    model.frontend.cmvn.scale.copy_(1 / real.std(0))
    features, lengths = model.frontend(wav, samples)
    ids = [torch.tensor(tokenizer.encode(text)) for text in texts]
    labels = pad_sequence(ids, batch_first=True, padding_value=-1)
    counts = torch.tensor([len(i) for i in ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    draw = random.Random(0)
    for _ in range(STEPS):
        chunks = draw.choice([None, *CUTS])
        losses = model(features, lengths, labels, counts, chunks=chunks)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    model.eval()
    assert [found.text for found in model.recognize(wav, samples)] == texts
    for chunks in CUTS:
        recognizer = ParaformerRecognizer(model, LiveConfig(chunks))
        for utterance, text in zip(said, texts, strict=True):
            state, events = recognizer.step(recognizer.initial_state(), utterance.wav[None])
            events += recognizer.finish(state)[1]
            assert [event.text for event in events if event.type == "final"] == [text]
            assert len(events) > 2
