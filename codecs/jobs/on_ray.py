"""Recordings coded by workers of a Ray cluster; this process writes the files, each once."""

import base64
import io
import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from echoic.audio.data.cluster import Cluster, ClusterError, RemoteError
from echoic.audio.data.ray_pool import Row, answers
from echoic.codecs.codec import Codec
from echoic.codecs.encode_file import encode_file
from echoic.codecs.jobs.batch import Coded, Job
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import UsageError, describe
from echoic.codecs.jobs.loading import load_named
from echoic.codecs.jobs.places import STDIO, make_folder, open_output

# Recordings that a worker takes at once.
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Coding:
    """What each worker calls once; it returns what codes recordings.

    Attributes:
        model: name of the codec, or the absolute path of its folder.
        n_q: codes of a frame.
        entropy: code by the frequencies of codes.
        device: where to compute.
    """

    model: str
    n_q: int
    entropy: bool
    device: str

    def __call__(self) -> partial[list[Row]]:
        """Load the codec."""
        return partial(self.code, load_named(self.model, self.device))

    def code(self, codec: Codec, rows: list[Row]) -> list[Row]:
        """Answer each row with a file's bytes, or with why there are none."""
        return [self._code(codec, row) for row in rows]

    def _code(self, codec: Codec, row: Row) -> Row:
        file, notes = io.BytesIO(), list[str]()
        try:
            done = encode_file(
                codec,
                row["path"],
                file,
                model=self.model,
                n_q=self.n_q,
                entropy=self.entropy,
                note=notes.append,
            )
        except Exception as e:  # a recording must not take the others with it
            trace = traceback.format_exc()
            return {"key": row["key"], "error": describe(e, row["path"]), "trace": trace}
        data = base64.b64encode(file.getvalue()).decode()
        return {"key": row["key"], "data": data, "seconds": done.duration, "notes": notes}


def code_on_ray(
    jobs: Iterable[Job], coding: Coding, cluster: Cluster, console: Console
) -> Iterator[Coded]:
    """Code recordings on a cluster, and write each as it comes.

    Args:
        jobs: on a file system that all machines share.
        coding: how.
        cluster: where.
        console: is told of notes and of the progress.

    Raises:
        UsageError: there is no such cluster, its workers cannot load the codec, or a recording is
            standard input.
        ClusterLost: Ray failed.
    """
    sent: dict[str, Job] = {}
    try:
        for answer in answers(cluster, coding, _rows(jobs, sent), together=_TOGETHER):
            coded = _written(sent.pop(answer["key"]), answer)
            for note in answer.get("notes", ()):
                console.note(note)
            console.advance(coded.seconds)
            yield coded
    except ClusterError as e:
        raise UsageError(str(e)) from e


def _rows(jobs: Iterable[Job], sent: dict[str, Job]) -> Iterator[Row]:
    for job in jobs:
        if job.sound.path == STDIO:
            raise ClusterError("'-' is read here, where no worker hears it; write it to a file")
        sent[job.output] = job
        path = job.sound.path
        yield {"key": job.output, "path": os.path.abspath(path), "typed": path}


def _written(job: Job, answer: Row) -> Coded:
    if "error" in answer:
        return Coded(job, error=RemoteError.of(answer))
    data = base64.b64decode(answer["data"])
    try:
        make_folder(os.path.dirname(job.output))
        with open_output(job.output) as file:
            file.write(data)
    except Exception as e:  # told, and the batch goes on where that is of use
        return Coded(job, error=e)
    return Coded(job, answer["seconds"], len(data))
