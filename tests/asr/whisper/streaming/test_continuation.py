from collections.abc import Sequence

import pytest
import torch
from speech_data import novel, tiny_en

from echoic.asr.whisper.alignment import attention_matrix
from echoic.asr.whisper.streaming.alignatt import Attended
from echoic.asr.whisper.streaming.continuation import ContinuationDecoder, Heard, Step
from echoic.asr.whisper.streaming.tail import timed_tail

EOT = 50256


@pytest.fixture(scope="module")
def decoder() -> ContinuationDecoder:
    return ContinuationDecoder(tiny_en())


@pytest.fixture(scope="module")
def heard(decoder: ContinuationDecoder) -> Heard:
    with torch.no_grad():
        return decoder.listen(novel()[4].wav)


def decode(
    decoder: ContinuationDecoder,
    heard: Heard,
    committed: Sequence[int] = (),
    draft: Sequence[int] = (),
    budget: int = 60,
) -> list[Step]:
    with torch.no_grad():
        reading = decoder.read(
            heard, language=None, history=[], committed=committed, draft=draft, budget=budget
        )
        return list(reading.steps)


def tokens(steps: Sequence[Step]) -> list[int]:
    return [step.token for step in steps]


@pytest.fixture(scope="module")
def answer(decoder: ContinuationDecoder, heard: Heard) -> list[Step]:
    return decode(decoder, heard)


def test_the_answer_is_the_text_and_its_end(
    decoder: ContinuationDecoder, answer: list[Step]
) -> None:
    text = decoder.model.tokenizer.decode(tokens(answer))
    assert text == " He might even have been made amiable himself."
    assert tokens(answer)[-1] == EOT
    assert all(0 < step.confidence <= 1 for step in answer[:-1])


@pytest.mark.parametrize("kept", [0, 1, 7, 99])
def test_a_draft_changes_no_token_and_no_attention(
    decoder: ContinuationDecoder, heard: Heard, answer: list[Step], kept: int
) -> None:
    """Right up to `kept` tokens, wrong behind; the answer is verified, not believed."""
    draft = [*tokens(answer)[:-1][:kept], 284, 262, 284]
    steps = decode(decoder, heard, draft=draft)
    assert tokens(steps) == tokens(answer)
    for found, expected in zip(steps, answer, strict=True):
        assert found.confidence == pytest.approx(expected.confidence, abs=1e-3)
        torch.testing.assert_close(found.attention, expected.attention, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("words", [1, 6])
def test_what_was_committed_is_gone_on_from(
    decoder: ContinuationDecoder, heard: Heard, answer: list[Step], words: int
) -> None:
    spelled = decoder.model.tokenizer.split_to_words(tokens(answer)[:-1])
    committed = [i for word in spelled[:words] for i in word.ids]
    steps = decode(decoder, heard, committed=committed)
    assert committed + tokens(steps) == tokens(answer)


def test_a_word_that_was_given_out_is_not_gone_on_with(
    decoder: ContinuationDecoder, heard: Heard
) -> None:
    """After " am" the model wants "iable": it must begin another word, or end."""
    prefix = decoder.model.tokenizer.encode(" He might even have been made am")
    first = decode(decoder, heard, committed=prefix, budget=3)[0].token
    assert first == EOT or decoder.model.tokenizer.token_bytes(first).startswith(b" ")
    free = decode(
        decoder, heard, committed=decoder.model.tokenizer.encode(" He might even have been made")
    )
    assert decoder.model.tokenizer.decode(tokens(free)).startswith(" amiable")


def test_silence_may_be_answered_with_nothing_and_says_so(
    decoder: ContinuationDecoder, heard: Heard
) -> None:
    with torch.no_grad():
        quiet = decoder.read(
            decoder.listen(torch.zeros(32_000)),
            language=None,
            history=[],
            committed=[],
            draft=[],
            budget=10,
        )
        spoken = decoder.read(heard, language=None, history=[], committed=[], draft=[], budget=10)
    assert quiet.no_speech > 0.6 > 0.3 > spoken.no_speech


def test_the_budget_ends_an_answer_with_a_token_too_many(
    decoder: ContinuationDecoder, heard: Heard, answer: list[Step]
) -> None:
    assert tokens(decode(decoder, heard, budget=4)) == tokens(answer)[:5]
    assert tokens(decode(decoder, heard, budget=0)) == tokens(answer)[:1]
    long = tokens(answer)[:-1]
    assert tokens(decode(decoder, heard, draft=long, budget=4)) == tokens(answer)[:5]


def test_a_beam_finds_what_is_as_likely_or_likelier(heard: Heard, answer: list[Step]) -> None:
    wide = decode(ContinuationDecoder(tiny_en(), beam_size=3), heard, draft=[284])

    def mean(steps: list[Step]) -> float:
        return sum(step.logprob for step in steps) / len(steps)

    assert tokens(wide)[-1] == EOT
    assert mean(wide) >= mean(answer) - 1e-4


def test_a_frame_is_the_brightest_of_offline_alignment_so_far(
    decoder: ContinuationDecoder, heard: Heard
) -> None:
    with torch.no_grad():
        reading = decoder.read(heard, language=None, history=[], committed=[], draft=[], budget=40)
        steps = list(reading.steps)
    kept = heard.num_frames
    attended = Attended(reading.rows[:, :, :kept])
    rows = reading.rows[:, :, :kept]
    for step in steps:
        rows = torch.cat([rows, step.attention[:, None, :kept]], dim=1)
        picture = attention_matrix(rows)[-1]
        # The first two rows standardise to plus and minus one: many frames share the maximum.
        assert picture[attended.frame(step.attention)] >= picture.max() - 1e-3


def test_words_have_the_times_of_the_whole_text_wherever_it_is_gone_on_from(
    decoder: ContinuationDecoder, heard: Heard, answer: list[Step]
) -> None:
    def words(committed: list[int]) -> list[tuple[str, float, float]]:
        with torch.no_grad():
            reading = decoder.read(
                heard, language=None, history=[], committed=committed, draft=[], budget=60
            )
            timed = timed_tail(
                decoder.model.tokenizer,
                heard,
                reading,
                list(reading.steps),
                num_committed=len(committed),
                language=None,
            )
        return [(word.text, word.start, word.end) for word in timed]

    whole = words([])
    rest = words(decoder.model.tokenizer.encode(" He might even"))
    assert [text for text, _, _ in rest] == [text for text, _, _ in whole[3:]]
    for (_, start, _), (_, expected, _) in zip(rest, whole[3:], strict=True):
        assert start == pytest.approx(expected, abs=0.05)
    assert whole[0][1] < 0.6
    assert 2.0 < whole[-1][2] <= 3.29
    assert [start for _, start, _ in whole] == sorted(start for _, start, _ in whole)
