"""The way through sound and n-grams is the best of all, and each utterance's own."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from paraformer_files import random_features
from small_paraformer import paraformer
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.chooser import Chooser
from echoic.asr.paraformer.fusion import FILE, Fusion, read_fusion, write_fusion
from echoic.asr.paraformer.hotwords import HotWords, likeliest
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.ngrams import Ngrams

SIZE = 9
TEXTS = [[3, 4, 5, 6], [3, 4, 5], [6, 3, 4], [5, 5, 4], [7, 8, 3]] * 3


def fusion(weight: float = 0.7, beam: int = 300) -> Fusion:
    """Follows so many ways that none is lost."""
    return Fusion(Ngrams.count(TEXTS, SIZE), weight, beam=beam, candidates=SIZE)


def scores(batch: int, places: int, seed: int = 0, size: int = SIZE) -> Tensor:
    return torch.randn(batch, places, size, generator=torch.Generator().manual_seed(seed))


def best_of_all(model: Fusion, context: Tensor, logits: Tensor) -> list[int]:
    """The best of every way through logits (N, V), from the definition."""
    sound = logits.log_softmax(-1)
    best: tuple[float, list[int]] = (-1e9, [])
    for way in itertools.product(range(SIZE), repeat=len(logits)):
        total, behind = 0.0, context.tolist()
        for place, token in enumerate(way):
            total += sound[place, token].item()
            text = token if token > 2 else int(sound[place, 3:].argmax()) + 3
            known = np.array([behind]), np.array([[text]])
            total += model.weight * model.ngrams(*known).item()
            if token > 2:
                behind = [*behind, token][-len(behind) :]
        best = max(best, (total, list(way)))
    return best[1]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_best_way_of_all(seed: int):
    model, logits = fusion(), scores(1, 3, seed)
    context = model.start(1)
    found = model(context, logits, torch.tensor([3]))
    assert found[0].tolist() == best_of_all(model, context[0], logits[0])


def test_what_follows_decides_as_well():
    """Of two that sound alike the one that the next token is usual behind."""
    logits = torch.full((1, 2, SIZE), -9.0)
    logits[0, 0, [5, 7]] = torch.tensor([1.0, 0.9])
    logits[0, 1, 8] = 2.0
    assert likeliest(logits).ids.tolist() == [[5, 8]]
    assert fusion()(fusion().start(1), logits, torch.tensor([2])).tolist() == [[7, 8]]


@pytest.mark.parametrize(("share", "said"), [(0.3, 4), (0.7, 2)])
def test_ngrams_do_not_favour_an_end(share: float, said: int):
    """Between a word and an end, of which they know nothing, the sound decides."""
    logits = torch.full((1, 1, SIZE), 1e-3)
    logits[0, 0, 2], logits[0, 0, 4] = share, 1 - share
    model = fusion(weight=3.0)
    assert model(model.start(1), logits.log(), torch.tensor([1])).tolist() == [[said]]
    rescored = model.rescored(model.start(1), logits.log(), torch.tensor([[4]]))
    assert rescored.argmax(-1).tolist() == [[said]]


def test_an_utterance_does_not_know_its_neighbours():
    model, logits = fusion(beam=4), scores(3, 6)
    counts = torch.tensor([6, 3, 0])
    together = model(model.start(3), logits, counts)
    for row, count in enumerate(counts.tolist()):
        alone = model(model.start(1), logits[row : row + 1, :count], counts[row : row + 1])
        assert torch.equal(together[row, :count], alone[0])
        assert torch.equal(together[row, count:], logits[row, count:].argmax(-1))
    nothing = model(model.start(2), scores(2, 0), torch.zeros(2, dtype=torch.int64))
    assert nothing.shape == (2, 0)


def expected() -> HotWords:
    """Words to expect in the letters of the small model."""
    return HotWords.parse("hello world=4, a b=3", paraformer().tokenizer)


def lettered() -> Fusion:
    """Over the small model's vocabulary."""
    size = len(paraformer().tokenizer)
    draw = torch.Generator().manual_seed(3)
    said = [torch.randint(3, size, (12,), generator=draw).tolist() for _ in range(40)]
    return Fusion(Ngrams.count(said, size, (1, 1, 1)), 1.5, beam=5)


