"""Numbers as English words: cardinals, ordinals, years, decades, fractions, Roman numerals.

American readings: "one hundred five", without "and". Digit strings of any length are welcome; those
beyond the names of large numbers are read digit by digit.
"""

import re

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = (
    *("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
)
_SCALES = (
    *("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion"),
    *("sextillion", "septillion", "octillion", "nonillion", "decillion"),
)
_MAX_DIGITS = 3 * len(_SCALES)
_ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"},
    **{"nine": "ninth", "twelve": "twelfth"},
}
_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def digits(text: str) -> str:
    """Read digit by digit; what is no digit is passed over.

    >>> digits("007")
    'zero zero seven'
    """
    return " ".join(_ONES[int(c)] for c in text if c in "0123456789")


def cardinal(text: str) -> str:
    """Read a whole number, given as digits.

    >>> cardinal("1002345")
    'one million two thousand three hundred forty-five'
    """
    text = text.lstrip("0") or "0"
    if len(text) > _MAX_DIGITS:
        return digits(text)
    if text == "0":
        return "zero"
    words: list[str] = []
    groups = range((len(text) - 1) // 3, -1, -1)
    for group in groups:
        value = int(text[: len(text) - 3 * group][-3:])
        if value:
            words.append(f"{_below_thousand(value)} {_SCALES[group]}".strip())
    return " ".join(words)


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest:
        words.append(_below_hundred(rest))
    return " ".join(words)


def _below_hundred(value: int) -> str:
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def ordinal(text: str) -> str:
    """Read a whole number, given as digits, as a rank.

    >>> ordinal("22"), ordinal("100")
    ('twenty-second', 'one hundredth')
    """
    words = cardinal(text)
    start = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[start:]
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return words[:start] + last


def number(text: str) -> str:
    """Read digits with commas between thousands and a decimal point.

    Numbers that begin with a zero, and long ones without commas that are not round, are rather
    labels: they are read digit by digit.

    >>> number("1,250.05"), number("007"), number("0.5")
    ('one thousand two hundred fifty point zero five', 'zero zero seven', 'zero point five')
    """
    whole, point, decimals = text.partition(".")
    plain = whole.replace(",", "")
    label = (len(plain) > 1 and plain[0] == "0") or (
        "," not in whole and len(plain) > 9 and not plain.endswith("000")
    )
    words = digits(plain) if label else cardinal(plain) if plain else ""
    return f"{words} point {digits(decimals)}".strip() if point else words


def year(text: str) -> str:
    """Read a year of up to four digits.

    >>> year("1984"), year("1905"), year("2000"), year("2024")
    ('nineteen eighty-four', 'nineteen oh five', 'two thousand', 'twenty twenty-four')
    """
    value = int(text)
    century, rest = divmod(value, 100)
    if not 1100 <= value < 10000 or value % 1000 < 10:
        return cardinal(text)
    if rest == 0:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} {short_year(rest)}"


def short_year(value: int) -> str:
    """Read the last two digits of a year.

    >>> short_year(5), short_year(18)
    ('oh five', 'eighteen')
    """
    return f"oh {_ONES[value]}" if value < 10 else _below_hundred(value)


def decade(text: str) -> str:
    """Read "1990" or "90" as a decade.

    >>> decade("1990"), decade("60"), decade("1800"), decade("2010")
    ('nineteen nineties', 'sixties', 'eighteen hundreds', 'twenty tens')
    """
    return plural(year(text) if len(text) == 4 else cardinal(text))


def plural(words: str) -> str:
    """Put the last of some number words in the plural.

    >>> plural("twenty"), plural("six")
    ('twenties', 'sixes')
    """
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def fraction(numerator: str, denominator: str) -> str:
    """Read a fraction of two whole numbers.

    >>> fraction("1", "2"), fraction("3", "4"), fraction("2", "3"), fraction("7", "250")
    ('one half', 'three quarters', 'two thirds', 'seven over two hundred fifty')
    """
    top = cardinal(numerator)
    if len(denominator) > 2 or denominator in ("0", "00", "1", "01"):
        return f"{top} over {cardinal(denominator)}"
    parts = {"2": "half", "4": "quarter"}
    part = parts.get(denominator, ordinal(denominator))
    if top == "one":
        return f"{top} {part}"
    return f"{top} {'halves' if part == 'half' else part + 's'}"


def roman(text: str) -> int | None:
    """Return the value of a Roman numeral in capitals, None if it is none.

    >>> roman("XIV"), roman("IIII")
    (14, None)
    """
    if not text or not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUES[c] for c in text]
    following = [*values[1:], 0]
    return sum(-v if v < n else v for v, n in zip(values, following, strict=True))
