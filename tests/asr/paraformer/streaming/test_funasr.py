"""A stream with `compat` against FunASR's online model, on the same random weights."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import pytest
import torch
from paraformer_files import mvn_text, random_features, settings
from paraformer_oracle import Sizes, draw
from small_paraformer import paraformer
from speech_data import novel
from torch import Tensor

from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.encoder import ChunkedEncoder
from echoic.asr.paraformer.streaming.tokens import TokenStream
from echoic.streaming.module import chain, run_offline

pytest.importorskip("funasr", reason="the rival is not installed")

# No blocks without a look at the sound: in their stream these mix up what is before and after.
SIZES = Sizes(dim=64, layers=4, ffn=96, vocab=60, cross=3, plain=0, heads=4, kernel=11)
CUTS = [
    Chunks(0, 10, 5, 4, 1, compat=True),
    Chunks(5, 10, 5, 4, 1, compat=True),
    Chunks(0, 8, 4, 0, 0, compat=True),
]


def theirs() -> Any:
    import funasr.models.paraformer.cif_predictor
    import funasr.models.paraformer.decoder
    import funasr.models.scama.encoder  # noqa: F401  (each enters its classes in a registry)
    from funasr.models.paraformer_streaming.model import ParaformerStreaming

    values = settings(SIZES)
    encoder = values["encoder_conf"] | {"input_layer": "pe_online"}
    shift = {"sanm_shfit": SIZES.kernel // 2}
    rival = ParaformerStreaming(
        encoder="SANMEncoderChunkOpt",
        decoder=values["decoder"],
        predictor=values["predictor"],
        encoder_conf=encoder,
        decoder_conf=values["decoder_conf"] | shift,
        predictor_conf=values["predictor_conf"],
        **values["model_conf"],
        input_size=560,
        vocab_size=SIZES.vocab,
    )
    rival.load_state_dict(draw(SIZES), strict=True)
    return rival.eval()


def opened(chunks: Chunks) -> dict[str, Any]:
    """What their stream is called with."""
    return {
        "chunk_size": [chunks.look_back, chunks.stride, chunks.look_ahead],
        "encoder_chunk_look_back": chunks.encoder_look_back,
        "decoder_chunk_look_back": chunks.decoder_look_back,
        "encoder_conf": {"output_size": SIZES.dim},
        "frontend_conf": {"n_mels": 80, "lfr_m": 7},
        "device": "cpu",
    }


def heard_by_them(
    rival: Any, cache: dict[str, Any], x: Tensor, last: bool
) -> tuple[Tensor, list[int]]:
    """The window and the tokens of one chunk of features."""
    # They scale in place.
    hidden, lengths = rival.encode_chunk(x.clone(), torch.tensor([x.shape[1]]), cache=cache)
    tokens, count = rival.calc_predictor_chunk(hidden, lengths, cache=cache, is_final=last)[:2]
    if int(count) < 1:
        return hidden, []
    scores = rival.cal_decoder_with_predictor_chunk(hidden, lengths, tokens, count, cache=cache)[0]
    return hidden, scores[0, : int(count)].argmax(-1).tolist()


@torch.inference_mode()
@pytest.mark.parametrize("chunks", CUTS, ids=str)
def test_every_chunk_is_theirs(chunks: Chunks):
    rival, model = theirs(), paraformer(SIZES)
    stream, encoder = TokenStream(model, chunks), ChunkedEncoder(model.encoder, chunks)
    (x,) = random_features(7 * chunks.stride + 3)
    pieces = x[None].split(chunks.stride, dim=1)
    cache: dict[str, Any] = {}
    rival.init_cache(cache, **opened(chunks))
    state, heard = stream.initial_state(1), encoder.initial_state(1)
    said = 0
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        hidden, ids = heard_by_them(rival, cache, piece, last)
        heard = encoder.hear(heard, piece)
        windows = list(encoder.complete(heard))
        if last:
            window = encoder.rest(heard)
        else:
            ((heard, window),) = windows
        assert window is not None
        assert torch.allclose(window.hidden, hidden, atol=1e-4)
        state, tokens = stream.step(state, piece)
        if last:
            tokens = stream.finish(state)[1]
        assert tokens.ids[tokens.ids >= 0].tolist() == ids
        said += len(ids)
    assert said > 20


class Ids:
    """A tokenizer that keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def ids2tokens(self, ids: list[int]) -> list[str]:
        self.seen += ids
        return [f"t{i}" for i in ids]


def test_the_whole_way_from_sound_to_tokens(tmp_path: Path):
    from funasr.frontends.wav_frontend import WavFrontendOnline

    (tmp_path / "am.mvn").write_text(mvn_text())
    front = {k: v for k, v in settings(SIZES)["frontend_conf"].items() if k != "dither"}
    frontend = WavFrontendOnline(cmvn_file=str(tmp_path / "am.mvn"), dither=0.0, **front)
    rival, model = theirs(), paraformer(SIZES)
    chunks = Chunks(0, 10, 5, 4, 1, compat=True)
    ours = chain(model.frontend, TokenStream(model, chunks))
    for wav in [utterance.wav for utterance in novel()[:2]]:
        wav = wav[: len(wav) // 9600 * 9600 - 4000]
        cache: dict[str, Any] = {}
        ids = Ids()
        for start in range(0, len(wav), 9600):
            rival.inference(
                [wav[start : start + 9600]],
                key=["one"],
                tokenizer=ids,
                frontend=frontend,
                cache=cache,
                is_final=start + 9600 >= len(wav),
                **opened(chunks),
            )
        found = run_offline(ours, wav[None]).ids
        kept = [i for i in found[found >= 0].tolist() if i > 2]
        assert kept == ids.seen
        assert len(kept) > 5
