"""HiFi-Codec's published checkpoints: a dict of three state dicts, with a JSON beside it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.errors import CodecError
from echoic.codecs.hificodec.config import PRESETS, HiFiCodecConfig
from echoic.codecs.hificodec.model import HiFiCodec
from echoic.codecs.hifigan import GeneratorConfig
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.upstream.checkpoint import (
    check_finite,
    checkpoints,
    fold_weight_norm,
    newest,
    read_json,
    read_parts,
    transfer,
)

PARTS = ("generator", "encoder", "quantizer")
# Of all codecs only this one has these names together.
_MARKS = ("quantizer_modules2.0.embedding.weight", "resblocks.0.convs1.0")
_BOOK = re.compile(r"quantizer_modules(2?)\.(\d+)\.embedding\.weight")
# "HiFi-Codec-24k-320d", "config_24k_320d.json"
_SIZE = re.compile(r"(\d+)k[-_](\d+)d", re.IGNORECASE)
_UNITS = (("convs1", 1), ("convs2", 3))


def recognise(src: Path) -> bool:
    """Return whether a file or folder holds a checkpoint of HiFi-Codec."""
    return bool(checkpoints(src, _MARKS))


def import_files(src: Path, dst: Path) -> None:
    """Write a checkpoint of HiFi-Codec as a folder that `HiFiCodec.from_pretrained` loads.

    Args:
        src: the checkpoint, or its folder; its JSON beside it tells the sample rate and the sizes.
            Without one, a name such as "HiFi-Codec-24k-320d" does.
        dst: folder to write.

    Raises:
        CodecError: no such checkpoint, a damaged one, or one that does not fit its JSON.
    """
    path = newest(src, checkpoints(src, _MARKS), "HiFi-Codec")
    parts = read_parts(path, PARTS)
    try:
        config = read_config(path, parts)
        codec = HiFiCodec(config)
        named = {f"{part}.{name}": t for part in PARTS for name, t in parts[part].items()}
        books = {name: named.pop(name) for name in list(named) if name.startswith("quantizer.")}
        codec.quantizer.codebooks.set_books(stack_books(books, config.quantizer))
        transfer(codec, fold_weight_norm(named), name_table(config))
    except ValueError as error:
        raise CodecError(f"{path}: {error}") from error
    codec.save_pretrained(dst, description=f"HiFi-Codec, imported from {path.name}")


def read_config(path: Path, parts: Mapping[str, Mapping[str, Tensor]]) -> HiFiCodecConfig:
    """Return the settings of a checkpoint: from its JSON, else from its name; widths from tensors.

    Raises:
        ValueError: neither tells, or they do not fit.
    """
    values = _config_beside(path)
    if values is None:
        size = _SIZE.search(path.name)
        name = f"{size[1]}k-{size[2]}d" if size else ""
        if name not in PRESETS:
            raise ValueError(
                "no JSON beside it tells the sample rate: put its config there (as "
                f"config_24k_320d.json), or name the file after one of {', '.join(PRESETS)}"
            )
        preset = HiFiCodecConfig.preset(name)
        generator, sample_rate = preset.generator, preset.sample_rate
        width = parts["generator"].get("conv_pre.bias", torch.empty(0))
        generator = _generator(generator.rates, generator.kernels, len(width) or 512)
    else:
        generator, sample_rate = _generator_of(values), _setting(values, "sampling_rate")
    return HiFiCodecConfig(
        sample_rate=sample_rate,
        generator=generator,
        encoder_channels=len(parts["encoder"].get("conv_pre.bias", torch.empty(0))) or 32,
        quantizer=_quantizer(parts["quantizer"]),
        weight_norm=False,
    )


def stack_books(books: Mapping[str, Tensor], config: QuantizerConfig) -> Tensor:
    """Return the books (2, groups, K, width) of named embeddings.

    Raises:
        ValueError: embeddings of different shapes, or that are not finite.
    """
    for name, book in books.items():
        check_finite(name, book)
    shapes = {tuple(book.shape) for book in books.values()}
    if len(shapes) != 1:
        raise ValueError(f"embeddings have shapes {sorted(shapes)}, expected one shape")
    flat = torch.stack(
        [
            books[f"quantizer.quantizer_modules{layer}.{group}.embedding.weight"].float()
            for layer in ("", "2")
            for group in range(config.num_groups)
        ]
    )
    return flat.view(config.num_layers, config.num_groups, *flat.shape[1:])


def name_table(config: HiFiCodecConfig) -> dict[str, str]:
    """Return where each plain tensor of encoder and generator belongs, by its published name."""
    names: dict[str, str] = {}
    blocks, stages = len(config.generator.block_kernels), len(config.generator.rates)
    for kind in ("weight", "bias"):
        for end in ("conv_pre", "conv_post"):
            names[f"encoder.{end}.{kind}"] = f"encoder.{end}.{kind}"
            names[f"generator.{end}.{kind}"] = f"decoder.{end}.{kind}"
        for i in range(stages):
            names[f"encoder.ups.{i}.{kind}"] = f"encoder.down.{i}.{kind}"
            names[f"generator.ups.{i}.{kind}"] = f"decoder.up{i}.{kind}"
            for j in range(blocks):
                place = i * blocks + j
                names[f"encoder.normalize.{place}.{kind}"] = f"encoder.fuse.{i}.norms.{j}.{kind}"
                units = len(config.generator.block_dilations[-1 - j])
                _block(names, f"encoder.resblocks.{place}", f"encoder.fuse.{i}.blocks.{j}", units)
                units = len(config.generator.block_dilations[j])
                _block(names, f"generator.resblocks.{place}", f"decoder.fuse{i}.paths.{j}", units)
    return names


def _block(names: dict[str, str], theirs: str, ours: str, units: int) -> None:
    for unit in range(units):
        for conv, place in _UNITS:
            for kind in ("weight", "bias"):
                names[f"{theirs}.{conv}.{unit}.{kind}"] = f"{ours}.{unit}.branch.{place}.{kind}"


def _quantizer(state: Mapping[str, Tensor]) -> QuantizerConfig:
    places = sorted((m[1], int(m[2])) for m in map(_BOOK.fullmatch, state) if m)
    groups = len(places) // 2
    if places != [(layer, group) for layer in ("", "2") for group in range(groups)]:
        raise ValueError(
            f"the quantizer has {', '.join(sorted(state))}; expected as many quantizer_modules as "
            "quantizer_modules2, numbered from 0"
        )
    size, width = next(iter(state.values())).shape
    return QuantizerConfig.grvq(width * groups, codebook_size=size, num_groups=groups)


def _config_beside(path: Path) -> dict[str, Any] | None:
    """Return the only JSON beside a checkpoint that can be its, or the one of its name's size."""
    found = {p: read_json(p) for p in sorted(path.parent.glob("*.json"))}
    fitting = {p: v for p, v in found.items() if v is not None and "upsample_rates" in v}
    size = _SIZE.search(path.name)
    if size is not None:
        named = [v for p, v in fitting.items() if _same_size(p, size)]
        others = [v for p, v in fitting.items() if _SIZE.search(p.name) is None]
        return named[0] if named else (others[0] if len(others) == 1 else None)
    if len(fitting) > 1:
        names = ", ".join(p.name for p in fitting)
        raise ValueError(f"beside it lie {names}: leave only its own")
    return next(iter(fitting.values()), None)


def _same_size(path: Path, size: re.Match[str]) -> bool:
    own = _SIZE.search(path.name)
    return own is not None and own.groups() == size.groups()


def _generator_of(values: Mapping[str, Any]) -> GeneratorConfig:
    if str(values.get("resblock", "1")) != "1":
        raise ValueError(f"resblock is {values['resblock']!r} in its JSON, expected '1'")
    names = ("upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel")
    generator = _generator(*(_setting(values, name) for name in names))
    kernels = tuple(_setting(values, "resblock_kernel_sizes"))
    dilations = tuple(tuple(d) for d in _setting(values, "resblock_dilation_sizes"))
    return GeneratorConfig(
        generator.rates, generator.kernels, generator.channels, kernels, dilations
    )


def _generator(rates: Any, kernels: Any, channels: int) -> GeneratorConfig:
    return GeneratorConfig(tuple(rates), tuple(kernels), channels)


def _setting(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise ValueError(f"its JSON has no {name!r}: put the published one beside the checkpoint")
    return values[name]
