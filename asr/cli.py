"""The verb `transcribe`.

Nothing here imports torch before a command runs.
"""

import os
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.job import WRONG_USAGE, Model, Request, run_job
from echoic.asr.batch.naming import Shard
from echoic.asr.batch.subtitles import Layout
from echoic.asr.command_line import (
    DEFAULT_MODEL,
    LANGUAGE_ADAPTER,
    DType,
    Policy,
    option,
    spelling,
)
from echoic.asr.source import Source
from echoic.audio.data.cluster import Cluster, ClusterError, EngineName, RemoteError

if TYPE_CHECKING:
    from echoic.asr.batch.engine import BatchTranscriber

# Names that users of the Whisper family type; underscores are read as hyphens as well.
ALIASES = {
    "compute-type": "dtype",
    "initial-prompt": "prompt",
    "output-format": "format",
    "skip-existing": "resume",
}

EPILOG = (
    "Without -o the text is printed; with -o files appear in DIR, in a tree like the inputs'. "
    "Exit code: 0 all done, 1 something failed (listed at the end), 2 wrong usage, 130 interrupted."
)

INPUTS, OUTPUT, DECODING, SUBTITLES, STREAMING, RUNNING, RAY = (
    "Inputs",
    "Output",
    "Recognition",
    "Subtitles",
    "Streaming",
    "Running",
    "Ray",
)


