"""A talker with random weights on a codec with random weights: it babbles, and always the same."""

import functools

import torch
from tiny_codec import tiny_codec

from echoic.codecs.weights import weights_hash
from echoic.tts.alignment.hmm import UnitModel
from echoic.tts.lm import SamplingConfig, SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.lm.guard import Bounds
from echoic.tts.talker import Talker, TalkerSettings
from echoic.tts.text.alphabet import BYTES
from echoic.tts.tokens import FrameFormat

# Speech of random codes neither ends by itself nor goes in circles.
BOUNDS = Bounds(shortest=0.01, longest=0.02, least=0.1)


@functools.cache
def small_talker(text: str = "before", books: int = 2) -> Talker:
    """It writes the first two of the codec's three books."""
    codec = tiny_codec()
    form = FrameFormat(books, codec.codebook_size, codec.frame_rate)
    config = SpeechLMConfig(
        form,
        BYTES.size,
        text=text,  # pyright: ignore[reportArgumentType]
        backbone=TransformerConfig(24, 48, 2, 4, 2),
        depth=TransformerConfig(16, 32, 1, 2, 2),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SpeechLM(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() >= 2:
                    weight.normal_(std=0.5)
    settings = TalkerSettings(
        "./codec",
        weights_hash(codec),
        sampling=SamplingConfig(1.0, 0, 1.0),
        bounds=BOUNDS,
    )
    units = None
    if text == "along":
        generator = torch.Generator().manual_seed(1)
        shape = (books, BYTES.size, codec.codebook_size)
        emissions = torch.randn(shape, generator=generator).log_softmax(2).half().float()
        units = UnitModel(emissions, torch.full((BYTES.size,), 0.8))
    return Talker(model, codec, BYTES, settings, units)
