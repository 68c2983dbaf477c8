"""DistilCodec's published checkpoints, for those who may use them; sizes come from the tensors."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.distilcodec.model import DistilCodec
from echoic.codecs.errors import CodecError
from echoic.codecs.hifigan import GeneratorConfig
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.upstream.checkpoint import (
    check_finite,
    checkpoints,
    fold_weight_norm,
    newest,
    read_parts,
    transfer,
)

PARTS = ("generator", "encoder", "quantizer")
LICENCE_NOTICE = (
    "DistilCodec's weights are licensed CC BY-NC-ND 4.0 by their authors: no commercial use, and "
    "no redistribution of the imported form"
)
# Of all codecs only this one has these names together.
_MARKS = ("grvq.rvqs.0.", "resblocks.0.blocks.0.convs1.0")
_RVQ = "quantizer.grvq.rvqs.0."
_BOOK = f"{_RVQ}layers.0._codebook."
# Rates of the published generator by the taps of its transposed convolutions.
_RATES = {16: 8, 12: 4, 4: 2}
# The names inside a ConvNeXt block; the first part of ours is the branch of the residual.
_BLOCK = {
    "gamma": "branch.1.module.scale",
    "dwconv.weight": "branch.0.weight",
    "dwconv.bias": "branch.0.bias",
    "norm.weight": "branch.1.module.norm.weight",
    "norm.bias": "branch.1.module.norm.bias",
    "pwconv1.weight": "branch.1.module.widen.weight",
    "pwconv1.bias": "branch.1.module.widen.bias",
    "pwconv2.weight": "branch.1.module.narrow.weight",
    "pwconv2.bias": "branch.1.module.narrow.bias",
}


class LicenceWarning(UserWarning):
    """What is imported may be used only under its authors' terms."""


def recognise(src: Path) -> bool:
    """Return whether a file or folder holds a checkpoint of DistilCodec."""
    return bool(checkpoints(src, _MARKS))


def import_files(src: Path, dst: Path) -> None:
    """Write a checkpoint of DistilCodec as a folder that `DistilCodec.from_pretrained` loads.

    Args:
        src: the checkpoint (`g_00204000`), or its folder.
        dst: folder to write.

    Raises:
        CodecError: no such checkpoint, a damaged one, or one of more than one book.

    Warns:
        LicenceWarning: the weights' licence.
    """
    path = newest(src, checkpoints(src, _MARKS), "DistilCodec")
    parts = read_parts(path, PARTS)
    warnings.warn(LICENCE_NOTICE, LicenceWarning, stacklevel=2)
    try:
        codec = _convert(parts)
    except ValueError as error:
        raise CodecError(f"{path}: {error}") from error
    codec.save_pretrained(
        dst, description=f"DistilCodec, imported from {path.name}; CC BY-NC-ND 4.0, do not share"
    )


def _convert(parts: Mapping[str, Mapping[str, Tensor]]) -> DistilCodec:
    state = {f"{part}.{name}": t for part in PARTS for name, t in parts[part].items()}
    others = [n for n in state if "rvqs." in n and not n.startswith((f"{_RVQ}project", _BOOK))]
    if others:
        raise CodecError(
            f"the quantizer has {others[0]!r}, expected one group of one book: teachers of several "
            "books cannot be imported"
        )
    # Running counts and sums of the book's training; it starts anew where it is trained further.
    book = state.pop(f"{_BOOK}embed", None)
    for name in ("initted", "cluster_size", "embed_avg"):
        state.pop(_BOOK + name, None)
    if book is None or book.dim() != 3 or len(book) != 1:
        what = "has no" if book is None else f"has a {tuple(book.shape)}"
        raise CodecError(f"the quantizer {what} {_BOOK}embed, expected one of (1, codes, width)")
    check_finite(f"{_BOOK}embed", book)
    state = fold_weight_norm(state)
    config = read_config(state, book)
    codec = DistilCodec(config)
    codec.quantizer.codebooks.set_books(book[None].float())
    # A transposed convolution of one tap is a plain one, but for the order of its channels.
    up = state.get("quantizer.upsample.0.0.weight")
    if up is not None:
        state["quantizer.upsample.0.0.weight"] = up.transpose(0, 1)
    transfer(codec, state, name_table(config))
    return codec


