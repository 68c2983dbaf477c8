"""Text that runs along with its speech: units one after the other, none skipped, none twice."""

from itertools import pairwise

import pytest
import torch
from small_speech import BACKBONE, DEPTH, FORM, TEXT_SIZE, frames, text
from torch import Tensor

from echoic.tts.layouts import EMPTY
from echoic.tts.lm import SamplingConfig, ScoresNotFinite, SpeechLM, SpeechLMConfig
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.loss import speech_losses
from echoic.tts.lm.reader import ReaderConfig
from echoic.tts.lm.speech import places
from echoic.tts.lm.utterance import Request

each_layout = pytest.mark.parametrize("layout", ["depth", "delay", "parallel"])
WARM = SamplingConfig(1.0, 0, 1.0, window=0)
BEST = SamplingConfig(0.0, window=0)
BOUNDS = Bounds(0.0, 2.0, 1.0)


def along(layout: str, seed: int = 0) -> SpeechLM:
    config = SpeechLMConfig(
        FORM,
        TEXT_SIZE,
        layout=layout,  # pyright: ignore[reportArgumentType]
        text="along",
        reader=ReaderConfig(2, 3),
        backbone=BACKBONE,
        depth=DEPTH,
    )
    torch.manual_seed(seed)
    model = SpeechLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(std=0.5)
    return model


def speak(model: SpeechLM, *requests: Request) -> tuple[list[Tensor], list[list[int]]]:
    generation = Generation(model, requests)
    said: list[list[Tensor]] = [[] for _ in requests]
    for _ in range(2000):
        if generation.done:
            break
        for kept, new in zip(said, generation.step(), strict=True):
            kept.append(new)
    assert generation.done
    begins = [row.along.begins for row in generation.rows if row.along is not None]
    return [torch.cat(kept) for kept in said], begins


def request(length: int, number: int = 0, **changes: object) -> Request:
    values = {"sampling": WARM, "bounds": BOUNDS, "seed": number}
    return Request(text(length, number), **(values | changes))  # pyright: ignore[reportArgumentType]


def test_which_unit_a_step_says() -> None:
    starts = torch.tensor([[0, 2, 3], [0, 4, 99]])
    found = places(starts, torch.tensor([3, 2]), torch.arange(6))
    assert found.tolist() == [[0, 0, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1]]


@each_layout
@torch.no_grad()
def test_it_draws_from_what_it_scores_in_training(layout: str) -> None:
    model = along(layout)
    (said,), (begins,) = speak(model, request(6, sampling=BEST))
    assert len(begins) == 6
    assert begins[0] == 0
    assert all(a < b for a, b in pairwise([*begins, len(said)]))
    steps, starts = model.layout.steps(said)[None], torch.tensor([begins])
    lengths = torch.tensor([6]), torch.tensor([steps.shape[1]])
    spoken = model(text(6)[None], lengths[0], steps, lengths[1], starts)
    best = spoken.scores[0, :, :, : model.end].argmax(-1)
    for number, step in enumerate(steps[0]):
        for channel in range(best.shape[1]):
            if step[channel] >= 0:
                assert step[channel] == best[number, channel]
    # A unit lasts until it is likelier over than not.
    assert spoken.moves is not None
    lasts, ends = 1.0, []
    for number, chance in enumerate(spoken.moves[0, : len(said)].sigmoid().tolist()):
        lasts *= 1 - chance
        if lasts < 0.5:
            ends.append(number + 1)
            lasts = 1.0
    assert ends == [*begins[1:], len(said)]


@each_layout
def test_each_row_is_what_it_is_alone(layout: str) -> None:
    model = along(layout)
    requests = [request(5, 0), request(9, 1), request(3, 2)]
    together, begins = speak(model, *requests)
    for one, own, asked in zip(together, begins, requests, strict=True):
        (alone,), (times,) = speak(model, asked)
        assert torch.equal(one, alone)
        assert own == times


