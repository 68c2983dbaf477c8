"""Flow decoders for the laws of the Streaming contract."""

from typing import Any, cast

from small_flow import FORM, MELS, flow_decoder, mel_decoder, vocoder
from streaming_codec_cases import codes
from streaming_laws import Case, noise

CODES = codes(FORM.num_codebooks, FORM.codebook_size)
FROM_CODES: dict[str, Any] = {"differentiable": False}

FLOW_CASES = [
    Case("flow_mels", mel_decoder, CODES, 40, **FROM_CODES),
    Case(
        "flow_mels_alone",
        lambda: mel_decoder(4, lookahead=0, look_back=0, guidance=0.0),
        CODES,
        40,
        **FROM_CODES,
    ),
    Case("flow_decoder", flow_decoder, CODES, 40, **FROM_CODES),
    Case("flow_vocoder", lambda: cast(Any, vocoder()), noise(MELS.mel.num_mels, scale=1.0), 60),
]
