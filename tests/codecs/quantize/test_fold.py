import pytest
import torch
from torch import Tensor, nn

from echoic.codecs.quantize import fold
from echoic.codecs.quantize.fold import fold_in_projection, fold_out_projection
from echoic.cuda_ext.ops import nearest_code, pack_codebooks


def parts(bias: bool = True) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(3)
    project = nn.Linear(12, 40, bias=bias)
    return project, torch.randn(300, 40), torch.randn(500, 12)


@pytest.mark.parametrize("bias", [True, False])
def test_finds_the_same_codes_in_front_of_the_projection(bias: bool):
    project, codebook, x = parts(bias)
    with torch.no_grad():
        behind = torch.cdist(project(x).double(), codebook.double()).argmin(1)
    book, offsets = fold_in_projection(project.weight, project.bias, codebook)
    assert book.shape == (300, 12)
    assert torch.equal(nearest_code(x, book, offsets), behind)
    packed = pack_codebooks(book, offsets)
    assert torch.equal(nearest_code(x, packed), behind)


def test_without_its_offsets_a_folded_book_finds_others():
    project, codebook, x = parts()
    book, offsets = fold_in_projection(project.weight, project.bias, codebook)
    assert not torch.equal(nearest_code(x, book), nearest_code(x, book, offsets))


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_table_holds_what_the_projection_makes(bias: bool):
    torch.manual_seed(4)
    project, codebook = nn.Linear(40, 9, bias=bias), torch.randn(70, 40)
    table = fold_out_projection(codebook, project.weight, project.bias)
    codes = torch.randint(0, 70, (20,))
    torch.testing.assert_close(table[codes], project(codebook[codes]).detach())


def test_blocks_of_a_big_book_fit_together(monkeypatch: pytest.MonkeyPatch):
    project, codebook, _ = parts()
    whole = fold_in_projection(project.weight, project.bias, codebook)
    monkeypatch.setattr(fold, "BLOCK_VALUES", 40 * 7)
    blocked = fold_in_projection(project.weight, project.bias, codebook)
    torch.testing.assert_close(blocked, whole)


def test_widths_that_do_not_fit_are_told():
    project, codebook, _ = parts()
    with pytest.raises(ValueError, match=r"must be \(K, 40\): got \(300, 39\)"):
        fold_in_projection(project.weight, project.bias, codebook[:, :39])
    with pytest.raises(ValueError, match=r"bias must be \(40,\): got \(3,\)"):
        fold_in_projection(project.weight, torch.zeros(3), codebook)
    with pytest.raises(ValueError, match=r"must be \(K, 12\)"):
        fold_out_projection(codebook, project.weight, None)
