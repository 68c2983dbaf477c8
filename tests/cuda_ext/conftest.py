from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from echoic.cuda_ext import cif as cif_module
from echoic.cuda_ext import cif_registry, library, ops, registry
from echoic.cuda_ext.toolchain import extension_mode, find_cxx


def compiled() -> None:
    """Skip a test of the kernels where none can be built."""
    if extension_mode() == "off" or find_cxx() is None:
        pytest.skip("no kernels: ECHOIC_EXT is off, or no C++ compiler")
    assert library.ready("residual_quantize", "cpu")


@pytest.fixture(params=["torch", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways that an op can be computed: by its torch body, and by the compiled kernel."""
    if request.param == "torch":
        monkeypatch.setattr(
            ops, "registry", SimpleNamespace(**registry.BODIES, reference=ops.registry.reference)
        )
    else:
        compiled()
    return request.param


@pytest.fixture(params=["torch", "compiled"])
def cif_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways that integrate-and-fire can be computed, gradients included."""
    if request.param == "torch":

        class ByTorch(torch.autograd.Function):
            forward = staticmethod(registry.BODIES["cif"])
            setup_context = staticmethod(cif_registry.keep)
            backward = staticmethod(cif_registry.differentiate)

        bodies = SimpleNamespace(cif=ByTorch.apply, cif_step=registry.BODIES["cif_step"])
        monkeypatch.setattr(cif_module, "registry", bodies)
        monkeypatch.setattr(cif_registry, "cif_backward", registry.BODIES["cif_backward"])
    else:
        compiled()
    return request.param


@pytest.fixture
def compiled_kernels() -> None:
    """Skip where there are none."""
    compiled()


@pytest.fixture
def instructions() -> Iterator[list[str]]:
    """The instruction sets of this processor; the best one is back in use afterwards."""
    compiled()
    yield library.instruction_sets()
    library.use_instructions(None)


@pytest.fixture
def threads() -> Iterator[None]:
    """Put torch's count of threads back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
