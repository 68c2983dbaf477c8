"""From codes to sound by flow matching: a second way beside the codec's own decoder."""

from echoic.tts.flow.config import FlowConfig, MelSpace, SolverConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.prompt import Prompt
from echoic.tts.flow.speech import FlowSettings, FlowSpeech
from echoic.tts.flow.streaming import FlowDecoder, MelDecoder
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig

__all__ = [
    "FlowConfig",
    "FlowDecoder",
    "FlowModel",
    "FlowSettings",
    "FlowSpeech",
    "MelDecoder",
    "MelSpace",
    "Prompt",
    "SolverConfig",
    "Vocoder",
    "VocoderConfig",
]
