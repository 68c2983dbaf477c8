"""Alignments: the algorithms against brute force, and speech whose true times are known."""

import itertools
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from echoic.recipes.prepare.coded_speech import align_units
from echoic.tts.alignment.corpus import align, batches, fit
from echoic.tts.alignment.files import ALIGNER, load_units, save_units
from echoic.tts.alignment.hmm import (
    Spoken,
    UnitModel,
    count,
    even_shares,
    first_frames,
    learn,
    shares,
)
from echoic.tts.errors import TtsError
from echoic.tts.text.alphabet import BYTES
from echoic.tts.tokens import FrameFormat
from echoic.tts.training.coded import CodedCorpus, CodedWriter, CorpusSettings, write_starts

BOOKS, CODES = 2, 5


def ways(frames: int, units: int) -> list[list[int]]:
    """All ways through a text: the unit of each frame."""
    cuts = itertools.combinations(range(1, frames), units - 1)
    return [[sum(t >= c for c in cut) for t in range(frames)] for cut in cuts]


def random_model(units: int, seed: int = 0) -> UnitModel:
    generator = torch.Generator().manual_seed(seed)
    emissions = torch.randn(BOOKS, units, CODES, generator=generator).log_softmax(2)
    return UnitModel(emissions, torch.rand(units, generator=generator) * 0.8 + 0.1)


def speech(rows: list[tuple[int, int]], size: int = 6, seed: int = 0) -> Spoken:
    generator = torch.Generator().manual_seed(seed)
    frames, units = max(t for t, _ in rows), max(n for _, n in rows)
    return Spoken(
        torch.randint(CODES, (len(rows), frames, BOOKS), generator=generator),
        torch.tensor([t for t, _ in rows]),
        torch.randint(size, (len(rows), units), generator=generator),
        torch.tensor([n for _, n in rows]),
    )


def by_definition(one: Spoken, row: int, model: UnitModel) -> tuple[Tensor, float]:
    """Sum over all ways, one after the other."""
    frames, units = int(one.frame_lengths[row]), int(one.text_lengths[row])
    text = one.text[row, :units].tolist()
    found, total = torch.zeros(frames, units), 0.0
    for way in ways(frames, units):
        score = 0.0
        for t, unit in enumerate(way):
            for book in range(BOOKS):
                code = int(one.frames[row, t, book])
                score += 0.4 * float(model.emissions[book, text[unit], code])
            stay = float(model.stay[text[unit]])
            goes_on = t + 1 < frames and way[t + 1] == unit
            score += float(torch.tensor(stay if goes_on else 1 - stay).log())
        weight = float(torch.tensor(score).exp())
        total += weight
        for t, unit in enumerate(way):
            found[t, unit] += weight
    return found / total, float(torch.tensor(total).log())


def test_shares_are_those_of_all_ways() -> None:
    rows = [(7, 3), (4, 4), (5, 1), (6, 2)]
    one, model = speech(rows), random_model(6)
    found, score = shares(one, model)
    expected = 0.0
    for row, (frames, units) in enumerate(rows):
        defined, own = by_definition(one, row, model)
        torch.testing.assert_close(found[row, :frames, :units], defined, atol=1e-4, rtol=1e-3)
        expected += own
    assert score == pytest.approx(expected, rel=1e-4)


def test_the_likeliest_way_is_the_best_of_all() -> None:
    rows = [(7, 3), (4, 4), (5, 1), (8, 5)]
    one = speech(rows, seed=3)
    likely = torch.rand(4, 8, 5, generator=torch.Generator().manual_seed(2))
    starts = first_frames(one, likely)
    for row, (frames, units) in enumerate(rows):
        scores = likely[row].log()
        best = max(
            ways(frames, units), key=lambda w: sum(float(scores[t, u]) for t, u in enumerate(w))
        )
        assert starts[row, :units].tolist() == [best.index(u) for u in range(units)]
        assert starts[row, units:].tolist() == [frames] * (5 - units)


