"""Text and speech in turns become ids, and each id knows whose answer it is."""

import pytest
import torch
from small_unified import FORM, frames

from echoic.tts.unified.sequences import NONE, Segment, Sequencer
from echoic.tts.unified.text_ids import ByteText
from echoic.tts.unified.vocabulary import CONTROLS, UnifiedVocabulary

V = UnifiedVocabulary(300, FORM)
SEQUENCER = Sequencer(V, ByteText())
BEGIN, END = V.begin_audio, V.end_audio


def test_the_table_of_ids() -> None:
    assert [V.book(q).start for q in (0, 1)] == [300, 308]
    assert (BEGIN, END, V.say, V.write, V.end, V.size) == (316, 317, 318, 319, 320, 321)
    names = V.names()
    assert len(names) == V.rows == V.size - 300
    assert names[V.book(1)[3] - 300] == "<|audio_1_3|>"
    assert [names[i - 300] for i in (V.say, V.write, V.end)] == list(CONTROLS)


SOUND = torch.tensor([[0, 7], [3, 0]])  # code 0 is a code like others
SOUND_IDS = [BEGIN, 300, 315, 303, 308, END]


@pytest.mark.parametrize(
    ("segments", "ids", "answers"),
    [
        ([Segment("hi", True)], [104, 105, V.end], [0, 0, 0]),
        ([Segment(SOUND, True)], [*SOUND_IDS, V.end], [0] * 7),
        (
            [Segment("hi"), Segment(SOUND, True)],
            [104, 105, V.say, *SOUND_IDS, V.end],
            [NONE] * 3 + [0] * 7,
        ),
        (
            [Segment(SOUND), Segment("hi", True)],
            [*SOUND_IDS, V.write, 104, 105, V.end],
            [NONE] * 7 + [0] * 3,
        ),
        (
            [Segment("a"), Segment("b", True), Segment(SOUND, True), Segment("c")],
            [97, V.write, 98, *SOUND_IDS, V.end, 99],
            [NONE, NONE, *[0] * 8, NONE],
        ),
        (
            [Segment("a"), Segment("b", True), Segment("c"), Segment(SOUND, True)],
            [97, V.write, 98, V.end, 99, V.say, *SOUND_IDS, V.end],
            [NONE, NONE, 0, 0, NONE, NONE, *[1] * 7],
        ),
    ],
)
def test_turns(segments: list[Segment], ids: list[int], answers: list[int]) -> None:
    made = SEQUENCER.document(segments)
    assert made.ids.tolist() == ids
    assert made.answers.tolist() == answers
    sizes = [(len(SEQUENCER.ids(s)), s.answer) for s in segments]
    assert SEQUENCER.length(sizes) == len(ids)


def test_a_prompt_is_what_comes_before_the_answer() -> None:
    given = [Segment("so"), Segment(frames(3)), Segment("and")]
    for answer, kind in ((Segment(SOUND, True), "audio"), (Segment("hi", True), "text")):
        whole = SEQUENCER.document([*given, answer])
        prompt = SEQUENCER.prompt(given, kind)  # pyright: ignore[reportArgumentType]
        assert torch.equal(whole.ids[: len(prompt)], prompt)
        behind = {"audio": 1, "text": 0}[kind]  # the begin of speech is an answer already
        assert int((whole.answers[: len(prompt)] != NONE).sum()) == behind
    assert SEQUENCER.audio_size(3) == len(SEQUENCER.ids(given[1]))


def test_what_makes_no_document() -> None:
    with pytest.raises(ValueError, match="has no segments"):
        SEQUENCER.document([])
    with pytest.raises(ValueError, match="segment of text is empty"):
        SEQUENCER.document([Segment("")])
    with pytest.raises(ValueError, match="segment of audio is empty"):
        SEQUENCER.document([Segment(frames(0))])
    with pytest.raises(ValueError, match="codes from 0 to 9"):
        SEQUENCER.ids(Segment(torch.tensor([[0, 9]])))


def test_bytes_there_and_back() -> None:
    text = ByteText()
    assert text.decode(text.encode("Grüße, 世界")) == "Grüße, 世界"
    assert text.decode([104, 300, 105]) == "hi"
