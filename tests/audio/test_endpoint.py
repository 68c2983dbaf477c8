import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.audio.endpoint import Endpoint, EndpointConfig, EndpointDetector, EndpointRule
from echoic.audio.silero import FRAME_SIZE

CHUNK = FRAME_SIZE / 16000


def find(config: EndpointConfig, probabilities: list[float], decoded: bool | None = None):
    detector = EndpointDetector(config)
    return detector.step(detector.initial_state(), probabilities, decoded=decoded)[1]


def test_silence_with_nothing_said():
    found = find(EndpointConfig(), [0.01] * 160)
    assert found == [
        Endpoint(75 * FRAME_SIZE, EndpointRule.NOTHING_SAID),
        Endpoint(150 * FRAME_SIZE, EndpointRule.NOTHING_SAID),
    ]


def test_silence_after_speech():
    found = find(EndpointConfig(), [0.01] * 20 + [0.9] * 30 + [0.01] * 60)
    after = math.ceil(1.2 / CHUNK)
    assert found == [Endpoint((50 + after) * FRAME_SIZE, EndpointRule.AFTER_SPEECH)]


def test_utterance_that_does_not_end():
    found = find(EndpointConfig(max_utterance_seconds=1.6), [0.9] * 120)
    assert found == [
        Endpoint(50 * FRAME_SIZE, EndpointRule.TOO_LONG),
        Endpoint(100 * FRAME_SIZE, EndpointRule.TOO_LONG),
    ]


def test_doubtful_chunks_do_not_end_speech():
    pause = [0.4] * 80  # between the thresholds: what it was before
    assert find(EndpointConfig(), [0.9] * 20 + pause) == []
    assert find(EndpointConfig(neg_threshold=0.45), [0.9] * 20 + pause) == [
        Endpoint((20 + 38) * FRAME_SIZE, EndpointRule.AFTER_SPEECH)
    ]


def test_a_pause_within_speech_is_no_end():
    assert find(EndpointConfig(), ([0.9] * 20 + [0.01] * 30) * 5) == []


def test_the_recogniser_decides_what_was_said():
    cough = [0.9] * 5 + [0.01] * 74
    assert [e.rule for e in find(EndpointConfig(), cough)] == [EndpointRule.AFTER_SPEECH]
    assert find(EndpointConfig(), cough, decoded=False) == []
    (late,) = find(EndpointConfig(), [*cough, 0.01], decoded=False)
    assert late == Endpoint(80 * FRAME_SIZE, EndpointRule.NOTHING_SAID)
    (early,) = find(EndpointConfig(), cough, decoded=True)
    assert early == Endpoint(43 * FRAME_SIZE, EndpointRule.AFTER_SPEECH)


def test_decoded_text_counts_until_the_end_point():
    detector = EndpointDetector()
    state, _ = detector.step(detector.initial_state(), [0.2] * 10, decoded=True)
    state, found = detector.step(state, [0.01] * 30, decoded=False)
    assert [e.rule for e in found] == [EndpointRule.AFTER_SPEECH]
    assert not state.said


def test_rules_can_be_turned_off():
    never = EndpointConfig(math.inf, math.inf, math.inf)
    assert find(never, [0.01] * 1000 + [0.9] * 1000 + [0.01] * 1000) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.4, 0.9]), max_size=200),
    st.lists(st.integers(0, 50)),
    st.data(),
)
def test_any_split_gives_the_same_end_points(probabilities, sizes, data):
    config = EndpointConfig(0.4, 0.2, 2.0)
    detector = EndpointDetector(config)
    state, found, at = detector.initial_state(), [], 0
    for size in [*sizes, len(probabilities)]:
        state, more = detector.step(state, torch.tensor(probabilities[at : at + size]))
        found += more
        at += size
    assert found == find(config, torch.tensor(probabilities).tolist())
    ends = [e.time_samples for e in found]
    assert ends == sorted(set(ends))
    assert detector.finish(state)[1] == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"silence_after_speech_seconds": 0.0}, "silence_after_speech_seconds is 0.0.*math.inf"),
        ({"max_utterance_seconds": float("nan")}, "max_utterance_seconds is nan"),
        ({"threshold": -1.0}, "threshold is -1.0"),
        ({"neg_threshold": 0.9}, "neg_threshold is 0.9"),
    ],
)
def test_wrong_config_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EndpointConfig(**wrong)
