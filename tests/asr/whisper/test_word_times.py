import itertools
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from echoic.asr.transcript import Word
from echoic.asr.whisper.alignment import align, median_filter, warp
from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint
from echoic.asr.whisper.tokenizer import WordTokens
from echoic.asr.whisper.word_times import (
    SegmentSpan,
    TimedWord,
    merge_punctuation,
    segment_word_times,
    shorten_at_sentences,
    time_words,
    typical_duration,
    word_times,
)

DATA = Path(__file__).parents[2] / "data"


def warp_by_cells(cost: np.ndarray) -> list[int]:
    """Dynamic time warping as the textbook has it."""
    rows, columns = cost.shape
    total = np.full((rows, columns), np.inf)
    for i in range(rows):
        for j in range(columns):
            before = [total[i - 1, j]] if i else []
            before += [total[i, j - 1]] if j else []
            before += [total[i - 1, j - 1]] if i and j else []
            total[i, j] = cost[i, j] + (min(before) if before else 0.0)
    starts, i, j = [0] * rows, rows - 1, columns - 1
    while i or j:
        starts[i] = j
        steps = [(a, b) for a, b in ((i, j - 1), (i - 1, j), (i - 1, j - 1)) if a >= 0 and b >= 0]
        i, j = min(steps, key=lambda step: total[step])
    return [0, *starts[1:]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 40), (30, 7), (25, 60)])
def test_warping_equals_the_textbook(shape: tuple[int, int]):
    for seed in range(5):
        cost = np.random.default_rng(seed).normal(size=shape)
        assert warp(cost).tolist() == warp_by_cells(cost)


def test_warping_is_fast():
    cost = np.random.default_rng(0).normal(size=(200, 1500))
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        warp(cost)
        best = min(best, time.perf_counter() - began)
    assert best < 0.1  # 7 ms on an idle core


@pytest.mark.parametrize("width", [1, 3, 7, 9])
def test_median_filter_equals_sorting(width: int):
    x = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0))
    half = width // 2
    padded = torch.nn.functional.pad(x, (half, half), mode="reflect")
    expected = padded.unfold(-1, width, 1).sort(dim=-1).values[..., half]
    assert torch.equal(median_filter(x, width), expected)
    assert torch.equal(median_filter(x[..., :half], width), x[..., :half])
    with pytest.raises(ValueError, match="must be odd, not 4"):
        median_filter(x, 4)


def diagonal_attention(starts: list[int], frames: int, heads: int = 3) -> Tensor:
    """Rows that look at their own stretch of frames; one head also looks at frame 0 always."""
    bounds = [*starts, frames]
    weights = torch.full((heads, len(starts), frames), 0.01)
    for row, (a, b) in enumerate(itertools.pairwise(bounds)):
        weights[:, row, a:b] = 1.0
    weights[0, :, 0] = 50.0
    return weights / weights.sum(dim=-1, keepdim=True)


def test_known_diagonal():
    starts = [0, 20, 45, 50, 90, 130]
    weights = diagonal_attention(starts, 150)
    found = align(weights, first_row=0, num_tokens=5)
    assert np.abs(found - starts).max() <= 1
    assert align(weights, first_row=1, num_tokens=0).tolist() == [0]


def test_frames_beyond_the_sound_do_not_matter():
    weights = torch.rand(4, 9, 80, generator=torch.Generator().manual_seed(1)).softmax(-1)
    cropped = weights[:, :, :50] / weights[:, :, :50].sum(-1, keepdim=True)
    assert np.array_equal(
        align(weights, first_row=1, num_tokens=6, num_frames=50),
        align(cropped, first_row=1, num_tokens=6),
    )
    half = align(cropped.half(), first_row=1, num_tokens=6)
    assert half.dtype == np.int64


def test_align_refuses_rows_that_are_not_there():
    weights = torch.ones(2, 5, 10)
    with pytest.raises(ValueError, match="hold no 5 \\+ 1 rows from 0 on"):
        align(weights, first_row=0, num_tokens=5)
    with pytest.raises(ValueError, match="are empty"):
        align(weights, first_row=0, num_tokens=2, num_frames=0)


def timed(*words: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(text, (i,), a, b, 0.5) for i, (text, a, b) in enumerate(words)]


