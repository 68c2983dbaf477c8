"""What the model scores in training is what it draws from when it speaks."""

import json

import pytest
import torch
from small_speech import FORM, TEXT_SIZE, frames, speech_lm, text
from torch import Tensor

from echoic.tts.layouts import EMPTY, LAYOUTS
from echoic.tts.lm import SamplingConfig, SpeechLM, SpeechLMConfig
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.loss import speech_losses
from echoic.tts.lm.utterance import Request

TRACKS = ("before", "beside")
each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_track = pytest.mark.parametrize("track", TRACKS)


def one(model: SpeechLM, length: int, count: int, seed: int = 0) -> tuple[Tensor, ...]:
    """A row of text and steps, as a batch."""
    steps = model.layout.steps(frames(count, seed))[None]
    return text(length, seed)[None], torch.tensor([length]), steps, torch.tensor([steps.shape[1]])


@each_track
@each_layout
@torch.no_grad()
def test_a_state_knows_no_later_step_but_all_of_the_text_before(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    row = one(model, 6, 8)
    scores = model(*row).scores
    changed = row[2].clone()
    changed[0, 5] = (changed[0, 5] + 1) % FORM.codebook_size
    after = model(row[0], row[1], changed, row[3]).scores
    assert torch.equal(scores[:, :6], after[:, :6])
    assert not torch.allclose(scores[:, 6], after[:, 6])
    other = row[0].clone()
    other[0, 3] = (other[0, 3] + 1) % TEXT_SIZE
    after = model(other, *row[1:]).scores
    first = 0 if track == "before" else 3  # beside speech, a unit is read with its own step
    assert torch.equal(scores[:, :first], after[:, :first])
    assert not torch.allclose(scores[:, first], after[:, first])


@each_track
@each_layout
@torch.no_grad()
def test_a_row_does_not_know_its_neighbours(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    rows = [one(model, 6, 8), one(model, 2, 3, seed=1), one(model, 9, 5, seed=2)]
    lengths, counts = (torch.cat([row[i] for row in rows]) for i in (1, 3))
    texts = torch.full((3, 9), 1)
    steps = torch.full((3, int(counts.max()), model.layout.channels), 3)
    for number, row in enumerate(rows):
        texts[number, : row[0].shape[1]] = row[0]
        steps[number, : row[2].shape[1]] = row[2]
    together = model(texts, lengths, steps, counts)
    for number, row in enumerate(rows):
        alone = model(*row)
        found = together.scores[number, : alone.scores.shape[1]]
        torch.testing.assert_close(found, alone.scores[0], atol=1e-4, rtol=1e-4)
    losses = speech_losses(model, together, steps, counts)
    sums = [speech_losses(model, model(*row), row[2], row[3]) for row in rows]
    ends = model.layout.delay if model.layout.flat is False else 0
    if model.layout.flat:
        weights = [int(row[3]) // FORM.num_codebooks + 1 for row in rows]
    else:
        weights = [int(row[3]) - ends + 1 for row in rows]
    mean = sum(w * float(s.first) for w, s in zip(weights, sums, strict=True)) / sum(weights)
    assert float(losses.first) == pytest.approx(mean, rel=1e-4)


@each_layout
def test_losses_by_their_definition(layout: str) -> None:
    model = speech_lm(layout)
    row = one(model, 4, 5)
    spoken = model(*row)
    losses = speech_losses(model, spoken, row[2], row[3])
    codes, found = frames(5), [[] for _ in range(FORM.num_codebooks)]
    logs = spoken.scores.detach().log_softmax(-1)[0]
    for number, step in enumerate(row[2][0]):
        for channel in range(logs.shape[1]):
            code = int(step[channel])
            if code != EMPTY:
                found[model.layout.codebook(number, channel)].append(
                    -float(logs[number, channel, code])
                )
    layout_ = model.layout
    ended = 5 * layout_.steps_per_frame
    found[0].append(-float(logs[ended, 0, model.end]))
    if model.depth is not None:
        deep = model.depth(spoken.states[0, :5], codes).detach().log_softmax(-1)
        for book in range(1, FORM.num_codebooks):
            found[book] += [-float(deep[t, book - 1, codes[t, book]]) for t in range(5)]
    by_book = [sum(values) / len(values) for values in found]
    assert losses.by_book.tolist() == pytest.approx(by_book, rel=1e-4)
    assert float(losses.first.detach()) == pytest.approx(by_book[0], rel=1e-4)
    assert float(losses.rest.detach()) == pytest.approx(sum(by_book[1:]) / 3, rel=1e-4)
    assert float(losses.total.detach()) == pytest.approx(
        by_book[0] + 0.3 * sum(by_book[1:]) / 3, rel=1e-4
    )
    losses.total.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@each_track
@each_layout
def test_it_learns_sentences_by_heart_and_says_them(layout: str, track: str) -> None:
    """By speaking freely: a loss proves nothing."""
    model = speech_lm(layout, track)
    model.reset()
    model.train()
    texts = [text(5, seed) for seed in (1, 2, 3)]
    said = [frames(count, count) for count in (6, 9, 7)]
    steps = [model.layout.steps(f) for f in said]
    batch = (
        torch.stack(texts),
        torch.tensor([5, 5, 5]),
        torch.nn.utils.rnn.pad_sequence(steps, batch_first=True, padding_value=EMPTY),
        torch.tensor([len(s) for s in steps]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    accuracy = 0.0
    for _ in range(400):
        losses = speech_losses(model, model(*batch), batch[2], batch[3])
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        accuracy = float(losses.accuracy)
        if float(losses.total) < 0.02:
            break
    assert accuracy == 1.0
    model.eval()
    greedy = SamplingConfig(0.0, window=0)
    bounds = Bounds(0.0, 1.0, 1.0)
    generation = Generation(model, [Request(t, sampling=greedy, bounds=bounds) for t in texts])
    heard: list[list[Tensor]] = [[] for _ in texts]
    while not generation.done:
        for kept, new in zip(heard, generation.step(), strict=True):
            kept.append(new)
    for kept, expected in zip(heard, said, strict=True):
        assert torch.equal(torch.cat(kept), expected)
    assert generation.endings == ["end"] * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_size": 0}, "text_size is 0"),
        ({"text": "under"}, "text is 'under'"),
        ({"layout": "zigzag"}, "unknown layout"),
        ({"layout": "delay", "delays": (1, 0, 0, 0)}, "the first book leads"),
        ({"rest": -1.0}, "rest is -1.0"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"frames": FORM, "text_size": TEXT_SIZE}
    with pytest.raises(ValueError, match=message):
        SpeechLMConfig(**(values | fields))  # pyright: ignore[reportArgumentType]


def test_settings_there_and_back() -> None:
    for layout in LAYOUTS:
        config = speech_lm(layout).config
        assert SpeechLMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="no settings of a speech language model"):
        SpeechLMConfig.from_dict({"frames": {"books": 3}})


@torch.no_grad()
def test_ids_and_codes_out_of_their_range() -> None:
    model = speech_lm()
    row = one(model, 4, 5)
    with pytest.raises(ValueError, match="expected 0 to 19"):
        model(row[0] + TEXT_SIZE, *row[1:])
    with pytest.raises(ValueError, match="of codes below 12"):
        model(*row[:2], row[2] + 12, row[3])
