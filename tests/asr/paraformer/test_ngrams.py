"""How likely tokens are behind others: by definition, in a file, and in real sentences."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.ngrams import FORMAT, NOTHING, Array, Ngrams

SIZE = 9


def texts(count: int = 80, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [draw.choices([3, 4, 5, 6], [5, 3, 2, 1], k=draw.randrange(8)) for _ in range(count)]


def witten_bell(said: list[list[int]], context: tuple[int, ...], token: int) -> float:
    """The share of a token behind a context, from the definition."""
    if not context:
        counts = Counter(t for text in said for t in text)
        return (counts[token] + 0.5) / (counts.total() + 0.5 * SIZE)
    padded = [[SIZE, *text] for text in said]
    length = len(context)
    after = Counter(
        text[at + length]
        for text in padded
        for at in range(len(text) - length)
        if tuple(text[at : at + length]) == context
    )
    lower = witten_bell(said, context[1:], token)
    if not after:
        return lower
    return (after[token] + len(after) * lower) / (after.total() + len(after))


def every(rows: int) -> Array:
    """All tokens in each of so many rows."""
    return np.tile(np.arange(SIZE), (rows, 1))


CONTEXTS = [(a, b) for a in (3, 4, 6, 8, SIZE, NOTHING) for b in (3, 5, 6, 8)] + [(NOTHING, SIZE)]


def test_shares_are_those_of_the_definition():
    said = texts()
    model = Ngrams.count(said, SIZE, (1, 1, 1))
    found = np.exp(model(np.array(CONTEXTS), every(len(CONTEXTS))))
    for row, context in zip(found.tolist(), CONTEXTS, strict=True):
        real = tuple(t for t in context if t != NOTHING)
        assert row == pytest.approx([witten_bell(said, real, t) for t in range(SIZE)], rel=1e-4)


@pytest.mark.parametrize("least", [(1,), (1, 1), (1, 1, 2), (1, 2, 3), (1, 1, 1, 2)])
def test_shares_of_all_tokens_are_one(least: tuple[int, ...]):
    model = Ngrams.count(texts(), SIZE, least)
    assert model.order == len(least)
    assert model.start(2).shape == (2, len(least) - 1)
    context = np.random.default_rng(0).integers(3, SIZE, (50, len(least) - 1))
    context = np.concatenate([context, model.start(1)])
    total = np.exp(model(context, every(len(context)))).sum(1)
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-4)


def test_rare_ngrams_are_read_from_shorter_ones():
    said = [[3, 4, 5]] * 5 + [[3, 4, 6]] + [[4, 6]] * 3
    whole, cut = (Ngrams.count(said, SIZE, (1, 1, n)) for n in (1, 2))
    assert len(cut.levels[2].keys) < len(whole.levels[2].keys)
    context, tokens = np.array([[3, 4]]), np.array([[5, 6]])
    kept, rare = cut(context, tokens)[0].tolist()
    assert kept == pytest.approx(whole(context, tokens)[0, 0].item())
    backoff = rare - cut(np.array([[NOTHING, 4]]), np.array([[6]])).item()
    assert backoff < math.log(0.5)


def test_a_file_holds_it(tmp_path: Path):
    model = Ngrams.count(texts(), SIZE)
    model.save(tmp_path / "n.safetensors", weight=0.5)
    again, told = Ngrams.load(tmp_path / "n.safetensors")
    assert told == {"weight": 0.5}
    context, tokens = np.array(CONTEXTS), every(len(CONTEXTS))
    np.testing.assert_allclose(again(context, tokens), model(context, tokens), rtol=0, atol=0.02)
    for ours, theirs in zip(again.levels, model.levels, strict=True):
        assert np.array_equal(ours.keys, theirs.keys)


def test_damaged_files(tmp_path: Path):
    path = tmp_path / "n.safetensors"
    with pytest.raises(CheckpointError, match=r"n\.safetensors is damaged or no n-grams"):
        Ngrams.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="no n-grams"):
        Ngrams.load(path)
    Ngrams.count(texts(), SIZE).save(path)
    path.write_bytes(path.read_bytes().replace(b"version", b"verzion"))
    with pytest.raises(CheckpointError, match="no n-grams"):
        Ngrams.load(path)
    Ngrams.count(texts(), SIZE).save(path)
    path.write_bytes(path.read_bytes().replace(b'"order\\": 3', b'"order\\": 4'))
    with pytest.raises(CheckpointError, match="no n-grams"):
        Ngrams.load(path)
    for head in ("5", '{"version": 1, "size": 9, "order": 0}', '{"version": 1}'):
        save_file({"scores1": torch.zeros(10).half()}, path, {FORMAT: head})
        with pytest.raises(CheckpointError, match="no n-grams"):
            Ngrams.load(path)
    broken = Ngrams.count(texts(), SIZE)
    broken.levels[1].scores[0] = math.nan
    broken.save(path)
    with pytest.raises(CheckpointError, match="n-grams of 2 are NaN"):
        Ngrams.load(path)
    Ngrams.count(texts(), SIZE).save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="no n-grams"):
        Ngrams.load(path)


@pytest.mark.parametrize(
    ("given", "least", "message"),
    [
        ([], (1, 1), "no text"),
        ([[], []], (1, 1), "no text"),
        ([[3]], (2, 1), "do not fall"),
        ([[3]], (), "do not fall"),
        ([[3]], (1,) * 30, "9 tokens are too many for n-grams of 30"),
    ],
)
def test_what_cannot_be_counted(given: list[list[int]], least: tuple[int, ...], message: str):
    with pytest.raises(ValueError, match=message):
        Ngrams.count(given, SIZE, least)
