"""Mimi, Kyutai's codec of 12.5 frames a second (Défossez et al. 2024, arXiv:2410.00037, 3.3)."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from echoic.codecs.mono import MonoEncoder, mono_end
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.seanet import SeanetConfig, SeanetConv, decoder_layers, encoder_layers
from echoic.codecs.upstream.checkpoint import transfer
from echoic.codecs.upstream.quantizers import SplitConfig, SplitQuantizer
from echoic.codecs.upstream.transformers_codec import (
    TransformersCodec,
    drop,
    pad_mode,
    require,
    seanet_name,
    setting,
    take_stack,
)
from echoic.streaming.layers.attention import StreamingAttention
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.parallel import StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential

_WHY = "Mimi is supported in the form that was published"
_PARTS = ("semantic", "acoustic")


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Settings of the transformers of `Mimi`, one in each side.

    Attributes:
        layers: of attention and of a feed-forward network.
        heads: of attention.
        hidden: channels inside the feed-forward networks.
        left_context: frames that are heard before a frame's own.
        rotary_base: see `streaming.layers.rotary.rotate`.
        norm_eps: of the layer norms.

    Raises:
        ValueError: sizes of 0 or less.
    """

    layers: int = 8
    heads: int = 8
    hidden: int = 2048
    left_context: int = 249
    rotary_base: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")


@dataclass(frozen=True, slots=True)
class MimiConfig:
    """Settings of `Mimi`; the defaults are the published ones.

    Attributes:
        sample_rate: Hz.
        seanet: the outer layers of both sides.
        transformer: the inner ones, on the latents of the former.
        downsampling: latents of the transformers that become one frame.
        upsampling_groups: of the transposed convolution that undoes it.
        quantizer: settings of the quantizer; its `dim` is the channels of the latents.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    sample_rate: int = 24_000
    seanet: SeanetConfig = field(
        default_factory=lambda: SeanetConfig(
            ratios=(4, 5, 6, 8),
            channels=64,
            last_kernel_size=3,
            lstm_layers=0,
            conv_shortcut=False,
            pad_mode="zeros",
        )
    )
    transformer: TransformerConfig = TransformerConfig()
    downsampling: int = 2
    upsampling_groups: int = 512
    quantizer: SplitConfig = SplitConfig(512)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        for name in ("sample_rate", "downsampling", "upsampling_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        for name, parts in (("heads", self.transformer.heads), ("groups", self.upsampling_groups)):
            if self.quantizer.dim % parts:
                raise ValueError(
                    f"the quantizer's dim is {self.quantizer.dim}, expected a multiple of the "
                    f"{name} ({parts})"
                )

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.seanet.hop_length * self.downsampling


class Mimi(TransformersCodec):
    """A SEANet and a transformer on each side of books in two parts; causal, and streams.

    The first code of a frame holds what is said, the others how it sounds.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "mimi"
    config_class: ClassVar[type] = MimiConfig
    pads_end: ClassVar[bool] = True

    def __init__(self, config: MimiConfig) -> None:
        super().__init__(
            config,
            _make_encoder(config),
            SplitQuantizer(config.quantizer),
            _make_decoder(config),
        )

    @classmethod
    def from_published(cls, values: Mapping[str, Any], state: dict[str, Tensor]) -> Self:
        """Build the codec of the library's settings and tensors; see `TransformersCodec`."""
        books = {part: _take_books(state, part) for part in _PARTS}
        config = _read_config(values, state, books)
        codec = cls(config)
        for part in _PARTS:
            quantizer = codec.quantizer.get_submodule(part)
            assert isinstance(quantizer, Quantizer)
            quantizer.codebooks.set_books(books[part][:, None])
            _add_biases(state, _stem(part), config.quantizer)
        names = [name for name in codec.state_dict() if ".codebooks." not in name]
        transfer(codec, state, {_published(name): name for name in names})
        return codec


