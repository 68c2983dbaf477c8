"""The verb `codec`: sound to `.echo` files and back, and what a codec loses on the way.

Nothing here imports torch before a command runs.
"""

from typing import Annotated, Any

import typer

from echoic.audio.data.cluster import Cluster, ClusterError, EngineName

DEFAULT_MODEL = "echo-16k-tiny"

codec = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

_CODES = "Exit code: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."

INPUT, CODEC, OUTPUT, RUNNING, RAY = "Input", "Codec", "Output", "Running", "Ray"


def _option(help: str, panel: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


Model = Annotated[str, _option("Name in the box, model id or folder.", CODEC, "--model", "-m")]
Books = Annotated[
    int | None,
    _option("Codes a frame, the first of those the codec has; else all.", CODEC, "--n-q"),
]
Device = Annotated[str, _option("auto, cpu, cuda or cuda:1.", RUNNING)]
Overwrite = Annotated[bool, _option("Replace what is there.", OUTPUT, "--overwrite")]
Quiet = Annotated[bool, _option("Results and problems only.", RUNNING, "--quiet", "-q")]
Debug = Annotated[bool, _option("Print where errors come from.", RUNNING, "--debug")]


def register(app: typer.Typer) -> None:
    """Add the verb `codec` to the command line."""
    app.add_typer(codec, name="codec")


@codec.callback()
def codec_() -> None:
    """Code sound to small files and back, or measure what is lost."""


@codec.command(
    epilog="Without -o: one recording and its output, where - is standard input or output. With "
    "-o: recordings and folders, one .echo each in a tree like theirs; what is done is passed "
    f"over, what fails is listed at the end. {_CODES}"
)
def encode(
    words: Annotated[
        list[str],
        typer.Argument(metavar="IN [OUT.echo]", help="Recordings or folders, and the output."),
    ],
    folder: Annotated[
        str | None, _option("Write files to DIR.", OUTPUT, "--output-dir", "-o", metavar="DIR")
    ] = None,
    model: Model = DEFAULT_MODEL,
    n_q: Books = None,
    entropy: Annotated[
        bool, _option("Code frequent codes shorter; smaller, and slower.", CODEC, "--entropy")
    ] = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
    engine: Annotated[
        EngineName, _option("Compute here, or by workers on a Ray cluster.", RAY)
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        _option("Running cluster: host:port, or auto; else Ray is started here.", RAY),
    ] = None,
    workers: Annotated[
        str | None, _option("How many, as 2, or as 1:8 for as many as there is work.", RAY)
    ] = None,
) -> None:
    """Code recordings of any rate and number of channels to .echo files."""

    def work(console: Any, check: Any) -> int:
        from echoic.codecs.jobs.encoding import EncodeRequest, encode
        from echoic.codecs.jobs.errors import UsageError

        try:
            cluster = Cluster.asked(engine, address, workers, device=device)
        except ClusterError as e:
            raise UsageError(str(e)) from e
        request = EncodeRequest.of(
            words,
            folder,
            model=model,
            n_q=n_q,
            entropy=entropy,
            device=device,
            overwrite=overwrite,
            debug=debug,
            cluster=cluster,
        )
        return encode(request, console, check)

    _run(work, quiet, debug)


@codec.command(
    epilog="The codec is found by the name in the file. To standard output (-) sound goes while "
    "the rest is still coming, as WAV, or with --raw as bare s16le samples. With --salvage every "
    "intact segment is decoded, what is lost becomes silence and is told, and the exit code is 0. "
    f"{_CODES}"
)
def decode(
    source: Annotated[str, typer.Argument(metavar="IN.echo", help="The file, or -.")],
    output: Annotated[
        str, typer.Argument(metavar="OUT.wav", help="wav, flac, ogg, opus or mp3, or -.")
    ],
    model: Annotated[
        str | None,
        _option("The codec, in the place of the one that the file names.", CODEC, "--model", "-m"),
    ] = None,
    salvage: Annotated[
        bool, _option("Decode what is intact of a damaged file.", INPUT, "--salvage")
    ] = False,
    raw: Annotated[
        bool, _option("Samples without a header: s16le, interleaved.", OUTPUT, "--raw")
    ] = False,
    subtype: Annotated[
        str | None, _option("How samples are held, such as PCM_24 or FLOAT.", OUTPUT)
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Decode an .echo file to sound of the original's rate, channels and length."""

    def work(console: Any, check: Any) -> int:
        from echoic.codecs.jobs.decoding import DecodeRequest, decode

        request = DecodeRequest(
            source=source,
            output=output,
            model=model,
            salvage=salvage,
            raw=raw,
            subtype=subtype,
            device=device,
            overwrite=overwrite,
        )
        return decode(request, console, check)

    _run(work, quiet, debug)


@codec.command(epilog=f"A damaged file has the exit code 1. {_CODES}")
def info(
    source: Annotated[str, typer.Argument(metavar="FILE.echo", help="The file, or -.")],
    as_json: Annotated[bool, _option("One JSON object on stdout.", OUTPUT, "--json")] = False,
    debug: Debug = False,
) -> None:
    """Tell what an .echo file holds, and whether it is whole."""

    def work(console: Any, _: Any) -> int:
        from echoic.codecs.jobs.inspecting import show_info

        return show_info(source, console, as_json=as_json)

    _run(work, False, debug)


@codec.command(
    "eval",
    epilog="Scores of other packages are computed where those are installed; the rest are named "
    f"with the way to install them. {_CODES}",
)
def evaluate(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Recordings, folders or manifests (.jsonl)."),
    ],
    model: Model = DEFAULT_MODEL,
    n_q: Books = None,
    limit: Annotated[int | None, _option("Take the first N recordings.", INPUT, min=1)] = None,
    json_file: Annotated[
        str | None, _option("Write JSON to FILE; - prints it.", OUTPUT, "--json", metavar="FILE")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure what a codec loses: distances, scores, bits, speed."""

    def work(console: Any, check: Any) -> int:
        from echoic.codecs.jobs.evaluating import EvalRequest, evaluate_codec

        request = EvalRequest(
            inputs=tuple(inputs),
            model=model,
            n_q=n_q,
            limit=limit,
            json_file=json_file,
            device=device,
        )
        return evaluate_codec(request, console, check)

    _run(work, quiet, debug)


@codec.command(epilog=_CODES)
def plot(
    source: Annotated[str, typer.Argument(metavar="IN", help="A recording, or -.")],
    output: Annotated[str, typer.Argument(metavar="OUT.png", help="png, svg or pdf.")],
    model: Model = DEFAULT_MODEL,
    n_q: Books = None,
    offset: Annotated[float, _option("Seconds to leave out at the beginning.", INPUT)] = 0.0,
    duration: Annotated[float | None, _option("Seconds to draw; else all.", INPUT)] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a recording, its reconstruction and the codes between."""

    def work(console: Any, check: Any) -> int:
        from echoic.codecs.jobs.plotting import PlotRequest, plot

        request = PlotRequest(
            source=source,
            output=output,
            model=model,
            n_q=n_q,
            offset=offset,
            duration=duration,
            device=device,
            overwrite=overwrite,
        )
        return plot(request, console, check)

    _run(work, quiet, debug)


def _run(work: Any, quiet: bool, debug: bool) -> None:
    from echoic.codecs.jobs.running import run_job

    raise typer.Exit(run_job(work, quiet=quiet, debug=debug))
