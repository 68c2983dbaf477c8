"""LocalAgreement: what successive hypotheses have in common is said for good.

Liu et al. 2020 ("Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection") and Machacek et al. 2023 ("Turning Whisper into Real-Time Transcription
System"), with guards: two hypotheses agree on a loop as easily as on speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.buffer import BufferState
from echoic.asr.whisper.streaming.continuation import Heard
from echoic.asr.whisper.streaming.policy import BufferPolicy, Decision, PolicyConfig
from echoic.asr.whisper.streaming.seam import normalized
from echoic.asr.whisper.word_times import TimedWord


@dataclass(frozen=True, slots=True)
class AgreementConfig(PolicyConfig):
    """How `LocalAgreement` listens; see also `PolicyConfig`.

    Attributes:
        agreement: hypotheses in a row that must agree on a word and all before it.
        hold_seconds: sound that must follow the hypothesis' last word: it may be half a word, and
            the mark behind it that of a sentence which goes on.
        beam_size: hypotheses of each decoding; 1 is greedy, and verifies the last one in one pass.
    """

    agreement: int = 2
    hold_seconds: float = 0.6
    beam_size: int = 1

    def __post_init__(self) -> None:
        PolicyConfig.__post_init__(self)
        if self.agreement < 1:
            raise ValueError(f"agreement is {self.agreement}; give 1 or more hypotheses, usually 2")
        if self.hold_seconds < 0:
            raise ValueError(f"hold_seconds is {self.hold_seconds}; give 0 or more")
        if not 1 <= self.beam_size <= 32:
            raise ValueError(f"beam_size is {self.beam_size}; give 1 to 32")


class LocalAgreement(BufferPolicy):
    """Streams any Whisper: commits the longest common prefix of the latest hypotheses."""

    def __init__(self, model: WhisperModel, config: AgreementConfig | None = None) -> None:
        """Stream with `model`.

        Raises:
            ValueError: a language the model does not know, or a buffer longer than its window.
        """
        self.config = config or AgreementConfig()
        super().__init__(model, self.config, beam_size=self.config.beam_size)

    def _decide(self, state: BufferState, heard: Heard, *, last: bool) -> Decision:
        reading = self._read(state, heard)
        words = self._words(state, heard, reading, list(reading.steps))
        agreed = self._agreed(state, words)
        if last:
            return Decision(words, len(words), agreed)
        commit = sum(count >= self.config.agreement for count in agreed)
        if commit == len(words) and words:
            held = heard.seconds - words[-1].end < self.config.hold_seconds
            commit -= held
        return Decision(words, commit, agreed)

    def _agreed(self, state: BufferState, words: Sequence[TimedWord]) -> list[int]:
        """Count for each word how many hypotheses in a row held it, and all before it."""
        before = [normalized(word.text) for word in state.draft.timed(self.model.tokenizer)]
        counts = state.agreed[0].tolist()
        agreed: list[int] = []
        for place, word in enumerate(words):
            same = (
                place < len(before)
                and before[place] == normalized(word.text)
                and (not agreed or agreed[-1] > 1)
            )
            agreed.append(counts[place] + 1 if same else 1)
        return agreed
