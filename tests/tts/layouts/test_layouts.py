"""Frames to steps and back: exact for every layout, in one piece and in many."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.tts.layouts import EMPTY, LAYOUTS, Layout, layout
from echoic.tts.layouts.merged import SPECIALS, MergedVocabulary
from echoic.tts.tokens import FrameFormat


def frames_of(form: FrameFormat, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(form.codebook_size, (count, form.num_codebooks), generator=generator)


@st.composite
def formats(draw: st.DrawFn) -> FrameFormat:
    groups, layers = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    return FrameFormat(groups * layers, draw(st.integers(2, 50)), 50.0, groups)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    form = draw(formats())
    name = draw(st.sampled_from(LAYOUTS))
    delays = None
    if name == "delay" and draw(st.booleans()):
        q = form.num_codebooks
        delays = (0, *draw(st.lists(st.integers(0, 6), min_size=q - 1, max_size=q - 1)))
    return layout(name, form, delays)


@settings(max_examples=150, deadline=None)
@given(layouts(), st.integers(0, 20), st.integers(0, 99), st.lists(st.integers(0, 5), max_size=30))
def test_there_and_back(made: Layout, count: int, seed: int, cuts: list[int]) -> None:
    frames = frames_of(made.format, count, seed)
    steps = made.steps(frames)
    assert steps.shape == (made.num_steps(count), made.channels)
    assert torch.equal(made.frames(steps), frames)
    # Each code stands once, where its book belongs.
    assert int((steps != EMPTY).sum()) == frames.numel()
    for number, step in enumerate(steps):
        for channel, code in enumerate(step.tolist()):
            if code != EMPTY:
                assert code in frames[:, made.codebook(number, channel)]
    state, found, start = made.initial_state(), [], 0
    for size in [*cuts, len(steps)]:
        state, part = made.step(state, steps[start : start + size])
        found.append(part)
        start += size
        # A frame is given out as soon as it is whole, and what is kept does not grow.
        assert len(state.held) <= made.delay
    assert torch.equal(torch.cat(found), frames)


@settings(max_examples=50, deadline=None)
@given(layouts(), st.integers(1, 12), st.integers(0, 99))
def test_a_frame_does_not_wait_for_more_than_its_delay(made: Layout, count: int, seed: int) -> None:
    steps = made.steps(frames_of(made.format, count, seed))
    state = made.initial_state()
    for number, step in enumerate(steps):
        state, part = made.step(state, step[None])
        last = made.steps_per_frame - 1 if made.flat else 0
        expected = number >= made.delay and (not made.flat or number % (last + 1) == last)
        assert len(part) == int(expected)


def test_groups_share_a_depth() -> None:
    form = FrameFormat(4, 1024, 50.0, num_groups=2)
    assert layout("delay", form).delays == (0, 0, 1, 1)
    frames = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert layout("delay", form).steps(frames).tolist() == [
        [0, 1, EMPTY, EMPTY],
        [4, 5, 2, 3],
        [EMPTY, EMPTY, 6, 7],
    ]
    assert layout("flatten", form).steps(frames)[:, 0].tolist() == list(range(8))
    assert layout("depth", form).in_turn


def test_a_step_leaves_the_state_as_it_was() -> None:
    made = layout("delay", FrameFormat(3, 10, 50.0))
    steps = made.steps(frames_of(made.format, 5, 0))
    first, _ = made.step(made.initial_state(), steps[:3])
    kept = first.held.clone()
    one, two = made.step(first, steps[3:]), made.step(first, steps[3:])
    assert torch.equal(first.held, kept)
    assert torch.equal(one[1], two[1])


FORM = FrameFormat(2, 10, 50.0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3, 2), r"frames must be int64 \(T, Q\): got torch.float32"),
        (torch.zeros(3, 3, dtype=torch.int64), "frames of 3 codes, expected 2"),
        (torch.full((3, 2), 10), "codes from 10 to 10, expected 0 to 9"),
        (torch.full((3, 2), -1), "codes from -1 to -1"),
    ],
)
def test_frames_that_are_none(bad: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout("parallel", FORM).steps(bad)


def test_layouts_that_are_none() -> None:
    with pytest.raises(ValueError, match="unknown layout 'zigzag': one of flatten, delay"):
        layout("zigzag", FORM)
    with pytest.raises(ValueError, match="has no delays"):
        layout("flatten", FORM, (0, 1))
    with pytest.raises(ValueError, match="3 delays for 2 codes"):
        layout("delay", FORM, (0, 1, 2))
    with pytest.raises(ValueError, match="the least must be 0"):
        layout("delay", FORM, (1, 2))
    with pytest.raises(ValueError, match=r"steps must be \(S, 2\)"):
        layout("delay", FORM).frames(torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="do not make whole layers of 2"):
        FrameFormat(3, 10, 50.0, num_groups=2)


@settings(max_examples=50, deadline=None)
@given(formats(), st.integers(1, 100), st.integers(0, 10), st.integers(0, 99))
def test_a_merged_vocabulary_there_and_back(
    form: FrameFormat, text_size: int, count: int, seed: int
) -> None:
    merged, frames = MergedVocabulary(text_size, form), frames_of(form, count, seed)
    ids = merged.ids(frames)
    assert torch.equal(merged.frames(ids), frames)
    assert torch.equal(merged.frames(ids[1:-1]), frames)
    assert torch.equal(merged.frames(torch.cat([ids, ids[:1]])), frames)  # behind the end: nothing
    assert text_size <= int(ids.min())
    assert int(ids.max()) < merged.size
    names = merged.names()
    assert len(names) == len(set(names)) == merged.size - text_size
    assert names[-len(SPECIALS) :] == list(SPECIALS)
    if count:
        first = int(ids[1]) - text_size
        assert names[first] == f"<|audio_0_{int(frames[0, 0])}|>"


def test_ids_that_are_no_speech() -> None:
    merged = MergedVocabulary(5, FORM)
    with pytest.raises(ValueError, match="3 codes do not make whole frames of 2"):
        merged.frames(torch.tensor([5, 15, 6]))
    with pytest.raises(ValueError, match="id 6 at place 3 of the speech is no code of book 1"):
        merged.frames(torch.tensor([5, 15, 6, 6]))
    with pytest.raises(ValueError, match="id 4 at place 0"):
        merged.frames(torch.tensor([4, 15]))


def test_tables_keep_the_text_and_get_the_codes() -> None:
    merged = MergedVocabulary(5, FORM)
    text, codes = torch.randn(8, 3), torch.randn(2, 10, 3)
    tables = merged.tables(text, text + 1, codes, codes * 2)
    assert tables.embeddings.shape == tables.head.shape == (merged.size, 3)
    assert torch.equal(tables.embeddings[:5], text[:5])
    ids = merged.ids(torch.tensor([[3, 9]]))[1:-1]
    assert torch.equal(tables.embeddings[ids], torch.stack([codes[0, 3], codes[1, 9]]))
    assert torch.equal(tables.head[ids], 2 * tables.embeddings[ids])
    torch.testing.assert_close(tables.embeddings[merged.end], text[:5].mean(0))
    with pytest.raises(ValueError, match="tables of 4 rows of text"):
        merged.tables(text[:4], text, codes, codes)
