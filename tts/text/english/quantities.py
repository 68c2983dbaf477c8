"""Rules for money, measures, fractions, ranges and plain numbers."""

import re

from echoic.tts.text.english.numbers import cardinal, digits, number, ordinal, plural
from echoic.tts.text.english.rule import (
    AMOUNT,
    DECIMAL,
    END,
    INTEGER,
    TO,
    amount,
    any_of,
    before,
    full_stop,
    rule,
)
from echoic.tts.text.english.tables import (
    CURRENCY_CODES,
    CURRENCY_SIGNS,
    DOTTED_UNITS,
    PER,
    SCALES,
    UNITS,
    Currency,
    Noun,
)

_SIGN = any_of(CURRENCY_SIGNS)
_SCALE = rf"(?:\s?(?P<scale>{any_of(SCALES)}){END})?"
_CODE = any_of(CURRENCY_CODES)
_ALL_UNITS = any_of({*UNITS, *(f"{u}." for u in DOTTED_UNITS)})
_POWERS = {"2": "square", "3": "cubic"}
_DEGREES = {
    **{"C": " Celsius", "F": " Fahrenheit", "K": " kelvin"},
    **{"N": " north", "S": " south", "E": " east", "W": " west", "": ""},
}


def money(currency: Currency, value: str, scale: str = "", until: str = "") -> str:
    """Read an amount of money.

    Args:
        currency: of what.
        value: digits, perhaps with commas and a decimal part.
        scale: a key of `SCALES` or nothing.
        until: the other end of a range, or nothing.
    """
    whole, _, decimals = value.partition(".")
    if scale or until:
        words = number(value) + (f" to {number(until)}" if until else "")
        return " ".join(filter(None, (words, SCALES.get(scale, ""), currency.major.many)))
    if len(decimals) != 2 or currency.minor is None:
        return f"{number(value)} {_counted(value, currency.major)}"
    plain = whole.replace(",", "").lstrip("0")
    parts = [f"{number(whole)} {_counted(whole, currency.major)}"] if plain else []
    if decimals != "00":
        parts.append(f"{cardinal(decimals)} {_counted(decimals.lstrip('0'), currency.minor)}")
    return " and ".join(parts) or f"zero {currency.major.many}"


def _counted(value: str, noun: Noun) -> str:
    return noun.one if value == "1" else noun.many


def _signed_money(match: re.Match[str]) -> str:
    until = match["until"] or ""
    value = match["value"]
    if re.fullmatch(r"\d+,\d\d", value):  # a decimal comma
        value = value.replace(",", ".")
    words = money(CURRENCY_SIGNS[match["sign"]], value, match["scale"] or "", until)
    return f"minus {words}" if match["minus"] else words


def _coded_money(match: re.Match[str]) -> str:
    return money(CURRENCY_CODES[match["sign"]], match["value"], match["scale"] or "")


def _cents(match: re.Match[str]) -> str:
    return f"{number(match[1])} {'cent' if match[1] == '1' else 'cents'}"


def _percent(match: re.Match[str]) -> str:
    until = f" to {amount(match['until'])}" if match["until"] else ""
    return f"{amount(match['value'])}{until} percent"


def _temperature(match: re.Match[str]) -> str:
    value = match[1]
    unit = match[2] or ""
    return f"{number(value)} {'degree' if value == '1' else 'degrees'}{_DEGREES[unit]}"


def _measure(match: re.Match[str]) -> str | None:
    value, until, unit = match["value"], match["until"], match["unit"]
    if unit == "s" and re.search(r"[A-Za-z]-$", before(match)):
        return None  # "under-18s"
    noun = UNITS.get(unit) or DOTTED_UNITS[unit.rstrip(".")]
    part = "/" in value and " " not in value
    single = match["hyphen"] or (not until and (value == "1" or part))
    words = [amount(value), *(("to", amount(until)) if until else ())]
    if match["power"]:
        words.append(_POWERS[match["power"][-1]])
    words.append(noun.one if single else noun.many)
    if match["per"]:
        words += ["per", _per(match["per"])]
    return " ".join(words) + full_stop(match)


def _per(unit: str) -> str:
    power = re.search(r"\^?([23])$", unit)
    if power:
        return f"{_POWERS[power[1]]} {_per(unit[: power.start()])}"
    return PER.get(unit) or UNITS[unit].one


def _each(match: re.Match[str]) -> str:
    return f"per {PER[match[1]]}"


def _feet_inches(match: re.Match[str]) -> str:
    return f"{number(match[1])} foot {number(match[2])}"


def _fraction(match: re.Match[str]) -> str | None:
    top, bottom = match[0].split("/")[0].split()[-1], match[0].split("/")[1]
    if match[0] == "24/7":
        return "twenty-four seven"
    if match[0] == "9/11":
        return "nine eleven"
    if " " not in match[0] and top == bottom:
        return f"{number(top)} {number(bottom)}"
    return amount(match[0])


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(match[1].replace(",", ""))


