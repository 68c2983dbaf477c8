"""Language models of speech: a backbone, what goes in, and what comes out."""

from echoic.tts.lm.config import RopeConfig, TransformerConfig
from echoic.tts.lm.sampling import SamplingConfig, ScoresNotFinite
from echoic.tts.lm.speech import SpeechLM, Spoken
from echoic.tts.lm.speech_config import SpeechLMConfig

__all__ = [
    "RopeConfig",
    "SamplingConfig",
    "ScoresNotFinite",
    "SpeechLM",
    "SpeechLMConfig",
    "Spoken",
    "TransformerConfig",
]
