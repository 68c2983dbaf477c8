"""One server for the tests that leave it as it is."""

from collections.abc import Iterator

import pytest
from served import FakeFiles, parts, serving

from echoic.streaming.server.config import ServerConfig


@pytest.fixture(scope="module")
def files() -> FakeFiles:
    return FakeFiles()


@pytest.fixture(scope="module")
def address(files: FakeFiles) -> Iterator[str]:
    config = ServerConfig(port=0, checkpoint_seconds=0.1, resume_seconds=5.0)
    with serving(parts(config, files=files)) as found:
        yield found
