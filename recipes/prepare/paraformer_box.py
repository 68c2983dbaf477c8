"""Make a Paraformer's folder from the checkpoints of a training run.

    python -m echoic.recipes.prepare.paraformer_box RUN.ckpt... FOLDER [--precision int8]

Of several checkpoints the mean is taken. FOLDER gets `config.json`, `model.safetensors` and the
vocabulary, which `Paraformer.from_pretrained(FOLDER)` reads, and with `--data` a model card; from a
run's folder, `echoic export` does the same and writes the card by itself.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.checkpoint import WEIGHTS_FILE, Precision
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.training.export import model_of_runs
from echoic.recipes.model_card import About, Choices, Options, megabytes, text_of, write_card

PRECISIONS = ("float16", "int8", "float32")
COMMAND = "python -m echoic.recipes.prepare.paraformer_box"


def write(checkpoints: Sequence[str | Path], folder: Path, options: Options) -> About:
    """Write the model of a run, or the mean of several checkpoints of it; tell what it is.

    Raises:
        CheckpointError: not such checkpoints, or not of one model.
        OSError: the folder cannot be written.
    """
    model = model_of_runs(checkpoints, averaged=options.averaged)
    model.save_pretrained(
        folder, description=options.description, precision=cast(Precision, options.precision)
    )
    return about(model, folder, options)


def about(model: Paraformer, folder: Path, options: Options) -> About:
    """Tell what a folder that was written holds."""
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    streams = model.config.chunks is not None
    return About(
        what=options.description or "Paraformer, speech recognition in one pass",
        rows={
            "model": f"Paraformer of {len(model.tokenizer)} tokens, {millions:.2f} M parameters",
            "streams": "yes" if streams else "",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS_FILE)}",
        },
        use="echoic transcribe FILE --model DIR",
        tags=("speech", "paraformer"),
        pipeline="automatic-speech-recognition",
        metrics=("wer", "cer"),
        language=model.config.language,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="paraformer_box", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("checkpoints", nargs="+", metavar="RUN.ckpt")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=PRECISIONS, default="float16")
    parser.add_argument("--last", action="store_true", help="the last weights, not their average")
    parser.add_argument("--description", default="", help="a line for lists of models")
    parser.add_argument("--recipe", default="paraformer-tiny-en.yaml", help="named on the card")
    parser.add_argument("--license", default="apache-2.0", help="named on the card")
    parser.add_argument("--data", type=Path, help="a paragraph on the training data")
    parser.add_argument("--measured", type=Path, help="tables for the card")
    given = parser.parse_args(arguments)
    try:
        options = Options(given.precision, not given.last, given.description)
        told = write(given.checkpoints, given.folder, options)
        if given.data is not None:
            rows = {
                "training": f"`echoic train fit --config recipes/paraformer/{given.recipe}`",
                "weights": f"mean of {len(given.checkpoints)} checkpoint(s)",
                "made with": f"`{COMMAND} RUN.ckpt... {given.folder.name} "
                f"--precision {given.precision}`",
            }
            measured = text_of(given.measured, "Not yet.")
            sections = {"Data": text_of(given.data), "Measured": measured}
            write_card(given.folder, told, rows, sections, Choices(given.license))
    except (CheckpointError, OSError, ValueError) as error:
        print(f"paraformer_box: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in given.folder.iterdir())
    print(f"{given.folder}: {told.rows['model']}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
