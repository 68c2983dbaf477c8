"""Aligning a corpus of codes: a model learns from some of it, and then hears all of it."""

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from echoic.tts.alignment.hmm import (
    Counts,
    Spoken,
    UnitModel,
    count,
    even_shares,
    first_frames,
    learn,
    shares,
)
from echoic.tts.text.alphabet import alphabet_from_config
from echoic.tts.training.coded import CodedCorpus

_FRAMES = 8_000  # of a batch


@torch.inference_mode()
def fit(
    corpus: CodedCorpus,
    *,
    rounds: int = 12,
    utterances: int = 2_000,
    seed: int = 0,
    watch: Callable[[float], object] = lambda score: None,
) -> UnitModel:
    """Learn what units sound like.

    Args:
        corpus: codes and their texts.
        rounds: how often all is heard.
        utterances: to learn from, drawn from all.
        seed: of the draw.
        watch: is given the mean score of a frame after each round.

    Raises:
        ValueError: no utterance has as many frames as units.
    """
    groups = batches(corpus, utterances, seed)
    size = alphabet_from_config(corpus.settings.alphabet).size
    codes = corpus.settings.format.codebook_size
    model: UnitModel | None = None
    for _ in range(rounds + 1):
        total: Counts | None = None
        for group in groups:
            speech = _load(corpus, group)
            heard, score = (even_shares(speech), 0.0) if model is None else shares(speech, model)
            found = count(speech, heard, size, codes, score)
            total = found if total is None else total.plus(found)
        assert total is not None
        if model is not None:
            watch(total.score / float(total.frames.sum()))
        model = learn(total)
    assert model is not None
    return model


@torch.inference_mode()
def align(corpus: CodedCorpus, model: UnitModel) -> Iterator[tuple[int, list[int]]]:
    """Yield for each utterance, in no order, its number and the first frame of each unit.

    Those with more units than frames are left out.
    """
    for group in batches(corpus):
        speech = _load(corpus, group)
        starts = first_frames(speech, shares(speech, model)[0])
        for index, row in zip(group, starts.tolist(), strict=True):
            yield index, row[: len(corpus.lines[index].ids)]


def batches(corpus: CodedCorpus, utterances: int | None = None, seed: int = 0) -> list[list[int]]:
    """Return the numbers of utterances that can be aligned, those of like lengths together.

    Args:
        corpus: of all.
        utterances: how many to draw; all for None.
        seed: of the draw.

    Raises:
        ValueError: there is none.
    """
    usable = [i for i, line in enumerate(corpus.lines) if len(line.ids) <= line.frames]
    if not usable:
        raise ValueError(
            f"{corpus.folder} has no utterance with as many frames as units of text: take phonemes "
            "for letters, or a codec of more frames a second"
        )
    if utterances is not None and utterances < len(usable):
        usable = random.Random(seed).sample(usable, utterances)
    usable.sort(key=lambda i: corpus.lines[i].frames)
    groups: list[list[int]] = [[]]
    for index in usable:
        if groups[-1] and (len(groups[-1]) + 1) * corpus.lines[index].frames > _FRAMES:
            groups.append([])
        groups[-1].append(index)
    return groups


def _load(corpus: CodedCorpus, group: Sequence[int]) -> Spoken:
    frames = [corpus.frames(index) for index in group]
    texts = [torch.tensor(corpus.lines[index].ids) for index in group]
    return Spoken(
        pad_sequence(frames, batch_first=True),
        torch.tensor([len(one) for one in frames]),
        pad_sequence(texts, batch_first=True),
        torch.tensor([len(one) for one in texts]),
    )
