"""Windows of sound to text: batched search, with rising temperatures where the answer is poor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.asr.guards import compression_ratio, cut_loop, token_budget
from echoic.asr.options import TranscribeOptions
from echoic.asr.whisper.beam import beam_search
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.greedy import greedy_search, sample
from echoic.asr.whisper.hypothesis import Hypothesis, SearchTask, capacity
from echoic.asr.whisper.model import SAMPLE_RATE, SILENCE_STRIDE, WhisperModel
from echoic.asr.whisper.rules import SECONDS_PER_TIMESTAMP, TokenRules


@dataclass(frozen=True, slots=True)
class Decoded:
    """The accepted decoding of a window.

    Attributes:
        hypothesis: tokens and probabilities.
        text: of the tokens, without times.
        temperature: it was found at.
        compression_ratio: of the text.
        is_silence: the model says that nobody speaks.
    """

    hypothesis: Hypothesis
    text: str
    temperature: float
    compression_ratio: float
    is_silence: bool


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The encoder's output for windows of unequal length.

    Attributes:
        windows: what the encoder made of them.
        seconds: of sound in each window.
    """

    windows: EncodedWindows
    seconds: tuple[float, ...]

    def select(self, rows: Sequence[int]) -> "EncodedBatch":
        """Return some of the windows."""
        index = torch.tensor(rows, device=self.windows.states.device)
        states, log_counts = self.windows
        return EncodedBatch(
            windows=EncodedWindows(states[index], log_counts[index]),
            seconds=tuple(self.seconds[row] for row in rows),
        )


