"""Tokens at a CTC's peaks: which frames, in training and free, whole and in chunks."""

import pytest
import torch
from listening_paraformer import listener
from paraformer_files import random_features
from speech_data import novel
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.ctc import greedy_runs
from echoic.asr.paraformer.recognition import word_end
from echoic.asr.paraformer.spike_predictor import SpikePredictor, SpikeWeights
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.streaming.module import run_offline

VOCAB, DIM = 6, 8


def frames_that_say(*ids: int) -> torch.Tensor:
    """(1, T, D), which a head of the unit matrix reads as these tokens."""
    return torch.eye(VOCAB, DIM)[list(ids)][None]


def weights() -> SpikeWeights:
    found = SpikeWeights(DIM, VOCAB)
    with torch.no_grad():
        found.head.output.weight.copy_(5 * torch.eye(VOCAB, DIM))
        found.head.output.bias.zero_()
    return found


@torch.no_grad()
def test_a_frame_weighs_where_a_new_token_begins():
    hidden = frames_that_say(0, 3, 3, 4, 0, 4, 0, 0, 5)
    expected = [0, 1, 0, 1, 0, 1, 0, 0, 1]
    assert weights().unmasked(hidden)[0].tolist() == expected
    # As many as runs; and what is behind the end says nothing.
    runs = greedy_runs(weights().head(hidden).argmax(-1), torch.tensor([9]))
    assert int(runs.max()) + 1 == sum(expected)
    assert weights()(hidden, torch.tensor([4]))[0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 0]


@torch.no_grad()
def test_slots_without_a_frame_say_nothing():
    module = weights()
    module.head.output.bias[3] = 1.0  # what a frame of zeros would be read as
    hidden = frames_that_say(0, 0, 3, 0)
    hidden[0, :2] = 0.0
    assert module.unmasked(hidden)[0].tolist() == [0, 0, 1, 0]


@torch.no_grad()
def test_the_token_is_the_frame_that_begins_it():
    predictor = SpikePredictor(DIM, VOCAB, PredictorConfig(kind="spikes"))
    predictor.weights = weights()
    hidden = torch.cat([frames_that_say(0, 3, 3, 4, 0), frames_that_say(5, 0, 0, 0, 2)])
    free = predictor(hidden, torch.tensor([5, 4]))
    assert free.counts.tolist() == [2, 1]
    torch.testing.assert_close(free.tokens[0], hidden[0, [1, 3]])
    torch.testing.assert_close(free.tokens[1, 0], hidden[1, 0])
    assert free.ends[0].tolist() == [2, 4]
    assert free.quantity.tolist() == [2, 1]
    # Along labels there are as many as labels, where the sound is likest to say them.
    labels, counts = torch.tensor([[3, 3, 4], [5, -1, -1]]), torch.tensor([3, 1])
    taught = predictor(hidden, torch.tensor([5, 4]), labels, counts)
    assert taught.counts.tolist() == [3, 1]
    assert taught.weights[0].sum() == 3
    torch.testing.assert_close(taught.tokens[1, 0], hidden[1, 0])
    torch.testing.assert_close(taught.ctc_logits, predictor.weights.head(hidden))


@torch.no_grad()
@pytest.mark.parametrize("chunks", [Chunks(5, 10, 5, 2, 1), Chunks(1, 4, 6, 5, 3)])
def test_a_stream_says_what_its_batch_says(chunks: Chunks):
    model = listener()
    xs = random_features(58, 31, 2)
    lengths = torch.tensor([58, 31, 2])
    heard = model.hear(pad_sequence(xs, batch_first=True), lengths, chunks)
    found = heard.predict()
    assert found.counts[0] > 5
    best = heard.decode(found, found.tokens, found.counts).argmax(-1)
    for row, one in enumerate(xs):
        ids = run_offline(TokenStream(model, chunks), one[None]).ids[0]
        assert best[row, : int(found.counts[row])].tolist() == ids[ids >= 0].tolist()


def test_a_stream_that_forgets_the_frame_before():
    with pytest.raises(ValueError, match="chunks have no look_back"):
        TokenStream(listener(), Chunks(0, 8, 4))


@pytest.mark.parametrize(
    ("last", "end", "expected"),
    [(1, 9.0, 0.5), (2, 9.0, 1.24), (3, 9.0, 2.24), (3, 2.1, 2.1), (3, 1.5, 2.0)],
    ids=["until the next", "as far as it reaches", "the last", "the sound's end", "never back"],
)
def test_a_word_goes_on_behind_its_last_token(last: int, end: float, expected: float):
    times = [(0.3, 0.34), (0.5, 1.0), (1.9, 2.0)]
    assert word_end(times, last, 0.24, end) == pytest.approx(expected)
    assert word_end(times, last, 0.0, end) == times[last - 1][1]


@torch.no_grad()
def test_words_have_a_length():
    wav = novel()[0].wav[None]
    words = listener().recognize(wav)[0].words
    seconds = [word.end - word.start for word in words]
    assert len(words) > 10
    assert max(seconds) > 0.1
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= wav.shape[1] / 16_000
