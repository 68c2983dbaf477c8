"""Sound decoded by libsndfile: WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, W64, RF64, CAF.

Nothing is allocated by what a header claims: a file is read until it ends.
"""

import re
import warnings

import numpy as np
import soundfile as sf

from echoic.audio.errors import AudioDecodeError, AudioWarning
from echoic.audio.source import ForwardFile, OpenSource

# Formats in which a seek lands on the exact sample. Ogg and MP3 are decoded and skipped instead:
# their seek is exact only for well-formed files.
_EXACT_SEEK = {"WAV", "WAVEX", "AIFF", "AU", "W64", "RF64", "CAF", "FLAC"}
# Formats that may go on claiming a length after the file was cut.
_CLAIMS = {"FLAC", "MP3"}
# libsndfile's log when a chunk promises more than the file has; "RIFF" itself is often wrong.
_CUT = re.compile(
    r"(?:\bdata|SSND|Data Size|\briff|Riff size)\s*: (\d+) \(should be (\d+)\)",
)
# From here on a 32-bit size means "unknown": what sox, arecord and ffmpeg write to a pipe.
_OPEN_ENDED = 0x7FFF0000


class _Sequential(sf.SoundFile):
    """A SoundFile that reads on and on.

    The parent seeks to where it already is after every read of a seekable file; in MP3 that
    restarts the decoder in the middle of its overlapping frames, and changes the samples.
    """

    def seekable(self) -> bool:
        """Says no; `seek` works nevertheless."""
        return False


class SndfileReader:
    """Decodes one source from front to back.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        format: libsndfile's name, such as WAV.
        subtype: libsndfile's name, such as PCM_16.

    Raises:
        AudioDecodeError: if libsndfile does not understand the source.
    """

    def __init__(self, source: OpenSource) -> None:
        self.name = source.name
        self._source = source
        self._file = self._open()
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.format = self._file.format
        self.subtype = self._file.subtype
        self._position = 0
        self._ended = False
        self._warn_if_cut_by_header()

    def read(self, frames: int) -> np.ndarray:
        """Decodes the next frames.

        Args:
            frames: how many at most.

        Returns:
            (n, channels) float32; n < frames only at the end.

        Raises:
            AudioDecodeError: if the very first frames cannot be decoded.
        """
        if self._ended:
            return np.zeros((0, self.channels), np.float32)
        # NaN marks what the decoder did not reach, should it fail half-way.
        out = np.full((frames, self.channels), np.nan, np.float32)
        try:
            got = len(self._file.read(frames, dtype="float32", always_2d=True, out=out))
        except sf.LibsndfileError as error:
            missing = np.flatnonzero(np.isnan(out).all(axis=1))
            got = int(missing[0]) if missing.size else frames
            self._fail(error.error_string, got)
        else:
            self._ended = got < frames
            if self._ended:
                self._warn_if_short(self._position + got)
        self._position += got
        return out[:got]

    def skip(self, frames: int) -> None:
        """Goes forward by `frames`, sample-exactly."""
        exact = self.format in _EXACT_SEEK and not self._source.file.forward_only
        if frames and exact and self._position == 0:
            try:
                self._position = self._file.seek(min(frames, self._file.frames))
                return
            except sf.LibsndfileError:  # a cut file; the handle is of no more use
                self._file.close()
                self._file = self._open()
        self._decode_on(frames)

    def count_frames(self) -> int | None:
        """The true number of frames; None for a stream that would have to be used up for it."""
        claimed = self._file.frames
        if self._source.file.forward_only:
            return None if self._source.live else self._decode_and_count()
        if self.format not in _CLAIMS or self._reaches(claimed):
            return claimed
        with SndfileReader(self._source) as again:
            return again._decode_and_count()

    def close(self) -> None:
        """Ends decoding; the source stays open."""
        self._file.close()

    def __enter__(self) -> "SndfileReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reaches(self, frames: int) -> bool:
        """Whether the last claimed frame is there."""
        try:
            self._file.seek(max(0, frames - 1))
            return frames > 0 and len(self._file.read(1)) == 1
        except sf.LibsndfileError:
            return False

    def _decode_and_count(self) -> int:
        self._decode_on(2**62)
        return self._position

    def _decode_on(self, frames: int) -> None:
        """Decodes frames and forgets them."""
        block = max(1, 2**18 // self.channels)
        while frames > 0 and len(passed := self.read(min(frames, block))):
            frames -= len(passed)

    def _open(self) -> sf.SoundFile:
        """Opens the source from its beginning."""
        file = self._source.file
        file.seek(0)
        try:
            # soundfile wants a file object by structure; its annotation asks for a nominal type.
            opened = _Sequential(file)  # pyright: ignore[reportArgumentType]
        except (sf.LibsndfileError, TypeError) as error:
            problem = getattr(error, "error_string", str(error)).rstrip(".")
            raise AudioDecodeError(
                self.name,
                f"is not sound that can be read ({problem})",
                "give WAV, FLAC, OGG, Opus, MP3, AIFF, AU, or m4a/webm/... with ffmpeg installed",
            ) from None
        if isinstance(file, ForwardFile):
            file.seal()
        return opened

    def _fail(self, problem: str, got: int) -> None:
        """Ends at damage: an error when nothing was decoded before it, otherwise a warning."""
        self._ended = True
        if self._position + got == 0:
            raise AudioDecodeError(
                self.name, f"is damaged ({problem.rstrip('.')})", "fetch or encode it again"
            )
        self._warn(f"is damaged or cut after {self._seconds(self._position + got)}")

    def _warn_if_short(self, frames: int) -> None:
        if self.format in _CLAIMS and 0 < frames < self._file.frames < 2**40:
            promised = self._seconds(self._file.frames)
            self._warn(f"is cut: its header promises {promised}, {self._seconds(frames)} are there")

    def _warn_if_cut_by_header(self) -> None:
        found = _CUT.search(self._file.extra_info)
        if found and self._file.frames and int(found[2]) < int(found[1]) < _OPEN_ENDED:
            self._warn(f"is cut: its header promises {found[1]} bytes, {found[2]} are there")

    def _seconds(self, frames: int) -> str:
        return f"{frames / self.sample_rate:.3f} s"

    def _warn(self, problem: str) -> None:
        warnings.warn(f"{self.name}: {problem}; what is there is used", AudioWarning, stacklevel=4)
