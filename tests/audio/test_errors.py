import errno

import pytest

from echoic.audio.errors import error_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file", "a b"),
            "a b: No such file; check the path",
        ),
        (OSError("cannot be\nread"), "cannot be read"),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_an_error_is_one_line_that_names_its_file(error: Exception, line: str):
    assert error_line(error) == line
