"""What a codec loses and costs: distances, scores of other packages, bits, speed."""

from echoic.codecs.metrics.distances import mel_distance, si_sdr, stft_distance
from echoic.codecs.metrics.evaluation import Recording, evaluate
from echoic.codecs.metrics.report import Report
from echoic.codecs.metrics.scorers import Scorer, find_scorers

__all__ = [
    "Recording",
    "Report",
    "Scorer",
    "evaluate",
    "find_scorers",
    "mel_distance",
    "si_sdr",
    "stft_distance",
]