class LayerScale(nn.Module):
    """Multiply each channel of (B, T, C) by a factor.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.scale


def _make_encoder(config: MimiConfig) -> MonoEncoder:
    dim, stride = config.quantizer.dim, config.downsampling
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        seanet=StreamingSequential(*encoder_layers(config.seanet, dim, weight_norm=False)),
        transformer=_transformer(config.transformer, dim),
        downsample=SeanetConv(
            dim,
            dim,
            2 * stride,
            stride,
            bias=False,
            causal=config.seanet.causal,
            pad_mode="replicate",
        ),
    )
    return MonoEncoder(layers)


def _make_decoder(config: MimiConfig) -> StreamingSequential:
    dim, stride = config.quantizer.dim, config.downsampling
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        upsample=StreamingConvTranspose1d(
            dim, dim, 2 * stride, stride=stride, groups=config.upsampling_groups, bias=False
        ),
        transformer=_transformer(config.transformer, dim),
        seanet=StreamingSequential(*decoder_layers(config.seanet, dim, weight_norm=False)),
    )
    return StreamingSequential(layers | mono_end())


def _transformer(config: TransformerConfig, width: int) -> StreamingSequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(swap=SwapTime(width, to=1))
    for place in range(config.layers):
        attention = StreamingAttention(
            width,
            config.heads,
            left_context=config.left_context,
            rotary_base=config.rotary_base,
            bias=False,
        )
        layers[f"attention{place}"] = _residual(config, width, OrderedDict(attention=attention))
        inner: OrderedDict[str, nn.Module] = OrderedDict(
            widen=_pointwise(nn.Linear(width, config.hidden, bias=False), width),
            gelu=_pointwise(nn.GELU(), config.hidden),
            narrow=_pointwise(nn.Linear(config.hidden, width, bias=False), config.hidden),
        )
        layers[f"mlp{place}"] = _residual(config, width, inner)
    layers["swap_back"] = SwapTime(width, to=2)
    return StreamingSequential(layers)


def _residual(
    config: TransformerConfig, width: int, inner: OrderedDict[str, Any]
) -> StreamingResidual:
    norm = _pointwise(nn.LayerNorm(width, eps=config.norm_eps), width)
    scale = _pointwise(LayerScale(width), width)
    branch = OrderedDict(norm=norm) | inner | OrderedDict(scale=scale)
    return StreamingResidual(StreamingSequential(branch))


def _pointwise(module: nn.Module, channels: int) -> Pointwise:
    return Pointwise(module, channels, time_dim=1)


def _read_config(
    values: Mapping[str, Any], state: Mapping[str, Tensor], books: Mapping[str, Tensor]
) -> MimiConfig:
    dim, heads = setting(values, "hidden_size", 512), setting(values, "num_attention_heads", 8)
    published = {"audio_channels": 1, "hidden_act": "gelu", "attention_bias": False}
    require(values, published | {"num_key_value_heads": heads, "use_causal_conv": True}, _WHY)
    if heads > 0 and values.get("head_dim") is not None:
        require(values, {"head_dim": dim // heads}, _WHY)
    # Older files have "rope_theta" beside the other settings, and no or null "rope_parameters".
    rotary = setting({k: v for k, v in values.items() if v is not None}, "rope_parameters", {})
    require(rotary, {"rope_type": "default"}, _WHY)
    if "downsample.conv.weight" not in state:
        raise ValueError("no downsample.conv.weight: the file is not whole, or of another codec")
    first, width = books["semantic"], books["semantic"].shape[2]
    return MimiConfig(
        sample_rate=setting(values, "sampling_rate", 24_000),
        seanet=SeanetConfig(
            ratios=setting(values, "upsampling_ratios", (8, 6, 5, 4))[::-1],
            channels=setting(values, "num_filters", 64),
            kernel_size=setting(values, "kernel_size", 7),
            last_kernel_size=setting(values, "last_kernel_size", 3),
            residual_kernel_size=setting(values, "residual_kernel_size", 3),
            residual_layers=setting(values, "num_residual_layers", 1),
            dilation_growth=setting(values, "dilation_growth_rate", 2),
            compress=setting(values, "compress", 2),
            lstm_layers=0,
            conv_shortcut=setting(values, "use_conv_shortcut", False),
            pad_mode=pad_mode(values, "constant"),
            trim_right=setting(values, "trim_right_ratio", 1.0),
        ),
        transformer=TransformerConfig(
            layers=setting(values, "num_hidden_layers", 8),
            heads=heads,
            hidden=setting(values, "intermediate_size", 2048),
            left_context=setting(values, "sliding_window", 250) - 1,
            rotary_base=setting(rotary or values, "rope_theta", 10_000.0),
            norm_eps=setting(values, "norm_eps", 1e-5),
        ),
        downsampling=state["downsample.conv.weight"].shape[-1] // 2,
        upsampling_groups=setting(values, "upsample_groups", 512),
        quantizer=SplitConfig(
            dim,
            codebook_size=first.shape[1],
            codebook_dim=width if f"{_stem('semantic')}input_proj.weight" in state else None,
            semantic_layers=len(first),
            acoustic_layers=len(books["acoustic"]),
        ),
    )


def _take_books(state: dict[str, Tensor], part: str) -> Tensor:
    """Remove a part's books and return them (layers, K, width): means of sums and counts."""
    stem = f"{_stem(part)}layers."
    sums = take_stack(state, stem, ".codebook.embed_sum")
    counts = take_stack(state, stem, ".codebook.cluster_usage")
    drop(state, ".codebook.initialized")
    if counts.shape != sums.shape[:2]:
        raise ValueError(
            f"{stem}N.codebook has counts {tuple(counts.shape[1:])} and sums "
            f"{tuple(sums.shape[1:])}, expected one count for each sum"
        )
    return sums / counts.clamp(min=1e-5)[..., None]


