"""The whole of an offline Paraformer behind its features as one ONNX file.

Inputs: `features` (B, T, F) float32, T >= 1, those of `Frontend`, stacked and normalised; `lengths`
(B,) int64, how many of the frames of a row count.

Outputs: `logits` (B, N, V) float32; `counts` (B,) int64, how many of the N places of a row are
tokens; `quantity` (B,) float32, their number before it was made a whole one; `starts` and `ends`
(B, N) float32, in frames. B, T and N are free, N is at least 2. Places behind a row's count mean
nothing.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.checkpoint import save_settings
from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.fusion import write_fusion
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.onnx.cif import find_tokens
from echoic.asr.paraformer.onnx.format import INPUTS, NETWORK_FILE, OUTPUTS, metadata_of
from echoic.asr.paraformer.onnx.proto import label, quantize

if TYPE_CHECKING:
    from onnx import ModelProto

# The oldest that the exporter knows its operators in; onnxruntime reads it since 1.14.
OPSET = 18


class Network(nn.Module):
    """What is exported of a model.

    Args:
        model: with the predictor "cif" or "spikes".
    """

    def __init__(self, model: Paraformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Return all of `OUTPUTS`."""
        hidden = self.model.encode(features, lengths)
        found = find_tokens(cast(CifPredictor, self.model.predictor), hidden, lengths)
        logits = self.model.decoder(found.tokens, found.counts, hidden, lengths)
        return logits, found.counts, found.quantity, found.starts.float(), found.ends.float()


def export_onnx(
    model: Paraformer,
    folder: str | Path,
    *,
    opset: int = OPSET,
    int8: bool = False,
    overwrite: bool = False,
    description: str = "",
) -> Path:
    """Write a folder that `OnnxParaformer` reads, and whose network every ONNX runtime runs.

    Args:
        model: as it was loaded, in float32, with the predictor "cif" or "spikes".
        folder: new or empty.
        opset: version of ONNX's operators, 18 or later.
        int8: multiply in eight bits in linear layers. The scale of what goes into one is that of
            the whole batch, so that utterances change each other's results a little.
        overwrite: write into a folder with files in it, too.
        description: one line, kept in `config.json`.

    Returns:
        The network's path.

    Raises:
        CheckpointError: a model that cannot be exported.
        FileExistsError: there is something in the folder.
        ImportError: onnx, onnxscript or onnxruntime is not installed.
    """
    folder = Path(folder)
    check_folder(folder, overwrite=overwrite)
    training = model.training
    try:
        proto = _trace(model.eval(), opset)
    finally:
        model.train(training)
    if int8:
        proto = quantize(proto)
    label(proto, metadata_of(model))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETWORK_FILE).unlink(missing_ok=True)  # of what was there before
    save_settings(model.config, model.tokenizer, folder, description)
    write_fusion(model.fusion, folder)
    # The network last and at once: where it is, all is.
    part = folder / f"{NETWORK_FILE}.part"
    part.write_bytes(proto.SerializeToString())
    os.replace(part, folder / NETWORK_FILE)
    return folder / NETWORK_FILE


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder with files in it, unless they may be written over.

    Raises:
        FileExistsError: refused.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: give a new folder")
    if not overwrite and folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give a new folder, or --overwrite")


def _trace(model: Paraformer, opset: int) -> "ModelProto":
    """Return the network as ONNX.

    By torch.export: the older exporter would write the number of tokens of its example down as a
    constant, and is on its way out of torch.
    """
    _check(model, opset)
    # No size is 1: the exporter would take it for a constant.
    features = torch.zeros(2, 8, model.config.frontend.num_features)
    lengths = torch.tensor([8, 7])
    device = model.encoder.norm.weight.device
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            Network(model),
            (features.to(device), lengths.to(device)),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes={"features": {0: "batch", 1: "frames"}, "lengths": {0: "batch"}},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    return cast(torch.onnx.ONNXProgram, program).model_proto


def _check(model: Paraformer, opset: int) -> None:
    try:
        import onnx  # noqa: F401 - named here, since torch's own error tells no remedy
        import onnxscript  # noqa: F401 - the same
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'echoic[onnx]'") from error
    if opset < OPSET:
        raise ValueError(f"opset is {opset}, expected {OPSET} or later")
    if not isinstance(model.predictor, CifPredictor):
        raise CheckpointError(
            f"the model's predictor is {model.config.predictor.kind!r}: only models with the "
            "predictors 'cif' and 'spikes' become ONNX"
        )
    model.check_whole("export")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of packages and axes that do not matter here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
