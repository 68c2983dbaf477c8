"""Rules for dates, years, decades and times of day."""

import re

from echoic.tts.text.english.numbers import cardinal, decade, ordinal, short_year, year
from echoic.tts.text.english.rule import END, any_of, full_stop, rule
from echoic.tts.text.english.tables import MONTH_SHORTS, MONTHS, WEEKDAY_SHORTS

_MONTH = rf"(?P<month>{any_of(MONTHS)}|(?:{any_of(MONTH_SHORTS)})\b\.?)"
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})(?![\d,]\d|\d|%|:\d|\.\d)"
_MERIDIEM = r"\s?(?P<half>[ap]\.?m\b\.?)"
_RANGE = r"\s?[-–]\s?"


def _month(text: str) -> str:
    return text if text in MONTHS else MONTH_SHORTS[text.rstrip(".")]


def day_and_month(day: str, month: int, rest: str = "") -> str | None:
    """Read a date given as numbers, None if no month or day has them."""
    if not 1 <= month <= 12 or not 1 <= int(day) <= 31:
        return None
    return f"{MONTHS[month - 1]} {ordinal(day)}{rest}"


def any_year(text: str) -> str:
    """Read a year of two or four digits."""
    return year(text) if len(text) != 2 else year(("20" if int(text) < 70 else "19") + text)


def _month_day(match: re.Match[str]) -> str:
    days = ordinal(match["day"])
    if match["until"]:
        days += f" to {ordinal(match['until'])}"
    ending = f", {year(match['year'])}" if match["year"] else ""
    return f"{_month(match['month'])} {days}{ending}".replace(",", " ,")


def _day_month(match: re.Match[str]) -> str:
    ending = f" , {year(match['year'])}" if match["year"] else ""
    return f"the {ordinal(match['day'])} of {_month(match['month'])}{ending}"


def _month_year(match: re.Match[str]) -> str:
    return f"{_month(match['month'])} {year(match['year'])}"


def _iso(match: re.Match[str]) -> str | None:
    return day_and_month(match[3], int(match[2]), f" , {year(match[1])}")


def _slashes(match: re.Match[str]) -> str | None:
    first, second, last = match[1], match[2], any_year(match[3])
    if int(first) > 12:
        first, second = second, first
    return day_and_month(second, int(first), f" , {last}")


def _dots(match: re.Match[str]) -> str | None:
    return day_and_month(match[1], int(match[2]), f" , {any_year(match[3])}")


def _weekday(match: re.Match[str]) -> str:
    return WEEKDAY_SHORTS[match[1]]


def clock(hours: str, minutes: str, seconds: str = "", half: str = "") -> str | None:
    """Read a time of day, None if no clock shows it."""
    if int(hours) > 24 or int(minutes) > 59 or int(seconds or 0) > 59:
        return None
    hour, minute = cardinal(hours), int(minutes)
    if half:
        words = hour if minute == 0 else f"{hour} {short_year(minute)}"
    elif minute:
        words = f"{hour} {short_year(minute)}"
    elif int(hours) in (0, 24):
        words = "midnight"
    else:
        words = f"{hour} o'clock" if int(hours) <= 12 else f"{hour} hundred"
    if seconds:
        words += f" and {cardinal(seconds)} second{'' if int(seconds) == 1 else 's'}"
    return f"{words} {half[0].upper()} M" if half else words


def _time(match: re.Match[str]) -> str | None:
    half = match["half"] or ""
    words = clock(match["hour"], match["minute"], match["second"] or "", half)
    return None if words is None else words + (full_stop(match, likely=True) if half else "")


def _hour(match: re.Match[str]) -> str | None:
    if int(match["hour"]) > 12:
        return None
    begin = f"{cardinal(match['from'])} to " if match["from"] else ""
    half = f"{match['half'][0].upper()} M{full_stop(match, likely=True)}"
    return f"{begin}{cardinal(match['hour'])} {half}"


def _decade(match: re.Match[str]) -> str:
    return decade(match[1])


def _years(match: re.Match[str]) -> str | None:
    first, last = match[1], match[2]
    if len(last) == 4:
        return f"{year(first)} to {year(last)}"
    return f"{year(first)} to {short_year(int(last))}" if last > first[2:] else None


def _year(match: re.Match[str]) -> str:
    return year(match[1])


_UNTIL = rf"(?:{_RANGE}(?P<until>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?{END})?"
DATE_RULES = (
    rule(rf"([12]\d{{3}})[-/](0?[1-9]|1[0-2])[-/]([0-2]?\d|3[01]){END}(?![-/]\d)", _iso),
    rule(rf"([0-3]?\d)/([0-3]?\d)/(\d{{4}}|\d{{2}}){END}(?!/\d)", _slashes),
    rule(rf"([0-3]?\d)\.([01]?\d)\.([12]\d{{3}}){END}(?!\.\d)", _dots),
    rule(rf"({any_of(WEEKDAY_SHORTS)})\.(?=,?\s+(?:\d|{any_of(MONTH_SHORTS)}))", _weekday),
    rule(rf"{_MONTH}\s{_DAY}{END}(?![:/,.]\d|%){_UNTIL}(?:,?\s{_YEAR})?", _month_day),
    rule(rf"{_DAY}\s(?:of\s)?{_MONTH}(?![a-z])(?:,?\s{_YEAR})?", _day_month),
    rule(rf"{_MONTH},?\s{_YEAR}", _month_year),
    rule(
        r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?![\d:])(?:"
        + _MERIDIEM
        + ")?",
        _time,
        re.IGNORECASE,
    ),
    rule(
        rf"(?:(?P<from>\d{{1,2}}){_RANGE})?(?P<hour>\d{{1,2}})(?::00)?{_MERIDIEM}",
        _hour,
        re.IGNORECASE,
    ),
    rule(rf"([12]\d{{2}}0)'?s{END}", _decade),
    rule(rf"'?([2-9]0)'?s{END}", _decade),
    rule(rf"'(\d\d){END}(?!')", lambda m: short_year(int(m[1]))),
    rule(rf"([12]\d{{3}})[-–](\d{{4}}|\d{{2}}){END}(?![-–]\d|\.\d)", _years),
)
# After all that is counted: "1500 m" is no year.
YEAR_RULES = (rule(rf"(1[1-9]\d\d|20\d\d)(?!\.\d|,\d|/\d){END}", _year),)
