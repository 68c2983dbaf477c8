"""`echoic codec encode`: recordings to `.echo` files, one or a batch."""

import os
import traceback
from collections import Counter
from dataclasses import dataclass

from echoic.audio.errors import one_line
from echoic.codecs.codec import Codec
from echoic.codecs.container import EchoFileError, Header
from echoic.codecs.encode_file import EncodedFile, encode_file
from echoic.codecs.jobs.console import Console, times_real_time
from echoic.codecs.jobs.errors import (
    ALL_DONE,
    INTERRUPTED,
    SOME_FAILED,
    OutputError,
    UsageError,
    describe,
)
from echoic.codecs.jobs.loading import check_n_q, lasting_name, load_named, warm_up
from echoic.codecs.jobs.places import STDIO, check_output, make_folder, open_output
from echoic.codecs.jobs.running import Check
from echoic.codecs.jobs.sounds import Sound, find_sounds, output_names
from echoic.codecs.weights import weights_hash

SUFFIX = ".echo"
# Seconds of sound below which a rate tells of nothing but the file's head.
_SHORTEST = 0.1
# Failures that are told once more at the end.
_LISTED = 50


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """What to code, and how.

    Attributes:
        inputs: recordings and folders; one recording where there is no `folder`.
        output: the file of one recording, or "-".
        folder: where the files of many go.
        model: name of the codec.
        n_q: codes of a frame; None for all.
        entropy: code by the frequencies of codes.
        device: where to compute.
        overwrite: replace files that are there.
        debug: print where errors come from.
    """

    inputs: tuple[str, ...]
    output: str | None
    folder: str | None
    model: str
    n_q: int | None = None
    entropy: bool = False
    device: str = "auto"
    overwrite: bool = False
    debug: bool = False

    @classmethod
    def of(cls, words: list[str], folder: str | None, **settings: object) -> "EncodeRequest":
        """Return what was typed as a request.

        Raises:
            UsageError: neither an input and an output, nor inputs with a folder.
        """
        inputs, output = tuple(words), None
        if folder is None:
            if len(words) != 2:
                raise UsageError(
                    f"{len(words)} names without -o; give IN and OUT{SUFFIX}, or any number of "
                    "inputs with -o DIR"
                )
            inputs, output = (words[0],), words[1]
        elif not words:
            raise UsageError("no input; name recordings or folders")
        elif not folder or (os.path.lexists(folder) and not os.path.isdir(folder)):
            raise UsageError(
                f"-o {one_line(folder) or repr('')} is no folder; name one with -o DIR"
            )
        return cls(inputs, output, folder, **settings)  # pyright: ignore[reportArgumentType]


