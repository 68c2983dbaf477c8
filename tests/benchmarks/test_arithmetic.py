"""What each arithmetic, and the box's eight-bit weights, cost in words and give in speed."""

from collections.abc import Sequence

import pytest
from benchmarks.conftest import Start
from benchmarks.measure import Measured, Say, describe, measure, table
from benchmarks.rivals import Spec, echoic
from benchmarks.rows import Row
from benchmarks.settings import Settings

from echoic.asr.arithmetic import KINDS

pytestmark = pytest.mark.timeout(0)  # none

# Of words, more than float32: what `auto` takes must not be heard.
AUTO_TOLERANCE = 0.02
# Eight bits in the encoder may cost words; `auto` takes them only where bfloat16 is not there.
USABLE = 0.3


def test_kinds(rows: list[Row], settings: Settings, start: Start, say: Say) -> None:
    """Every arithmetic of a CPU against float32."""
    kinds = ["float32", "auto", *(k for k in KINDS if k not in ("float32", "float16"))]
    specs = [echoic(settings.model, kind) for kind in kinds]
    base, auto, *others = _measure("arithmetic", specs, rows, settings, start, say)
    assert auto.error_rate.rate <= base.error_rate.rate + AUTO_TOLERANCE
    for one in others:
        assert one.error_rate.rate < USABLE, one.process.spec.name


def test_float_weights(rows: list[Row], settings: Settings, start: Start, say: Say) -> None:
    """The model's weights before they were rounded to the box's eight bits."""
    if settings.float_model is None:
        pytest.skip("ECHOIC_BENCH_FLOAT_MODEL names no folder with float weights")
    specs = [
        echoic(source, kind, name=f"{label} {kind}")
        for kind in ("float32", "auto")
        for label, source in (("floats", str(settings.float_model)), ("box", settings.model))
    ]
    floats, box, *_ = _measure("weights", specs, rows, settings, start, say)
    assert box.error_rate.rate <= floats.error_rate.rate + AUTO_TOLERANCE


def _measure(
    title: str,
    specs: Sequence[Spec],
    rows: Sequence[Row],
    settings: Settings,
    start: Start,
    say: Say,
) -> list[Measured]:
    say(describe(title, rows, settings))
    first, *rest = start(specs, rows)
    measured = measure(first, rest, rows, settings, say)
    say(table(measured, sum(row.seconds for row in rows)))
    return measured
