import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.audio.silero import FRAME_SIZE, SileroVad
from echoic.audio.vad import (
    SegmenterState,
    SpeechSegment,
    SpeechSegmenter,
    VadConfig,
    speech_segments,
)

DATA = Path(__file__).parents[1] / "data"
PAUSE = 12000


def speech(number: str) -> Tensor:
    samples, _ = soundfile.read(DATA / f"sense-and-sensibility-{number}.opus", dtype="float32")
    return torch.from_numpy(samples)


def conversation() -> Tensor:
    """Five utterances with 0, 0.75, 1.5 ... seconds of faint noise after them."""
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(3)) * 1e-4
    numbers = ("0870", "0880", "0890", "0920", "0930")
    return torch.cat([t for i, n in enumerate(numbers) for t in (speech(n), noise[: i * PAUSE])])


@pytest.fixture(scope="module")
def model() -> SileroVad:
    return SileroVad.from_installed()


@pytest.fixture(scope="module")
def upstream():
    threads = torch.get_num_threads()
    try:
        from silero_vad import utils_vad  # sets the number of threads to 1
    finally:
        torch.set_num_threads(threads)
    return utils_vad


def run(config: VadConfig, probabilities: list[float], samples: int | None = None):
    segmenter = SpeechSegmenter(config)
    state, first = segmenter.step(segmenter.initial_state(), probabilities)
    return first + segmenter.finish(state, samples)[1]


def theirs(upstream, probabilities, samples, config: VadConfig) -> list[SpeechSegment]:
    found = upstream.get_speech_timestamps_from_probs(
        probabilities,
        threshold=config.threshold,
        neg_threshold=config.neg_threshold,
        min_speech_duration_ms=round(config.min_speech_seconds * 1000),
        max_speech_duration_s=config.max_speech_seconds,
        min_silence_duration_ms=round(config.min_silence_seconds * 1000),
        speech_pad_ms=round(config.speech_pad_seconds * 1000),
        audio_length_samples=samples,
    )
    return [SpeechSegment(**segment) for segment in found]


CONFIGS = [
    VadConfig(min_silence_seconds=0.1, speech_pad_seconds=0.03, min_speech_seconds=0.25),
    VadConfig(min_silence_seconds=2.0, speech_pad_seconds=0.4, min_speech_seconds=0.0),
    VadConfig(min_silence_seconds=0.3, speech_pad_seconds=0.2, threshold=0.7),
    VadConfig(min_silence_seconds=0.5, max_speech_seconds=12.0, speech_pad_seconds=0.03),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_same_boundaries_as_silero_vad_on_real_speech(model, upstream, config):
    wav = conversation()
    probabilities = model.probabilities(wav).tolist()
    ours = list(speech_segments(wav, config, model=model))
    assert ours == theirs(upstream, probabilities, wav.numel(), config)
    assert len(ours) > 1


probability = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from([0.0, 0.01, 0.34, 0.36, 0.49, 0.5, 0.51, 0.99, 1.0])
)
runs = st.lists(st.tuples(probability, st.integers(1, 12)), max_size=25)
milliseconds = st.sampled_from([0, 30, 32, 64, 96, 100, 250, 320, 2000])


def spread(pieces: list[tuple[float, int]]) -> list[float]:
    return [p for value, count in pieces for p in [value] * count]


@settings(max_examples=200, deadline=None)
@given(runs, milliseconds, milliseconds, milliseconds, st.sampled_from([0.3, 0.5]), st.data())
def test_same_boundaries_as_silero_vad_on_any_probabilities(
    upstream, pieces, speech_ms, silence_ms, pad_ms, threshold, data
):
    probabilities = spread(pieces)
    samples = len(probabilities) * FRAME_SIZE
    if samples:
        samples -= data.draw(st.integers(0, FRAME_SIZE - 1))
    config = VadConfig(
        threshold=threshold,
        min_speech_seconds=speech_ms / 1000,
        min_silence_seconds=silence_ms / 1000,
        speech_pad_seconds=pad_ms / 1000,
    )
    ours = run(config, probabilities, samples)
    assert ours == theirs(upstream, probabilities, samples, config)


