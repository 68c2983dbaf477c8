"""What a unified model says: codes in the order of their books, and what it has learned."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_unified import FORM, frames, unified

from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.unified.files import Unified
from echoic.tts.unified.generation import GREEDY, SpeakRequest, speak, stream, write
from echoic.tts.unified.sequences import Segment
from echoic.tts.unified.training.loss import LossConfig, token_losses, weighted_mean
from echoic.tts.unified.training.packing import PackShape, pack

ANY = SamplingConfig(1.0, 0, 1.0, window=0)
WIDE = Bounds(shortest=0.0, longest=0.0, least=0.5)  # 25 frames
TEXTS = {"go": frames(5, 1), "stop it": frames(8, 2)}


@pytest.fixture(scope="module")
def learned() -> Unified:
    """Knows two texts and their speech by heart, in both directions."""
    made = unified(seed=1)
    for weight in made.model.parameters():
        weight.data *= 0.2
    examples = [
        turns
        for text, sound in TEXTS.items()
        for turns in (
            [Segment(text), Segment(sound, True)],
            [Segment(sound), Segment(text, True)],
        )
    ]
    many = [made.sequencer.document(turns) for turns in examples]
    config = LossConfig(given=0.0, by_answer=True)
    batch = pack(many, [config.weights(d) for d in many], PackShape(1, 110))
    optimizer = torch.optim.Adam(made.model.parameters(), 5e-3)
    for _ in range(150):
        loss = weighted_mean(token_losses(made.model, batch))
        if float(loss) < 0.02:
            return made
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError("four documents should be learned by heart in 150 steps")


def asked(made: Unified, text: str, **changes: Any) -> SpeakRequest:
    values = {"sampling": GREEDY, "bounds": WIDE} | changes
    return replace(SpeakRequest.of(made.sequencer, text), **values)


def test_it_says_what_it_has_learned(learned: Unified) -> None:
    for text, sound in TEXTS.items():
        (said,) = speak(learned.model, asked(learned, text))
        assert torch.equal(said.frames, sound)
        assert said.ending == "end"


def test_it_goes_on_from_frames_that_were_said(learned: Unified) -> None:
    for text, sound in TEXTS.items():
        (said,) = speak(learned.model, asked(learned, text, prefix=sound[:3]))
        assert torch.equal(said.frames, sound[3:])


def test_a_voice_is_what_it_said_before() -> None:
    made, sound = unified(), TEXTS["go"]
    request = SpeakRequest.of(made.sequencer, "stop it", voice=("Go. ", sound))
    assert torch.equal(request.prompt, made.sequencer.prompt([Segment("Go. stop it")], "audio"))
    assert request.units == len("stop it")
    one, other = (
        speak(made.model, replace(request, prefix=heard, sampling=GREEDY, bounds=WIDE))[0]
        for heard in (request.prefix, sound.flip(0))
    )
    assert not torch.equal(one.frames, other.frames)  # it is heard


def test_it_writes_what_it_has_learned(learned: Unified) -> None:
    for text, sound in TEXTS.items():
        prompt = learned.sequencer.prompt([Segment(sound)], "text")
        ids = write(learned.model, prompt, words=learned.text.size)
        assert learned.text.decode(ids) == text


def test_several_answers_are_those_of_their_seeds() -> None:
    made = unified()
    together = speak(made.model, asked(made, "hi", sampling=ANY, seed=5), 3)
    for number, said in enumerate(together):
        (alone,) = speak(made.model, asked(made, "hi", sampling=ANY, seed=5 + number))
        assert torch.equal(alone.frames, said.frames)
        assert alone.ending == said.ending
    lengths = {len(said.frames) for said in together}
    assert len(lengths) > 1  # those that end wait for the others
    for said in together:
        FORM.check(said.frames)


@torch.no_grad()
def by_loop(made: Unified, text: str, most: int) -> list[list[int]]:
    """The best codes, each found by reading all that came before once more."""
    vocabulary = made.model.vocabulary
    ids = made.sequencer.prompt([Segment(text)], "audio").tolist()
    said: list[list[int]] = []
    while len(said) < most:
        for book in range(FORM.num_codebooks):
            row = made.model.scores(made.model.states(torch.tensor([ids])))[0, -1]
            allowed = [*vocabulary.book(book), *([vocabulary.end_audio] if not book else [])]
            best = allowed[int(row[allowed].argmax())]
            if best == vocabulary.end_audio:
                return said
            if not book:
                said.append([])
            said[-1].append(best - vocabulary.book(book).start)
            ids.append(best)
    return said


def test_kept_keys_and_values_change_nothing() -> None:
    for seed in (0, 1):
        made = unified(seed=seed)
        never = Bounds(shortest=0.0, longest=0.0, least=0.12, loop_seconds=9.0)
        (said,) = speak(made.model, asked(made, "text", bounds=never))
        assert said.frames.tolist() == by_loop(made, "text", 6)


def test_bounds_hold() -> None:
    made = unified()
    with torch.no_grad():
        made.model.speech_head.zero_()  # all is as likely, the end too
    long = Bounds(shortest=0.1, longest=0.2, least=0.1)  # of two letters 10 to 20 frames
    said = speak(made.model, asked(made, "hi", sampling=ANY, bounds=long), 4)
    assert all(10 <= len(one.frames) <= 20 for one in said)
    assert {one.ending for one in said} <= {"end", "limit"}
    short = Bounds(shortest=0.2, longest=0.2, least=0.1)
    (one,) = speak(made.model, asked(made, "hi", sampling=ANY, bounds=short))
    assert (len(one.frames), one.ending) == (20, "limit")
    round_ = Bounds(shortest=0.4, longest=0.4, least=0.1, loop_seconds=0.2, loop_period=0.1)
    (one,) = speak(made.model, asked(made, "hi", bounds=round_))  # the first of equals, always
    assert (len(one.frames), one.ending) == (10, "loop")
    assert one.frames.unique().tolist() == [0]


def test_frames_come_as_soon_as_they_are_whole() -> None:
    made = unified()
    request = asked(made, "hi", bounds=Bounds(shortest=0.1, longest=0.2, least=0.1))
    first = list(itertools.islice(stream(made.model, request), 3))
    (said,) = speak(made.model, request)
    assert [frame for (frame,) in first] == said.frames[:3].tolist()


def test_text_is_cut_and_stays_text() -> None:
    made = unified()
    prompt = made.sequencer.prompt([Segment(frames(3))], "text")
    ids = write(made.model, prompt, words=made.text.size, longest=7, sampling=ANY)
    assert len(ids) <= 7
    assert all(0 <= i < 256 for i in ids)


def test_prompts_that_are_none() -> None:
    made = unified()
    with pytest.raises(ValueError, match="the text is empty"):
        SpeakRequest.of(made.sequencer, "")
    with pytest.raises(ValueError, match=r"a prompt must be int64 \(N,\)"):
        speak(made.model, SpeakRequest(torch.zeros(0).long(), 1))
    with pytest.raises(ValueError, match="frames of 3 codes"):
        speak(made.model, asked(made, "a", prefix=torch.zeros(1, 3).long()))
