"""Whatever the schema allows or not: no request makes the server fail, or its schema lie.

More examples: ECHOIC_FUZZ_EXAMPLES=2000 pytest tests/streaming/server/test_fuzz.py
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from served import parts

from echoic.streaming.server.app import Server
from echoic.streaming.server.config import ServerConfig

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, given, seed, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import CHECKS, load_all_checks  # noqa: E402

EXAMPLES = int(os.environ.get("ECHOIC_FUZZ_EXAMPLES", "30"))
KEY = "k3y"
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
READ = ["/healthz", "/metrics", "/v1/models", "/v1/models/{model}"]
WRITTEN = ["/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"]
BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CASES = [
    *(pytest.param("GET", path, GenerationMode.POSITIVE, id=f"GET {path}") for path in READ),
    *(pytest.param("POST", p, m, id=f"POST {p} {m.name.lower()}") for p in WRITTEN for m in BOTH),
]


@pytest.fixture(scope="module", params=[(), (KEY,)], ids=["open", "key"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Server, dict[str, str]]]:
    load_all_checks()
    server = parts(ServerConfig(port=0, requests_per_minute=1_000_000), request.param)
    yield (
        server,
        {"Host": "localhost", **({"Authorization": f"Bearer {KEY}"} if request.param else {})},
    )
    server.scheduler.close()


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_the_schema_holds_whatever_comes(
    method: str, path: str, mode: Any, served: tuple[Server, dict[str, str]]
):
    server, headers = served
    schema = schemathesis.openapi.from_asgi("/openapi.json", server.app, headers=headers)
    checks = [CHECKS.get_one(name) for name in CHECKED]
    answered: set[int] = set()

    @seed(8)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(headers=headers)
        answered.add(response.status_code)
        if response.status_code != 503:  # busy
            case.validate_response(response, checks=checks, headers=headers)

    ask()
    assert answered
    if mode is GenerationMode.NEGATIVE:
        assert answered & {400, 404, 422}


def test_the_schema_names_what_is_served():
    server = parts()
    try:
        paths = server.app.openapi()["paths"]
        assert sorted(paths) == sorted([*READ, *WRITTEN])
        for operations in paths.values():
            for operation in operations.values():
                assert {"200", "4XX", "503"} <= set(operation["responses"])
    finally:
        server.scheduler.close()
