"""Checkpoints of CarelessWhisper, now WhisperRT (Krichli et al. 2025, arXiv 2508.12301).

A file is `torch.save` of `dims` (sizes, as OpenAI's), `cfg` (the block size and the rank) and
`state_dict`: OpenAI's names, with `base_layer` and `lora_layer` in every attention projection, the
low-rank matrices transposed with respect to peft's, and, in files of its training, "model." before
every name. The import is from this table of names alone. The published weights come with code
under CC BY-NC 4.0, and their own licence is not clear: they are for study, not for shipping.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from echoic.asr.batch.errors import UsageError
from echoic.asr.errors import CheckpointError
from echoic.asr.upstream.carelesswhisper_layout import (
    TARGETS,
    adapted_modules,
    check_tensors,
    upstream_name,
    whisper_config,
)
from echoic.asr.upstream.torch_file import attributes, read_torch_file
from echoic.asr.whisper.adapter import AdapterConfig, StreamingAdapterConfig, save_adapter
from echoic.asr.whisper.adapter_config import read_object
from echoic.asr.whisper.box import box_models
from echoic.asr.whisper.checkpoint import Checkpoint, save_checkpoint
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.tokenizer import WhisperTokenizer

BASE_FOLDER = "base"

# Random chunk sizes ("rcs"): one model for blocks of 100 ms to 1 s, the first always 600 ms.
RANDOM_BLOCK_FRAMES = tuple(range(5, 51, 5))
RANDOM_FIRST_BLOCK_FRAMES = 30

# Their decoder gives the last two tokens up again when the next block speaks against them: about
# as long as two blocks of 300 ms, the size that most of their results are for.
HOLD_SECONDS = 0.6

# Width and layers of OpenAI's models with 80 mel bands.
_NAMES = {
    (384, 4, 4): "tiny",
    (512, 6, 6): "base",
    (768, 12, 12): "small",
    (1024, 24, 24): "medium",
    (1280, 32, 32): "large-v2",
}


@dataclass(frozen=True, slots=True)
class ImportedAdapter:
    """What an import wrote.

    Attributes:
        folder: the adapter's folder.
        config: which modules it changes.
        streaming: how to cut the stream.
        num_parameters: numbers in the adapter.
        base_folder: of the base model, where it was written, too.
    """

    folder: Path
    config: AdapterConfig
    streaming: StreamingAdapterConfig
    num_parameters: int
    base_folder: Path | None


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A file whose tensors are all there: by their names, with the sizes and the `cfg`."""

    state: dict[str, Tensor]
    config: WhisperConfig
    rank: int
    settings: Mapping[str, Any]


def import_carelesswhisper(
    source: str | Path,
    folder: str | Path,
    *,
    block_frames: Sequence[int] | None = None,
    first_block_frames: int | None = None,
    base_model: str | None = None,
    with_base: bool = False,
    tokenizer: str | Path | None = None,
    ignore: Iterable[str] = (),
) -> ImportedAdapter:
    """Turn a published or self-trained file into an adapter folder; no code from it is run.

    Args:
        source: a ".pt" or ".ckpt" file.
        folder: to write, new or empty.
        block_frames: sizes of the blocks in frames of 20 ms; None takes the file's, and for a file
            named "..._rcs.pt" those of random chunk sizes.
        first_block_frames: size of the first block, likewise.
        base_model: name of the model it adapts; None finds it by its size.
        with_base: whether to write the base model's weights, too, to "base" in the folder.
        tokenizer: folder with the base model's `tokenizer.json`, for `with_base`; None takes the
            box's, which is for English-only models.
        ignore: patterns ("decoder.extra*") of tensors to pass over.

    Raises:
        CheckpointError: not such a file, or tensors are missing, unknown or of another shape.
        UsageError: `with_base` without a tokenizer, or no block size known.
        FileExistsError: there is something in the folder.
        FileNotFoundError: no such file.
    """
    source, folder = Path(source), Path(folder)
    _check_places(source, folder)
    found = _read(source, ignore)
    blocks, first = _blocks(found.settings, source, block_frames, first_block_frames)
    name = base_model or _base_model(found.config, source)
    adapter = AdapterConfig(found.rank, found.rank, TARGETS, base_model=SHORT_NAMES.get(name, name))
    streaming = StreamingAdapterConfig(
        base_model=f"./{BASE_FOLDER}" if with_base else name,
        block_frames=blocks,
        left_context_frames=None,
        initial_max=0.0,
        delay_seconds=0.0,
        hold_seconds=HOLD_SECONDS,
        first_block_frames=first,
    )
    # Before anything is written: this may lack its tokenizer.
    base = _base(found, name, tokenizer) if with_base else None
    low_rank = _low_rank(found)
    metadata = {"source": "CarelessWhisper", "file": source.name}
    save_adapter(folder, low_rank, adapter, streaming=streaming, metadata=metadata)
    if base is not None:
        save_checkpoint(base, folder / BASE_FOLDER, description=f"Whisper {name}")
    return ImportedAdapter(
        folder,
        adapter,
        streaming,
        sum(tensor.numel() for tensor in low_rank.values()),
        folder / BASE_FOLDER if with_base else None,
    )