def test_words_take_the_times_of_their_tokens():
    words = [WordTokens(" Hel" + "lo", (1, 2)), WordTokens(",", (3,)), WordTokens(" you", (4,))]
    found = word_times(words, [0, 10, 30, 35, 60], [0.5, 1.0, 0.9, 0.25], offset=100.0)
    assert found == [Word(100.0, 100.6, " Hello,", 0.75), Word(100.7, 101.2, " you", 0.25)]
    with pytest.raises(ValueError, match="4 tokens want 5 frames and 4 probabilities, got 4 and 4"):
        time_words(words, [0, 10, 30, 35], [1.0] * 4)
    assert word_times([], [0], []) == []


def test_punctuation_joins_its_word_and_keeps_every_token():
    words = timed(
        (' "', 0, 1), ("Yes", 1, 2), (",", 2, 3), ('"', 3, 4), (" (", 4, 5), (" no", 5, 6)
    )
    merged = merge_punctuation([*words, *timed(("?!", 6, 7), (" -", 7, 8))])
    assert [w.text for w in merged] == [' "Yes,"', " ( no?!", " -"]
    assert [i for w in merged for i in w.ids] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert (merged[0].start, merged[0].end) == (1, 2)


def test_long_words_at_sentence_ends_are_cut():
    words = timed(
        (" a", 0, 0.3), (".", 0.3, 2.3), (" b", 2.3, 5.3), (" c", 5.3, 8.3), (" d", 8.3, 8.6)
    )
    assert typical_duration(words) == 0.7  # the median, 2.0, is no word
    assert typical_duration(timed(("x", 1, 1))) == 0.0
    cut = shorten_at_sentences(words, 1.0)
    times = [(round(w.start, 3), round(w.end, 3)) for w in cut]
    assert times == [(0, 0.3), (0.3, 1.3), (4.3, 5.3), (5.3, 8.3), (8.3, 8.6)]
    assert shorten_at_sentences(words, 0.0) == words


def test_segments_share_out_the_words():
    words = [WordTokens(f" w{i}", (i,)) for i in range(5)]
    spans = [SegmentSpan(1.0, 1.5, 2), SegmentSpan(1.5, 1.6, 0), SegmentSpan(1.6, 3.0, 3)]
    found = segment_word_times(words, [0, 10, 20, 30, 40, 50], [1.0] * 5, spans, offset=1.0)
    assert [len(segment.words) for segment in found] == [2, 0, 3]
    assert (found[0].start, found[0].end) == (1.0, 1.4)
    assert (found[1].start, found[1].end) == (1.5, 1.6)
    with pytest.raises(ValueError, match="segments have 2 text tokens, the words 5"):
        segment_word_times(words, [0, 10, 20, 30, 40, 50], [1.0] * 5, spans[:1])


def test_words_after_a_pause_are_cut_from_the_left():
    words = [WordTokens(f" w{i}", (i,)) for i in range(6)]
    frames = [0, 200, 210, 220, 230, 240, 250]
    (segment,) = segment_word_times(words, frames, [1.0] * 6, [SegmentSpan(0.0, 5.0, 6)])
    assert segment.words[0] == Word(3.6, 4.0, " w0", 1.0)
    assert segment.start == 3.6


class Peer(NamedTuple):
    """openai-whisper with the boxed weights, and what its heads saw."""

    model: Any
    timing: Any
    tokenizer: Any
    checkpoint: Checkpoint
    seen: list[Tensor]


@cache
def peer() -> Peer:
    whisper = pytest.importorskip("whisper")
    timing = pytest.importorskip("whisper.timing")
    checkpoint = load_checkpoint("tiny.en")
    c = checkpoint.config
    audio = (c.num_mel_bins, c.max_source_positions, c.d_model, c.encoder_attention_heads)
    text = (c.vocab_size, c.max_target_positions, c.d_model, c.decoder_attention_heads)
    dims = whisper.model.ModelDimensions(*audio, c.encoder_layers, *text, c.decoder_layers)
    model = whisper.model.Whisper(dims).eval()
    model.load_state_dict({_openai_name(n): t for n, t in checkpoint.state.items()})
    heads = torch.zeros(c.decoder_layers, c.decoder_attention_heads, dtype=torch.bool)
    for layer, head in checkpoint.generation.alignment_heads:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    seen: list[Tensor] = [torch.empty(0)] * c.decoder_layers
    for i, block in enumerate(model.decoder.blocks):
        block.cross_attn.register_forward_hook(
            lambda _, __, out, i=i: seen.__setitem__(i, out[-1][0])
        )
    tokenizer = whisper.tokenizer.get_tokenizer(False)
    return Peer(model, timing, tokenizer, checkpoint, seen)


