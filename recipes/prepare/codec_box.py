"""Make a codec's folder from the checkpoint of a training run.

    python -m echoic.recipes.prepare.codec_box RUN.ckpt FOLDER

The averaged weights are taken. FOLDER gets `config.json` and `model.safetensors`, which
`echoic codec encode --model FOLDER` reads. `echoic export` does the same from a run's folder, with
a model card; here books can be left out, too.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.quantize.extend import shorten_quantizer
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.training.build import codec_of_run
from echoic.recipes.model_card import About, Options, megabytes

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def make_box(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    dtype: str = "float16",
    averaged: bool = True,
    layers: int | None = None,
    description: str = "",
) -> Codec:
    """Write the codec of a run and return it.

    Args:
        checkpoint: that `echoic train fit` wrote.
        folder: made if it is not there.
        dtype: of the stored weights; "float16" halves the file and costs nothing that is heard.
            Loading makes them float32 again.
        averaged: the running mean of the weights; else those of the last step.
        layers: residual layers to keep, the first ones; None for all.
        description: a line for lists of models.

    Raises:
        CodecError: no such checkpoint, or one whose books have not begun to learn.
        ValueError: layers that are out of range.
    """
    codec = codec_of_run(checkpoint, averaged=averaged)
    if not codec.quantizer.codebooks.is_initialized:
        raise CodecError(f"{checkpoint}: its codebooks have not started yet; train it further")
    if layers is not None:
        codec = with_quantizer(codec, shorten_quantizer(codec.quantizer, layers))
    codec.save_pretrained(folder, dtype=DTYPES[dtype], description=description)
    return codec


def write(checkpoints: Sequence[str | Path], folder: Path, options: Options) -> About:
    """Write the codec of a run; tell what it is.

    Raises:
        CodecError: see `make_box`.
        OSError: the folder cannot be written.
    """
    codec = make_box(
        checkpoints[0],
        folder,
        dtype=options.precision,
        averaged=options.averaged,
        description=options.description,
    )
    millions = sum(p.numel() for p in codec.parameters()) / 1e6
    frames = codec.sample_rate / codec.hop_length
    return About(
        what=options.description or f"neural codec, {codec.bits_per_second():.0f} bit/s",
        rows={
            "model": f"{codec.kind}, {millions:.2f} M parameters",
            "sound": f"{codec.sample_rate} Hz, {frames:g} frames a second of "
            f"{codec.num_codebooks} codes out of {codec.codebook_size}",
            "stored": f"{options.precision}, {megabytes(folder / 'model.safetensors')}",
        },
        use="echoic codec encode FILE --model DIR",
        tags=("speech", "neural-codec", codec.kind),
        pipeline="audio-to-audio",
    )


def with_quantizer(codec: Codec, quantizer: Quantizer) -> Codec:
    """Return a codec with the same networks around another quantizer of the same latents."""
    result = codec.from_config(asdict(replace(codec.config, quantizer=quantizer.config)))
    result.encoder.load_state_dict(codec.encoder.state_dict())
    result.decoder.load_state_dict(codec.decoder.state_dict())
    result.quantizer = quantizer
    return result.eval()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if the folder was written."""
    parser = argparse.ArgumentParser(prog="codec_box", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="a .ckpt file of CodecTask")
    parser.add_argument("folder", help="where the codec is written")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float16")
    parser.add_argument("--last", action="store_true", help="the last weights, not their average")
    parser.add_argument("--layers", type=int, help="residual layers to keep; all of them if left")
    parser.add_argument("--description", default="", help="a line for lists of models")
    given = parser.parse_args(arguments)
    try:
        codec = make_box(
            given.checkpoint,
            given.folder,
            dtype=given.dtype,
            averaged=not given.last,
            layers=given.layers,
            description=given.description,
        )
    except (CodecError, OSError, ValueError) as error:
        print(f"codec_box: {error}", file=sys.stderr)
        return 2
    size = (Path(given.folder) / "model.safetensors").stat().st_size
    bits = codec.bits_per_second()
    print(f"{given.folder}: {codec.kind}, {bits:.0f} bit/s, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
