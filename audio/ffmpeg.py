"""Sound decoded by an ffmpeg process: m4a, mp4, webm, mkv, aac, wma, amr and the like.

The process writes AU with float32 samples to a pipe: its header tells the rate and the number of
channels, and the samples follow until the pipe ends.
"""

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from contextlib import ExitStack

import numpy as np

from echoic.audio.errors import AudioDecodeError, AudioWarning
from echoic.audio.source import OpenSource

_MEND = "install ffmpeg (apt install ffmpeg, brew install ffmpeg) or: pip install 'echoic[ffmpeg]'"
# Only containers of recorded sound: a play list in disguise must not make ffmpeg open other files.
_DEMUXERS = "mov,matroska,aac,asf,amr,flv,avi,ape,wv,tta,ogg,wav,aiff,caf,mp3,flac"
_AU_HEADER = 24
_AU_FLOAT32 = 6


def find_ffmpeg() -> str | None:
    """The ffmpeg program: on PATH, else in the wheel `imageio-ffmpeg`, else None."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


class FfmpegReader:
    """Decodes the first sound track of one source from front to back.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        format: ffmpeg's name of the container.
        subtype: always FFMPEG.

    Raises:
        AudioDecodeError: if there is no ffmpeg or it finds no sound.
    """

    subtype = "FFMPEG"

    def __init__(self, source: OpenSource) -> None:
        self.name = source.name
        program = find_ffmpeg()
        if program is None:
            raise AudioDecodeError(source.name, "needs ffmpeg to be decoded", _MEND)
        self._position = 0
        self._ended = False
        self._exit = ExitStack()
        try:
            path = self._exit.enter_context(source.on_disk())
            self._log = self._exit.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            self._process = self._start(program, str(path.absolute()))
            self.sample_rate, self.channels = self._read_header()
            self.format = self._logged(r"Input #0, (\S+), from") or "unknown"
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> np.ndarray:
        """Decodes the next frames.

        Args:
            frames: how many at most.

        Returns:
            (n, channels) float32; n < frames only at the end.
        """
        data = b"" if self._ended else self._pipe.read(frames * self.channels * 4)
        whole = len(data) // (self.channels * 4)
        if whole < frames and not self._ended:
            self._ended = True
            self._check_end(whole)
        self._position += whole
        samples = np.frombuffer(data, ">f4", whole * self.channels).astype(np.float32)
        return samples.reshape(whole, self.channels)

    def skip(self, frames: int) -> None:
        """Goes forward by `frames`, decoding them."""
        while frames > 0 and len(skipped := self.read(min(frames, 2**18 // self.channels + 1))):
            frames -= len(skipped)

    def count_frames(self) -> int | None:
        """None: containers tell a time, not a number of frames."""
        return None

    def claimed_duration(self) -> float | None:
        """Seconds by the container's header, to a hundredth; None where it does not say."""
        found = self._logged(r"Duration: (\d+:\d+:\d+\.\d+)")
        if found is None:
            return None
        hours, minutes, seconds = found.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    def close(self) -> None:
        """Ends the process, whether it was through or not, and removes temporary files."""
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            self._pipe.close()
            process.wait()
        self._exit.close()

    def __enter__(self) -> "FfmpegReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, program: str, path: str) -> subprocess.Popen[bytes]:
        limits = ["-protocol_whitelist", "file,pipe", "-format_whitelist", _DEMUXERS]
        talk = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]
        track = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        process = subprocess.Popen(
            [program, *talk, *limits, "-i", f"file:{path}", *track],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert process.stdout is not None  # PIPE was asked for
        self._pipe = process.stdout
        return process

    def _read_header(self) -> tuple[int, int]:
        """Rate and channels from the AU header that ffmpeg writes first."""
        head = self._pipe.read(_AU_HEADER)
        if len(head) < _AU_HEADER or head[:4] != b".snd":
            self._process.wait()
            reason = self._logged(r"\[(?:error|fatal)\] (.*)") or "ffmpeg gave no sound"
            raise AudioDecodeError(
                self.name, f"is not sound that ffmpeg can read ({reason})", "give a sound file"
            )
        _, offset, _, encoding, rate, channels = np.frombuffer(head, ">u4").tolist()
        assert encoding == _AU_FLOAT32, f"asked ffmpeg for float32, got AU encoding {encoding}"
        self._pipe.read(offset - _AU_HEADER)
        return rate, channels

    def _check_end(self, got: int) -> None:
        """Tells of damage met on the way; `got` frames were read last."""
        status = self._process.wait()
        reason = self._logged(r"\[(?:error|fatal)\] (.*)")
        if reason and self._position + got == 0:
            raise AudioDecodeError(self.name, f"is damaged ({reason})", "fetch or encode it again")
        if status != 0 or reason:
            said = reason or f"ffmpeg ended with status {status}"
            text = f"{self.name}: is damaged or cut ({said}); what is there is used"
            warnings.warn(text, AudioWarning, stacklevel=4)

    def _logged(self, pattern: str) -> str | None:
        """The first match in what ffmpeg has said so far; the file keeps its writing position."""
        log = os.pread(self._log.fileno(), 2**16, 0).decode("utf-8", "replace")
        found = re.search(pattern, log)
        return found[1].strip() if found else None
