"""Make a model of the box: a Whisper folder with eight-bit weights, licence and model card.

    python -m echoic.recipes.prepare.whisper_box SRC DST

SRC is a folder in Hugging Face's or faster-whisper's format (or anything else that
`load_checkpoint` finds), DST the folder to write, its name the model's name.
"""

import argparse
import sys
from pathlib import Path
from string import Template

from echoic.asr.errors import CheckpointError
from echoic.asr.quantized import GROUP, load_quantized
from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from echoic.asr.whisper.layout import ENCODER_POSITIONS, expected_shapes

_COMMAND = "python -m echoic.recipes.prepare.whisper_box SRC DST"

_LICENCE = """MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

_CARD = Template("""# Whisper $name, eight-bit weights

| | |
| --- | --- |
| model | OpenAI's Whisper `$name`, $millions M parameters, $languages |
| source | <https://github.com/openai/whisper>, unchanged but for the rounding below |
| paper | Radford et al. 2022, *Robust Speech Recognition via Large-Scale Weak Supervision* |
| licence | MIT, Copyright (c) 2022 OpenAI, see `LICENSE` |
| size | `model.safetensors` $megabytes MB (half-precision original: $half MB) |
| made with | `$command` |

`SRC` is a folder with the original weights in Hugging Face's or faster-whisper's format.

## Format

Matrices and convolution kernels are int8 with a float16 scale for every $group weights of a row;
vectors are float16; the encoder's positions are sinusoids and are recomputed. Loading gives floats
again (`echoic.asr.quantized`). Over all rounded weights the relative error (root of summed
squares) is $error %; the largest of one tensor is $worst % (`$worst_name`).

## Word error rate

| data | model | WER % | command |
| --- | --- | --- | --- |

## Limits

Trained on 30-second windows; it may invent text in silence or noise, and its word times are
estimates. $scope
""")


def make_box(source: str, target: Path) -> Path:
    """Write the model's folder and return it.

    Raises:
        CheckpointError: the source is no Whisper model.
    """
    checkpoint = load_checkpoint(source)
    multilingual = checkpoint.config.is_multilingual
    spoken = f"{len(checkpoint.tokenizer.language_ids)} languages" if multilingual else "English"
    description = f"OpenAI Whisper {target.name}, {spoken}, eight-bit weights (MIT)"
    save_checkpoint(checkpoint, target, quantize=True, description=description)
    (target / "LICENSE").write_text(_LICENCE, encoding="utf-8")
    card = _CARD.substitute(_facts(checkpoint, target, spoken))
    (target / "README.md").write_text(card, encoding="utf-8")
    return target


def _facts(checkpoint: Checkpoint, target: Path, spoken: str) -> dict[str, str]:
    weights = target / "model.safetensors"
    errors = _relative_errors(checkpoint, weights)
    worst_name = max((name for name in errors if name), key=errors.__getitem__)
    shapes = expected_shapes(checkpoint.config)
    parameters = sum(checkpoint.state[name].numel() for name in shapes)
    english = "It knows English only." if spoken == "English" else ""
    return {
        "name": target.name,
        "millions": f"{parameters / 1e6:.1f}",
        "languages": spoken,
        "megabytes": f"{weights.stat().st_size / 1e6:.1f}",
        "half": f"{2 * parameters / 1e6:.1f}",
        "command": _COMMAND,
        "group": str(GROUP),
        "error": f"{100 * errors['']:.2f}",
        "worst": f"{100 * errors[worst_name]:.2f}",
        "worst_name": worst_name,
        "scope": english,
    }


def _relative_errors(checkpoint: Checkpoint, weights: Path) -> dict[str, float]:
    """Root of summed squared errors over that of the weights: by tensor, and under "" overall."""
    rounded = load_quantized(weights)
    lost, total = 0.0, 0.0
    errors: dict[str, float] = {}
    for name, tensor in checkpoint.state.items():
        if tensor.dim() < 2 or name == ENCODER_POSITIONS:
            continue
        error = float((rounded[name] - tensor).square().sum())
        size = float(tensor.square().sum())
        lost, total = lost + error, total + size
        errors[name] = (error / size) ** 0.5 if size else 0.0
    return {**errors, "": (lost / total) ** 0.5}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, prog="whisper_box")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", metavar="SRC", help="the original model")
    parser.add_argument("target", metavar="DST", type=Path, help="the folder to write")
    options = parser.parse_args(arguments)
    try:
        folder = make_box(options.source, options.target)
    except CheckpointError as e:
        print(f"whisper_box: {e}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
