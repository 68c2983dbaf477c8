"""The Whisper models and adapters that come with the package, in the folder `box` beside this."""

import json
from dataclasses import dataclass
from pathlib import Path

from echoic.asr.whisper.adapter_config import (
    CONFIG_FILE,
    STREAMING_FILE,
    AdapterConfig,
    StreamingAdapterConfig,
    read_object,
)

BOX = Path(__file__).parent / "box"


@dataclass(frozen=True, slots=True)
class BoxModel:
    """A model in the box: `num_bytes` is the size of the whole folder."""

    name: str
    folder: Path
    num_bytes: int
    description: str


@dataclass(frozen=True, slots=True)
class BoxAdapter:
    """A LoRA adapter in the box.

    Attributes:
        name: of its folder.
        folder: for `load_adapter`.
        num_bytes: size of the whole folder.
        description: one line for lists.
        base_model: the model that it is for.
        streaming: how to cut the stream, where it makes the model causal.
    """

    name: str
    folder: Path
    num_bytes: int
    description: str
    base_model: str | None
    streaming: StreamingAdapterConfig | None


def box_models() -> list[BoxModel]:
    """Return the models in the box, by name; nothing is loaded."""
    folders = sorted(path.parent for path in BOX.glob("*/config.json"))
    return [_describe(folder) for folder in folders]


def box_adapters() -> list[BoxAdapter]:
    """Return the adapters in the box, by name: folders with their settings and no model's.

    Raises:
        CheckpointError: settings that cannot be read; the weights are not looked at.
    """
    folders = sorted(path.parent for path in BOX.glob(f"*/{CONFIG_FILE}"))
    return [_describe_adapter(f) for f in folders if not (f / "config.json").exists()]


def _describe(folder: Path) -> BoxModel:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return BoxModel(folder.name, folder, _size(folder), config.get("description", "Whisper"))


def _describe_adapter(folder: Path) -> BoxAdapter:
    config = AdapterConfig.from_dict(read_object(folder / CONFIG_FILE))
    path = folder / STREAMING_FILE
    streaming = StreamingAdapterConfig.from_dict(read_object(path)) if path.is_file() else None
    base = streaming.base_model if streaming else config.base_model
    words = [f"adapter for {base or 'Whisper'}, rank {config.r}"]
    if streaming:
        least, most = (20 * streaming.block_frames[i] for i in (0, -1))
        blocks = f"{most}" if least == most else f"{least} to {most}"
        words.append(f"live in blocks of {blocks} ms")
    return BoxAdapter(folder.name, folder, _size(folder), ", ".join(words), base, streaming)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
