"""Make a talker's folder from the checkpoint of a training run, as `echoic export` does."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from echoic.asr.tokenizer.files import is_tokenizer
from echoic.codecs.registry import load_codec
from echoic.recipes.model_card import About, Options, megabytes
from echoic.tts.folders import WEIGHTS
from echoic.tts.lm.files import save_speech_lm
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.talker import Talker, TalkerSettings
from echoic.tts.text.alphabet import alphabet_from_config
from echoic.tts.training.export import model_of_run

# Where text runs along nothing loops, so that codes may be repeated, as they are in silence.
_FIRST, _REST = SamplingConfig(0.6, window=0), SamplingConfig(0.5, window=0)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def write(checkpoints: Sequence[Path], folder: Path, options: Options) -> About:
    """Write the talker of a checkpoint, and tell what it is.

    One that learned the codes of a speech tokenizer writes codes, and cannot be heard.

    Args:
        checkpoints: the one.
        folder: made if it does not exist.
        options: how to store it.

    Raises:
        TtsError: no such checkpoint, or a codec that is not the one it was trained for.
        CodecError: its codec is not there.
    """
    trained = model_of_run(checkpoints[0], averaged=options.averaged)
    form = trained.model.config.frames
    settings = TalkerSettings(
        form.codec,
        trained.codec_hash,
        language=trained.language,
        g2p=trained.g2p,
        description=options.description,
    )
    if trained.model.config.text == "along":
        settings = replace(settings, sampling=_FIRST, rest=_REST)
    dtype, use = (
        DTYPES[options.precision],
        'echoic speak "Good morning." --model DIR -o morning.wav',
    )
    if is_tokenizer(form.codec):
        more = {"talker": asdict(settings), "alphabet": trained.alphabet}
        save_speech_lm(trained.model, folder, dtype=dtype, more=more)
        use = "echoic prepare interleaved TEXTS OUT --model DIR"
    else:
        codec, alphabet = load_codec(form.codec), alphabet_from_config(trained.alphabet)
        talker = Talker(trained.model, codec, alphabet, settings, trained.units)
        talker.save_pretrained(folder, dtype=dtype)
    count = sum(p.numel() for p in trained.model.parameters()) / 1e6
    return About(
        what=options.description or f"talker of {count:.1f} M parameters",
        rows={
            "codec": form.codec,
            "frames": f"{form.frame_rate:g} a second of {form.num_codebooks} codes",
            "text": f"phonemes ({trained.g2p})" if trained.g2p else "letters, as bytes",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS)}",
        },
        use=use,
        tags=["speech", "text-to-speech"],
        pipeline="text-to-speech",
        metrics=["wer"],
        language=trained.language,
    )
