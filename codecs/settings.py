"""Frozen dataclasses from plain dicts, strictly: unknown settings are errors that name them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def build(config_class: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Return a config from a dict; nested dataclasses come from nested dicts, tuples from lists.

    Args:
        config_class: a dataclass.
        values: its fields; "model" and "description" at the top are not settings.
        where: path of the section, for messages.

    Raises:
        ValueError: unknown or missing fields, or values that the config refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(config_class) if f.init}  # pyright: ignore
    given = {k: v for k, v in values.items() if where or k not in ("model", "description")}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise ValueError(
            f"unknown setting {where}{unknown[0]!r}, expected {', '.join(sorted(fields))}"
        )
    hints = get_type_hints(config_class)
    ready = {name: _value(hints[name], value, f"{where}{name}.") for name, value in given.items()}
    try:
        return config_class(**ready)
    except TypeError as error:
        raise ValueError(f"settings of {config_class.__name__}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)  # pyright: ignore[reportArgumentType]
    if isinstance(value, list):
        return tuple(_value(None, item, where) for item in value)
    return value
