"""State trees: structure, batches, files."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from echoic.streaming import state as states


class Pair(NamedTuple):
    left: Tensor
    age: Tensor


@dataclass(frozen=True, slots=True)
class Tree:
    """Every kind of node and leaf that a state may have."""

    pair: Pair
    books: dict[str, Any]
    phase: int
    gain: float
    started: bool
    mode: str
    cache: Tensor | None = None


def tree(batch: int = 2, seed: int = 0) -> Tree:
    generator = torch.Generator().manual_seed(seed)
    return Tree(
        Pair(torch.randn(batch, 3, generator=generator), torch.arange(batch) + seed),
        {"a": (torch.rand(batch, 2, 2, generator=generator) > 0.5, ()), "b": 7},
        phase=2**60,
        gain=0.1,
        started=True,
        mode="near",
    )


def assert_same(a: Any, b: Any) -> None:
    left, right = states.leaves(a), states.leaves(b)
    assert left.keys() == right.keys()
    for name, leaf in left.items():
        if isinstance(leaf, Tensor):
            assert leaf.dtype == right[name].dtype
            assert torch.equal(leaf, right[name]), name
        else:
            assert leaf == right[name]
            assert type(leaf) is type(right[name])


def test_map_keeps_types_and_scalars() -> None:
    doubled = states.map_tensors(lambda t: t + t if t.dtype != torch.bool else ~t, tree())
    assert isinstance(doubled, Tree)
    assert isinstance(doubled.pair, Pair)
    assert isinstance(doubled.books["a"], tuple)
    assert torch.equal(doubled.pair.left, 2 * tree().pair.left)
    assert (doubled.phase, doubled.cache) == (2**60, None)


def test_sizes() -> None:
    assert states.num_bytes(tree()) == 2 * (3 * 4 + 8 + 4)
    assert states.batch_size(tree(5)) == 5
    with pytest.raises(ValueError, match="expected one number of rows"):
        states.batch_size((torch.zeros(2), torch.zeros(3)))
    with pytest.raises(ValueError, match="expected one number of rows"):
        states.batch_size((1, "none"))


def test_to_moves_every_tensor() -> None:
    moved = states.to(tree(), "meta")
    tensors = [leaf for leaf in states.leaves(moved).values() if isinstance(leaf, Tensor)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_stack_and_split_are_inverses() -> None:
    rows = [tree(1, seed) for seed in range(3)]
    together = states.stack(rows)
    assert states.batch_size(together) == 3
    for a, b in zip(states.split(together), rows, strict=True):
        assert_same(a, b)
    assert_same(states.stack([states.stack(rows[:2]), rows[2]]), together)


def test_select_takes_rows_by_number_and_mask() -> None:
    rows = [tree(1, seed) for seed in range(3)]
    together = states.stack(rows)
    assert_same(states.select(together, [2, 0, 2]), states.stack([rows[2], rows[0], rows[2]]))
    mask = torch.tensor([True, False, True])
    assert_same(states.select(together, mask), states.stack([rows[0], rows[2]]))


def test_where_resets_rows() -> None:
    a, b = tree(3, 0), tree(3, 1)
    mixed = states.where(torch.tensor([False, True, False]), a, b)
    rows = [states.split(b)[0], states.split(a)[1], states.split(b)[2]]
    assert_same(mixed, states.stack(rows))
    with pytest.raises(ValueError, match="one truth per stream"):
        states.where(torch.tensor([True]), a, b)
    with pytest.raises(ValueError, match="one truth per stream"):
        states.where(torch.tensor([0, 1, 0]), a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": 3}, "differ in phase.*same phase"),
        ({"started": False}, "differ in started"),
        ({"cache": torch.zeros(1, 2)}, "differ in cache"),
        ({"pair": Pair(torch.zeros(1, 4), torch.zeros(1).long())}, r"differ in pair\.left"),
        ({"pair": Pair(torch.zeros(1, 3), torch.zeros(1))}, r"differ in pair\.age.*float32"),
        ({"pair": (1, 2)}, "differ in structure at pair"),
        ({"books": {"a": 1}}, "differ in structure at books"),
    ],
)
def test_streams_at_different_phases_do_not_stack(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        states.stack([tree(1), replace(tree(1), **change)])


def test_nothing_else_belongs_in_a_state() -> None:
    with pytest.raises(TypeError, match=r"books\.x is a list"):
        states.num_bytes(replace(tree(), books={"x": [1]}))
    with pytest.raises(ValueError, match="0 states to stack"):
        states.stack([])


def test_files_hold_states_exactly(tmp_path: Path) -> None:
    path, state = tmp_path / "one.state", tree(3, 4)
    states.save(path, state)
    assert_same(states.load(path, tree(1, 0)), state)
    views = states.select(state, [0, 1]), states.split(state)[2]
    states.save(path, views)
    assert_same(states.load(path, (tree(), tree())), views)
    assert [p.name for p in tmp_path.iterdir()] == ["one.state"]


def test_an_optional_tensor_may_be_missing_on_either_side(tmp_path: Path) -> None:
    path, full = tmp_path / "one.state", replace(tree(), cache=torch.ones(2, 5))
    states.save(path, full)
    assert_same(states.load(path, tree()), full)
    states.save(path, tree())
    assert_same(states.load(path, full), tree())


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "one.state"
    states.save(path, tree())

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        states.save(path, tree(seed=1))
    monkeypatch.undo()
    assert_same(states.load(path, tree()), tree())
    assert [p.name for p in tmp_path.iterdir()] == ["one.state"]


def foreign_files(folder: Path) -> dict[str, Path]:
    """Write files that are no states: text, nothing, half a state, other tensors, a pickle."""
    whole = folder / "whole"
    states.save(whole, tree())
    files = {name: folder / name for name in ("text", "empty", "cut", "weights", "pickle", "json")}
    files["text"].write_text("hello")
    files["empty"].write_bytes(b"")
    files["cut"].write_bytes(whole.read_bytes()[:-5])
    save_file({"w": torch.zeros(2)}, files["weights"])
    torch.save({"w": torch.zeros(2)}, files["pickle"])
    header = {"format": "echoic-state-1", "scalars": "{", "structure": json.dumps([])}
    save_file({"w": torch.zeros(2)}, files["json"], header)
    return files


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "weights", "pickle", "json"])
def test_foreign_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = foreign_files(tmp_path)[kind]
    with pytest.raises(ValueError, match="is not a saved state"):
        states.load(path, tree())


def test_states_of_other_modules_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.state"
    states.save(path, tree())
    with pytest.raises(ValueError, match="load it with the module that saved it"):
        states.load(path, tree().pair)
    with pytest.raises(ValueError, match=r"phase in .* is int, expected float"):
        states.load(path, replace(tree(), phase=1.0))
    with pytest.raises(ValueError, match=r"2 dimensions, expected torch\.float64"):
        states.load(path, states.map_tensors(lambda t: t.double(), tree()))
    with pytest.raises(FileNotFoundError, match="no state at"):
        states.load(tmp_path / "none", tree())
