"""`echoic codec encode`: recordings to `.echo` files, one or a batch."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from echoic.audio.data.cluster import Cluster
from echoic.audio.errors import one_line
from echoic.codecs.codec import Codec
from echoic.codecs.encode_file import EncodedFile, encode_file
from echoic.codecs.jobs.batch import SUFFIX, Batch, Coded, Job, summary
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, UsageError
from echoic.codecs.jobs.loading import check_n_q, lasting_name, load_named, warm_up
from echoic.codecs.jobs.places import STDIO, check_output, make_folder, open_output
from echoic.codecs.jobs.running import Check
from echoic.codecs.jobs.sounds import Sound, find_sounds
from echoic.codecs.weights import weights_hash


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
        cluster: where to compute, if not here.
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
    cluster: Cluster | None = None

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
            if settings.get("cluster") is not None:
                raise UsageError("--engine ray codes many recordings; say where to with -o DIR")
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
        console.note(summary(done.duration, done.num_bytes, console.seconds))
        return ALL_DONE
    return _encode_many(request, find_sounds(request.inputs), console, check)


def _encode_many(
    request: EncodeRequest, sounds: list[Sound], console: Console, check: Check
) -> int:
    if request.cluster is None:
        work = _Encoder(request, console, check)
        code, made_by = work.encode_all, (weights_hash(work.codec), work.num_codebooks)
    else:
        code, made_by = _on_ray(request, request.cluster, console)
    batch = Batch(
        request.folder or "",
        made_by,
        console,
        overwrite=request.overwrite,
        debug=request.debug,
    )
    return batch.run(sounds, code)


def _on_ray(
    request: EncodeRequest, cluster: Cluster, console: Console
) -> tuple[Callable[[Iterable[Job]], Iterator[Coded]], tuple[str, int]]:
    """Return what codes on a cluster, and by what files tell that it was this codec."""
    from echoic.codecs.jobs.on_ray import Coding, code_on_ray

    codec = load_named(request.model, "cpu")  # this machine may lack what the workers have
    n_q = check_n_q(codec, request.n_q)
    coding = Coding(lasting_name(request.model), n_q, request.entropy, request.device)
    code = partial(code_on_ray, coding=coding, cluster=cluster, console=console)
    return code, (weights_hash(codec), n_q)


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

    def encode_all(self, jobs: Iterable[Job]) -> Iterator[Coded]:
        """Code recordings one after the other; yields how each ended."""
        for job in jobs:
            try:
                make_folder(os.path.dirname(job.output))
                done = self.encode(job.sound, job.output)
            except Exception as e:  # a recording must not take the others with it
                yield Coded(job, error=e)
            else:
                yield Coded(job, done.duration, done.num_bytes)

    def _advance(self, seconds: float) -> None:
        self._console.advance(seconds)
        self._check()
