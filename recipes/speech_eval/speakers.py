"""Whether two recordings sound like one speaker, by Resemblyzer where it is installed."""

from importlib import import_module

import numpy as np

from echoic.codecs.metrics.scorers import SCORE_RATE, Compute, Kind


def _resemblyzer() -> Compute:
    module = import_module("resemblyzer")
    encoder = module.VoiceEncoder("cpu", verbose=False)

    def embed(wav: np.ndarray) -> np.ndarray | None:
        if not wav.any():
            return None
        # It wants pauses taken out and one loudness; noise may have nothing left then.
        voiced = module.preprocess_wav(wav, source_sr=SCORE_RATE)
        return encoder.embed_utterance(voiced) if len(voiced) else None

    def compute(reference: np.ndarray, estimate: np.ndarray) -> float | None:
        one, other = embed(reference), embed(estimate)
        return None if one is None or other is None else float(one @ other)

    return compute


#: Cosine of d-vectors (Wan et al. 2018, "Generalized end-to-end loss"). By itself the package asks
#: for a `webrtcvad` that has no wheel and wants a setuptools of the past, so it comes without.
SPEAKER = Kind(
    "speaker_cosine",
    "speaker cosine",
    "Resemblyzer",
    "pip install --no-deps resemblyzer webrtcvad-wheels; pip install 'echoic[plot]'",
    _resemblyzer,
)