def read_config(state: Mapping[str, Tensor], book: Tensor) -> DistilCodecConfig:
    """Return the settings that plain tensors, named with their part, have the shapes of.

    Args:
        state: of all parts.
        book: (1, K, width).

    Raises:
        ValueError: tensors that tell the sizes are missing, or the sizes do not fit each other.
    """
    blocks = [re.fullmatch(r"encoder\.stages\.(\d+)\.(\d+)\.gamma", name) for name in state]
    stages = sorted((int(m[1]), int(m[2])) for m in blocks if m)
    depths = tuple(sum(s == stage for s, _ in stages) for stage in sorted({s for s, _ in stages}))
    widths = tuple(_shape(state, f"encoder.stages.{i}.0.gamma")[0] for i in range(len(depths)))
    inside = _shape(state, "encoder.stages.0.0.pwconv1.weight")
    published = DistilCodecConfig()
    bands = _shape(state, "encoder.downsample_layers.0.0.weight")[1]
    return replace(
        published,
        mel=replace(published.mel, num_mels=bands),
        widths=widths,
        depths=depths,
        kernel_size=_shape(state, "encoder.stages.0.0.dwconv.weight")[2],
        expansion=inside[0] // inside[1],
        generator=_generator(state, published.generator),
        quantizer=QuantizerConfig.single(
            widths[-1], codebook_size=book.shape[1], codebook_dim=book.shape[2]
        ),
        weight_norm=False,
    )


def _generator(state: Mapping[str, Tensor], published: GeneratorConfig) -> GeneratorConfig:
    ups = sorted(name for name in state if re.fullmatch(r"generator\.ups\.\d+\.weight", name))
    kernels = tuple(_shape(state, f"generator.ups.{i}.weight")[2] for i in range(len(ups)))
    unknown = [kernel for kernel in kernels if kernel not in _RATES]
    if unknown:
        raise ValueError(
            f"a transposed convolution has {unknown[0]} taps, expected one of {sorted(_RATES)}: "
            "its rate is not known"
        )
    width, _, outer = _shape(state, "generator.conv_pre.weight")
    return replace(
        published,
        rates=tuple(_RATES[kernel] for kernel in kernels),
        kernels=kernels,
        channels=width,
        outer_kernel=outer,
    )


def name_table(config: DistilCodecConfig) -> dict[str, str]:
    """Return where each plain tensor but the book belongs, by its published name."""
    names: dict[str, str] = {}
    for stage, depth in enumerate(config.depths):
        between = (f"norm{stage}.module", f"widen{stage}")
        for place, ours in enumerate(between if stage else ("stem", "stem_norm.module")):
            _pair(names, f"encoder.downsample_layers.{stage}.{place}", f"encoder.{ours}")
        for number in range(depth):
            _block(names, f"encoder.stages.{stage}.{number}", f"encoder.stage{stage}_block{number}")
    _pair(names, "encoder.norm", "encoder.norm.module")
    for theirs, ours in (("downsample", "encoder.down"), ("upsample", "decoder.up")):
        _pair(names, f"quantizer.{theirs}.0.0", ours)
        _block(names, f"quantizer.{theirs}.0.1", f"{ours}_block")
    for side in ("project_in", "project_out"):
        _pair(names, f"{_RVQ}{side}", f"quantizer.{side}")
    _name_generator(names, config.generator)
    return names


def _name_generator(names: dict[str, str], config: GeneratorConfig) -> None:
    for end in ("conv_pre", "conv_post"):
        _pair(names, f"generator.{end}", f"decoder.{end}")
    for stage in range(len(config.rates)):
        _pair(names, f"generator.ups.{stage}", f"decoder.up{stage}")
        for path, dilations in enumerate(config.block_dilations):
            theirs = f"generator.resblocks.{stage}.blocks.{path}"
            ours = f"decoder.fuse{stage}.paths.{path}"
            for unit in range(len(dilations)):
                _pair(names, f"{theirs}.convs1.{unit}", f"{ours}.{unit}.branch.1")
                _pair(names, f"{theirs}.convs2.{unit}", f"{ours}.{unit}.branch.3")


def _pair(names: dict[str, str], theirs: str, ours: str) -> None:
    for kind in ("weight", "bias"):
        names[f"{theirs}.{kind}"] = f"{ours}.{kind}"


def _block(names: dict[str, str], theirs: str, ours: str) -> None:
    for name, place in _BLOCK.items():
        names[f"{theirs}.{name}"] = f"{ours}.{place}"


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"the checkpoint has no {name!r}: it is of another configuration")
    return tuple(state[name].shape)