@settings(max_examples=200, deadline=None)
@given(runs, st.lists(st.integers(0, 40), min_size=1), st.sampled_from([0.4, 0.6, 1.0, 3.0]))
def test_any_split_gives_the_same_segments(pieces, sizes, longest):
    config = VadConfig(max_speech_seconds=longest, speech_pad_seconds=0.05)
    segmenter, probabilities = SpeechSegmenter(config), spread(pieces)
    state, found, at = segmenter.initial_state(), [], 0
    for size in itertools.cycle([*sizes, 1]):
        before = state
        copy = SegmenterState(*(getattr(before, n) for n in SegmenterState.__slots__))
        state, more = segmenter.step(before, probabilities[at : at + size])
        assert before == copy
        found += more
        at += size
        if at >= len(probabilities):
            break
    found += segmenter.finish(state)[1]
    assert found == run(config, probabilities)


@settings(max_examples=200, deadline=None)
@given(runs, st.sampled_from([0.4, 0.7, 1.5]), st.sampled_from([0.0, 0.03, 0.06]))
def test_segments_stay_inside_apart_and_short_enough(pieces, longest, pad):
    config = VadConfig(max_speech_seconds=longest, speech_pad_seconds=pad)
    probabilities = spread(pieces)
    found = run(config, probabilities)
    for segment in found:
        assert 0 <= segment.start < segment.end <= len(probabilities) * FRAME_SIZE
        assert segment.end - segment.start <= longest * 16000
    for left, right in itertools.pairwise(found):
        assert left.end <= right.start


@settings(max_examples=200, deadline=None)
@given(runs, st.sampled_from([0.4, 0.7, 1.5]), st.sampled_from([0.032, 0.1, 0.5]))
def test_a_limit_loses_no_speech(pieces, longest, silence):
    probabilities = spread(pieces)
    free = VadConfig(min_silence_seconds=silence, speech_pad_seconds=0.03)
    limited = replace(free, max_speech_seconds=longest)
    heard = {i for i, p in enumerate(probabilities) if p >= 0.5}

    def covered(segments: list[SpeechSegment]) -> set[int]:
        return {
            i
            for i in heard
            if any(s.start <= i * FRAME_SIZE and (i + 1) * FRAME_SIZE <= s.end for s in segments)
            or sum(
                max(0, min(s.end, (i + 1) * FRAME_SIZE) - max(s.start, i * FRAME_SIZE))
                for s in segments
            )
            == FRAME_SIZE
        }

    assert covered(run(free, probabilities)) <= covered(run(limited, probabilities))


def chunks(seconds: float) -> int:
    return round(seconds * 16000 / FRAME_SIZE)


def test_overlong_speech_is_cut_at_its_longest_silence():
    low, high = [0.02], [0.98]
    probabilities = high * 60 + low * 6 + high * 50 + low * 9 + high * 60 + low * 5 + high * 90
    config = VadConfig(max_speech_seconds=7.0, min_silence_seconds=1.0, speech_pad_seconds=0.0)
    found = run(config, probabilities)
    cut, resumed = (60 + 6 + 50) * FRAME_SIZE, (60 + 6 + 50 + 9) * FRAME_SIZE
    assert found[:2] == [SpeechSegment(0, cut), SpeechSegment(resumed, len(probabilities) * 512)]


def test_of_equal_silences_the_latest_is_cut():
    low, high = [0.02], [0.98]
    probabilities = high * 40 + low * 6 + high * 40 + low * 6 + high * 60
    config = VadConfig(max_speech_seconds=4.5, min_silence_seconds=1.0, speech_pad_seconds=0.0)
    assert run(config, probabilities)[0].end == (40 + 6 + 40) * FRAME_SIZE


def test_silence_that_lasts_at_the_limit_is_cut():
    low, high = [0.02], [0.98]
    probabilities = high * 20 + low * 4 + high * 70 + low * 20 + high * 30
    config = VadConfig(max_speech_seconds=3.3, min_silence_seconds=5.0, speech_pad_seconds=0.0)
    first, second = run(config, probabilities)
    assert first == SpeechSegment(0, 94 * FRAME_SIZE)
    assert second.start == 114 * FRAME_SIZE


