"""Words to expect: how they are read and written, and what they change."""

import logging

import pytest
import torch
from paraformer_files import random_features
from small_paraformer import streaming_paraformer
from torch import Tensor

from echoic.asr.paraformer.chooser import Chooser
from echoic.asr.paraformer.hotwords import DEFAULT_BONUS, HotWords, likeliest
from echoic.asr.paraformer.tokenizer import Tokenizer

LETTERS = Tokenizer.of_characters(["kubernetes don't nineteen a cat i o anna", "你好", "z"])


def scores(tokenizer: Tokenizer, *places: dict[str, float]) -> Tensor:
    """Logits of one utterance, those of tokens that are not given far below."""
    logits = torch.full((1, len(places), len(tokenizer)), -60.0)
    for place, given in enumerate(places):
        for token, logit in given.items():
            logits[0, place, tokenizer.ids[token]] = logit
    return logits


def chosen(text: str, *places: dict[str, float]) -> str:
    logits = scores(LETTERS, *places)
    found = Chooser(HotWords.parse(text, LETTERS)).choose(logits, torch.tensor([len(places)]))
    assert torch.equal(
        found.probabilities, logits.softmax(-1).gather(2, found.ids[..., None])[..., 0]
    )
    return LETTERS.decode(found.ids[0].tolist())


def test_a_close_word_wins_and_a_far_one_does_not():
    heard = [{"k@@": 0.0, "c@@": -2.0}, {"a@@": 0.0}, {"t": 0.0}]
    assert chosen("cat", *heard) == "cat"
    assert chosen("", *heard) == "kat"
    heard[0]["c@@"] = -2.9 - 1.5
    assert chosen("cat", *heard) == "cat"
    heard[0]["c@@"] = -4.6
    assert chosen("cat", *heard) == "kat", f"{DEFAULT_BONUS} for each of three tokens are 4.5"
    assert chosen("cat=1.6", *heard) == "cat"
    assert chosen("cat a", *heard) == "kat"


def test_a_phrase_is_whole_words_in_their_order():
    heard = [{"a": 0.0}, {"k@@": 0.0, "c@@": -3.0}, {"a@@": 0.0}, {"t": 0.0}]
    assert chosen("a cat", *heard) == "a cat"
    assert chosen("你 cat", *heard) == "a kat"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Kubernetes, anna", ["kubernetes", "anna"]),
        (" Anna  \n Cat=2\n\n,", ["anna", "cat"]),
        ("Don\u2019t!", ["don't"]),
        ("a 19", ["a nineteen"]),
        ("你好，\u3001cat", ["你好", "cat"]),
        ("", []),
    ],
)
def test_phrases_are_written_as_the_training_wrote_its_texts(text: str, written: list[str]):
    expected = HotWords.parse(text, LETTERS)
    assert [word.text for word in expected.words] == written
    assert [list(word.ids) for word in expected.words] == [LETTERS.encode(t) for t in written]
    assert expected.passed_over == ()
    assert len(expected) == len(written)


def test_upper_case_stays_where_the_vocabulary_has_it():
    cased = Tokenizer.of_characters(["Anna anna"])
    assert [word.text for word in HotWords(["Anna"], cased).words] == ["Anna"]


def test_bonuses():
    expected = HotWords(["cat = 2.5", "anna", "a=1e-3"], LETTERS, bonus=2)
    assert [word.bonus for word in expected.words] == [2.5, 2, 0.001]
    for wrong in ("cat=", "cat=0", "cat=-1", "cat=inf", "cat=nan", "cat=x", "=2=3"):
        with pytest.raises(ValueError, match=r"hot word '.*': expected a number above 0"):
            HotWords([wrong], LETTERS)
    with pytest.raises(ValueError, match="the bonus of hot words is -1, expected a number"):
        HotWords([], LETTERS, bonus=-1)


