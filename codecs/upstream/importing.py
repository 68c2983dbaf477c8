"""Checkpoints of any known codec, found by what is in them, as folders of ours."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from echoic.codecs.codec import Codec, CodecError
from echoic.codecs.registry import codec_class, load_codec
from echoic.codecs.upstream.checkpoint import read_json

# Kind -> module with `recognise` and `import_files`: codecs published as PyTorch checkpoints.
CHECKPOINTS = {
    "hificodec": "echoic.codecs.hificodec.importer",
    "languagecodec": "echoic.codecs.languagecodec.importer",
    "distilcodec": "echoic.codecs.distilcodec.importer",
}
# Codecs published as folders of transformers: their name there is ours.
FOLDERS = ("encodec", "dac", "mimi")
KINDS = (*CHECKPOINTS, *FOLDERS)
KNOWN = (
    "a checkpoint of HiFi-Codec, Language-Codec or DistilCodec (a file, or its folder), or a "
    "folder of EnCodec, DAC or Mimi that transformers wrote (config.json and model.safetensors)"
)


class ImportedCodec(NamedTuple):
    """What an import made.

    Attributes:
        kind: of codec.
        folder: where it is.
        codec: as loaded from there.
    """

    kind: str
    folder: Path
    codec: Codec


def recognise(src: Path) -> list[str]:
    """Return the kinds of codec that a file or folder can be, by what is in it."""
    kinds = [kind for kind in CHECKPOINTS if _importer(kind).recognise(src)]
    model_type = _settings(src).get("model_type")
    return [*kinds, model_type] if model_type in FOLDERS else kinds


def import_codec(src: Path, dst: Path, kind: str | None = None) -> ImportedCodec:
    """Write somebody's published codec as a folder that `load_codec` loads, and load it.

    Args:
        src: the checkpoint or folder; of a folder of transformers' also a file in it.
        dst: folder to write, new or empty.
        kind: one of `KINDS`; None to find it by what is in `src`.

    Raises:
        FileNotFoundError: nothing is at `src`.
        FileExistsError: something is at `dst`.
        CodecError: no codec that is known, or a damaged one.

    Warns:
        LicenceWarning: a codec whose authors forbid to pass on what is imported.
    """
    if not src.exists():
        raise FileNotFoundError(f"{src}: no such file or folder; expected {KNOWN}")
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise FileExistsError(f"{dst}: exists and is no empty folder; name a new one")
    kind = _find_kind(src) if kind is None else kind
    if kind in CHECKPOINTS:
        _importer(kind).import_files(src, dst)
    elif kind in FOLDERS:
        _import_folder(src, dst, kind)
    else:
        raise CodecError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    return ImportedCodec(kind, dst, load_codec(dst))


def _find_kind(src: Path) -> str:
    kinds = recognise(src)
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise CodecError(
            f"{src}: holds codecs of several kinds ({', '.join(kinds)}); name the file to import, "
            "or the kind with --kind"
        )
    if "model" in _settings(src):
        raise CodecError(f"{src}: is in the form of echoic already; use it as it is")
    raise CodecError(f"{src}: no codec that is known; expected {KNOWN}")


def _import_folder(src: Path, dst: Path, kind: str) -> None:
    folder, values = _folder(src), _settings(src)
    found = values.get("model_type")
    if found != kind:
        raise CodecError(
            f"{folder}: its config.json has model_type {found!r}, expected {kind!r}; name another "
            "folder or kind"
        )
    loaded = codec_class(kind).load_folder(folder, values)
    loaded.save_pretrained(dst, description=f"{type(loaded).__name__}, imported from {folder.name}")


def _settings(src: Path) -> dict[str, object]:
    """Return the settings beside or in `src`, {} for none."""
    return read_json(_folder(src) / "config.json") or {}


def _folder(src: Path) -> Path:
    return src.parent if src.name in ("config.json", "model.safetensors") else src


def _importer(kind: str) -> ModuleType:
    return importlib.import_module(CHECKPOINTS[kind])
