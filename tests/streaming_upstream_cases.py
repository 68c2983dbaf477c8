"""EnCodec, DAC and Mimi for the laws of the Streaming contract."""

from typing import Any, cast

from small_upstream import small_dac, small_encodec, small_mimi
from streaming_laws import Case, noise
from streaming_layer_cases import channels

LOUD = noise(scale=1.0)
TO_CODES: dict[str, Any] = {"tolerance": 0.0, "differentiable": False}

UPSTREAM_CASES = [
    Case("encodec_encoder", lambda: small_encodec().streaming_encoder(), LOUD, 300, **TO_CODES),
    Case("encodec_latents", lambda: cast(Any, small_encodec().encoder), LOUD, 300),
    Case("encodec_waves", lambda: cast(Any, small_encodec().decoder), channels(8), 50),
    Case("dac_latents", lambda: cast(Any, small_dac().encoder), LOUD, 400),
    Case("dac_waves", lambda: cast(Any, small_dac().decoder), channels(16), 80),
    Case("mimi_latents", lambda: cast(Any, small_mimi().encoder), LOUD, 300),
    Case("mimi_waves", lambda: cast(Any, small_mimi().decoder), channels(16), 50),
]
