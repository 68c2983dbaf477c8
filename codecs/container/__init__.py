"""The `.echo` file: codes of any codec, packed, checked, streamed in and out."""

from echoic.codecs.container.errors import EchoFileError
from echoic.codecs.container.header import Header
from echoic.codecs.container.reader import EchoReader, Gap
from echoic.codecs.container.record import Coding, Record, Segment
from echoic.codecs.container.writer import EchoWriter

__all__ = [
    "Coding",
    "EchoFileError",
    "EchoReader",
    "EchoWriter",
    "Gap",
    "Header",
    "Record",
    "Segment",
]
