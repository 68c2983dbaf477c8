"""End points: when a live utterance is over, so that its text can be made final.

The three rules and their times are those of Kaldi's and sherpa-onnx's online decoders
(https://k2-fsa.github.io/sherpa/python/streaming_asr/endpointing.html): much silence with nothing
said, less silence after something was said, and a longest utterance whatever is heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from echoic.audio.hysteresis import as_floats, exit_threshold
from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE


class EndpointRule(StrEnum):
    """Why an utterance was ended."""

    NOTHING_SAID = "nothing_said"
    AFTER_SPEECH = "after_speech"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The end of an utterance; the next one begins there.

    Attributes:
        time_samples: where the rule was met, samples at 16 kHz from the beginning of the stream.
        rule: which one it was.
    """

    time_samples: int
    rule: EndpointRule


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """When an utterance is over; a rule with `math.inf` seconds never applies.

    Attributes:
        silence_without_speech_seconds: silence that ends an utterance in which nothing was said.
        silence_after_speech_seconds: silence that ends one in which something was said.
        max_utterance_seconds: length that ends an utterance in any case.
        threshold: a chunk is speech at a probability of at least this.
        neg_threshold: and silence below this; between them it stays what it was. None:
            `threshold` - 0.15.
    """

    silence_without_speech_seconds: float = 2.4
    silence_after_speech_seconds: float = 1.2
    max_utterance_seconds: float = 20.0
    threshold: float = 0.5
    neg_threshold: float | None = None

    def __post_init__(self) -> None:
        for name in (
            "silence_without_speech_seconds",
            "silence_after_speech_seconds",
            "max_utterance_seconds",
        ):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(
                    f"{name} is {value}: expected more than 0 seconds, or math.inf to turn "
                    "the rule off"
                )
        exit_threshold(self.threshold, self.neg_threshold)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What the detector remembers; all positions are samples at 16 kHz.

    Attributes:
        frames: probabilities seen so far.
        utterance_start: where the last end point was.
        silence_start: where the running silence began; None while somebody speaks.
        said: whether something was said since `utterance_start`.
    """

    frames: int = 0
    utterance_start: int = 0
    silence_start: int | None = 0
    said: bool = False


class EndpointDetector:
    """Finds the end points of one live stream.

    Attributes:
        config: the rules.
    """

    def __init__(self, config: EndpointConfig | None = None) -> None:
        self.config = EndpointConfig() if config is None else config
        self._exit = exit_threshold(self.config.threshold, self.config.neg_threshold)
        self._rules = (
            (EndpointRule.NOTHING_SAID, self.config.silence_without_speech_seconds * SAMPLE_RATE),
            (EndpointRule.AFTER_SPEECH, self.config.silence_after_speech_seconds * SAMPLE_RATE),
            (EndpointRule.TOO_LONG, self.config.max_utterance_seconds * SAMPLE_RATE),
        )

    def initial_state(self) -> EndpointState:
        """Return the state before the first probability."""
        return EndpointState()

    def step(
        self,
        state: EndpointState,
        probabilities: Tensor | Sequence[float],
        *,
        decoded: bool | None = None,
    ) -> tuple[EndpointState, list[Endpoint]]:
        """Take more speech probabilities.

        Args:
            state: what `initial_state` or the step before returned; left unchanged.
            probabilities: one per 512 samples, (N,), any N >= 0.
            decoded: whether the recogniser has text for the current utterance; it then decides
                what counts as said, so that a cough does not. None: any speech counts.

        Returns:
            The new state, and the end points inside these probabilities.

        Raises:
            ValueError: when `probabilities` has more than one dimension.
        """
        found: list[Endpoint] = []
        frames, start = state.frames, state.utterance_start
        silence, said = state.silence_start, state.said or bool(decoded)
        for probability in as_floats(probabilities):
            now = frames * FRAME_SIZE
            frames += 1
            if probability >= self.config.threshold:
                silence, said = None, said or decoded is None
            elif silence is None and probability < self._exit:
                silence = now
            end = now + FRAME_SIZE
            rule = self._met(end - start, 0 if silence is None else end - silence, said)
            if rule is not None:
                found.append(Endpoint(end, rule))
                start, said = end, False
                silence = None if silence is None else end
        return EndpointState(frames, start, silence, said), found

    def finish(self, state: EndpointState) -> tuple[EndpointState, list[Endpoint]]:
        """End the stream, which is no end point of its own: the caller knows that it has ended."""
        return self.initial_state(), []

    def _met(self, length: int, silence: int, said: bool) -> EndpointRule | None:
        measured = (0 if said else silence, silence if said else 0, length)
        for (rule, limit), value in zip(self._rules, measured, strict=True):
            if value >= limit:
                return rule
        return None
