"""An exported network before it is written: weights of eight bits, and what it tells of itself."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"


def quantize(proto: "ModelProto") -> "ModelProto":
    """Return the network with eight-bit weights in its linear layers, all but the predictor's.

    There an error would add up over all frames. The scales are those of the outputs of a layer.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    try:
        from onnxruntime.quantization import quantize_dynamic
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
    except ImportError as error:
        raise ImportError("onnxruntime is missing: pip install 'echoic[onnx]'") from error
    import onnx

    kept = [node.name for node in proto.graph.node if ".predictor." in _scopes(node)]
    add_pre_process_metadata(proto)  # the exporter did as much; without it there is a warning
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        quantize_dynamic(
            proto,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=kept,
            per_channel=True,
            # The seventh bit would overflow on processors without VNNI.
            reduce_range=True,
        )
        return onnx.load(path)


def label(proto: "ModelProto", metadata: Mapping[str, str]) -> None:
    """Name the axis of tokens, add metadata, and take out where the exporter ran.

    Sizes of what lies between are left to the runtime, which infers them anyway.
    """
    from onnx.helper import set_model_props

    graph = proto.graph
    for value in graph.output:
        axes = value.type.tensor_type.shape.dim
        if len(axes) > 1:
            axes[1].dim_param = "tokens"
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    set_model_props(proto, dict(metadata))


def _scopes(node: "NodeProto") -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