def _ranged(match: re.Match[str]) -> str:
    return f"{number(match[1])} to {number(match[2])}"


def _by(match: re.Match[str]) -> str:
    parts = re.split(r"\s?[x×]\s?", match[0])
    return " by ".join(number(p) for p in parts)


def _times(match: re.Match[str]) -> str:
    return f"{number(match[1])} times"


def _power_of_ten(match: re.Match[str]) -> str:
    sign = "minus " if match[2] == "-" else ""
    return f"{number(match[1])} times ten to the {sign}{number(match[3])}"


def _power(match: re.Match[str]) -> str:
    if match[0] in ("^2", "^3"):
        return {"^2": "squared", "^3": "cubed"}[match[0]]
    return f"to the {'minus ' if match[1] else ''}{number(match[2])}"


def _large(match: re.Match[str]) -> str:
    return f"{number(match[1])} {SCALES[match[2]]}"


def _ratio(match: re.Match[str]) -> str:
    return f"{number(match[1])} to {number(match[2])}"


def _out_of(match: re.Match[str]) -> str:
    return f"{number(match[1])} out of {number(match[2])}"


def _number(match: re.Match[str]) -> str:
    words = number(match[1])
    return plural(words) if match[2] else words


_PER_UNIT = any_of({*PER, *UNITS})
QUANTITY_RULES = (
    rule(
        rf"(?P<sign>{_SIGN})\s?(?P<minus>-)?(?P<value>\d+,\d\d(?![,.]?\d)|{DECIMAL})"
        rf"(?:{TO}(?:{_SIGN})?(?P<until>{DECIMAL}))?{_SCALE}",
        _signed_money,
    ),
    rule(
        rf"(?P<value>\d+,\d\d(?![,.]?\d)|{DECIMAL})(?P<until>)(?P<minus>){_SCALE}\s?(?P<sign>{_SIGN})(?!\s?\d)",
        _signed_money,
    ),
    rule(rf"(?P<sign>{_CODE})\s?(?P<value>{DECIMAL}){_SCALE}", _coded_money),
    rule(rf"(?P<value>{DECIMAL}){_SCALE}\s?(?P<sign>{_CODE}){END}", _coded_money),
    rule(rf"({DECIMAL})\s?¢", _cents),
    rule(rf"(?P<value>{AMOUNT})(?:{TO}(?P<until>{AMOUNT}))?\s?%", _percent),
    rule(rf"({DECIMAL})\s?°\s?(?:([CFKNSEW]){END})?", _temperature),
    rule(r"(\d{1,2})'\s?(\d{1,2})(?:\"|'')", _feet_inches),
    rule(
        rf"(?P<value>{AMOUNT})(?:{TO}(?P<until>{AMOUNT}))?(?:(?P<hyphen>-)|\s)?"
        rf"(?P<unit>{_ALL_UNITS})(?P<power>\^?[23])?"
        rf"(?:/(?P<per>(?:{_PER_UNIT})(?:\^?[23])?))?{END}(?!/[A-Za-z])(?!'[a-z])",
        _measure,
    ),
    rule(r"(\d+),?(\d*)in(?![A-Za-z0-9'])", lambda m: f"{number(m[1] + m[2])} inches"),
    rule(rf"/\s?({any_of(PER)}){END}", lambda m: _each(m) if _follows_number(m) else None),
    rule(rf"({DECIMAL})[eE]([-+]?)(\d{{1,3}}){END}", _power_of_ten),
    rule(r"\^\s?(-?)(\d+)", _power),
    rule(r"(?:\d{1,4}\s)?\d{1,4}/\d{1,4}(?![\d/])(?!\.\d)", _fraction),
    rule(rf"(\d+\.\d+)/(\d+){END}", _out_of),
    rule(rf"({DECIMAL})\s?[x×]\s?10(?=\^)", lambda m: f"{number(m[1])} times ten"),
    rule(rf"({INTEGER})(?:st|nd|rd|th|ST|ND|RD|TH){END}", _ordinal),
    rule(rf"{DECIMAL}(?:\s?[x×]\s?{DECIMAL})+{END}", _by),
    rule(rf"({DECIMAL})[x×]{END}", _times),
    rule(rf"({DECIMAL})(k|M|bn){END}", _large),
    rule(rf"({DECIMAL}):({DECIMAL})(?![:\d])", _ratio),
    rule(rf"({DECIMAL})(?:\s?–\s?|-)({DECIMAL})(?![-–]?\d){END}", _ranged),
)
NUMBER_RULES = (
    rule(rf"911(?![.,]\d){END}", "nine one one"),
    rule(rf"({DECIMAL})('?s)?{END}", _number),
    rule(r"(\d+)", lambda m: digits(m[1]) if len(m[1]) > 4 else number(m[1])),
)


def _follows_number(match: re.Match[str]) -> bool:
    """Tell whether a slash stands for "per": something counted is before it."""
    return bool(re.search(r"(?:\d|[$£€¢%])[A-Za-z]{0,3}\s?$", match.string[: match.start()][-12:]))