@pytest.mark.parametrize("with_words", [False, True])
@pytest.mark.parametrize("with_ngrams", [False, True])
def test_blocks_are_chosen_one_after_the_other(with_words: bool, with_ngrams: bool):
    """In one go, with blocks, as in a step for each."""
    chooser = Chooser(expected() if with_words else None, lettered() if with_ngrams else None)
    logits = scores(2, 9, size=len(paraformer().tokenizer))
    blocks = torch.tensor([[0, 0, 0, 2, 2, 3, 3, 3, 3], [0, 1, 1, 1, 1, 1, 1, 3, 3]])
    counts = torch.tensor([9, 7])
    begin = chooser.initial_state(2, logits.device)
    end, whole = chooser.step(begin, logits, counts, blocks)
    states, said = [], []
    for row in range(2):
        state, ids = chooser.initial_state(1, logits.device), []
        for block in range(4):
            part = (blocks[row] == block) & (torch.arange(9) < counts[row])
            mine = logits[row : row + 1, part]
            state, best = chooser.step(state, mine, part.sum()[None])
            ids += best.ids[0].tolist()
        states.append(state)
        said.append(ids)
    for row, count in enumerate(counts.tolist()):
        assert whole.ids[row, :count].tolist() == said[row]
    for name in ("words", "context"):
        assert torch.equal(getattr(end, name), torch.cat([getattr(s, name) for s in states]))
    one_block = chooser.step(begin, logits, counts)[1]
    assert torch.equal(one_block.ids, whole.ids) != (with_words or with_ngrams)
    shares = logits.softmax(-1).gather(-1, whole.ids[:, :, None])[:, :, 0]
    torch.testing.assert_close(whole.probabilities, shares)


def test_hot_words_stay_preferred():
    (x,) = random_features(60)
    model = paraformer()
    told = HotWords.parse("hello world=9", model.tokenizer)
    model.fusion = lettered()
    helped = model.recognize(x[None])[0].text
    assert helped != paraformer().recognize(x[None])[0].text
    both = model.recognize(x[None], hotwords=told)[0].text
    assert "hello world" in both
    assert both != paraformer().recognize(x[None], hotwords=told)[0].text


@pytest.mark.parametrize("seed", range(2))
def test_hot_words_that_cannot_be_said_leave_the_best_way(seed: int):
    tokenizer, counts = paraformer().tokenizer, torch.tensor([8, 5])
    logits = scores(2, 8, seed, len(tokenizer))
    # As many tokens as no utterance has.
    told = HotWords([" ".join(["hello"] * 5)], tokenizer)
    assert len(told.words[0].ids) > 8
    without = Chooser(None, lettered()).choose(logits, counts).ids
    assert not torch.equal(without, logits.argmax(-1))
    assert torch.equal(Chooser(told, lettered()).choose(logits, counts).ids, without)


def test_a_model_keeps_its_ngrams(tmp_path: Path):
    (x,) = random_features(60)
    model = paraformer()
    model.fusion = lettered()
    model.save_pretrained(tmp_path)
    again = Paraformer.from_pretrained(tmp_path)
    assert again.fusion is not None
    assert (again.fusion.weight, again.fusion.beam) == (1.5, 5)
    assert again.recognize(x[None])[0].text == model.recognize(x[None])[0].text
    assert again.state_dict().keys() == paraformer().state_dict().keys()
    again.fusion = None
    again.save_pretrained(tmp_path)
    assert not (tmp_path / FILE).exists()
    assert Paraformer.from_pretrained(tmp_path).fusion is None


def test_ngrams_of_another_model_are_refused(tmp_path: Path):
    assert read_fusion(tmp_path, SIZE) is None
    write_fusion(fusion(), tmp_path)
    with pytest.raises(CheckpointError, match="is of 9 tokens, the model has 40"):
        read_fusion(tmp_path, 40)
    fusion().ngrams.save(tmp_path / FILE, weight=-1)
    with pytest.raises(CheckpointError, match="weight is -1, expected a number above 0"):
        read_fusion(tmp_path, SIZE)
    fusion().ngrams.save(tmp_path / FILE, beam=2.5)
    with pytest.raises(CheckpointError, match="expected integers"):
        read_fusion(tmp_path, SIZE)
    fusion().ngrams.save(tmp_path / FILE, wait=1)
    with pytest.raises(CheckpointError, match="damaged"):
        read_fusion(tmp_path, SIZE)
