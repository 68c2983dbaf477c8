"""The CUDA sources compile wherever there is nvcc, with or without a GPU."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from echoic.cuda_ext.build import ARCHITECTURES, SOURCES, ExtensionUnavailable, Plan, cuda_plan


@pytest.fixture
def plan() -> Plan:
    try:
        return cuda_plan()
    except ExtensionUnavailable as error:
        pytest.skip(str(error))


def only(plan: Plan, *codes: str) -> Plan:
    """The same plan for fewer architectures, quicker to compile."""
    rest = tuple(flag for flag in plan.flags if not flag.startswith("-gencode"))
    assert len(rest) == len(plan.flags) - len(ARCHITECTURES) - 1
    faster = tuple("-O1" if flag == "-O3" else flag for flag in rest)
    return replace(plan, flags=(*faster, *(f"-gencode={code}" for code in codes)))


def compile_all(plan: Plan, folder: Path) -> dict[str, str]:
    """Compile each source and return what the symbol table of its object says."""
    symbols: dict[str, str] = {}
    for command in plan.object_commands(folder):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr, done.stderr
        said = subprocess.run(["nm", command[-1]], capture_output=True, text=True, check=True)
        symbols[Path(command[-3]).name] = said.stdout
    return symbols


def test_each_source_compiles_to_ptx_of_the_oldest_gpu(plan: Plan, tmp_path: Path):
    symbols = compile_all(only(plan, "arch=compute_80,code=compute_80"), tmp_path)
    assert symbols.keys() >= {"quantize.cu", "gather.cu"}
    assert symbols.keys() == {path.name for path in (SOURCES / "cuda").glob("*.cu")}
    # Stable: nothing of torch but its C functions, so that one build serves several versions.
    wanted = [line for text in symbols.values() for line in text.split("\n") if " U " in line]
    assert any("aoti_torch" in line for line in wanted)
    assert not [line for line in wanted if "3c10" in line or "2at" in line]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_source_compiles_for_each_gpu(plan: Plan, tmp_path: Path, architecture: int):
    code = f"arch=compute_{architecture},code=[sm_{architecture},compute_{architecture}]"
    compile_all(only(plan, code), tmp_path)
