"""A unified model on disk: one vocabulary, in a folder that plain `transformers` loads.

`config.json` and `model.safetensors` are an LLM's own, with the rows of speech behind those of the
words; the LLM's tokenizer stands beside them as it was. `speech_tokens.json` names the new ids for
engines that want names (33 thousand added tokens make a tokenizer slow to load, so it gets none),
and `unified.json` says what echoic needs to know. Nothing in a folder is run.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from echoic.tts.errors import TtsError
from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.config import MODEL_TYPES
from echoic.tts.unified.lora import has_lora, merge_lora
from echoic.tts.unified.model import UnifiedLM
from echoic.tts.unified.sequences import Sequencer
from echoic.tts.unified.text_ids import BYTES, ByteText, TextIds, TokenizedText
from echoic.tts.unified.vocabulary import UnifiedVocabulary

SETTINGS, NAMES, WEIGHTS = "unified.json", "speech_tokens.json", "model.safetensors"
KIND, VERSION = "unified-lm", 1
_TOKENIZER = "tokenizer"


class Unified(NamedTuple):
    """A unified model and what belongs to it.

    Attributes:
        model: in evaluation mode.
        text: how it reads.
        codec_hash: of the weights of the codec whose codes it knows.
    """

    model: UnifiedLM
    text: TextIds
    codec_hash: str

    @property
    def sequencer(self) -> Sequencer:
        """What makes its ids."""
        return Sequencer(self.model.vocabulary, self.text)


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """What `unified.json` says.

    Attributes:
        format: of the frames.
        text_size: ids of the LLM.
        text: "bytes", or "tokenizer" for the one in the folder.
        tied: whether speech has one table for input and output.
        text_tied: whether words have.
        codec_hash: see `Unified`.
        kind: of model.
        version: of the folder's form.
    """

    format: FrameFormat
    text_size: int
    text: str
    tied: bool
    text_tied: bool
    codec_hash: str
    kind: str = KIND
    version: int = VERSION


def is_unified(folder: str | Path) -> bool:
    """Return whether a folder is one that `load_unified` reads."""
    return (Path(folder) / SETTINGS).is_file()


def save_unified(unified: Unified, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a folder that `load_unified` and `transformers` read; adapters are merged.

    Args:
        unified: what to write; it stays as it is.
        folder: made if it is not there.
        dtype: of the stored weights; None as they are.

    Raises:
        ValueError: adapters that are not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model, text = unified.model, unified.text
    backbone = model.backbone
    if has_lora(backbone):
        backbone = copy.deepcopy(backbone)
        merge_lora(backbone)
    text_tied = _is_tied(backbone)
    config = copy.deepcopy(backbone.config)
    config.vocab_size = model.vocabulary.size
    config.tie_word_embeddings = text_tied and model.tied
    config.architectures = [type(backbone).__name__]
    config.dtype = dtype or model.rows.dtype
    config.save_pretrained(folder)
    state = {
        name: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous().clone()
        for name, value in _merged_state(model, backbone, tied=config.tie_word_embeddings)
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    if isinstance(text, TokenizedText):
        text.tokenizer.save_pretrained(folder)
    settings = FolderSettings(
        model.vocabulary.format,
        model.vocabulary.text_size,
        _TOKENIZER if isinstance(text, TokenizedText) else BYTES,
        model.tied,
        text_tied,
        unified.codec_hash,
    )
    _write(folder / SETTINGS, asdict(settings))
    first = model.vocabulary.text_size
    _write(folder / NAMES, {n: first + i for i, n in enumerate(model.vocabulary.names())})


def load_unified(folder: str | Path, *, device: str | torch.device = "cpu") -> Unified:
    """Load a folder in float32, in evaluation mode.

    Raises:
        TtsError: not there, damaged, or files that do not belong together.
    """
    settings = read_settings(folder)
    backbone = load_backbone(folder)
    vocabulary = UnifiedVocabulary(settings.text_size, settings.format)
    inputs = backbone.get_input_embeddings().weight.data
    if len(inputs) != vocabulary.size:
        raise TtsError(
            f"{folder} has a model of {len(inputs)} ids, {SETTINGS} tells of {vocabulary.size}: "
            "they do not belong together"
        )
    head = backbone.get_output_embeddings().weight.data
    words = vocabulary.text_size
    set_tables(backbone, inputs[:words], None if settings.text_tied else head[:words])
    model = UnifiedLM(backbone, vocabulary, tied=settings.tied)
    with torch.no_grad():
        model.rows.copy_(inputs[words:])
        if model.head_rows is not None:
            model.head_rows.copy_(head[words:])
    for name, value in model.state_dict().items():
        if not bool(value.isfinite().all()):
            raise TtsError(f"{folder}: {name} has NaN or infinite weights: fetch it again")
    text = ByteText() if settings.text == BYTES else TokenizedText.from_pretrained(folder)
    return Unified(model.to(device).eval(), text, settings.codec_hash)


def read_settings(folder: str | Path) -> FolderSettings:
    """Return what `unified.json` says.

    Raises:
        TtsError: not there, damaged, or of another kind or version.
    """
    path = Path(folder) / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        settings = FolderSettings(**{**values, "format": FrameFormat(**values["format"])})
    except FileNotFoundError as e:
        raise TtsError(f"{folder} is no unified model (no {SETTINGS}): name its folder") from e
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise TtsError(f"{path} cannot be read ({e}): fetch it again") from e
    if (settings.kind, settings.version) != (KIND, VERSION):
        raise TtsError(
            f"{path} is of kind {settings.kind!r}, version {settings.version}: this program knows "
            f"{KIND!r}, version {VERSION}"
        )
    return settings


def load_backbone(name_or_dir: str | Path) -> Any:
    """Load an LLM in float32, of a folder or Hugging Face id; no code of others is run.

    Raises:
        TtsError: none there, damaged, or of a kind that is not known.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    name = str(name_or_dir)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        check_config(config)
        return AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
        )
    except TtsError:
        raise
    # What transformers and safetensors raise has no common kind.
    except Exception as e:
        raise TtsError(
            f"{name} holds no LLM that can be read ({(str(e).splitlines() or [''])[0]}): name a "
            "folder or a Hugging Face id with safetensors"
        ) from e