def _openai_name(name: str) -> str:
    parts = (
        ("model.", ""),
        ("layers.", "blocks."),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("self_attn_layer_norm", "attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("encoder_attn.", "cross_attn."),
        ("self_attn.", "attn."),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
        ("embed_tokens", "token_embedding"),
        ("encoder.embed_positions.weight", "encoder.positional_embedding"),
        ("decoder.embed_positions.weight", "decoder.positional_embedding"),
    )
    for ours, theirs in parts:
        name = name.replace(ours, theirs)
    return name


def mel_of(name: str) -> tuple[Tensor, int]:
    import soundfile
    from whisper.audio import log_mel_spectrogram, pad_or_trim  # pyright: ignore[reportMissingImports]

    wav, _ = soundfile.read(DATA / f"sense-and-sensibility-{name}.opus", dtype="float32")
    padded = pad_or_trim(torch.from_numpy(wav), 480_000)
    return log_mel_spectrogram(padded), len(wav) // 160


CASES = (
    ("0890", ' "Unless to be rather cold-hearted, and rather selfish, is to be ill-disposed."'),
    (
        "0920",
        " Had he married a more amiable woman; he might have been made still more respectable.",
    ),
)


@pytest.mark.parametrize(("name", "text"), CASES)
def test_same_words_and_times_as_openai(name: str, text: str):
    p = peer()
    mel, frames = mel_of(name)
    ids = p.checkpoint.tokenizer.encode(text)
    theirs = p.timing.find_alignment(p.model, p.tokenizer, ids, mel, frames)
    heads = p.checkpoint.generation.alignment_heads
    weights = torch.stack([p.seen[layer][head] for layer, head in heads]).softmax(dim=-1)
    found = align(weights, first_row=1, num_tokens=len(ids), num_frames=frames // 2)
    words = time_words(p.checkpoint.tokenizer.split_to_words(ids), found, [1.0] * len(ids))
    # OpenAI counts the end of text among the words and gives it no end: it is not in the list.
    assert [w.text for w in words] == [w.word for w in theirs]
    assert [list(w.ids) for w in words] == [w.tokens for w in theirs]
    for ours, other in zip(words, theirs, strict=True):
        assert abs(ours.start - other.start) <= 0.02
        assert abs(ours.end - other.end) <= 0.02


@pytest.mark.parametrize("seed", range(12))
def test_same_segments_as_openai(seed: int, monkeypatch: pytest.MonkeyPatch):
    """The rules for pauses and marks, on times that are anything but natural."""
    p = peer()
    t = p.checkpoint.tokenizer
    generator = np.random.default_rng(seed)
    texts = [" Well. I went (again)!", ' "Yes," he said? No', " And then... it's over."]
    tokens = [t.encode(text) for text in texts]
    ids = [i for part in tokens for i in part]
    steps = generator.choice([0, 5, 15, 30, 150], size=len(ids), p=[0.1, 0.4, 0.3, 0.1, 0.1])
    frames = np.concatenate([[0], np.cumsum(steps)])
    words = t.split_to_words(ids)
    raw = [
        p.timing.WordTiming(w.text, list(w.ids), w.start, w.end, w.probability)
        for w in time_words(words, frames, [0.5] * len(ids))
    ]
    monkeypatch.setattr(p.timing, "find_alignment", lambda *_, **__: raw)
    edges = np.sort(generator.uniform(0, frames[-1] * 0.02, size=4))
    spans = [SegmentSpan(edges[i] + 30, edges[i + 1] + 30, len(tokens[i])) for i in range(3)]
    segments = [
        {"seek": 3000, "start": s.start, "end": s.end, "tokens": part}
        for s, part in zip(spans, tokens, strict=True)
    ]
    last = 28.0 + 2 * generator.random()
    p.timing.add_word_timestamps(
        segments=segments, model=p.model, tokenizer=p.tokenizer, mel=torch.empty(0),
        num_frames=0, last_speech_timestamp=last,
    )  # fmt: skip
    found = segment_word_times(
        words, frames, [0.5] * len(ids), spans, offset=30.0, last_speech_end=last
    )
    for ours, other in zip(found, segments, strict=True):
        assert [w.word for w in ours.words] == [w["word"] for w in other["words"]]
        got = [time for w in ours.words for time in (w.start, w.end)]
        want = [time for w in other["words"] for time in (w["start"], w["end"])]
        assert got == pytest.approx(want, abs=0.011)
        assert (ours.start, ours.end) == pytest.approx((other["start"], other["end"]), abs=0.011)
