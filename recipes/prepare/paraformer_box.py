"""Make a Paraformer's folder from the checkpoints of a training run.

    python -m echoic.recipes.prepare.paraformer_box RUN.ckpt... FOLDER [--precision int8]

Of several checkpoints the mean is taken. FOLDER gets `config.json`, `model.safetensors` and the
vocabulary, which `Paraformer.from_pretrained(FOLDER)` reads, and with `--data` a model card.
"""

import argparse
import sys
from pathlib import Path
from string import Template

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.training.export import model_of_runs

PRECISIONS = ("float16", "int8", "float32")
COMMAND = "python -m echoic.recipes.prepare.paraformer_box"

_CARD = Template("""# $name

| | |
| --- | --- |
| what | $description |
| model | Paraformer, $millions M parameters, $tokens tokens |
| stored | $precision, $megabytes MB |
| training | `echoic train fit --config recipes/paraformer/$recipe` |
| weights | mean of $checkpoints checkpoint(s) |
| made with | `$command` |

## Data

$data

## Measured

$measured
""")


def make_card(folder: Path, model: Paraformer, given: argparse.Namespace) -> str:
    """Return the model card of a folder that was written."""
    measured = given.measured.read_text(encoding="utf-8").strip() if given.measured else "Not yet."
    return _CARD.substitute(
        name=folder.name,
        description=given.description or "speech recognition in one pass",
        millions=f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}",
        tokens=len(model.tokenizer),
        precision=given.precision,
        megabytes=f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f}",
        recipe=given.recipe,
        checkpoints=len(given.checkpoints),
        command=f"{COMMAND} RUN.ckpt... {folder.name} --precision {given.precision}",
        data=given.data.read_text(encoding="utf-8").strip(),
        measured=measured,
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
    parser.add_argument("--data", type=Path, help="a paragraph on the training data")
    parser.add_argument("--measured", type=Path, help="tables for the card")
    given = parser.parse_args(arguments)
    try:
        model = model_of_runs(given.checkpoints, averaged=not given.last)
        model.save_pretrained(
            given.folder, description=given.description, precision=given.precision
        )
        if given.data is not None:
            card = make_card(given.folder, model, given)
            (given.folder / "README.md").write_text(card, encoding="utf-8")
    except (CheckpointError, OSError, ValueError) as error:
        print(f"paraformer_box: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in given.folder.iterdir())
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{given.folder}: {millions:.2f} M parameters, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
