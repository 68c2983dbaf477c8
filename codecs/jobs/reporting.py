"""What was measured, told: tables for people, JSON for programs."""

import io
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console as Terminal
from rich.table import Table

from echoic.codecs.jobs.places import STDIO, open_output, print_text

# Where no terminal tells its width, tables need not be cut.
_WIDTH = 100


def write_report(
    json_file: str | None, numbers: dict[str, Any], tables: Sequence[Table], notes: Iterable[str]
) -> None:
    """Write numbers and print tables.

    Args:
        json_file: where JSON goes; "-" prints it in the place of the tables; None for no JSON.
        numbers: of the JSON; no NaN among them.
        tables: to print; without any nothing is printed, notes neither.
        notes: lines to print below them.

    Raises:
        OutputError: the file cannot be written.
    """
    if json_file is not None:
        text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        with open_output(json_file) as file:
            file.write(text.encode())
    if json_file == STDIO or not tables:
        return
    shown = io.StringIO()
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else _WIDTH
    terminal = Terminal(file=shown, width=width, force_terminal=on_terminal)
    for table in tables:
        terminal.print(table)
    for line in notes:
        terminal.print(line, markup=False, highlight=False, soft_wrap=True)
    print_text(shown.getvalue())
