"""Every law of the Streaming contract, for every case of the registry."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streaming_laws as laws
from streaming_cases import CASES

LAWS = [
    laws.check_chunk_invariance,
    laws.check_whole_call,
    laws.check_causality,
    laws.check_bounded_state,
    laws.check_untouched,
    laws.check_input_is_copied,
]
BATCHED = [case for case in CASES if case.batched]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("check_"))
def test_law(law: Callable[[laws.Case], None], case: laws.Case) -> None:
    law(case)


@pytest.mark.parametrize("case", BATCHED, ids=lambda case: case.name)
def test_streams_share_a_batch(case: laws.Case) -> None:
    laws.check_batching(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda c: c.name)
def test_gradients_stop_at_the_lookahead(case: laws.Case) -> None:
    laws.check_gradients(case)


def test_saved_states_continue_in_another_process(tmp_path: Path) -> None:
    laws.check_saved(CASES, tmp_path)