def test_counts_are_of_what_counts() -> None:
    one = speech([(6, 2), (4, 3)])
    even = even_shares(one)
    torch.testing.assert_close(even.sum(2), torch.ones(2, 6))
    found = count(one, even, 6, CODES)
    assert float(found.frames.sum()) == pytest.approx(10, rel=1e-4)
    assert float(found.units.sum()) == 5
    torch.testing.assert_close(found.codes.sum((1, 2)), torch.full((BOOKS,), 10.0))
    twice = learn(found.plus(found))
    torch.testing.assert_close(twice.stay, learn(found).stay)
    torch.testing.assert_close(twice.emissions.exp().sum(2), torch.ones(BOOKS, 6))


def spoken_corpus(folder: Path, utterances: int = 60) -> tuple[CodedCorpus, list[list[int]]]:
    """Speech whose codes tell most of the time which unit is said, and when each one begins."""
    draw = random.Random(0)
    settings = CorpusSettings(FrameFormat(BOOKS, 16, 50.0), "none", BYTES.to_config())
    truth = []
    with CodedWriter(folder, settings) as writer:
        for number in range(utterances):
            ids = [draw.randrange(65, 73) for _ in range(draw.randint(3, 9))]
            rows, starts = [], []
            for unit in ids:
                starts.append(len(rows))
                for _ in range(draw.randint(1, 3 if unit % 2 else 14)):
                    sure = (unit - 65, 15 - (unit - 65))
                    rows.append([c if draw.random() < 0.8 else draw.randrange(16) for c in sure])
            writer.add(str(number), "x", ids, torch.tensor(rows))
            truth.append(starts)
        writer.add("short", "x", [65, 66, 67], torch.zeros(2, BOOKS, dtype=torch.int64))
    return CodedCorpus(folder), truth


def test_it_finds_when_each_unit_is_said(tmp_path: Path) -> None:
    corpus, truth = spoken_corpus(tmp_path / "c")
    scores: list[float] = []
    found = dict(align(corpus, fit(corpus, rounds=8, watch=scores.append)))
    assert len(scores) == 8
    assert scores == sorted(scores)
    assert sorted(found) == list(range(len(truth)))  # not the one that is too short
    pairs = [(a, b) for n, own in enumerate(truth) for a, b in zip(found[n], own, strict=True)]
    assert sum(abs(a - b) <= 1 for a, b in pairs) > 0.85 * len(pairs)
    # A guess that goes evenly through the text is far worse.
    even = [
        (round(k * corpus.lines[n].frames / len(own)), b)
        for n, own in enumerate(truth)
        for k, b in enumerate(own)
    ]
    assert sum(abs(a - b) <= 1 for a, b in even) < 0.7 * len(even)


def test_a_corpus_keeps_what_was_found(tmp_path: Path) -> None:
    corpus, _ = spoken_corpus(tmp_path / "c", 12)
    assert all(line.starts is None for line in corpus.lines)
    with pytest.raises(ValueError, match="coded-speech --align"):
        CodedCorpus(corpus.folder, aligned=True)
    assert align_units(str(corpus.folder)) == 1
    read = CodedCorpus(corpus.folder, aligned=True)
    assert len(read) == 12
    for line in read.lines:
        assert line.starts is not None
        assert line.starts[0] == 0
        assert line.starts == sorted(set(line.starts))
    assert load_units(corpus.folder / ALIGNER).emissions.shape == (BOOKS, BYTES.size, 16)
    with pytest.raises(ValueError, match="cannot begin at"):
        write_starts(corpus, {0: [1, *range(2, len(corpus.lines[0].ids) + 1)]})
    assert CodedCorpus(corpus.folder, aligned=True).lines == read.lines


def test_what_cannot_be_aligned(tmp_path: Path) -> None:
    settings = CorpusSettings(FrameFormat(1, 16, 50.0), "none", BYTES.to_config())
    with CodedWriter(tmp_path / "c", settings) as writer:
        writer.add("a", "x", [65, 66], torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="as many frames as units of text"):
        batches(CodedCorpus(tmp_path / "c"))


def test_units_on_disk(tmp_path: Path) -> None:
    model = random_model(4)
    save_units(model, tmp_path / "a.safetensors")
    read = load_units(tmp_path / "a.safetensors")
    torch.testing.assert_close(read.emissions, model.emissions, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(read.stay, model.stay)
    save_units(model._replace(stay=torch.zeros(3)), tmp_path / "b.safetensors")
    for name in ("b.safetensors", "none.safetensors"):
        with pytest.raises(TtsError, match="damaged"):
            load_units(tmp_path / name)
