"""Language-Codec's published checkpoints: Lightning files, read without running what they hold."""

import argparse
import collections
import pathlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.errors import CodecError
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.languagecodec.model import LanguageCodec
from echoic.codecs.languagecodec.names import BACKBONE, ENCODER, HEAD, QUANTIZER, name_table
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import channel_masks
from echoic.codecs.upstream.checkpoint import (
    fold_weight_norm,
    looks_like_checkpoint,
    read_checkpoint,
    transfer,
)

MASKED_LAYERS = 3
# What a run's settings may be made of beside numbers and text, and what making them cannot harm.
_HARMLESS = (
    *(argparse.Namespace, collections.defaultdict, pathlib.PosixPath, pathlib.PurePosixPath),
    *(dict, list, tuple, int, float, bool, str),
)
_CONV = re.compile(re.escape(ENCODER) + r"(\d+)\.conv\.conv\.weight")
_BOOK = re.compile(re.escape(QUANTIZER) + r"(\d+)\._codebook\.embed")
# Of the names that a pickle holds as they are; WavTokenizer has these too, and a "pos_net".
_MARKS = (f"{ENCODER}0.conv.conv.".encode(), f"{QUANTIZER}2._codebook.embed".encode())
_OTHERS_MARK = b"backbone.pos_net."
_PICKLE_BYTES = 1 << 22


def recognise(src: Path) -> bool:
    """Return whether a file or folder holds a checkpoint of Language-Codec, by the names in it."""
    return bool(_candidates(src))


