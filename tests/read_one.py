"""The decoder for one stream alone."""

from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.streaming.decoder import Part, Reading, read


def read_one(decoder: Decoder, part: Part, heads: tuple[tuple[int, int], ...]) -> Reading:
    (reading,) = read(decoder, [part], heads)
    return reading
