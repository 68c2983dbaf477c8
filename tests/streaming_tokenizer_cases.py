"""Speech tokenizers for the laws of the Streaming contract."""

from dataclasses import replace

from small_tokenizer import CONFIG, murmur, small_tokenizer
from streaming_laws import Case

# Three windows of 240 ms.
TOKENIZER_CASES = [
    Case(
        name,
        lambda config=config: small_tokenizer(config).streaming_encoder(),
        murmur,
        12_000,
        tolerance=0,
        differentiable=False,
    )
    for name, config in {
        "speech_tokenizer": CONFIG,
        "speech_tokenizer_12_hz": replace(CONFIG, pooling=4, block=12),
    }.items()
]
