"""HiFi-Codec and DistilCodec for the laws of the Streaming contract: one line each."""

from typing import Any, cast

from small_hifigan import small_distilcodec, small_hificodec
from streaming_laws import Case, noise
from streaming_layer_cases import channels

TO_CODES: dict[str, Any] = {"tolerance": 0.0, "differentiable": False}

HIFIGAN_CASES = [
    Case("hifi_samples", lambda: cast(Any, small_hificodec().decoder), channels(32), 24),
    Case(
        "distil_encoder", lambda: small_distilcodec().streaming_encoder(), noise(), 400, **TO_CODES
    ),
    Case("distil_latents", lambda: cast(Any, small_distilcodec().encoder), noise(), 400),
    Case("distil_samples", lambda: cast(Any, small_distilcodec().decoder), channels(8), 24),
]