def import_files(src: Path, dst: Path) -> None:
    """Write a checkpoint of Language-Codec as a folder that `LanguageCodec.from_pretrained` loads.

    Sizes are those of the tensors: 1,024 codes and 12 blocks are version 2, 2,048 and 8 the first.
    The sample rate is that of a YAML beside the checkpoint, 24 kHz without one.

    Args:
        src: the checkpoint, or its folder.
        dst: folder to write.

    Raises:
        CodecError: no such checkpoint, one that is damaged or holds other objects than tensors and
            settings, or whose first three books are not of a third of the channels each.
    """
    found = _candidates(src)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CodecError(
            f"{src}: expected one Language-Codec checkpoint, found {names}; name the file to import"
        )
    path = found[0]
    state = read_state(path)
    try:
        config = read_config(state, _sample_rate(path))
        books = stack_books(state)
        check_bands(books)
        codec = LanguageCodec(config)
        codec.quantizer.codebooks.set_books(books)
        plain = fold_weight_norm(
            {k: v for k, v in state.items() if k.startswith((ENCODER, BACKBONE, HEAD))}
        )
        _check_window(plain.pop(f"{HEAD}istft.window", None), config)
        transfer(codec, plain, name_table(config))
    except ValueError as error:
        raise CodecError(f"{path}: {error}") from error
    codec.save_pretrained(dst, description=f"Language-Codec, imported from {path.name}")


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a Lightning checkpoint, those of the discriminators left out.

    Raises:
        CodecError: damaged, or holding objects whose making could run code.
    """
    with torch.serialization.safe_globals(list(_HARMLESS)):
        if zipfile.is_zipfile(path):
            _refuse_objects(path)
        found = read_checkpoint(path)
    state = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    wanted = (ENCODER, QUANTIZER, BACKBONE, HEAD)
    return {k: v for k, v in state.items() if k.startswith(wanted) and isinstance(v, Tensor)}


def read_config(state: Mapping[str, Tensor], sample_rate: int = 24_000) -> LanguageCodecConfig:
    """Return the settings that tensors by their published names were made with.

    Raises:
        CodecError: tensors that tell them are missing.
        ValueError: settings that do not fit each other.
    """
    plain = fold_weight_norm({k: v for k, v in state.items() if k.startswith(ENCODER)})
    found = {int(m[1]): plain[m[0]].shape for m in map(_CONV.fullmatch, plain) if m}
    convs = [found[place] for place in sorted(found)]
    if len(convs) < 3:
        raise CodecError(f"{len(convs)} convolutions in the encoder, expected 3 or more")
    recurrent = {k for k in plain if re.search(r"\.lstm\.weight_ih_l\d+$", k)}
    books = [v for k, v in state.items() if _BOOK.fullmatch(k)]
    if len(books) < MASKED_LAYERS:
        raise CodecError(f"{len(books)} books, expected {MASKED_LAYERS} or more")
    quantizer = QuantizerConfig.mcrvq(
        convs[-1][0], num_layers=len(books), codebook_size=len(books[0])
    )
    return LanguageCodecConfig(
        sample_rate=sample_rate,
        ratios=tuple(shape[2] // 2 for shape in convs[1:-1]),
        encoder_channels=convs[0][0],
        lstm_layers=len(recurrent),
        width=_size(state, f"{BACKBONE}embed.weight"),
        hidden=_size(state, f"{BACKBONE}convnext.0.pwconv1.weight"),
        blocks=sum(k.startswith(f"{BACKBONE}convnext.") and k.endswith(".gamma") for k in state),
        conditions=_size(state, f"{BACKBONE}norm.scale.weight"),
        n_fft=_size(state, f"{HEAD}out.weight") - 2,
        quantizer=quantizer,
        weight_norm=False,
    )


def stack_books(state: Mapping[str, Tensor]) -> Tensor:
    """Return the books (layers, 1, K, dim) of tensors by their published names.

    Raises:
        CodecError: books that are missing, of different shapes, or were never learned.
    """
    found = {int(m[1]): state[m[0]] for m in map(_BOOK.fullmatch, state) if m}
    shapes = {tuple(book.shape) for book in found.values()}
    if sorted(found) != list(range(len(found))) or len(shapes) != 1:
        raise CodecError(
            f"books {sorted(found)} of shapes {sorted(shapes)}, expected books from 0 of one shape"
        )
    for place in found:
        learned = state.get(f"{QUANTIZER}{place}._codebook.inited")
        if learned is not None and not bool(learned.all()):
            raise CodecError(f"book {place} was never learned: take a later checkpoint")
    return torch.stack([found[place].float() for place in range(len(found))])[:, None]


def check_bands(books: Tensor) -> None:
    """Check that each of the first three books (layers, 1, K, dim) is zero outside its channels.

    Means of masked latents are; a residual quantizer's of the same shape are not, and would give
    other codes here.

    Raises:
        CodecError: values elsewhere.
    """
    masks = channel_masks(books.shape[-1], MASKED_LAYERS)
    assert masks is not None
    for place, mask in enumerate(masks):
        book = books[place, 0]
        outside = float((book * (1 - mask)).abs().max())
        if not outside <= 1e-5 * float(book.abs().max()):
            band = mask.nonzero().flatten()
            raise CodecError(
                f"book {place} has values of up to {outside:.3g} outside of channels "
                f"{int(band[0])} to {int(band[-1])}, expected 0: it was not learned from masked "
                "channels, so this is no Language-Codec"
            )


def _candidates(src: Path) -> list[Path]:
    paths = sorted(src.iterdir()) if src.is_dir() else [src]
    return [path for path in paths if looks_like_checkpoint(path) and _has_names(path)]


def _has_names(path: Path) -> bool:
    """Look for names in the pickle itself, so that nothing in it need be loaded."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
                pickled = archive.read(names[0]) if names else b""
        else:
            with path.open("rb") as file:
                pickled = file.read(_PICKLE_BYTES)
    except (OSError, zipfile.BadZipFile):
        return False
    return all(mark in pickled for mark in _MARKS) and _OTHERS_MARK not in pickled


def _refuse_objects(path: Path) -> None:
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # damaged in some way: reading it says how
        return
    if unsafe:
        raise CodecError(
            f"{path}: holds objects of {', '.join(sorted(unsafe)[:3])}, whose loading could run "
            "code: where you trust it, save its state_dict alone, and import that"
        )


def _sample_rate(path: Path) -> int:
    """Return the sample rate of a YAML of Lightning's beside a checkpoint, 24,000 without one."""
    import yaml

    for beside in sorted([*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")]):
        try:
            values: Any = yaml.safe_load(beside.read_text(encoding="utf-8"))
            rate = values["model"]["init_args"]["sample_rate"]
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
            continue  # of something else
        if isinstance(rate, int):
            return rate
    return 24_000


def _check_window(window: Tensor | None, config: LanguageCodecConfig) -> None:
    hann = torch.hann_window(config.n_fft)
    if window is not None and not (window.shape == hann.shape and torch.allclose(window, hann)):
        raise CodecError(f"its window is no Hann window of {config.n_fft} samples, expected one")


def _size(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state:
        raise CodecError(f"no {name}: the checkpoint is not complete, or of another codec")
    return len(state[name])
