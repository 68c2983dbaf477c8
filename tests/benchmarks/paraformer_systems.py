"""A large Paraformer of random weights in every arithmetic, and rivals that do the same work.

Everybody is given features and returns ids: the frontend is measured nowhere. All have the same
weights, except the autoregressive decoder, which has no layer of Paraformer's.
"""

# pyright: reportMissingImports=false

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from paraformer_files import settings
from paraformer_oracle import Sizes
from torch import Tensor, nn

from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.tokenizer import SPECIAL, UNKNOWN, Tokenizer
from echoic.asr.upstream.paraformer_layout import upstream_name

CPU = torch.device("cpu")
VOCAB = 8404
FRAMES = 167  # 10 s
TOKENS = 40  # of Mandarin in that time
CONFIG = preset("large", VOCAB)
SIZES = Sizes(
    dim=CONFIG.encoder.dim,
    layers=CONFIG.encoder.layers,
    ffn=CONFIG.encoder.ffn_dim,
    vocab=VOCAB,
    cross=CONFIG.decoder.cross_layers,
    plain=0,
    heads=CONFIG.encoder.heads,
    kernel=CONFIG.encoder.kernel_size,
)

State = dict[str, Tensor]
Ids = list[list[int]]
Recognize = Callable[[Tensor], Ids]


class System(NamedTuple):
    """A recogniser: features (B, T, F) to the ids of each utterance."""

    name: str
    recognize: Recognize


def installed(package: str) -> bool:
    """Whether a rival can run here."""
    return importlib.util.find_spec(package) is not None


def features(batch: int) -> Tensor:
    """Features (B, T, F) of 10 s each."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, FRAMES, CONFIG.frontend.num_features, generator=generator)


def draw() -> State:
    """Random weights by our names, with which every 10 s hold as many tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Paraformer(CONFIG, _tokenizer())
    # Every frame holds the same part of a token, and the sum lies far from a whole number.
    part = (TOKENS + 0.5 - CONFIG.predictor.tail) / FRAMES
    state = model.state_dict()
    state["predictor.weights.output.weight"].zero_()
    state["predictor.weights.output.bias"].fill_(torch.tensor(part).logit())
    return state


def whole(state: State) -> Paraformer:
    """Return our model as it is trained and exported, without a copy of the weights."""
    with torch.device("meta"):
        model = Paraformer(CONFIG, _tokenizer())
    model.load_state_dict(state, assign=True)
    model.frontend = Frontend(CONFIG.frontend)  # what is computed, not stored
    return model.eval()


def model_of(state: State, kind: str) -> Paraformer:
    """Return our model in an arithmetic."""
    return whole(state).to_inference(device=CPU, dtype=kind)


def echoic(model: Paraformer) -> System:
    """Return our model, text, times and probabilities included."""

    def recognize(x: Tensor) -> Ids:
        return [list(found.tokens) for found in model.recognize(x)]

    return System(f"echoic {model.arithmetic}", recognize)


def funasr(state: State) -> System:
    """Return FunASR's model in float32 on our weights, without a copy of them."""
    import funasr.models.paraformer.cif_predictor
    import funasr.models.paraformer.decoder
    import funasr.models.sanm.encoder  # noqa: F401  (each enters its classes in a registry)
    from funasr.models.paraformer.model import Paraformer as Theirs

    values = settings(SIZES)
    parts = ("encoder", "decoder", "predictor")
    rival = Theirs(
        **{name: values[name] for name in parts},
        **{f"{name}_conf": values[f"{name}_conf"] for name in parts},
        **values["model_conf"],
        input_size=CONFIG.frontend.num_features,
        vocab_size=VOCAB,
    )
    cross = CONFIG.decoder.cross_layers
    theirs = {upstream_name(k, cross): v for k, v in state.items() if not k.startswith("frontend.")}
    rival.load_state_dict(theirs, strict=True, assign=True)
    rival.eval()

    @torch.inference_mode()
    def recognize(x: Tensor) -> Ids:
        keys = [str(row) for row in range(len(x))]
        lengths = torch.full((len(x), 1), x.shape[1])
        given: dict[str, Any] = {"tokenizer": None, "frontend": None, "data_type": "fbank"}
        found, _ = rival.inference(x, lengths, key=keys, device="cpu", **given)
        return [one["token_int"] for one in found]

    return System("FunASR float32", recognize)


def onnx(folder: Path, count: int, name: str) -> System:
    """Return what was exported to a folder, in onnxruntime with so many threads."""
    from echoic.asr.paraformer.onnx.runtime import OnnxParaformer

    model = OnnxParaformer.from_folder(folder, threads=count)

    def recognize(x: Tensor) -> Ids:
        return [list(found.tokens) for found in model.recognize(x)]

    return System(name, recognize)


class Autoregressive(nn.Module):
    """As many layers of the same width that write one token after the other, greedily.

    transformers' decoder of BART, with the cache of what was written and heard. Where Paraformer
    has a memory it has attention: a quarter more weights.
    """

    def __init__(self) -> None:
        super().__init__()
        from transformers import BartConfig
        from transformers.models.bart.modeling_bart import BartDecoder

        dim, sizes = CONFIG.encoder.dim, CONFIG.decoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.decoder = BartDecoder(
                BartConfig(
                    vocab_size=VOCAB,
                    d_model=dim,
                    decoder_layers=sizes.layers,
                    decoder_attention_heads=sizes.heads,
                    decoder_ffn_dim=sizes.ffn_dim,
                    max_position_embeddings=2 * TOKENS,
                )
            )
            self.output = nn.Linear(dim, VOCAB)
        self.eval().requires_grad_(False)

    def write(self, hidden: Tensor) -> Tensor:
        """Write `TOKENS` ids (B, N) of the encoder's hidden (B, T, D)."""
        hidden = hidden.to(self.output.weight.dtype)
        ids, cache = torch.ones(len(hidden), 1, dtype=torch.int64), None
        written: list[Tensor] = []
        for _ in range(TOKENS):
            found = self.decoder(
                input_ids=ids,
                encoder_hidden_states=hidden,
                past_key_values=cache,
                use_cache=True,
            )
            cache = found.past_key_values
            ids = self.output(found.last_hidden_state).argmax(-1)
            written.append(ids)
        return torch.cat(written, dim=1)


def _tokenizer() -> Tokenizer:
    return Tokenizer([*SPECIAL, *(f"w{i}" for i in range(VOCAB - len(SPECIAL) - 1)), UNKNOWN])
