"""Small Paraformers with random weights that stream."""

import functools
from typing import Any

from paraformer_files import statistics, tokens_of
from paraformer_oracle import Sizes, draw

from echoic.asr.paraformer.config import (
    DecoderConfig,
    EncoderConfig,
    ParaformerConfig,
    PredictorConfig,
)
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.upstream.paraformer_layout import upstream_name
from echoic.streaming.module import Chain, chain

SIZES = Sizes(dim=32, layers=3, ffn=48, vocab=40, cross=2, plain=1, heads=4, kernel=5)
CUTS = {
    "back": Chunks(5, 10, 5, 2, 1),
    "none": Chunks(0, 8, 4, 0, 0),
    "far": Chunks(3, 4, 6, 5, 3),
}


def paraformer(sizes: Sizes = SIZES, **changes: Any) -> Paraformer:
    """Return a model that looks back only where it must, with the weights of FunASR's twin."""
    values: dict[str, Any] = {
        "encoder": EncoderConfig(
            sizes.dim, sizes.layers, sizes.heads, sizes.ffn, sizes.kernel, dropout=0.0
        ),
        "predictor": PredictorConfig(dropout=0.0),
        "decoder": DecoderConfig(
            sizes.cross + sizes.plain,
            sizes.cross,
            sizes.heads,
            sizes.ffn,
            sizes.kernel,
            shift=sizes.kernel // 2,
            dropout=0.0,
        ),
    }
    config = ParaformerConfig(sizes.vocab, **values | changes)
    model = Paraformer(config, Tokenizer(tokens_of(sizes.vocab))).eval()
    state = draw(sizes)
    ready = {
        name: state[upstream_name(name, sizes.cross)]
        for name in model.state_dict()
        if not name.startswith("frontend.")
    }
    model.load_state_dict(ready, strict=False)
    shift, scale = statistics()
    model.frontend.cmvn.shift.copy_(shift)
    model.frontend.cmvn.scale.copy_(scale)
    return model


@functools.cache
def streaming_paraformer() -> Paraformer:
    """Return the model of the laws."""
    return paraformer().requires_grad_(False)


def sound_to_tokens(chunks: Chunks) -> Chain:
    """Return the model as a stream from sound to tokens."""
    model = streaming_paraformer()
    return chain(model.frontend, TokenStream(model, chunks))


def recognizer(chunks: Chunks, close_seconds: float = 1.5) -> ParaformerRecognizer:
    """Return the model as a recogniser that closes words soon."""
    return ParaformerRecognizer(streaming_paraformer(), LiveConfig(chunks, close_seconds))
