"""State trees: nested frozen dataclasses, tuples, named tuples and dicts of tensors and scalars.

Dimension 0 of every tensor is the batch: one row per stream. Scalars (int, float, bool, str, None)
belong to all rows at once, so states whose scalars differ cannot share a batch; what differs
between streams is kept as a (B,) tensor.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_FORMAT = "echoic-state-1"
_SCALARS = (bool, int, float, str, type(None))


def children(tree: Any) -> dict[str, Any] | None:
    """Return a node's children by name, or None for a leaf or an unknown type."""
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", None) or map(str, range(len(tree)))
        return dict(zip(names, tree, strict=True))
    if isinstance(tree, dict):
        return {str(name): child for name, child in tree.items()}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    return None


def rebuild(like: Any, nodes: dict[str, Any]) -> Any:
    """Return a node of the type of `like` with other children; the inverse of `children`."""
    if isinstance(like, tuple):
        return type(like)(*nodes.values()) if hasattr(like, "_fields") else tuple(nodes.values())
    if isinstance(like, dict):
        return dict(zip(like, nodes.values(), strict=True))
    return type(like)(**nodes)


def _map(function: Callable[..., Any], trees: Sequence[Any], path: str = "") -> Any:
    """Apply `function(path, *leaves)` to the leaves of trees of one structure."""
    nodes = [children(tree) for tree in trees]
    first = nodes[0]
    if first is None:
        for tree in trees:
            if not isinstance(tree, (Tensor, *_SCALARS)):
                raise TypeError(
                    f"the state's {path or 'root'} is a {type(tree).__name__}, expected a tensor, "
                    "a number, a bool, a str, None, or a tuple, dict or dataclass of them: keep "
                    "nothing else in a state"
                )
        return function(path, *trees)
    for tree, node in zip(trees, nodes, strict=True):
        if type(tree) is not type(trees[0]) or node is None or list(node) != list(first):
            raise ValueError(
                f"states differ in structure at {path or 'their root'}: {_describe(trees[0])} and "
                f"{_describe(tree)}; expected states of one and the same module"
            )
    mapped = {
        name: _map(function, [node[name] for node in nodes if node], f"{path}.{name}".lstrip("."))
        for name in first
    }
    return rebuild(trees[0], mapped)


def _describe(tree: Any) -> str:
    return f"{type(tree).__name__}({', '.join(children(tree) or {})})"


def leaves(state: Any) -> dict[str, Any]:
    """Return tensors and scalars by their dotted path."""
    found: dict[str, Any] = {}
    _map(lambda path, leaf: found.__setitem__(path, leaf), [state])
    return found


def _tensors(state: Any) -> Iterator[Tensor]:
    return (leaf for leaf in leaves(state).values() if isinstance(leaf, Tensor))


def map_tensors(function: Callable[[Tensor], Tensor], state: T) -> T:
    """Apply `function` to every tensor; scalars stay as they are."""
    return _map(lambda _, leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, [state])


def to(state: T, device: torch.device | str) -> T:
    """Move every tensor to `device`."""
    return map_tensors(lambda tensor: tensor.to(device), state)


