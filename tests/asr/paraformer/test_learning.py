"""A small model learns real speech by heart and says it back without help."""

import re

import pytest
import torch
from speech_data import Utterance, fifty
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.metrics import character_error_rate
from echoic.asr.paraformer.config import (
    DecoderConfig,
    EncoderConfig,
    ObjectiveConfig,
    ParaformerConfig,
    PredictorConfig,
    PredictorKind,
)
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import Tokenizer


def written(utterance: Utterance) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", utterance.text.lower()).split())


def learned(
    wav: torch.Tensor,
    samples: torch.Tensor,
    texts: list[str],
    steps: int,
    kind: PredictorKind = "cif",
) -> Paraformer:
    """A model of 0.6 M parameters that knows nothing but these utterances."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.of_characters(texts)
    config = ParaformerConfig(
        len(tokenizer),
        encoder=EncoderConfig(dim=96, layers=3, ffn_dim=192, dropout=0.0),
        decoder=DecoderConfig(layers=2, cross_layers=2, ffn_dim=192, dropout=0.0),
        predictor=PredictorConfig(kind),
        objective=ObjectiveConfig(ctc=0.3),
        end_token=kind == "cif",
    )
    model = Paraformer(config, tokenizer)
    plain, frames = Frontend()(wav, samples)
    real = torch.cat([x[:n] for x, n in zip(plain, frames, strict=True)])
    model.frontend = Frontend(config.frontend, -real.mean(0), 1 / real.std(0))
    features, lengths = model.frontend(wav, samples)
    ids = [torch.tensor(tokenizer.encode(text)) for text in texts]
    labels = pad_sequence(ids, batch_first=True, padding_value=-1)
    label_lengths = torch.tensor([len(i) for i in ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        losses = model(features, lengths, labels, label_lengths)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return model


@pytest.mark.parametrize(
    ("count", "steps", "kind"),
    [(4, 100, "cif"), (3, 120, "spikes"), pytest.param(20, 200, "cif", marks=pytest.mark.slow)],
)
def test_speech_by_heart(count: int, steps: int, kind: PredictorKind):
    said = [u for u in fifty() if len(u.wav) < 4 * 16_000][:count]
    texts = [written(u) for u in said]
    wav = pad_sequence([u.wav for u in said], batch_first=True)
    samples = torch.tensor([len(u.wav) for u in said])
    model = learned(wav, samples, texts, steps, kind)
    heard = model.recognize(wav, samples)
    assert character_error_rate(texts, [found.text for found in heard]).rate == 0.0
    for utterance, found in zip(said, heard, strict=True):
        assert [word.word for word in found.words] == written(utterance).split()
        times = [time for word in found.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= len(utterance.wav) / 16_000 + 0.06
        assert min(found.probabilities) > 0.5
        assert found.quantity == pytest.approx(len(found.tokens) + (kind == "cif"), abs=0.5)
