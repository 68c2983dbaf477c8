"""How a causal Whisper streams."""

from dataclasses import dataclass, field

from echoic.asr.whisper.streaming.blocks import SECONDS_PER_FRAME, Blocks
from echoic.asr.whisper.streaming.search import Keep


@dataclass(frozen=True, slots=True)
class CausalConfig:
    """Settings of the causal policy; times in seconds.

    Attributes:
        blocks: in which sound is heard; those that the adapter was trained on.
        hold_seconds: how long a token may still be mended after it was first said; as in training.
        keep: which tokens of the last hypothesis stay, see `echoic.asr.whisper.streaming.search`.
        beam_size: hypotheses of the tail; 1 is greedy and lossless.
        show_confidence: words at the end that are less sure than this are shown a block later, if
            they are still there: most of what would change is never seen.
        initial_max: where the running maximum of the features starts; as in training.
        max_window_seconds: a window of the model's positions is left before it is longer.
        keep_seconds: of sound that a new window takes along, with the words in it; 1 or more.
        flush_seconds: of silence that the model hears after the end, to say the last word.
        language: code, for multilingual models.
    """

    blocks: Blocks = field(default_factory=Blocks)
    hold_seconds: float = 0.6
    keep: Keep = "likeliest"
    beam_size: int = 1
    show_confidence: float = 0.6
    initial_max: float = 0.0
    max_window_seconds: float = 25.0
    keep_seconds: float = 5.0
    flush_seconds: float = 0.5
    language: str | None = None

    def __post_init__(self) -> None:
        if self.keep not in ("likeliest", "not_falling"):
            raise ValueError(f'keep is {self.keep!r}, expected "likeliest" or "not_falling"')
        if self.beam_size < 1:
            raise ValueError(f"beam_size is {self.beam_size}: expected 1 or more")
        if not 0 <= self.show_confidence <= 1:
            raise ValueError(f"show_confidence is {self.show_confidence}: expected 0 to 1")
        # A word that is being spoken, and not said yet, must not be cut.
        for name, lowest in (("hold_seconds", 0), ("flush_seconds", 0), ("keep_seconds", 1)):
            if not getattr(self, name) >= lowest:
                raise ValueError(f"{name} is {getattr(self, name)}: expected {lowest} or more")
        longest = max(self.blocks.seconds, self.blocks.first_size * SECONDS_PER_FRAME)
        least, most = self.keep_seconds + self.hold_seconds + 2 * longest, 30 - longest
        if least > most:
            raise ValueError(
                f"blocks of {longest:g} s leave no room in the model's 30 s, {least:g} s of which "
                "a new window may take along: make blocks or keep_seconds shorter"
            )
        if not least <= self.max_window_seconds <= most:
            raise ValueError(
                f"max_window_seconds is {self.max_window_seconds}: expected {least:g} to "
                f"{most:g} with these blocks and keep_seconds"
            )