def test_later_silences_serve_the_next_cut():
    low, high = [0.02], [0.98]
    probabilities = high * 20 + low * 9 + high * 60 + low * 6 + high * 200
    config = VadConfig(max_speech_seconds=3.3, min_silence_seconds=5.0, speech_pad_seconds=0.0)
    found = run(config, probabilities)
    assert [s.end // FRAME_SIZE for s in found[:2]] == [20, 89]


def test_without_a_silence_the_quietest_late_chunk_is_cut():
    probabilities = [0.97] * 200
    probabilities[10] = 0.5  # quietest of all, but too early
    probabilities[80] = 0.6
    config = VadConfig(max_speech_seconds=3.2, speech_pad_seconds=0.03)
    first, second, *_ = run(config, probabilities)
    assert first.end == second.start == 80 * FRAME_SIZE + FRAME_SIZE // 2


def test_segment_comes_as_soon_as_it_is_closed():
    config = VadConfig(min_silence_seconds=0.32, speech_pad_seconds=0.03)
    segmenter = SpeechSegmenter(config)
    state, found = segmenter.step(segmenter.initial_state(), [0.0] * 10 + [0.9] * 30)
    assert found == []
    state, found = segmenter.step(state, [0.0] * 10)
    assert found == []  # 9 chunks after the first quiet one
    _, found = segmenter.step(state, [0.0])
    assert found == [SpeechSegment(10 * FRAME_SIZE - 480, 40 * FRAME_SIZE + 480)]


def test_state_stays_small_over_hours():
    segmenter = SpeechSegmenter(VadConfig(max_speech_seconds=5.0, min_silence_seconds=3.0))
    generator = torch.Generator().manual_seed(0)
    state, largest = segmenter.initial_state(), 0
    for _ in range(100):
        state, _ = segmenter.step(state, torch.rand(300, generator=generator))
        largest = max(largest, len(state.silences) + len(state.quiet))
    assert 0 < largest < chunks(5.0)


def test_blocks_equal_the_whole(model):
    wav = conversation()
    config = VadConfig(min_silence_seconds=0.3)
    blocks = [wav[:100], wav[100:100], *wav[100:].split(33333)]
    assert list(speech_segments(iter(blocks), config, model=model)) == list(
        speech_segments(wav[None], config, model=model)
    )


def test_segments_of_a_long_stream_come_early(model):
    """The generator must not read more than it needs: audio may be hours long."""
    taken = 0

    def blocks():
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield torch.cat([speech("0880"), torch.zeros(16000)])

    first = next(speech_segments(blocks(), model=model))
    assert first.end < 3.3 * 16000
    assert taken == 1


def test_no_audio_and_no_speech_give_no_segments(model):
    assert list(speech_segments(torch.zeros(0), model=model)) == []
    assert list(speech_segments(iter([]), model=model)) == []
    assert list(speech_segments(torch.zeros(30000), model=model)) == []


def test_stereo_is_refused(model):
    with pytest.raises(ValueError, match=r"\(2, 1000\).*mean"):
        list(speech_segments(torch.zeros(2, 1000), model=model))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"neg_threshold": 0.6}, "neg_threshold is 0.6.*threshold, 0.5"),
        ({"min_silence_seconds": -0.1}, "min_silence_seconds is -0.1"),
        ({"speech_pad_seconds": float("nan")}, "speech_pad_seconds is nan"),
        ({"max_speech_seconds": 1.0, "speech_pad_seconds": 0.5}, "max_speech_seconds is 1.0"),
    ],
)
def test_wrong_config_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VadConfig(**wrong)


def test_finish_checks_the_length():
    segmenter = SpeechSegmenter()
    state, _ = segmenter.step(segmenter.initial_state(), [0.9] * 10)
    with pytest.raises(ValueError, match="10 probabilities stand for 4609 to 5120"):
        segmenter.finish(state, 4608)
    with pytest.raises(ValueError, match=r"\(2, 3\).*one stream"):
        segmenter.step(state, torch.zeros(2, 3))
