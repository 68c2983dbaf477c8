"""The gate: what opens it, what ends it, what is lost."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from live_signals import RATE, recordings, vad
from torch import Tensor

from echoic.audio.endpoint import EndpointConfig, EndpointRule
from echoic.streaming.gate import Ended, GateConfig, Opened, Sound, SpeechGate

FRAME = 512


def silence(seconds: float, level: float = 1e-4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(round(seconds * RATE), generator=generator)


def gate(**changes: Any) -> SpeechGate:
    return SpeechGate(GateConfig(**changes), vad=vad())


def run(module: SpeechGate, *parts: Tensor) -> list[Any]:
    state, actions = module.step(module.initial_state(), torch.cat(parts)[None])
    return actions + module.finish(state)[1]


def spans(actions: list[Any]) -> list[tuple[int, int, EndpointRule | None]]:
    """Return (start, end, rule) of the utterances; their sound must have that length."""
    found, start, given = [], 0, 0
    for action in actions:
        if isinstance(action, Opened):
            start, given = action.start, 0
        elif isinstance(action, Sound):
            given += action.wav.shape[1]
        else:
            assert given == action.end - start
            found.append((start, action.end, action.rule))
    return found


def sound_of(actions: list[Any]) -> Tensor:
    return torch.cat([a.wav for a in actions if isinstance(a, Sound)], dim=1)[0]


def test_an_utterance_begins_before_its_speech_and_ends_after_silence():
    speech = recordings()[1]
    actions = run(gate(), silence(2), speech, silence(3, seed=1))
    ((start, end, rule),) = spans(actions)
    begin, finish = 2 * RATE, 2 * RATE + len(speech)
    assert rule == EndpointRule.AFTER_SPEECH
    assert begin - RATE // 2 < start < begin + RATE // 4
    assert finish - RATE // 2 < end - 0.8 * RATE < finish + RATE // 10
    stream = torch.cat([silence(2), speech, silence(3, seed=1)])
    assert torch.equal(sound_of(actions), stream[start:end])


def test_preroll_is_as_long_as_asked():
    stream = silence(2), recordings()[1], silence(2)
    starts = {}
    for seconds in (0.0, 0.4, 1.0):
        actions = run(gate(preroll_seconds=seconds), *stream)
        starts[seconds] = actions[0].start
        assert actions[0].time > actions[0].start
    assert starts[0.0] - starts[0.4] == 13 * FRAME
    assert starts[0.0] - starts[1.0] == 32 * FRAME


def test_utterances_never_overlap_and_lose_nothing_between_words():
    config = EndpointConfig(9.0, 0.2, math.inf)
    parts = [p for r in recordings()[:3] for p in (r, silence(0.35))]
    actions = run(gate(preroll_seconds=2.0, endpoint=config), *parts)
    found = spans(actions)
    assert len(found) > 2
    for (_, end, _), (start, _, _) in pairwise(found):
        assert start == end  # the pre-roll would reach back into what was heard


def test_running_speech_is_cut_without_a_gap_when_it_is_too_long():
    config = EndpointConfig(9.0, 9.0, 2.0)
    found = spans(run(gate(endpoint=config), recordings()[0], silence(1)))
    assert [rule for *_, rule in found[:-1]] == [EndpointRule.TOO_LONG] * (len(found) - 1)
    assert len(found) >= 3
    assert all(end - start <= 2.0 * RATE + FRAME for start, end, _ in found)
    assert all(b[0] == a[1] for a, b in pairwise(found))


def test_the_end_of_the_stream_ends_the_utterance_in_mid_word():
    cut = 2 * RATE + 77
    actions = run(gate(), recordings()[0][:cut])
    ((start, end, rule),) = spans(actions)
    assert (end, rule) == (cut, None)
    assert torch.equal(sound_of(actions), recordings()[0][start:cut])


def test_a_disabled_gate_hears_everything_and_runs_nothing(monkeypatch):
    module = SpeechGate(GateConfig(enabled=False))
    monkeypatch.setattr(module, "_engine", None)
    state, opened = module.step(vadless(module), torch.zeros(1, 0))
    assert opened == []
    state, actions = module.step(state, torch.zeros(1, 700))
    assert actions[0] == Opened(0, 0)
    assert sound_of(actions).shape == (700,)
    state, actions = module.step(state, torch.zeros(1, 1))
    assert [type(action) for action in actions] == [Sound]
    monkeypatch.undo()
    assert module.finish(state)[1] == [Ended(701, None)]


def vadless(module: SpeechGate) -> Any:
    return SpeechGate(module.config).initial_state()


def hum(seconds: float) -> Tensor:
    """Return a chord of a sawtooth organ with slow beats."""
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = [torch.remainder(time * f, 1.0) - 0.5 for f in (110.0, 138.6, 164.8, 220.9)]
    return 0.2 * torch.stack(tones).sum(0) * (0.6 + 0.4 * torch.sin(2 * math.pi * 0.5 * time))


SOUNDS = {
    "digital silence": torch.zeros(20 * RATE),
    "room noise": silence(20, 3e-3),
    "loud white noise": silence(20, 0.2),
    "clipped noise": silence(20, 3.0).clamp(-1, 1),
    "DC": torch.full((20 * RATE,), 0.5),
    "organ": hum(20),
    "clicks": torch.zeros(20 * RATE).index_fill_(0, torch.arange(0, 20 * RATE, 8111), 0.9),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_what_is_no_speech_stays_outside(name):
    assert spans(run(gate(), SOUNDS[name])) == []


@pytest.mark.parametrize(("gain", "direct"), [(0.02, 0.2), (0.02, 0.0), (1.0, -0.3), (8.0, 0.0)])
def test_soft_and_clipped_speech_with_direct_current_gets_through(gain, direct):
    speech = (gain * recordings()[1]).clamp(-1, 1)
    found = spans(run(gate(), torch.cat([silence(1), speech, silence(2)]) + direct))
    assert found[0][0] < 1.1 * RATE
    assert found[-1][1] > RATE + len(speech) - RATE // 2


def test_impossible_rules_are_refused():
    refused: list[dict[str, Any]] = [{"threshold": 0.0}, {"onset_frames": 0}]
    for changes in [*refused, {"preroll_seconds": 11}]:
        with pytest.raises(ValueError, match=f"{next(iter(changes))} is"):
            GateConfig(**changes)
    module = gate()
    with pytest.raises(ValueError, match=r"shape \(2, 5\), expected \(1, T\)"):
        module.step(module.initial_state(), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="batch_size is 2"):
        module.initial_state(2)
