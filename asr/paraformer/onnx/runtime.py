"""An exported Paraformer, run by onnxruntime.

```python
model = OnnxParaformer.from_folder("a/folder")
model.recognize(wav[None])[0].text
```
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.checkpoint import CONFIG_FILE, read_settings
from echoic.asr.paraformer.chooser import Chooser
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.fusion import Fusion, read_fusion
from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.onnx.format import INPUTS, NETWORK_FILE, OUTPUTS, normalisation
from echoic.asr.paraformer.predictor import Prediction
from echoic.asr.paraformer.recognition import NOTHING, Recognition, read_out
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.utterances import features_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxParaformer:
    """Recognises as `Paraformer` does; torch computes the features, onnxruntime the rest.

    Args:
        session: of the network.
        config: of the model.
        tokenizer: vocabulary.
        fusion: n-grams that help to choose tokens.

    Raises:
        CheckpointError: a network that is not of this model.
    """

    def __init__(
        self,
        session: "InferenceSession",
        config: ParaformerConfig,
        tokenizer: Tokenizer,
        fusion: Fusion | None = None,
    ) -> None:
        taken = tuple(value.name for value in session.get_inputs())
        returned = tuple(value.name for value in session.get_outputs())
        if (taken, returned) != (INPUTS, OUTPUTS):
            raise CheckpointError(
                f"it takes {', '.join(taken)} and returns {', '.join(returned)}, expected "
                f"{', '.join(INPUTS)} and {', '.join(OUTPUTS)}"
            )
        shift, scale = normalisation(session.get_modelmeta().custom_metadata_map, config.frontend)
        scores = session.get_outputs()[0].shape[-1]
        if scores != config.vocab_size:
            raise CheckpointError(
                f"it scores {scores} tokens, {CONFIG_FILE} has {config.vocab_size}; they do not "
                "belong together"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.fusion = fusion
        self.frontend = Frontend(config.frontend, shift, scale)
        self._session = session

    @classmethod
    def from_folder(cls, folder: str | Path, threads: int | None = None) -> Self:
        """Load what `export_onnx` wrote.

        Args:
            folder: holds `model.onnx`, `config.json` and `tokens.json`, and n-grams if the model
                had some.
            threads: of onnxruntime; None for one for each core.

        Raises:
            CheckpointError: a file is missing, damaged or of another model.
            ImportError: onnxruntime is not installed.
        """
        folder = Path(folder)
        path = folder / NETWORK_FILE
        if not path.is_file():
            raise CheckpointError(
                f"{folder} has no {NETWORK_FILE}; make it by: echoic export onnx MODEL {folder}"
            )
        config, tokenizer = read_settings(folder)
        fusion = read_fusion(folder, config.vocab_size)
        session = _session(path, threads)
        try:
            return cls(session, config, tokenizer, fusion)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    @torch.inference_mode()
    def recognize(
        self, sound: Tensor, lengths: Tensor | None = None, *, hotwords: HotWords | None = None
    ) -> list[Recognition]:
        """Recognise a batch of utterances, each as if it were alone.

        Args:
            sound: waveforms (B, n) in [-1, 1], or features (B, T, F).
            lengths: (B,) samples or frames that count; None for all.
            hotwords: to expect, written with this model's tokenizer.

        Raises:
            ValueError: as `Paraformer.recognize`.
        """
        if hotwords is not None:
            hotwords.check(self.tokenizer)
        features, lengths = features_of(sound, lengths, self.frontend, self.config.max_frames)
        if features.shape[1] == 0 or len(features) == 0:
            return [NOTHING] * len(features)
        given = dict(zip(INPUTS, (features.float(), lengths.long()), strict=True))
        found = self._session.run(OUTPUTS, {name: x.cpu().numpy() for name, x in given.items()})
        logits, counts, quantity, starts, ends = map(torch.from_numpy, found)
        # The embeddings and weights stay inside of the network.
        tokens, weights = logits[:, :, :0], features[:, :, 0][:, :0]
        prediction = Prediction(tokens, counts, quantity, weights, starts, ends)
        chooser = Chooser(hotwords, self.fusion)
        return read_out(logits, prediction, lengths, self.config, self.tokenizer, chooser)


def _session(path: Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("onnxruntime is missing: pip install 'echoic[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # Threads that wait in a loop take the processor from whoever else works there.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base of their own
        raise CheckpointError(
            f"{path} is damaged or no ONNX file: {error}; export it again"
        ) from error