def _add_biases(state: dict[str, Tensor], stem: str, config: SplitConfig) -> None:
    """Make linear layers with biases of convolutions of one tap without."""
    if config.codebook_dim is None:
        return
    for side, width in (("input_proj", config.codebook_dim), ("output_proj", config.dim)):
        name = f"{stem}{side}."
        state[f"{name}bias"] = torch.zeros(width)
        if f"{name}weight" in state:
            state[f"{name}weight"] = state[f"{name}weight"].flatten(1)


def _stem(part: str) -> str:
    return f"quantizer.{part}_residual_vector_quantizer."


_LAYER = {
    "attention.norm.module": "input_layernorm",
    "attention.scale.module": "self_attn_layer_scale",
    "attention.attention.out_proj": "self_attn.o_proj",
    "attention.attention": "self_attn",
    "mlp.norm.module": "post_attention_layernorm",
    "mlp.scale.module": "mlp_layer_scale",
    "mlp.widen.module": "mlp.fc1",
    "mlp.narrow.module": "mlp.fc2",
}


def _published(name: str) -> str:
    side, inner, rest = name.split(".", 2)
    if side == "quantizer":
        rest = rest.replace("project_in", "input_proj").replace("project_out", "output_proj")
        return f"{_stem(inner)}{rest}"
    if inner == "seanet":
        return f"{side}.layers.{seanet_name(rest)}"
    if inner != "transformer":
        return f"{inner}.conv.{rest}"
    found = re.fullmatch(r"([a-z]+)(\d+)\.branch\.(.+)", rest)
    assert found is not None, f"{name} is of no layer"
    layer = f"{found[1]}.{found[3]}"
    ours = next(ours for ours in _LAYER if layer.startswith(f"{ours}."))
    return f"{side}_transformer.layers.{found[2]}.{_LAYER[ours]}{layer.removeprefix(ours)}"
