"""The piece that moves layers from the decoder to the encoder: as many parameters as before."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paraformer_files import tokens_of

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import model_config
from echoic.recipes.recipe_parser import read_recipe

FOLDER = Path(__file__).parents[2] / "recipes" / "paraformer"
VOCAB = 500


def model_of(*recipes: str) -> Paraformer:
    """The model of recipes that are laid over each other, without memory for its weights."""
    words = [word for name in recipes for word in ("--config", str(FOLDER / name))]
    config = model_config(read_recipe(words).model.init_args.model, VOCAB)
    with torch.device("meta"):
        return Paraformer(config, Tokenizer(tokens_of(VOCAB)))


def test_equal_parameters_and_a_third_of_the_decoder() -> None:
    before, after = (
        model_of("librispeech.yaml"),
        model_of("librispeech.yaml", "pieces/shifted.yaml"),
    )
    layers = [(m.config.encoder.layers, m.config.decoder.layers) for m in (before, after)]
    assert layers == [(24, 6), (28, 2)]
    counts = [sum(p.numel() for p in model.parameters()) for model in (before, after)]
    assert counts[1] == pytest.approx(counts[0], rel=0.01)
    # Nothing else differs: the piece has to say it all again, which may be forgotten.
    changed = replace(
        after.config,
        encoder=replace(after.config.encoder, layers=24),
        decoder=replace(after.config.decoder, layers=6, cross_layers=6),
    )
    assert changed == before.config