@each_layout
def test_text_may_come_while_speech_goes_out(layout: str) -> None:
    model = along(layout)
    asked = request(20)
    (whole,), _ = speak(model, asked)
    parts = list(asked.text.split(3))
    first = Request(parts[0], whole=False, sampling=WARM, bounds=BOUNDS, seed=asked.seed)
    generation, said = Generation(model, [first]), []
    for number, part in enumerate(parts[1:], start=2):
        while not generation.waits:
            said += generation.step()
        # It waits for no more than it needs.
        (row,) = generation.rows
        assert row.along is not None
        assert row.along.unit + 2 == len(row.text)
        generation.feed(0, part, whole=number == len(parts))
    while not generation.done:
        said += generation.step()
    assert torch.equal(torch.cat(said), whole)


@each_layout
def test_it_goes_on_from_a_prompt_as_if_it_had_said_it(layout: str) -> None:
    model = along(layout)
    (whole,), (begins,) = speak(model, request(8, sampling=BEST))
    for units in (1, 3, 7):
        cut = begins[units]
        asked = request(
            8,
            sampling=BEST,
            prompt=whole[:cut],
            prompt_units=units,
            prompt_starts=torch.tensor(begins[:units]),
        )
        (rest,), (times,) = speak(model, asked)
        assert torch.equal(rest, whole[cut:])
        assert times == begins


@each_layout
def test_it_learns_sentences_and_when_they_say_what(layout: str) -> None:
    """By speaking freely: a loss proves nothing."""
    model = along(layout)
    model.reset()
    model.train()
    texts = [text(5, seed) for seed in (1, 2, 3)]
    said = [frames(count, count) for count in (16, 9, 12)]
    starts = torch.tensor([[0, 1, 4, 8, 15], [0, 2, 3, 4, 7], [0, 5, 6, 9, 10]])
    steps = [model.layout.steps(f) for f in said]
    batch = (
        torch.stack(texts),
        torch.tensor([5, 5, 5]),
        torch.nn.utils.rnn.pad_sequence(steps, batch_first=True, padding_value=EMPTY),
        torch.tensor([len(s) for s in steps]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(400):
        spoken = model(*batch, starts)
        losses = speech_losses(model, spoken, batch[2], batch[3], starts, batch[1])
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if float(losses.total.detach()) < 0.02:
            break
    model.eval()
    asked = [Request(t, sampling=BEST, bounds=BOUNDS) for t in texts]
    heard, begins = speak(model, *asked)
    assert begins == starts.tolist()
    for one, expected in zip(heard, said, strict=True):
        assert torch.equal(one, expected)


def test_what_is_behind_a_row_changes_no_loss() -> None:
    model = along("depth")
    steps, starts = frames(9, 1)[None], torch.tensor([[0, 2, 5]])
    row = (text(3)[None], torch.tensor([3]), steps, torch.tensor([9]))
    alone = speech_losses(model, model(*row, starts), steps, row[3], starts, row[1])
    wide = torch.cat([steps, frames(4, 2)[None]], dim=1)
    longer = torch.cat([row[0], text(2, 9)[None]], dim=1)
    far = torch.cat([starts, torch.full((1, 2), 2**31)], dim=1)
    spoken = model(longer, row[1], wide, row[3], far)
    padded = speech_losses(model, spoken, wide, row[3], far, row[1])
    for one, other in zip(alone, padded, strict=True):
        torch.testing.assert_close(one, other)
    assert float(alone.total) == pytest.approx(
        float(alone.first + 0.3 * alone.rest + alone.moves), rel=1e-5
    )


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="text runs along frames"):
        along("flatten")
    with pytest.raises(ValueError, match="an odd kernel"):
        ReaderConfig(2, 4)
    model = along("depth")
    with pytest.raises(ValueError, match="say where each of its units starts"):
        model(text(3)[None], torch.tensor([3]), frames(5)[None], torch.tensor([5]))
    prompt = {"prompt": frames(6), "prompt_units": 2}
    with pytest.raises(ValueError, match="needs the first frame of each unit"):
        Generation(model, [request(5, **prompt)])
    prompt["prompt_starts"] = torch.tensor([0, 6])
    with pytest.raises(ValueError, match="of 6 frames cannot begin at"):
        Generation(model, [request(5, **prompt)])
    with pytest.raises(ValueError, match="says all of the text"):
        Generation(model, [request(2, **prompt)])
    with torch.no_grad():
        assert model.mover is not None
        model.mover.weight.fill_(torch.nan)
    with pytest.raises(ScoresNotFinite, match="its weights are damaged"):
        Generation(model, [request(5)]).step()