class WindowDecoder:
    """Decodes batches of windows with one model and one set of options."""

    def __init__(self, model: WhisperModel, options: TranscribeOptions) -> None:
        self.model = model
        self.options = options
        self.rules = TokenRules(
            model.generation,
            model.config.vocab_size,
            timestamps=options.timestamps,
            device=model.device,
        )
        self._history = self._earlier_text()

    def encode(
        self,
        wavs: Sequence[Tensor],
        *,
        stride: int = SILENCE_STRIDE,
        languages: Sequence[str | None] | None = None,
    ) -> EncodedBatch:
        """Encode windows; see `WhisperModel.encode`."""
        return EncodedBatch(
            windows=self.model.encode(wavs, stride=stride, languages=languages),
            seconds=tuple(len(wav) / SAMPLE_RATE for wav in wavs),
        )

    def detect_language(self, encoded: EncodedBatch) -> list[tuple[str, float]]:
        """Return the likeliest language of each window and its probability.

        Raises:
            ValueError: the model knows English only.
        """
        languages = self.model.generation.lang_to_id
        if not languages:
            raise ValueError("this model knows English only: there is no language to detect")
        start = self.model.generation.decoder_start_token_id
        cache = self.model.decoder.start(*encoded.windows, capacity=1)
        prompts = torch.full((len(encoded.seconds), 1), start, device=self.model.device)
        logits = self.model.decoder.logits(self.model.decoder(prompts, cache)[:, -1])
        codes = list(languages)
        ids = torch.tensor(list(languages.values()), device=logits.device)
        best, index = logits[:, ids].softmax(-1).max(-1)
        return [(codes[i], p) for i, p in zip(index.tolist(), best.tolist(), strict=True)]

    def decode(
        self, encoded: EncodedBatch, languages: Sequence[str | None], seeds: Sequence[int]
    ) -> list[Decoded]:
        """Decode each window until its text passes the gates, or temperatures run out.

        Args:
            encoded: the windows.
            languages: of each, None for models that know English only.
            seeds: of each, for the samples drawn above temperature 0.
        """
        best: dict[int, Decoded] = {}
        pending = list(range(len(encoded.seconds)))
        for temperature in self.options.temperatures:
            part = encoded if len(pending) == len(encoded.seconds) else encoded.select(pending)
            found = self._search(
                part, temperature, [languages[i] for i in pending], [seeds[i] for i in pending]
            )
            for index, decoded in zip(pending, found, strict=True):
                if index not in best or self._merit(decoded) > self._merit(best[index]):
                    best[index] = decoded
            pending = [i for i in pending if not self._accepts(best[i])]
            if not pending:
                break
        return [self._without_loop(best[i]) for i in range(len(encoded.seconds))]

    def prompt(self, language: str | None) -> list[int]:
        """Return the tokens that the decoder starts from."""
        start = self.model.tokenizer.prompt(
            language, self.options.task, timestamps=self.options.timestamps
        )
        return [*self._history, *start]

    def _search(
        self,
        encoded: EncodedBatch,
        temperature: float,
        languages: Sequence[str | None],
        seeds: Sequence[int],
    ) -> list[Decoded]:
        options, generation = self.options, self.model.generation
        prompts = [self.prompt(language) for language in languages]
        room = self.model.config.max_target_positions
        limit = min(room // 2, room - len(prompts[0]) - 1)
        budgets = [token_budget(seconds, limit) for seconds in encoded.seconds]
        device = self.model.device
        times = [int(seconds / SECONDS_PER_TIMESTAMP) + 1 for seconds in encoded.seconds]
        task = SearchTask(
            decoder=self.model.decoder,
            cache=self.model.decoder.start(
                *encoded.windows, capacity=capacity(len(prompts[0]), budgets)
            ),
            prompts=torch.tensor(prompts, device=device),
            rules=self.rules,
            time_limits=torch.tensor(times, device=device),
            budgets=budgets,
            no_speech=generation.no_speech_token_id,
            start=generation.decoder_start_token_id,
            end=generation.eos_token_id,
        )
        if temperature > 0:
            groups = sample(
                task, temperature=temperature, best_of=options.best_of, seeds=list(seeds)
            )
            return [max(map(self._judge(temperature), group), key=self._merit) for group in groups]
        if options.beam_size > 1:
            found = beam_search(
                task,
                beam_size=options.beam_size,
                patience=options.patience,
                length_penalty=options.length_penalty,
            )
        else:
            found = greedy_search(task)
        return list(map(self._judge(0.0), found))

    def _judge(self, temperature: float) -> Callable[[Hypothesis], Decoded]:
        def judge(hypothesis: Hypothesis) -> Decoded:
            text = self.model.tokenizer.decode(hypothesis.tokens)
            return Decoded(
                hypothesis=hypothesis,
                text=text,
                temperature=temperature,
                compression_ratio=compression_ratio(text),
                is_silence=self._is_silence(hypothesis),
            )

        return judge

    def _is_silence(self, hypothesis: Hypothesis) -> bool:
        options = self.options
        if options.no_speech_threshold is None or options.log_prob_threshold is None:
            return False
        return (
            hypothesis.no_speech_prob > options.no_speech_threshold
            and hypothesis.avg_logprob < options.log_prob_threshold
        )

    def _accepts(self, decoded: Decoded) -> bool:
        if decoded.is_silence:
            return True
        low = self.options.log_prob_threshold
        return not self._repeats(decoded) and (low is None or decoded.hypothesis.avg_logprob >= low)

    def _repeats(self, decoded: Decoded) -> bool:
        high = self.options.compression_ratio_threshold
        repetitive = high is not None and decoded.compression_ratio > high
        return repetitive or not decoded.hypothesis.complete

    def _merit(self, decoded: Decoded) -> tuple[bool, float]:
        return not self._repeats(decoded), decoded.hypothesis.avg_logprob

    def _without_loop(self, decoded: Decoded) -> Decoded:
        """Cut the repetitions off a text that no temperature could save."""
        if decoded.hypothesis.complete:
            return decoded
        old = decoded.hypothesis
        tokens = cut_loop(old.tokens)
        sum_logprob = old.avg_logprob * (len(tokens) + 1)  # of the tokens kept, about
        text = self.model.tokenizer.decode(tokens)
        return Decoded(
            hypothesis=Hypothesis(tokens, sum_logprob, old.no_speech_prob, old.complete),
            text=text,
            temperature=decoded.temperature,
            compression_ratio=compression_ratio(text),
            is_silence=decoded.is_silence,
        )

    def _earlier_text(self) -> list[int]:
        parts = [p.strip() for p in (self.options.hotwords, self.options.prompt) if p and p.strip()]
        if not parts:
            return []
        tokens = self.model.tokenizer.encode(" " + " ".join(parts))
        # Half the positions belong to the answer; the end of the prompt is what lies nearest.
        room = self.model.config.max_target_positions // 2 - 1
        return [self.model.generation.prev_sot_token_id, *tokens[-room:]]