def test_a_word_that_cannot_be_written_is_passed_over(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        expected = HotWords.parse("cat, Xylophone=2, 1066, !", LETTERS)
    assert [word.text for word in expected.words] == ["cat"]
    assert expected.passed_over == ("Xylophone", "1066", "!")
    assert "hot word 'Xylophone' is passed over: it cannot be written" in caplog.text


def test_pieces_that_begin_words():
    from echoic.recipes.prepare.vocabulary import pieces_of

    tokenizer = pieces_of(["a cat and a cart and a carpet sat apart"] * 9, 24)
    expected = HotWords.parse("Carpet, a cat", tokenizer)
    assert [tokenizer.decode(word.ids) for word in expected.words] == ["carpet", "a cat"]
    ids = expected.words[0].ids
    logits = torch.zeros(1, len(ids), len(tokenizer))
    assert tuple(Chooser(expected).choose(logits, torch.tensor([len(ids)])).ids[0].tolist()) == ids
    with pytest.raises(ValueError, match=r"the model has no bpe.model.*leave out the hot words"):
        HotWords(["carpet"], Tokenizer(tokenizer.tokens))


def test_rows_are_chosen_alone_and_end_where_they_end():
    logits = 2 * torch.randn(3, 6, len(LETTERS), generator=torch.Generator().manual_seed(0))
    expected = HotWords.parse("a cat, 你好, i, o=3", LETTERS)
    together = Chooser(expected).choose(logits, torch.tensor([6, 0, 4]))
    greedy = likeliest(logits)
    for row, count in enumerate([6, 0, 4]):
        one = logits[row, None, :count]
        alone = Chooser(expected).choose(one, torch.tensor([count]))
        assert torch.equal(together.ids[row, :count], alone.ids[0])
        assert torch.equal(together.ids[row, count:], greedy.ids[row, count:])
    assert not torch.equal(together.ids, greedy.ids)
    nothing = Chooser(HotWords([], LETTERS)).choose(logits, torch.tensor([6, 0, 4]))
    assert torch.equal(nothing.ids, greedy.ids)
    assert torch.equal(nothing.probabilities, greedy.probabilities)


def test_what_was_said_stays_and_can_be_completed():
    expected = HotWords.parse("a cat", LETTERS)
    begin, rest = [{"a": 0.0}, {"c@@": 0.0}], [{"o@@": 0.0, "a@@": -5.0}, {"t": 0.0}]
    said = scores(LETTERS, *begin), scores(LETTERS, *rest)
    state = expected.initial_state(1, torch.device("cpu"))
    state, first = expected.step(state, said[0], torch.tensor([2]))
    state, second = expected.step(state, said[1], torch.tensor([2]))
    ids = torch.cat([first.ids, second.ids], dim=1)
    assert LETTERS.decode(ids[0].tolist()) == "a cat"
    blocks = torch.tensor([[0, 0, 1, 1]])
    start = expected.initial_state(1, torch.device("cpu"))
    after, whole = expected.step(start, torch.cat(said, dim=1), torch.tensor([4]), blocks)
    assert torch.equal(whole.ids, ids)
    assert torch.equal(after, state)
    # A beginning that was not said is not said for what may come.
    doubtful = [{"i": 0.0, "a": -0.1}, {"c@@": 0.0}, {"a@@": 0.0}, {"t": 0.0}]
    for parts, text in (([[0, 0, 0, 0]], "a cat"), ([[0, 0, 1, 1]], "i cat")):
        start = expected.initial_state(1, torch.device("cpu"))
        logits = scores(LETTERS, *doubtful)
        found = expected.step(start, logits, torch.tensor([4]), torch.tensor(parts))[1]
        assert LETTERS.decode(found.ids[0].tolist()) == text


def test_a_model_is_told():
    model = streaming_paraformer()
    x = torch.stack(random_features(40, 40))
    plain = model.recognize(x)
    assert model.recognize(x, hotwords=HotWords([], model.tokenizer)) == plain
    unlikely = HotWords.parse("hello world=0.001", model.tokenizer)
    assert model.recognize(x, hotwords=unlikely) == plain
    told = model.recognize(x, hotwords=HotWords.parse("world=200", model.tokenizer))
    for found, before in zip(told, plain, strict=True):
        assert found.quantity == before.quantity
        assert {word.word for word in found.words} == {"world"}
        assert len(found.tokens) >= len(before.tokens) > 4
        assert max(found.probabilities) < max(before.probabilities)
    with pytest.raises(ValueError, match="another model's vocabulary"):
        model.recognize(x, hotwords=HotWords(["cat"], LETTERS))
