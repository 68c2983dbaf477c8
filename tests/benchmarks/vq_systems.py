"""Ours and the rivals' quantizers, all with the same books and projections."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import torch
from benchmarks.vq_shapes import Shape
from torch import Tensor, nn

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.factorized import FactorizedSearch
from echoic.codecs.quantize.quantizer import Quantizer


@dataclass(frozen=True, slots=True)
class System:
    """A quantizer, ready to encode.

    Attributes:
        name: in tables.
        arrange: turns vectors (N, D) into the layout that it takes; not measured.
        encode: what is measured.
        tidy: turns what `encode` returns into codes (N, Q * G), layer by layer.
    """

    name: str
    arrange: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    tidy: Callable[[Tensor], Tensor]


class Maker(NamedTuple):
    """Makes the system of a shape on a device; `package` must be installed for it."""

    package: str
    make: Callable[[Shape, str], System]

    @property
    def is_installed(self) -> bool:
        """Whether it can be made here."""
        return importlib.util.find_spec(self.package) is not None


class OneLayer(NamedTuple):
    """What `FactorizedSearch` wants of a layer."""

    project_in: nn.Linear
    project_out: nn.Linear
    book: Tensor


def echoic(shape: Shape, device: str = "cpu") -> System:
    """Return our quantizer; a projection before its one book is folded into it."""
    config = QuantizerConfig(
        shape.dim,
        codebook_size=shape.size,
        num_layers=shape.layers,
        num_groups=shape.groups,
        codebook_dim=shape.width if shape.projects else None,
        init="uniform",
    )
    quantizer = Quantizer(config).eval()
    quantizer.codebooks.set_books(shape.books())
    if quantizer.project_in is not None:
        quantizer.project_in.load_state_dict(shape.projections()[0].project_in.state_dict())
    quantizer.to(device)
    return System("echoic", _channels_first, quantizer.encode, lambda codes: codes[0].T)


def echoic_factorized(shape: Shape, device: str = "cpu") -> System:
    """Return our search of layers with projections, folded into tables."""
    search = FactorizedSearch(
        [
            OneLayer(around.project_in.to(device), around.project_out.to(device), book.to(device))
            for around, book in zip(shape.projections(), shape.books()[:, 0], strict=True)
        ]
    )
    return System(
        "echoic",
        _channels_first,
        lambda x: search.codes(x[0].T, shape.layers),
        lambda codes: codes,
    )


def vq_pytorch(shape: Shape, device: str = "cpu") -> System:
    """Return lucidrains' (Grouped)ResidualVQ, or VectorQuantize for one book."""
    from vector_quantize_pytorch import (  # pyright: ignore[reportMissingImports]
        GroupedResidualVQ,
        ResidualVQ,
        VectorQuantize,
    )

    common = {"dim": shape.dim, "codebook_size": shape.size, "rotation_trick": False}
    books = shape.books()
    if shape.layers == 1:
        module = VectorQuantize(codebook_dim=shape.width, **common).eval()
        module._codebook.embed.data.copy_(books[0])
        module.project_in.load_state_dict(shape.projections()[0].project_in.state_dict())
        module.to(device)
        return System("vq-pytorch", _rows_first, lambda x: module(x)[1], lambda codes: codes.mT)
    module = GroupedResidualVQ(groups=shape.groups, num_quantizers=shape.layers, **common).eval()
    stacks = module.rvqs
    if shape.groups == 1:
        module = ResidualVQ(num_quantizers=shape.layers, **common).eval()
        stacks = [module]
    for group, stack in enumerate(stacks):
        for layer, one in enumerate(stack.layers):
            one._codebook.embed.data.copy_(books[layer, group : group + 1])
    module.to(device)
    return System("vq-pytorch", _rows_first, lambda x: module(x)[1], _groups_last)


def encodec(shape: Shape, device: str = "cpu") -> System:
    """Return EnCodec's residual quantizer; of one book, its VectorQuantization."""
    quantization = _bare("encodec.quantization.core_vq", "encodec")
    options = {"dim": shape.dim, "codebook_size": shape.size, "codebook_dim": shape.width}
    module = quantization.ResidualVectorQuantization(
        num_quantizers=shape.layers, kmeans_init=False, **options
    ).eval()
    for layer, books in zip(module.layers, shape.books(), strict=True):
        layer._codebook.embed.copy_(books[0])
    if shape.projects:
        module.layers[0].project_in.load_state_dict(shape.projections()[0].project_in.state_dict())
    module.to(device)
    if shape.layers == 1:  # the residual behind the only layer is not wanted
        one = module.layers[0]
        return System("encodec", _channels_first, one.encode, lambda codes: codes.mT)
    return System("encodec", _channels_first, module.encode, lambda codes: codes[:, 0].T)


def dac(shape: Shape, device: str = "cpu") -> System:
    """Return the Descript codec's: a projection to and from each book, and codes of length 1."""
    quantize = _bare("dac.nn.quantize", "dac", "dac.nn")
    module = quantize.ResidualVectorQuantize(
        shape.dim, shape.layers, shape.size, shape.width
    ).eval()
    parts = zip(module.quantizers, shape.projections(), shape.books(), strict=True)
    for layer, projections, book in parts:
        layer.codebook.weight.data.copy_(book[0])
        convolutions = (layer.in_proj, layer.out_proj)
        for convolution, linear in zip(convolutions, projections, strict=True):
            torch.nn.utils.remove_weight_norm(convolution)
            convolution.weight.data.copy_(linear.weight[..., None])
            convolution.bias.data.copy_(linear.bias)
    module.to(device)
    return System("dac", _channels_first, lambda x: module(x)[1], lambda codes: codes[0].T)


ECHOIC = Maker("echoic", echoic)
ECHOIC_FACTORIZED = Maker("echoic", echoic_factorized)
VQ_PYTORCH = Maker("vector_quantize_pytorch", vq_pytorch)
ENCODEC = Maker("encodec", encodec)
DAC = Maker("dac", dac)


def _bare(module: str, *packages: str) -> ModuleType:
    """Import a module without what its packages import themselves: torchaudio, audiotools."""
    for package in packages:
        if package not in sys.modules:
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.submodule_search_locations is not None
            empty = ModuleType(package)
            empty.__path__ = list(spec.submodule_search_locations)
            empty.__spec__ = spec
            sys.modules[package] = empty
    return importlib.import_module(module)


def _channels_first(x: Tensor) -> Tensor:
    return x.T[None].contiguous()


def _rows_first(x: Tensor) -> Tensor:
    return x[None].contiguous()


def _groups_last(codes: Tensor) -> Tensor:
    """Codes (1, N, Q) or (G, 1, N, Q) as (N, Q * G)."""
    stacked = codes if codes.dim() == 4 else codes[None]
    return stacked[:, 0].permute(1, 2, 0).flatten(1)
