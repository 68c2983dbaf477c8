"""The voice activity detector in company."""

import pytest
import torch
from live_signals import recordings, vad

from echoic.streaming import state as states
from echoic.streaming.vad_engine import Frame, VadEngine


@pytest.mark.parametrize("count", [1, 2, 4, 5, 11])
def test_a_frame_is_judged_the_same_in_any_company(count: int) -> None:
    engine = VadEngine(vad())
    wavs = [recordings()[i % 5][i * 700 :] for i in range(count)]
    alone = [vad().initial_state(1) for _ in wavs]
    together = list(alone)
    for start in range(0, 5120, 512):
        frames = [wav[None, start : start + 512] for wav in wavs]
        single = [engine.answer([Frame(s, w)])[0] for s, w in zip(alone, frames, strict=True)]
        both = engine.answer([Frame(s, w) for s, w in zip(together, frames, strict=True)])
        assert [j.probability for j in both] == [j.probability for j in single]
        alone, together = [j.state for j in single], [j.state for j in both]
        for a, b in zip(alone, together, strict=True):
            for x, y in zip(states.leaves(a).values(), states.leaves(b).values(), strict=True):
                assert torch.equal(x, y)


def test_it_judges_as_the_network_does() -> None:
    wav = recordings()[0][None, : 512 * 40]
    expected = vad().probabilities(wav)[0]
    engine, state, found = VadEngine(vad()), vad().initial_state(1), []
    for frame in wav.split(512, dim=1):
        ((state, probability),) = engine.answer([Frame(state, frame)])
        found.append(probability)
    torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-5)


def test_a_state_holds_no_other_streams_memory() -> None:
    engine = VadEngine(vad())
    judged = engine.answer([Frame(vad().initial_state(1), torch.randn(1, 512)) for _ in range(4)])
    for tensor in states.leaves(judged[0].state).values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
