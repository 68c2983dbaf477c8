"""What a language model of speech consists of."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from echoic.tts.layouts import LayoutName, layout
from echoic.tts.layouts.layout import Layout
from echoic.tts.lm.config import RopeConfig, TransformerConfig
from echoic.tts.lm.reader import ReaderConfig
from echoic.tts.tokens import FrameFormat

TextTrack = Literal["before", "beside", "along"]
TEXT_TRACKS: tuple[str, ...] = get_args(TextTrack)


@dataclass(frozen=True, slots=True)
class SpeechLMConfig:
    """A backbone that reads text and writes frames.

    Attributes:
        frames: what it writes.
        text_size: ids of the text.
        layout: how frames become steps; "depth" with a small network for all codes but the first.
        delays: of the layout "delay", other than its own.
        text: "before", all text, then speech, each with positions of its own; "beside", a unit of
            text is added to each step (Qwen3-Omni's and Qwen3-TTS's dual track), so that text may
            still come while speech goes out; "along", each step has the unit that it says, and the
            model tells after each frame whether the next one says the next unit. So nothing is
            skipped or said twice, speech ends where the text does, and it is known when each word
            is said; the data need alignments (`echoic prepare coded-speech --align`).
        reader: of the text, where it runs along.
        backbone: of the steps.
        depth: of the codes of a step, for the layout "depth".
        rest: weight of the loss of all codes but the first (0.3 in Qwen3-TTS).

    Raises:
        ValueError: parts that do not fit.
    """

    frames: FrameFormat
    text_size: int
    layout: LayoutName = "depth"
    delays: tuple[int, ...] | None = None
    text: TextTrack = "before"
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    backbone: TransformerConfig = field(default_factory=TransformerConfig)
    depth: TransformerConfig = field(default_factory=lambda: TransformerConfig(256, 768, 2, 4, 4))
    rest: float = 0.3

    def __post_init__(self) -> None:
        if self.text_size < 1:
            raise ValueError(f"text_size is {self.text_size}, expected 1 or more")
        if self.text not in TEXT_TRACKS:
            raise ValueError(f"text is {self.text!r}, expected one of {', '.join(TEXT_TRACKS)}")
        if not self.rest >= 0:
            raise ValueError(f"rest is {self.rest}, expected 0 or more")
        if self.text == "along" and self.steps.flat:
            raise ValueError(
                'text runs along frames, not along each of their codes: give the layout "depth", '
                '"delay" or "parallel"'
            )
        if self.steps.delays[0]:
            raise ValueError(
                f"delays are {self.steps.delays}: the first book leads, and says where speech ends"
            )

    @property
    def steps(self) -> Layout:
        """The layout itself."""
        return layout(self.layout, self.frames, self.delays)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, as in `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SpeechLMConfig":
        """Read what `to_dict` gave, from JSON or not.

        Raises:
            ValueError: unknown fields, or unfit ones.
        """
        values = dict(values)
        try:
            for name in ("backbone", "depth"):
                if name in values:
                    part = dict(values[name])
                    part["rope"] = RopeConfig(**part.get("rope", {}))
                    values[name] = TransformerConfig(**part)
            if "reader" in values:
                values["reader"] = ReaderConfig(**values["reader"])
            values["frames"] = FrameFormat(**values["frames"])
            if values.get("delays") is not None:
                values["delays"] = tuple(values["delays"])
            return cls(**values)
        except (TypeError, KeyError) as e:
            raise ValueError(f"no settings of a speech language model: {e}") from e