class Task(StrEnum):
    """What to write down: what was said, or its English translation."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def register(app: typer.Typer) -> None:
    """Add the verb `transcribe` to the command line."""
    settings = {"token_normalize_func": spelling(ALIASES)}
    app.command("transcribe", context_settings=settings, epilog=EPILOG)(transcribe)


def transcribe(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Files, folders, quoted patterns, manifests (.jsonl), or - for sound on stdin.",
            show_default=False,
        ),
    ] = None,
    files_from: Annotated[
        str | None, option("List of inputs, one a line; - reads it from stdin.", INPUTS)
    ] = None,
    recursive: Annotated[bool, option("Search folders in folders.", INPUTS)] = False,
    shard: Annotated[
        str | None, option("Do part 2 of 8 only, chosen by a hash of the name.", INPUTS)
    ] = None,
    output_dir: Annotated[
        str | None, option("Write files to DIR.", OUTPUT, "--output-dir", "-o", metavar="DIR")
    ] = None,
    formats: Annotated[
        str | None,
        option(
            "txt, srt, vtt, tsv, json, several with commas, or all. Files: all; printed: txt.",
            OUTPUT,
            "--format",
            "-f",
            show_default=False,
        ),
    ] = None,
    json_lines: Annotated[
        bool, option("Print one JSON object a file on stdout.", OUTPUT, "--json")
    ] = False,
    resume: Annotated[
        bool, option("Skip what is done and unchanged.", OUTPUT, "--resume/--overwrite")
    ] = True,
    model: Annotated[
        str | None,
        option(
            f"Name in the box, model id or folder; else {DEFAULT_MODEL}, or the server's.",
            DECODING,
            "--model",
            "-m",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str | None, option("Spoken language, such as en; else it is recognised.", DECODING)
    ] = None,
    language_adapter: Annotated[
        list[str] | None, option(LANGUAGE_ADAPTER, DECODING, metavar="DIR")
    ] = None,
    task: Annotated[Task, option("Write down, or translate to English.", DECODING)] = (
        Task.TRANSCRIBE
    ),
    beam_size: Annotated[int, option("Hypotheses kept; 1 is greedy.", DECODING, min=1)] = 1,
    prompt: Annotated[
        str | None, option("Text in the style or with the names to expect.", DECODING)
    ] = None,
    hotwords: Annotated[
        str | None, option("Words to expect, with commas between.", DECODING)
    ] = None,
    ngram_weight: Annotated[
        float | None, option("Of a Paraformer's n-grams; 0 leaves them out.", DECODING, min=0)
    ] = None,
    word_timestamps: Annotated[
        bool | None, option("Time each word; subtitle options need it.", DECODING)
    ] = None,
    vad: Annotated[bool | None, option("Leave out what is not speech.", DECODING)] = None,
    max_line_width: Annotated[int | None, option("Characters a line.", SUBTITLES, min=1)] = None,
    max_line_count: Annotated[int | None, option("Lines a subtitle.", SUBTITLES, min=1)] = None,
    highlight_words: Annotated[
        bool, option("Underline each word as it is spoken.", SUBTITLES)
    ] = False,
    streaming: Annotated[
        bool, option("Hear recordings as `echoic stream` does, block by block.", STREAMING)
    ] = False,
    policy: Annotated[
        Policy | None, option("Of Whisper: causal (if trained), agreement, alignatt.", STREAMING)
    ] = None,
    chunk_ms: Annotated[float | None, option("Sound heard at once.", STREAMING)] = None,
    device: Annotated[str, option("auto, cpu, cuda or cuda:1.", RUNNING)] = "auto",
    dtype: Annotated[DType, option("Number type of the weights.", RUNNING)] = DType.AUTO,
    batch_size: Annotated[int, option("Windows decoded together.", RUNNING, min=1)] = 16,
    threads: Annotated[int | None, option("CPU threads.", RUNNING, min=1)] = None,
    quiet: Annotated[
        bool, option("Results and problems only.", RUNNING, "--quiet/--no-quiet", "-q")
    ] = False,
    fail_fast: Annotated[bool, option("Stop at the first failure.", RUNNING)] = False,
    debug: Annotated[bool, option("Print where errors come from.", RUNNING)] = False,
    server: Annotated[
        str | None,
        option("Have it done by `echoic serve`; its key is in $ECHOIC_API_KEY.", RUNNING),
    ] = None,
    engine: Annotated[
        EngineName, option("Compute here, or by workers on a Ray cluster.", RAY)
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        option("Running cluster: host:port, or auto; else Ray is started here.", RAY),
    ] = None,
    workers: Annotated[
        str | None, option("How many, as 2, or as 1:8 for as many as there is work.", RAY)
    ] = None,
) -> None:
    """Transcribe recordings, folders or manifests, many at a time."""
    try:
        request = Request(
            inputs=tuple(inputs or ()),
            files_from=files_from,
            output_dir=None if output_dir == "-" else output_dir,
            formats=formats,
            json_lines=json_lines,
            layout=Layout(max_line_width, max_line_count, highlight_words),
            recursive=recursive,
            shard=Shard.parse(shard) if shard is not None else None,
            overwrite=not resume,
            batch_size=batch_size,
            quiet=quiet,
            fail_fast=fail_fast,
            debug=debug,
        )
        decoding = {
            "language": language,
            "task": task.value,
            "beam_size": beam_size,
            "prompt": _text("--prompt", prompt),
            "hotwords": _text("--hotwords", hotwords),
            "word_timestamps": _word_timestamps(word_timestamps, request.layout),
            "vad": vad,
        }
        stream = _stream(streaming, policy, chunk_ms)
        running: dict[str, Any] = {"device": device, "dtype": dtype.value, "threads": threads}
        if stream:
            stream |= {
                "language": language,
                "beam_size": beam_size,
                "hotwords": decoding["hotwords"],
            }
        chosen: dict[str, Any] = {}
        if language_adapter:
            chosen["language_adapters"] = tuple(language_adapter)
        if ngram_weight is not None:
            chosen["ngram_weight"] = ngram_weight
        cluster = _cluster(engine, address, workers, threads, device)
        name = DEFAULT_MODEL if model is None else model
        shapes = {"model": name, "dtype": dtype.value, **chosen, **stream}
        load = _loader(name, running | chosen | stream, cluster)
        if server is not None:
            _check_server(streaming, chosen, cluster)
            shapes, load = {"model": model, "server": server}, partial(_remote, server, model)
        recogniser = _model(decoding, shapes, load)
    except UsageError as e:
        typer.echo(f"echoic: {e}", err=True)
        raise typer.Exit(WRONG_USAGE) from e
    raise typer.Exit(run_job(request, recogniser))


def load_transcriber(
    name: str,
    *,
    device: str,
    dtype: str,
    threads: int | None,
    language_adapters: tuple[str, ...] = (),
    ngram_weight: float | None = None,
    **stream: Any,
) -> "BatchTranscriber[Any]":
    """Load a recogniser, a live one where `stream` tells how; this is where torch comes in."""
    running: dict[str, Any] = {
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "language_adapters": language_adapters,
        "ngram_weight": ngram_weight,
    }
    if stream:
        from echoic.asr.streaming_transcriber import load_streaming_transcriber

        return load_streaming_transcriber(name, **running, **stream)
    from echoic.asr.transcriber import Transcriber

    return Transcriber.from_pretrained(name, **running)


def _check_server(streaming: bool, chosen: dict[str, Any], cluster: Cluster | None) -> None:
    if streaming or chosen or cluster is not None:
        raise UsageError(
            "--server computes as it was started: leave out --streaming, --language-adapter, "
            "--ngram-weight and --engine"
        )


def _remote(url: str, model: str | None) -> "BatchTranscriber[Any]":
    try:
        from echoic.asr.remote import RemoteTranscriber
    except ImportError as e:
        raise ValueError("--server needs httpx: pip install 'echoic[serve]'") from e
    return RemoteTranscriber(url, model=model)


def _loader(
    name: str, settings: dict[str, Any], cluster: Cluster | None
) -> Callable[[], "BatchTranscriber[Any]"]:
    """Return what loads the recogniser: here, or in each worker of a cluster."""
    if cluster is None:
        return lambda: load_transcriber(name, **settings)
    from echoic.asr.on_ray import RayTranscriber

    if adapters := settings.get("language_adapters"):
        settings = settings | {"language_adapters": tuple(map(_from_anywhere, adapters))}
    load = partial(load_transcriber, _from_anywhere(name), **settings)
    return lambda: RayTranscriber(load, cluster)


def _from_anywhere(name: str) -> str:
    """Return a name that holds in the folder of any process."""
    return os.path.abspath(name) if os.path.isdir(name) else name


def _cluster(
    engine: EngineName,
    address: str | None,
    workers: str | None,
    threads: int | None,
    device: str,
) -> Cluster | None:
    try:
        return Cluster.asked(engine, address, workers, cpus=threads or 1, device=device)
    except ClusterError as e:
        raise UsageError(str(e)) from e


def _text(name: str, text: str | None) -> str | None:
    """Return a text as it was typed, if it is text."""
    try:
        (text or "").encode()
    except UnicodeEncodeError as e:
        raise UsageError(f"{name} is not UTF-8; type it in a UTF-8 terminal") from e
    return text


def _stream(asked: bool, policy: Policy | None, chunk_ms: float | None) -> dict[str, Any]:
    """Return how to stream; nothing when that was not asked for."""
    if not asked and (policy is not None or chunk_ms is not None):
        raise UsageError("--policy and --chunk-ms are for streams; add --streaming")
    return {"policy": (policy or Policy.CAUSAL).value, "chunk_ms": chunk_ms} if asked else {}


def _word_timestamps(asked: bool | None, layout: Layout) -> bool:
    if asked is False and layout.needs_words:
        raise UsageError(
            "--max-line-width, --max-line-count and --highlight-words need word times; "
            "leave out --no-word-timestamps"
        )
    return layout.needs_words if asked is None else asked


def _model(
    decoding: dict[str, Any], shapes: dict[str, Any], load: Callable[[], "BatchTranscriber[Any]"]
) -> Model[Any]:
    from echoic.asr.errors import ServerError
    from echoic.asr.languages import language_code
    from echoic.asr.options import TranscribeOptions
    from echoic.audio.io import AUDIO_SUFFIXES, AudioDecodeError

    try:  # what was not given is left to the options' own defaults
        if decoding["language"] is not None:
            language_code(decoding["language"])
        options = TranscribeOptions(**{k: v for k, v in decoding.items() if v is not None})
    except ValueError as e:
        raise UsageError(str(e)) from e
    expected = (AudioDecodeError, RemoteError, ServerError)
    return Model(load, options, shapes, AUDIO_SUFFIXES, _measure, expected)


def _measure(source: Source) -> float | None:
    """Return a source's length in seconds for the progress bar, None where it is not known."""
    from echoic.audio.io import info

    if source.duration is not None:
        return source.duration
    if not os.path.isfile(source.path):  # a pipe can be read only once
        return None
    try:
        length = info(source.path).duration
    except (ValueError, OSError):  # told when it is the file's turn
        return None
    return None if length is None else max(0.0, length - source.offset)