def encode(request: EncodeRequest, console: Console, check: Check) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        ValueError, OSError: the one recording cannot be coded.
    """
    if request.output is not None:
        (source,) = request.inputs
        if os.path.isdir(source):
            raise UsageError(f"{source}: is a folder; add -o DIR to code the recordings in it")
        check_output(request.output, [SUFFIX], source=source, overwrite=request.overwrite)
        work = _Encoder(request, console, check)
        sound = Sound(source, "")
        console.begin([lambda: sound.duration])
        done = work.encode(sound, request.output)
        console.close()
        console.note(_line(done.duration, done.num_bytes, console.seconds))
        return ALL_DONE
    sounds = find_sounds(request.inputs)
    return _Batch(request, console, check).run(sounds)


class _Encoder:
    """The codec, ready."""

    def __init__(self, request: EncodeRequest, console: Console, check: Check) -> None:
        self._request, self._console, self._check = request, console, check
        self.codec: Codec = load_named(request.model, request.device)
        self.num_codebooks = check_n_q(self.codec, request.n_q)
        warm_up(self.codec)

    def encode(self, sound: Sound, output: str) -> EncodedFile:
        """Code a recording to a file.

        Raises:
            OutputError: it cannot be written.
            ValueError, OSError: the recording cannot be read.
        """
        with open_output(output) as file:
            done = encode_file(
                self.codec,
                sound.path,
                file,
                model=lasting_name(self._request.model),
                n_q=self.num_codebooks,
                entropy=self._request.entropy,
                patch_length=output != STDIO,
                note=self._console.note,
                progress=self._advance,
            )
            self._check()
        return done

    def _advance(self, seconds: float) -> None:
        self._console.advance(seconds)
        self._check()


class _Batch:
    """Many recordings, none of which keeps the others from being coded."""

    def __init__(self, request: EncodeRequest, console: Console, check: Check) -> None:
        self._request, self._console = request, console
        self._work = _Encoder(request, console, check)
        self._weights = weights_hash(self._work.codec)
        self._failures: list[str] = []
        self._ended: Counter[str] = Counter()
        self._seconds = 0.0
        self._bytes = 0

    def run(self, sounds: list[Sound]) -> int:
        """Code them; returns the exit code."""
        names = output_names(sounds, SUFFIX)
        self._console.begin([lambda s=sound: s.duration for sound in sounds])
        try:
            for sound, name in zip(sounds, names, strict=True):
                if not self._take(sound, os.path.join(self._request.folder or "", name)):
                    break
        except KeyboardInterrupt:
            self._report()
            left = len(sounds) - self._ended.total()
            self._console.problem(
                f"interrupted with {left} to do; the same command goes on from here"
            )
            return INTERRUPTED
        self._report()
        return SOME_FAILED if self._failures else ALL_DONE

    def _take(self, sound: Sound, output: str) -> bool:
        """Code one recording; False where going on is useless."""
        try:
            if self._is_done(output):
                self._ended["done"] += 1
                return True
            make_folder(os.path.dirname(output))
            done = self._work.encode(sound, output)
        except Exception as e:
            if self._request.debug:
                self._console.traceback(traceback.format_exc())
            line = describe(e, "" if isinstance(e, OutputError) else sound.name)
            self._failures.append(line)
            self._ended["failed"] += 1
            self._console.problem(line)
            return not (isinstance(e, OutputError) and e.fatal)
        self._ended["coded"] += 1
        self._seconds += done.duration
        self._bytes += done.num_bytes
        return True

    def _is_done(self, output: str) -> bool:
        """Whether a file is there that this command would make again.

        Raises:
            UsageError: what is there is something else.
        """
        if self._request.overwrite or not os.path.lexists(output):
            return False
        mend = "choose another folder with -o, or add --overwrite"
        try:
            with open(output, "rb") as file:
                header = Header.read(file)
        except (EchoFileError, OSError) as e:
            raise UsageError(f"{one_line(output)} is in the way, no {SUFFIX} file; {mend}") from e
        same = (self._weights, self._work.num_codebooks)
        if (header.weights, header.num_codebooks) != same:
            raise UsageError(
                f"{one_line(output)} was made by {header.model!r} with {header.num_codebooks} "
                f"codes a frame; {mend}"
            )
        return True

    def _report(self) -> None:
        self._console.close()
        if len(self._failures) > 1:
            self._console.note("these failed:")
            for line in self._failures[:_LISTED]:
                self._console.note(line)
            if len(self._failures) > _LISTED:
                self._console.note(f"and {len(self._failures) - _LISTED} more")
        ended = self._ended
        if ended["done"]:
            self._console.note(
                f"{ended['done']} were done already in {self._request.folder}; --overwrite does "
                "them again"
            )
        line = _line(self._seconds, self._bytes, self._console.seconds)
        self._console.note(f"{ended['coded']} coded, {ended['failed']} failed, {line}")


def _line(seconds: float, num_bytes: int, elapsed: float) -> str:
    line = f"{seconds:.1f} s of sound"
    if seconds < _SHORTEST:
        return line
    rate = 8 * num_bytes / seconds / 1000
    return f"{line} at {rate:.2f} kbit/s in {elapsed:.1f} s, {times_real_time(seconds, elapsed)}"