def check_config(config: Any) -> None:
    """Refuse LLMs that are not known to work.

    Args:
        config: of `transformers`.

    Raises:
        TtsError: another kind of LLM, or one that hears only what is near.
    """
    if config.model_type not in MODEL_TYPES:
        raise TtsError(
            f"an LLM of kind {config.model_type!r}: expected one of {', '.join(MODEL_TYPES)}"
        )
    if getattr(config, "use_sliding_window", False):
        raise TtsError("an LLM with a sliding window: take one that hears all that came before")


def set_tables(backbone: Any, inputs: Tensor, head: Tensor | None) -> None:
    """Give an LLM other tables of words, in place.

    Args:
        backbone: the LLM.
        inputs: (V, D).
        head: (V, D); None for the same table.
    """
    old = backbone.get_input_embeddings()
    padding = (
        old.padding_idx if old.padding_idx is not None and old.padding_idx < len(inputs) else None
    )
    table = nn.Embedding(*inputs.shape, padding_idx=padding, _weight=inputs.clone())
    backbone.set_input_embeddings(table)
    out = nn.Linear(inputs.shape[1], len(inputs), bias=False, device="meta")
    out.weight = table.weight if head is None else nn.Parameter(head.clone())
    backbone.set_output_embeddings(out)
    backbone.config.vocab_size = len(inputs)
    backbone.config.tie_word_embeddings = head is None


def _is_tied(backbone: Any) -> bool:
    return backbone.get_input_embeddings().weight is backbone.get_output_embeddings().weight


def _merged_state(model: UnifiedLM, backbone: Any, *, tied: bool) -> Iterator[tuple[str, Tensor]]:
    # By the tables themselves: each kind of LLM has its own names for them.
    inputs, head = backbone.get_input_embeddings(), backbone.get_output_embeddings()
    names = {id(module): f"{name}.weight" for name, module in backbone.named_modules()}
    tables = {names[id(inputs)], names[id(head)]}
    for name, value in backbone.state_dict().items():
        if name not in tables:
            yield name, value
    yield names[id(inputs)], torch.cat([inputs.weight, model.rows])
    if not tied:
        yield names[id(head)], torch.cat([head.weight, model.speech_head])


def _write(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
