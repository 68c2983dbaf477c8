"""What Paraformer returns for an utterance: tokens, text, times and probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from echoic.asr.paraformer.chooser import Chooser
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.predictor import Prediction
from echoic.asr.paraformer.tokenizer import BLANK, END, START, Tokenizer
from echoic.asr.transcript import Word


@dataclass(frozen=True, slots=True)
class Recognition:
    """A recognised utterance; times are seconds from its beginning.

    Attributes:
        tokens: ids, without blanks, starts and ends.
        text: what was said.
        token_times: (start, end) of each token.
        probabilities: of each token, that it is right if its place is.
        words: with times and the mean probability of their tokens.
        quantity: how many tokens there seemed to be before that was made a whole number; far from
            the number of tokens where the length is in doubt.
    """

    tokens: tuple[int, ...]
    text: str
    token_times: tuple[tuple[float, float], ...]
    probabilities: tuple[float, ...]
    words: tuple[Word, ...]
    quantity: float


NOTHING = Recognition((), "", (), (), (), 0.0)


def read_out(
    logits: Tensor,
    prediction: Prediction,
    lengths: Tensor,
    config: ParaformerConfig,
    tokenizer: Tokenizer,
    chooser: Chooser,
) -> list[Recognition]:
    """Choose a token for each place, and make words of them.

    Args:
        logits: (B, N, V).
        prediction: where the tokens are.
        lengths: (B,) frames of the sound.
        config: tells the time of a frame.
        tokenizer: tells the words.
        chooser: of tokens.
    """
    counts, frontend = prediction.counts, config.frontend
    best = chooser.choose(logits, counts)
    seconds = [
        (frames * frontend.frame_seconds + frontend.frame_offset).clamp(min=0).cpu()
        for frames in (prediction.starts, prediction.ends)
    ]
    ids, probabilities = best.ids.cpu(), best.probabilities.cpu()
    return [
        _one(
            ids[row, :count].tolist(),
            probabilities[row, :count].tolist(),
            [tuple(times[row, :count].tolist()) for times in seconds],
            float(prediction.quantity[row]),
            tokenizer,
            config.reach,
            frames * frontend.frame_seconds,
        )
        for row, (count, frames) in enumerate(zip(counts.tolist(), lengths.tolist(), strict=True))
    ]


def _one(
    ids: list[int],
    probabilities: list[float],
    seconds: list[tuple[float, ...]],
    quantity: float,
    tokenizer: Tokenizer,
    reach: float,
    end: float,
) -> Recognition:
    kept = [place for place, i in enumerate(ids) if i not in (BLANK, START, END)]
    tokens = tuple(ids[place] for place in kept)
    times = tuple((seconds[0][place], seconds[1][place]) for place in kept)
    sure = tuple(probabilities[place] for place in kept)
    words = tuple(
        Word(
            start=times[word.first][0],
            end=word_end(times, word.last, reach, end),
            word=word.text,
            probability=sum(sure[word.first : word.last]) / (word.last - word.first),
        )
        for word in tokenizer.words(tokens)
    )
    return Recognition(tokens, tokenizer.decode(tokens), times, sure, words, quantity)


def word_end(
    times: Sequence[Sequence[float]], last: int, reach: float, end: float = math.inf
) -> float:
    """Return when a word ends that consists of tokens up to `last`, that one not included.

    Args:
        times: begin and end of each token in seconds.
        last: number of the first token behind the word.
        reach: see `ParaformerConfig.reach`; less where the next token begins sooner.
        end: of the sound, behind which no word goes on.
    """
    said = times[last - 1][1]
    after = times[last][0] if last < len(times) else end
    return max(said, min(said + reach, after))
