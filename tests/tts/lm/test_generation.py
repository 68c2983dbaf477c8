"""Free speech: the same alone and in company, in pieces of text, and on from a prompt."""

from typing import Any

import pytest
import torch
from small_speech import FORM, TEXT_SIZE, frames, speech_lm, text
from torch import Tensor

from echoic.tts.layouts import LAYOUTS
from echoic.tts.lm import SamplingConfig, ScoresNotFinite, SpeechLM
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.utterance import Request

TRACKS = ("before", "beside")
each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_track = pytest.mark.parametrize("track", TRACKS)
WARM = SamplingConfig(1.0, 0, 1.0, window=0)
# At least 10 frames, at most 30, and a chance to end between.
BOUNDS = Bounds(shortest=0.04, longest=0.12, least=0.0)


def request(length: int = 5, number: int = 0, **changes: Any) -> Request:
    values = {"sampling": WARM, "bounds": BOUNDS, "seed": number}
    return Request(text(length, number), **(values | changes))


def speak(model: SpeechLM, *requests: Request) -> list[Tensor]:
    generation = Generation(model, requests)
    said: list[list[Tensor]] = [[] for _ in requests]
    for _ in range(1000):
        if generation.done:
            break
        for kept, new in zip(said, generation.step(), strict=True):
            FORM.check(new)
            kept.append(new)
    assert generation.done
    return [torch.cat(kept) for kept in said]


@each_track
@each_layout
def test_each_row_is_what_it_is_alone(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    requests = [request(5, 0), request(8, 1), request(3, 2), request(5, 3)]
    together = speak(model, *requests)
    alone = [speak(model, r)[0] for r in requests]
    assert [len(said) for said in alone] != [len(alone[0])] * 4
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(speak(model, requests[1])[0], alone[1])  # nothing is left of the last time
    assert not torch.equal(speak(model, request(5, 0, seed=9))[0], alone[0])


@each_track
@each_layout
@torch.no_grad()
def test_the_best_codes_are_those_of_the_scores_in_training(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    greedy = SamplingConfig(0.0, window=0)
    (said,) = speak(model, request(6, sampling=greedy, bounds=Bounds(0.1, 0.1, 0.0)))
    assert len(said) == 30
    steps = model.layout.steps(said)[None]
    lengths = torch.tensor([6]), torch.tensor([steps.shape[1]])
    spoken = model(text(6)[None], lengths[0], steps, lengths[1])
    scores = spoken.scores[0, :, :, : model.end].argmax(-1)
    for number, step in enumerate(steps[0]):
        for channel in range(scores.shape[1]):
            if step[channel] >= 0:
                assert step[channel] == scores[number, channel]
    if model.depth is not None:
        deep = model.depth(spoken.states[0, :-1], said).argmax(-1)
        assert torch.equal(deep, said[:, 1:])


@each_track
@each_layout
def test_it_goes_on_from_a_prompt_as_if_it_had_said_it(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    greedy = SamplingConfig(0.0, window=0)
    bounds = Bounds(0.1, 0.1, 0.0)
    (whole,) = speak(model, request(6, sampling=greedy, bounds=bounds))
    for count in (0, 1, 11):
        share = (30.1 - count) / 300
        bounds = Bounds(share, share, 0.0)
        half = request(6, sampling=greedy, prompt=whole[:count], bounds=bounds)
        (rest,) = speak(model, half)
        assert torch.equal(rest, whole[count:])
    # Rows with prompts of different lengths, together.
    prompted = [
        request(6, sampling=greedy, prompt=whole[:n], bounds=Bounds(0.0, 0.06, 0.0))
        for n in (3, 8, 0)
    ]
    for one, r in zip(speak(model, *prompted), prompted, strict=True):
        assert torch.equal(one, speak(model, r)[0])


@each_layout
def test_text_may_come_while_speech_goes_out(layout: str) -> None:
    model = speech_lm(layout, "beside")
    (whole,) = speak(model, request(20, bounds=Bounds(0.04, 0.06, 0.0)))
    asked = request(20, bounds=Bounds(0.04, 0.06, 0.0))
    parts = list(asked.text.split(3))
    first = Request(parts[0], whole=False, sampling=WARM, bounds=asked.bounds, seed=asked.seed)
    generation, said = Generation(model, [first]), []
    for number, part in enumerate(parts[1:], start=2):
        while not generation.waits:
            said += generation.step()
        with pytest.raises(RuntimeError, match="waits for its text"):
            generation.step()
        generation.feed(0, part, whole=number == len(parts))
    while not generation.done:
        said += generation.step()
    assert torch.equal(torch.cat(said), whole)
    with pytest.raises(ValueError, match="no more can come"):
        generation.feed(0, parts[0])


def test_it_ends_at_its_bounds_and_says_why() -> None:
    model = speech_lm("delay")
    with torch.no_grad():
        model.heads[0, model.end] = 0
    generation = Generation(model, [request(5, bounds=Bounds(0.0, 0.1, 0.0))])
    said = []
    while not generation.done:
        said += generation.step()
    assert len(torch.cat(said)) <= 25
    with torch.no_grad():
        model.heads[0] = 0  # all the same: the first code, over and over
    circling = request(
        90, sampling=SamplingConfig(0.0, window=0), bounds=Bounds(0.02, loop_seconds=1.8)
    )
    generation, said = Generation(model, [circling]), []
    while not generation.done:
        said += generation.step()
    assert generation.endings == ["loop"]
    assert len(torch.cat(said)) == 90  # the fewest for 90 units, and long enough for a loop


def test_what_cannot_be_said() -> None:
    model = speech_lm()
    with pytest.raises(ValueError, match="nothing to say"):
        Generation(model, [])
    with pytest.raises(ValueError, match="the text is empty"):
        Generation(model, [Request(torch.empty(0, dtype=torch.int64))])
    with pytest.raises(ValueError, match=r"text must be int64 \(L,\)"):
        Generation(model, [Request(torch.zeros(3))])
    with pytest.raises(ValueError, match="expected 0 to 19"):
        Generation(model, [Request(torch.tensor([TEXT_SIZE]))])
    with pytest.raises(ValueError, match="frames of 3 codes, expected 4"):
        Generation(model, [request(prompt=torch.zeros(2, 3, dtype=torch.int64))])
    with pytest.raises(ValueError, match="give it whole"):
        Generation(model, [request(whole=False)])
    with pytest.raises(ValueError, match="needs as many units of text"):
        Generation(speech_lm("depth", "beside"), [request(whole=False, prompt=frames(9))])


def test_weights_that_are_damaged() -> None:
    model = speech_lm()
    with torch.no_grad():
        model.heads[0, 3] = torch.nan
    with pytest.raises(ScoresNotFinite, match="its weights are damaged"):
        Generation(model, [request()]).step()
