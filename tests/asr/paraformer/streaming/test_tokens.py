"""Tokens of a stream: those of one pass, never lost at the end, with their times."""

import dataclasses

import pytest
import torch
from paraformer_files import random_features
from small_paraformer import CUTS, SIZES, paraformer, streaming_paraformer
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.config import DecoderConfig, PredictorConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.asr.paraformer.streaming.whole import hear_in_chunks
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.streaming.module import run_offline

each_cut = pytest.mark.parametrize("chunks", CUTS.values(), ids=list(CUTS))


def steady(weight: float) -> Paraformer:
    """A model in which every frame has this weight."""
    model = paraformer()
    with torch.no_grad():
        model.predictor.get_parameter("weights.output.weight").zero_()
        bias = model.predictor.get_parameter("weights.output.bias")
        bias.copy_(torch.tensor(weight).logit())
    return model


@each_cut
def test_no_token_is_lost_at_the_end_whatever_the_length(chunks: Chunks):
    weight, tail = 0.23, 0.45
    stream = TokenStream(steady(weight), chunks)
    (x,) = random_features(2 * chunks.window + 3)
    by_end = 0
    for length in range(1, len(x) + 1):
        found = run_offline(stream, x[None, :length])
        said = found.ids[0] >= 0
        assert len(said) == length + 1
        assert int(said.sum()) == int(weight * length + tail + 1e-6)
        by_end += int(said[-1])
        ends = found.ends[0, said]
        complete = torch.arange(1, len(ends) + 1) / weight
        seconds = complete.clamp(max=length) * 0.06 - 0.0175
        assert torch.allclose(ends, seconds.double(), atol=1e-4)
        assert torch.equal(said.nonzero()[:, 0], (complete.ceil() - 1).long().clamp(max=length))
    assert by_end > 3


def test_nothing_was_heard():
    stream = TokenStream(streaming_paraformer(), CUTS["back"])
    assert stream.finish(stream.initial_state(2))[1].ids.shape == (2, 0)
    compat = TokenStream(streaming_paraformer(), dataclasses.replace(CUTS["back"], compat=True))
    assert compat.finish(compat.initial_state(1))[1].ids.shape == (1, 0)


def test_a_chunk_that_holds_the_signal_says_what_the_model_says():
    model = streaming_paraformer()
    (x,) = random_features(40)
    (whole,) = model.recognize(x[None])
    found = run_offline(TokenStream(model, Chunks(0, 40, 5)), x[None])
    said = [i for i, token in enumerate(found.ids[0].tolist()) if token > 2]
    assert tuple(found.ids[0, said].tolist()) == whole.tokens
    times = torch.stack([found.starts[0, said], found.ends[0, said]], dim=1)
    assert torch.allclose(times, torch.tensor(whole.token_times, dtype=torch.float64), atol=1e-5)
    assert found.probabilities[0, said].tolist() == pytest.approx(whole.probabilities, abs=1e-5)
    assert len(said) > 10


def test_times_follow_each_other():
    found = run_offline(TokenStream(steady(0.3), CUTS["none"]), random_features(90)[0][None])
    said = found.ids[0] >= 0
    times = torch.stack([found.starts[0, said], found.ends[0, said]], dim=1).flatten()
    assert torch.equal(times, times.sort().values)
    assert float(times[-1]) <= 90 * 0.06


@each_cut
def test_training_sees_what_the_stream_sees(chunks: Chunks):
    model = streaming_paraformer()
    xs = random_features(58, 31)
    x, lengths = pad_sequence(xs, batch_first=True), torch.tensor([58, 31])
    heard = model.hear(x, lengths, chunks)
    found = heard.predict()
    best = heard.decode(found, found.tokens, found.counts).argmax(-1)
    stream = TokenStream(model, chunks)
    for row, one in enumerate(xs):
        ids = run_offline(stream, one[None]).ids[0]
        assert best[row, : int(found.counts[row])].tolist() == ids[ids >= 0].tolist()


@each_cut
def test_a_training_step_of_a_batch_is_that_of_its_rows(chunks: Chunks):
    model = paraformer().train()
    xs = random_features(58, 31)
    x, lengths = pad_sequence(xs, batch_first=True), torch.tensor([58, 31])
    labels = torch.tensor([[5, 6, 7, 8, 9, 3], [4, 3, 4, -1, -1, -1]])
    counts = torch.tensor([6, 3])
    done = model.teach(x, lengths, labels, counts, sampling=0.0, chunks=chunks)
    for row, count in enumerate((7, 4)):
        one = slice(row, row + 1)
        alone = xs[row][None], lengths[one], labels[one, : count - 1], counts[one]
        found = model.teach(*alone, sampling=0.0, chunks=chunks).logits[0]
        assert torch.allclose(done.logits[row, :count], found, atol=1e-4)
    whole = model.teach(x, lengths, labels, counts, sampling=0.0).logits
    assert not torch.allclose(whole, done.logits, atol=1e-2)
    losses = model(x, lengths, labels, counts, torch.Generator().manual_seed(0), chunks)
    losses.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_models_that_do_not_stream():
    tokenizer = Tokenizer([str(i) for i in range(SIZES.vocab)])

    def model(**changes: object) -> Paraformer:
        config = preset("tiny", SIZES.vocab, streaming=True)
        return Paraformer(dataclasses.replace(config, **changes), tokenizer)

    TokenStream(model(), Chunks())
    with pytest.raises(ValueError, match=r"looks 5 tokens ahead.*decoder.shift"):
        TokenStream(model(decoder=DecoderConfig(1, 1, ffn_dim=8)), Chunks())
    with pytest.raises(ValueError, match=r'PifPredictor needs whole utterances.*"cif" or "spikes"'):
        TokenStream(model(predictor=PredictorConfig("pif")), Chunks())
    with pytest.raises(ValueError, match=r"up to 1.2 tokens.*smooth_factor"):
        TokenStream(model(predictor=PredictorConfig(smooth_factor=1.2)), Chunks())
    whole = model(decoder=DecoderConfig(1, 1, ffn_dim=8))
    parts = whole.encoder, whole.predictor, whole.decoder
    with pytest.raises(ValueError, match="tokens ahead"):
        hear_in_chunks(*parts, random_features(9)[0][None], torch.tensor([9]), Chunks())