def num_bytes(state: Any) -> int:
    """Return the bytes of the tensors' elements."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(state))


def batch_size(state: Any) -> int:
    """Return the number of streams.

    Raises:
        ValueError: when the tensors disagree, or there is none to tell.
    """
    sizes = {path: leaf.shape[:1] for path, leaf in leaves(state).items() if _is_tensor(leaf)}
    if len(set(sizes.values())) != 1 or () in sizes.values():
        raise ValueError(
            f"rows of the state's tensors are { {p: list(s) for p, s in sizes.items()} }, expected "
            "one number of rows in all: make dimension 0 of every tensor the batch"
        )
    return next(iter(sizes.values()))[0]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def stack(states: Sequence[T]) -> T:
    """Join states of several streams into one of a larger batch, in order.

    Raises:
        ValueError: for no states, for states of different structure, and for streams at different
            phases: scalars that differ, or tensors that differ beyond dimension 0.
    """
    if not states:
        raise ValueError("0 states to stack, expected 1 or more: skip the step of an empty batch")
    return _map(_stack_leaves, states)


def _stack_leaves(path: str, *values: Any) -> Any:
    if all(_is_tensor(value) for value in values):
        _check_alike(path, [(tuple(v.shape[1:]), v.dtype, v.device) for v in values])
        return torch.cat(values, dim=0)
    _check_alike(path, values)
    return values[0]


def _check_alike(path: str, values: Sequence[Any]) -> None:
    for value in values[1:]:
        if type(value) is not type(values[0]) or value != values[0]:
            raise ValueError(
                f"streams differ in {path}: {values[0]!r} and {value!r}, and the rows of a batch "
                "share it; batch streams at the same phase, or let the module keep it as a (B,) "
                "tensor"
            )


def split(state: T) -> list[T]:
    """Take a batch apart into one state per stream: the inverse of `stack`.

    The tensors are views; `map_tensors(torch.clone, ...)` one that is kept for long.

    Raises:
        ValueError: when the state has no tensor to tell the batch size.
    """
    return [
        map_tensors(lambda tensor, row=row: tensor[row : row + 1], state)
        for row in range(batch_size(state))
    ]


def select(state: T, rows: Tensor | Sequence[int]) -> T:
    """Return copies of the given rows, in that order, repeats allowed; a bool mask keeps True."""
    index = torch.as_tensor(rows)
    index = index.nonzero()[:, 0] if index.dtype == torch.bool else index.long()
    return map_tensors(lambda tensor: tensor.index_select(0, index.to(tensor.device)), state)


def where(mask: Tensor, a: T, b: T) -> T:
    """Return rows of `a` where the (B,) bool mask is True and rows of `b` elsewhere.

    Raises:
        ValueError: when the two differ in structure, shapes or scalars.
    """
    size = batch_size(a)
    if mask.dtype != torch.bool or tuple(mask.shape) != (size,):
        raise ValueError(
            f"the mask is {mask.dtype} of shape {tuple(mask.shape)}, expected bool of shape "
            f"({size},): one truth per stream"
        )

    def choose(path: str, x: Any, y: Any) -> Any:
        if not (_is_tensor(x) and _is_tensor(y)):
            _check_alike(path, [x, y])
            return x
        _check_alike(path, [tuple(x.shape), tuple(y.shape)])
        return torch.where(mask.to(x.device).view(-1, *[1] * (x.dim() - 1)), x, y)

    return _map(choose, [a, b])


class _Header(NamedTuple):
    """What a file says beside its tensors: scalars by path, and the structure's description."""

    scalars: dict[str, Any]
    structure: list[str]


def _structure(state: Any, path: str = "") -> list[str]:
    nodes = children(state)
    if nodes is None:
        return []
    inner = [line for name, child in nodes.items() for line in _structure(child, f"{path}.{name}")]
    return [f"{path}:{_describe(state)}", *inner]


def save(path: str | os.PathLike[str], state: Any) -> None:
    """Write a state as safetensors: whole or not at all, never a pickle."""
    from safetensors.torch import save as serialize

    found = leaves(state)
    tensors = {
        name: leaf.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, leaf in found.items()
        if isinstance(leaf, Tensor)
    }
    scalars = {name: leaf for name, leaf in found.items() if name not in tensors}
    metadata = {
        "format": _FORMAT,
        "scalars": json.dumps(scalars),
        "structure": json.dumps(_structure(state)),
    }
    _write_atomically(Path(path), serialize(tensors, metadata))


def _write_atomically(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def load(path: str | os.PathLike[str], like: T) -> T:
    """Read a state that `save` wrote.

    Args:
        path: the file.
        like: a state of the same module, for instance its initial one: gives the structure and the
            device. Lengths, batch size and scalars come from the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is no state, or the state of another kind of module.
    """
    tensors, header = _read(Path(path))
    _check_structure(path, header, like)

    def pick(name: str, leaf: Any) -> Any:
        if name in tensors:
            _check_leaf(path, name, tensors[name], leaf)
            return tensors[name].to(leaf.device) if _is_tensor(leaf) else tensors[name]
        if name not in header.scalars:
            raise ValueError(f"{path} holds no {name!r}: it was saved by another kind of module")
        _check_leaf(path, name, header.scalars[name], leaf)
        return header.scalars[name]

    return _map(pick, [like])


def _check_structure(path: str | os.PathLike[str], header: _Header, like: Any) -> None:
    expected = _structure(like)
    if header.structure != expected:
        raise ValueError(
            f"{path} holds a state {header.structure}, expected {expected}: load it with the "
            "module that saved it"
        )


def _check_leaf(path: str | os.PathLike[str], name: str, found: Any, like: Any) -> None:
    if found is None or like is None:
        return
    kinds = [
        f"{leaf.dtype} tensor of {leaf.dim()} dimensions"
        if _is_tensor(leaf)
        else type(leaf).__name__
        for leaf in (found, like)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{name} in {path} is {kinds[0]}, expected {kinds[1]}: load it with the module "
            "that saved it"
        )


def _read(path: Path) -> tuple[dict[str, Tensor], _Header]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no state at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}")
        header = _Header(json.loads(metadata["scalars"]), json.loads(metadata["structure"]))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is not a saved state ({error}): give a file written by state.save"
        ) from error
    return tensors, header
