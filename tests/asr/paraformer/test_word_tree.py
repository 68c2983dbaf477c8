"""The search in the tree of words: the best of all paths, by trying them all."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.word_tree import WordTree

Rewards = Mapping[tuple[int, ...], float]
# Special and unknown tokens stand among the others: they count as if they were not there.
VOCABULARIES = {
    "pieces that begin words": Tokenizer(["<blank>", "<s>", "</s>", "▁a", "a", "▁b", "<unk>"]),
    "pieces that go on": Tokenizer(["<blank>", "<s>", "</s>", "a@@", "b", "你", "<unk>"]),
}
each_vocabulary = pytest.mark.parametrize("name", VOCABULARIES)


def rewarded(ids: Sequence[int], rewards: Rewards, tokenizer: Tokenizer) -> float:
    """What phrases in a text bring at best, by the rule."""
    spoken = tuple(token for token in ids if tokenizer.is_spoken(token))
    words = tokenizer.words(spoken)
    begins, ends = {word.first for word in words}, {word.last for word in words}
    best = [0.0]
    for end in range(1, len(spoken) + 1):
        best.append(best[-1])
        for phrase, reward in rewards.items():
            start = end - len(phrase)
            if start in begins and end in ends and spoken[start:end] == phrase:
                best[end] = max(best[end], best[start] + reward)
    return best[-1]


@each_vocabulary
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_no_path_is_better(name: str, data: st.DataObject):
    tokenizer = VOCABULARIES[name]
    phrase = st.lists(st.integers(3, 5), min_size=1, max_size=3).map(tuple)
    rewards = data.draw(st.dictionaries(phrase, st.floats(0.1, 6.0), min_size=1, max_size=4))
    said = data.draw(st.lists(st.integers(0, 6), max_size=4))
    places = data.draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    logits = 2 * torch.randn(places, 7, generator=generator)
    tree = WordTree(rewards, tokenizer)
    before = tree.advance(tree.initial(), said)
    found = tree.search(before, logits, logits.argmax(1))

    @functools.cache
    def reward(path: tuple[int, ...]) -> float:
        return rewarded([*said, *path], rewards, tokenizer)

    def score(path: Sequence[int]) -> float:
        spoken = tuple(token for token in path if tokenizer.is_spoken(token))
        return sum(float(logits[at, token]) for at, token in enumerate(path)) + reward(spoken)

    best = max(map(score, itertools.product(range(7), repeat=places)))
    assert score(found) == pytest.approx(best, abs=1e-6)


def spelled(name: str, *texts: str) -> list[int]:
    return [VOCABULARIES[name].ids[text] for text in texts]


def found(name: str, rewards: Rewards, likely: Sequence[str], *others: tuple[int, str, float]):
    """Search where `likely` is said for sure but for others: place, token, logit below."""
    tokenizer = VOCABULARIES[name]
    logits = torch.full((len(likely), len(tokenizer)), -50.0)
    logits[torch.arange(len(likely)), torch.tensor(spelled(name, *likely))] = 0.0
    for place, token, logit in others:
        logits[place, tokenizer.ids[token]] = logit
    tree = WordTree(rewards, tokenizer)
    ids = tree.search(tree.initial(), logits, logits.argmax(1))
    return [tokenizer.tokens[token] for token in ids]


def test_words_begin_and_end_where_phrases_do():
    name = "pieces that begin words"
    b, ba = (tuple(spelled(name, *texts)) for texts in (["▁b"], ["▁b", "a"]))
    # "b" would be worth its change, but "ba" is what was said.
    assert found(name, {b: 3.0}, ["▁a", "a", "▁a"], (0, "▁b", -2.0)) == ["▁a", "a", "▁a"]
    assert found(name, {b: 3.0}, ["▁a", "▁a"], (0, "▁b", -2.0)) == ["▁b", "▁a"]
    assert found(name, {b: 3.0}, ["▁a"], (0, "▁b", -2.0)) == ["▁b"]
    assert found(name, {ba: 3.0}, ["▁a", "a"], (0, "▁b", -2.0)) == ["▁b", "a"]
    # What is no text ends no word.
    assert found(name, {b: 3.0}, ["▁a", "<unk>", "a"], (0, "▁b", -2.0)) == ["▁a", "<unk>", "a"]
    name = "pieces that go on"
    alone = {tuple(spelled(name, "b")): 3.0}
    assert found(name, alone, ["a@@", "a@@"], (1, "b", -2.0)) == ["a@@", "a@@"]
    assert found(name, alone, ["你", "a@@"], (1, "b", -2.0)) == ["你", "b"]
    assert found(name, alone, ["你", "你"], (1, "b", -2.0)) == ["你", "b"]


def test_half_a_phrase_is_worth_nothing():
    name = "pieces that begin words"
    baa = {tuple(spelled(name, "▁b", "a", "a")): 90.0}
    lost = ["▁a", "a", "▁a"]
    assert found(name, baa, lost, (0, "▁b", -1.0)) == ["▁b", "a", "a"], "for such a reward"
    baa = {phrase: 9.0 for phrase in baa}
    assert found(name, baa, lost, (0, "▁b", -1.0)) == lost
    assert found(name, baa, lost[:2], (0, "▁b", -1e-6)) == lost[:2]


def test_the_likeliest_stays_where_others_are_as_good():
    tokenizer = VOCABULARIES["pieces that go on"]
    tree = WordTree({(3, 4): 1.0}, tokenizer)
    for likeliest in itertools.product((0, 5, 6), repeat=2):
        logits = torch.zeros(2, 7)
        logits[0, 3] = -2.0
        assert tree.search(tree.initial(), logits, torch.tensor(likeliest)) == list(likeliest)


def test_a_long_utterance_leaves_a_small_state():
    tokenizer = VOCABULARIES["pieces that begin words"]
    tree = WordTree({(3, 4): 1.5, (3, 4, 5): 2.5, (5,): 1.0}, tokenizer)
    scores = tree.advance(tree.initial(), [3, 4, 5, 0] * 200)
    assert scores.shape == (tree.size,) == (3 + 4,)
    reached = scores[np.isfinite(scores)]
    assert reached.max() == 0.0
    assert reached.min() >= -2.5, "scores are those of what the next token can still change"
    assert tree.search(scores, torch.empty(0, 7), torch.empty(0, dtype=torch.int64)) == []


def test_a_thousand_words_cost_one_step_of_their_shared_nodes_a_place(
    monkeypatch: pytest.MonkeyPatch,
):
    letters = "abcdefghij"
    tokenizer = Tokenizer.of_characters([letters, *letters, letters[::-1]])
    words = ["".join(word) + "abc" for word in itertools.product(letters, repeat=3)]
    phrases = [tuple(tokenizer.encode(word)) for word in words]
    tree = WordTree(dict.fromkeys(phrases, 9.0), tokenizer)
    # 10 + 100 + 1000 beginnings, and three letters behind each.
    assert tree.size == 3 + 1110 + 3000
    assert tree.size < sum(map(len, phrases))
    steps: list[int] = []
    step = WordTree._step

    def counted(*given):
        steps.append(1)
        return step(*given)

    monkeypatch.setattr(WordTree, "_step", counted)
    wanted = [token for phrase in phrases[123:140] for token in phrase]
    logits = torch.zeros(len(wanted), len(tokenizer))
    logits[torch.arange(len(wanted)), torch.tensor(wanted)] = -1.4
    assert len(wanted) == len(tree.search(tree.initial(), logits, logits.argmax(1)))
    assert len(steps) == len(wanted)
    sure = 20 * torch.nn.functional.one_hot(torch.tensor(wanted), len(tokenizer))
    assert tree.search(tree.initial(), sure, sure.argmax(1)) == wanted
    assert math.isfinite(tree.advance(tree.initial(), wanted)[:3].max())