def _check_places(source: Path, folder: Path) -> None:
    if not source.is_file():
        raise FileNotFoundError(f"no file {source}; give a CarelessWhisper .pt file")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already; name a new folder or remove it")


def _read(source: Path, ignore: Iterable[str]) -> _Upstream:
    content = attributes(read_torch_file(source))
    if content is None or "state_dict" not in content:
        raise CheckpointError(f"{source} holds no state_dict; give a CarelessWhisper .pt file")
    state = _tensors(content["state_dict"], source, ignore)
    config = whisper_config(content.get("dims"), state, source)
    rank = check_tensors(state, config, source)
    settings = attributes(content.get("cfg")) or {}
    told = settings.get("rank", rank)
    if told != rank:
        raise CheckpointError(
            f"cfg of {source} says rank {told!r}, its matrices have {rank}; fetch it again"
        )
    return _Upstream(state, config, rank, settings)


def _tensors(values: Any, source: Path, ignore: Iterable[str]) -> dict[str, Tensor]:
    found = attributes(values)
    if not found:
        raise CheckpointError(
            f"the state_dict of {source} is empty or no dictionary; fetch it again"
        )
    if all(name.startswith("model.") for name in found):  # Lightning's, of the module inside
        found = {name.removeprefix("model."): value for name, value in found.items()}
    patterns = tuple(ignore)
    return {
        name: value
        for name, value in found.items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _blocks(
    settings: Mapping[str, Any],
    source: Path,
    block_frames: Sequence[int] | None,
    first_block_frames: int | None,
) -> tuple[tuple[int, ...], int | None]:
    """Sizes of the blocks and of the first one: the caller's, else the file's."""
    if block_frames is not None:
        return tuple(block_frames), first_block_frames
    if re.search(r"(^|[_-])rcs([_-]|$)", source.stem):
        return RANDOM_BLOCK_FRAMES, first_block_frames or RANDOM_FIRST_BLOCK_FRAMES
    size, extra = settings.get("gran"), settings.get("extra_gran_blocks", 0)
    if type(size) is not int or type(extra) is not int or size < 1 or extra < 0:
        raise UsageError(
            f"cfg of {source} has gran {size!r} and extra_gran_blocks {extra!r}, expected numbers "
            "of frames and blocks; give the sizes by --block-frames and --first-block-frames"
        )
    return (size,), first_block_frames or (extra + 1) * size


def _base_model(config: WhisperConfig, source: Path) -> str:
    sizes = (config.d_model, config.encoder_layers, config.decoder_layers)
    name = _NAMES.get(sizes)
    if name is None or config.num_mel_bins != 80:
        raise UsageError(
            f"{source} has the sizes {sizes} of no Whisper known by name; name its base model by "
            "--base-model"
        )
    return name if config.is_multilingual else f"{name}.en"


def _low_rank(found: _Upstream) -> dict[str, Tensor]:
    """Their (in, r) and (r, out), as peft's (r, in) and (out, r)."""
    return {
        f"{ours}.lora_{side}.weight": found.state[f"{theirs}.lora_layer.lora_{side}"]
        .t()
        .contiguous()
        for theirs, ours in adapted_modules(found.config).items()
        for side in "AB"
    }


def _base(found: _Upstream, name: str, tokenizer: str | Path | None) -> Checkpoint:
    config = found.config
    folder = _tokenizer_folder(config, tokenizer)
    words = WhisperTokenizer.from_folder(folder)
    if words.vocab_size != config.vocab_size:
        raise UsageError(
            f"the tokenizer in {folder} has {words.vocab_size} ids, the model "
            f"{config.vocab_size}; give that of {name} by --tokenizer"
        )
    path = folder / "generation_config.json"
    values = read_object(path) if tokenizer is not None and path.is_file() else {}
    return Checkpoint(
        config=config,
        generation=GenerationConfig.from_dict(values, config, words),
        tokenizer=words,
        state={ours: found.state[upstream_name(ours)] for ours in expected_shapes(config)},
        name=name,
        folder=folder,
    )


def _tokenizer_folder(config: WhisperConfig, tokenizer: str | Path | None) -> Path:
    if tokenizer is not None:
        return Path(tokenizer)
    if not config.is_multilingual:
        for model in box_models():
            return model.folder
    raise UsageError(
        "the file has no tokenizer and the box none for a multilingual model; give a folder with "
        "tokenizer.json by --tokenizer"
    )
