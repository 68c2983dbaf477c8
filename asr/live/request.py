"""What was asked of `echoic stream`, checked before anything is loaded."""

import math
from dataclasses import dataclass

from echoic.asr.batch.errors import UsageError
from echoic.asr.source import STDIN

MICROPHONE = "mic"

# name on the command line -> subtype as `echoic.audio.raw` knows it
RAW_SUBTYPES = {"s16le": "PCM_16", "s32le": "PCM_32", "u8": "PCM_U8", "f32le": "FLOAT"}


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Samples without a header.

    Attributes:
        subtype: how a sample is written, see `echoic.audio.raw`.
        sample_rate: in Hz.
        channels: how many are interleaved.
    """

    subtype: str
    sample_rate: int
    channels: int = 1

    @classmethod
    def parse(cls, text: str) -> "RawFormat":
        """Read "s16le:16000" or, with the number of channels, "s16le:48000:2".

        Raises:
            UsageError: it is something else.
        """
        name, *numbers = text.split(":")
        known = name in RAW_SUBTYPES and len(numbers) in (1, 2)
        if not known or not all(n.isascii() and n.isdigit() and int(n) for n in numbers):
            raise UsageError(
                f"--raw is {text!r}; give format and rate, such as s16le:16000 or, in stereo, "
                f"s16le:48000:2; formats are {', '.join(RAW_SUBTYPES)}"
            )
        return cls(RAW_SUBTYPES[name], *map(int, numbers))


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What to hear and how to show it.

    Attributes:
        source: a file, "-" for standard input, or "mic".
        json_lines: print events as JSON.
        realtime: hear a file at the speed of the clock.
        raw: how the samples are written when they have no header.
        input_device: number or part of the name of a microphone.
        vad: keep silence from the recogniser, and end utterances in it.
        endpoint_ms: silence that ends an utterance.
        threads: processors to use; None leaves torch's choice.
        quiet: results and problems only.
        debug: print where errors come from.
    """

    source: str
    json_lines: bool = False
    realtime: bool = False
    raw: RawFormat | None = None
    input_device: int | str | None = None
    vad: bool = True
    endpoint_ms: float = 800.0
    threads: int | None = None
    quiet: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        if not self.source:
            raise UsageError("the input's name is empty; name a file, - or mic")
        if not 0 < self.endpoint_ms < math.inf:
            raise UsageError(
                f"--endpoint-ms is {self.endpoint_ms:g}; give milliseconds above 0, such as 800"
            )
        if self.is_microphone and (self.raw is not None or self.realtime):
            option = "--raw" if self.raw is not None else "--realtime"
            raise UsageError(f"{option} is for files and '-'; leave it out with a microphone")
        if not self.is_microphone and self.input_device is not None:
            raise UsageError("--input-device is for the microphone; give mic as the input")

    @property
    def is_microphone(self) -> bool:
        """Whether the sound comes from a microphone; a file of that name is ./mic."""
        return self.source == MICROPHONE

    @property
    def is_stdin(self) -> bool:
        """Whether the sound comes from standard input."""
        return self.source == STDIN

    @property
    def name(self) -> str:
        """How messages call the source."""
        return "standard input" if self.is_stdin else self.source
