"""Codecs by name: the kinds that a `config.json` may name, and the models in the box."""

import importlib
from pathlib import Path

from echoic.codecs.box import box_codecs, read_config
from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError

# Kind -> module and class. Names in downloaded files resolve here and nowhere else.
KINDS: dict[str, tuple[str, str]] = {
    "echocodec": ("echoic.codecs.echocodec.model", "EchoCodec"),
    "hificodec": ("echoic.codecs.hificodec.model", "HiFiCodec"),
    "languagecodec": ("echoic.codecs.languagecodec.model", "LanguageCodec"),
    "distilcodec": ("echoic.codecs.distilcodec.model", "DistilCodec"),
    "encodec": ("echoic.codecs.upstream.encodec", "Encodec"),
    "dac": ("echoic.codecs.upstream.dac", "Dac"),
    "mimi": ("echoic.codecs.upstream.mimi", "Mimi"),
}


def codec_class(kind: object) -> type[Codec]:
    """Return the class of a kind of codec.

    Raises:
        CodecError: no such kind.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise CodecError(f"model is {kind!r}, expected one of {', '.join(sorted(KINDS))}")
    module, name = KINDS[kind]
    return getattr(importlib.import_module(module), name)


def load_codec(name_or_dir: str | Path, *, device: str = "cpu") -> Codec:
    """Load a codec from the box, a folder or a Hugging Face id, in evaluation mode.

    Raises:
        CodecError: not there, damaged, or of no kind that is known.
    """
    folder = find_folder(name_or_dir)
    values = read_config(folder)
    try:
        # What transformers wrote calls it "model_type".
        kind = values.get("model", values.get("model_type"))
        codec = codec_class(kind).load_folder(folder, values)
    except CodecError as error:
        raise CodecError(_named(folder, error)) from error
    except ValueError as error:
        raise CodecError(_named(folder / "config.json", error)) from error
    return codec.to(device)


def find_folder(name_or_dir: str | Path) -> Path:
    """Return the folder of a codec; a Hugging Face id is fetched.

    Raises:
        CodecError: nothing of that name.
    """
    path = Path(name_or_dir)
    if str(name_or_dir) and path.is_dir():
        return path
    inside = {codec.name: codec.folder for codec in box_codecs()}
    if str(name_or_dir) in inside:
        return inside[str(name_or_dir)]
    names = ", ".join(inside) or "none"
    text = str(name_or_dir)
    if text.count("/") != 1 or path.is_absolute() or text.startswith("."):
        raise CodecError(
            f"no codec {text!r}: expected a name in the box ({names}), a folder with config.json "
            "and model.safetensors, or a Hugging Face id (owner/name)"
        )
    return _fetch(text)


def _fetch(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repo_id, allow_patterns=["config.json", "model.safetensors"])
    except Exception as error:  # of many kinds, by network, name and permission
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CodecError(
            f"codec {repo_id!r} could not be fetched ({reason[0]}): check the name and the "
            "network, or give a folder"
        ) from error
    return Path(folder)


def _named(path: Path, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(str(path.parent)) else f"{path}: {text}"
