"""Paraformers with random weights that are small enough to be exported in seconds."""

from paraformer_oracle import Sizes
from small_paraformer import paraformer

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.model import Paraformer

SIZES = Sizes(dim=16, layers=2, ffn=24, vocab=40, cross=1, plain=1, heads=2, kernel=5)


def plain() -> Paraformer:
    """A model as most are."""
    return paraformer(SIZES)


def hasty() -> Paraformer:
    """A model with weights above 1, of several tokens a frame, that leaks as FunASR's do."""
    predictor = PredictorConfig(smooth_factor=4.0, tail=0.9, dropout=0.0)
    return paraformer(SIZES, predictor=predictor, compat=True)
