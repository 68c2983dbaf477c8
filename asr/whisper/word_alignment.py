"""Word times for decoded windows: one more pass of the decoder, and what its heads looked at."""

from collections.abc import Sequence
from itertools import chain

import torch

from echoic.asr.transcript import Word
from echoic.asr.whisper.alignment import align
from echoic.asr.whisper.decoding import Decoded, EncodedBatch, WindowDecoder
from echoic.asr.whisper.segments import text_spans
from echoic.asr.whisper.word_times import SegmentSpan, segment_word_times


class WordAligner:
    """Aligns the text of windows with their sound (batched form of OpenAI's `find_alignment`)."""

    def __init__(self, decoder: WindowDecoder) -> None:
        self._model = decoder.model
        self._task = decoder.options.task

    def align(
        self,
        encoded: EncodedBatch,
        decoded: Sequence[Decoded],
        languages: Sequence[str | None],
    ) -> list[list[tuple[Word, ...]]]:
        """Return, for each window, the words of each span of its text.

        Args:
            encoded: the windows.
            decoded: their texts.
            languages: spoken in them; None for models that know English only.

        Returns:
            Words with times in seconds from the window's start, span by span.
        """
        tokenizer = self._model.tokenizer
        spans = [
            text_spans(tokenizer, answer.hypothesis.tokens, seconds)
            for answer, seconds in zip(decoded, encoded.seconds, strict=True)
        ]
        results: list[list[tuple[Word, ...]]] = [[] for _ in decoded]
        rows = [i for i, found in enumerate(spans) if found]
        if not rows:
            return results
        prompts = [tokenizer.prompt(languages[i], self._task) for i in rows]
        texts = [list(chain.from_iterable(span.tokens for span in spans[i])) for i in rows]
        sequences = [[*p, *t, tokenizer.eot] for p, t in zip(prompts, texts, strict=True)]
        width = max(map(len, sequences))
        padded = [s + [tokenizer.eot] * (width - len(s)) for s in sequences]
        part = encoded.select(rows)
        cache = self._model.decoder.start(*part.windows, capacity=width)
        tokens = torch.tensor(padded, device=self._model.device)
        hidden, weights = self._model.decoder.cross_scores(
            tokens, cache, self._model.generation.alignment_heads
        )
        for place, i in enumerate(rows):
            first = len(prompts[place]) - 1
            text = torch.tensor(texts[place], device=hidden.device)
            logits = self._model.decoder.logits(hidden[place, first : first + len(text)])
            logits[:, tokenizer.eot :] = -torch.inf  # among words only
            probabilities = logits.softmax(-1).gather(1, text[:, None])[:, 0].tolist()
            frames = align(
                weights[place, :, : len(sequences[place])],
                first_row=first,
                num_tokens=len(text),
                num_frames=max(1, round(encoded.seconds[i] * 50)),
            )
            timed = segment_word_times(
                tokenizer.split_to_words(texts[place], languages[i] or "en"),
                frames,
                probabilities,
                [SegmentSpan(s.start, s.end, len(s.tokens)) for s in spans[i]],
            )
            results[i] = [segment.words for segment in timed]
        return results
