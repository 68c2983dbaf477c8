"""What English rules look up: currencies, units, abbreviations, acronyms, symbols."""

from typing import NamedTuple


class Noun(NamedTuple):
    """A word for one and for many."""

    one: str
    many: str


class Currency(NamedTuple):
    """A currency and its hundredth part, None if it has none in use."""

    major: Noun
    minor: Noun | None = None


def _words(text: str) -> list[str]:
    return text.split()


def _noun(one: str, many: str = "") -> Noun:
    return Noun(one, many or one + "s")


_CENT = _noun("cent")
_PENNY = Noun("penny", "pence")


def _dollar(country: str = "") -> Currency:
    return Currency(_noun(f"{country} dollar".strip()), _CENT)


_POUND = Currency(_noun("pound"), _PENNY)
_EURO = Currency(_noun("euro"), _CENT)
_YEN = Currency(Noun("yen", "yen"))
_RUPEE = Currency(_noun("rupee"), Noun("paisa", "paise"))
_YUAN = Currency(Noun("yuan", "yuan"))

CURRENCY_SIGNS = {
    **{"US$": _dollar("U S"), "CA$": _dollar("Canadian"), "C$": _dollar("Canadian")},
    **{"AU$": _dollar("Australian"), "A$": _dollar("Australian"), "S$": _dollar("Singapore")},
    **{"NZ$": _dollar("New Zealand"), "HK$": _dollar("Hong Kong")},
    **{"R$": Currency(Noun("real", "reais")), "$": _dollar(), "£": _POUND, "€": _EURO},
    **{"¥": _YEN, "₹": _RUPEE, "₩": Currency(Noun("won", "won")), "₽": Currency(_noun("ruble"))},
    **{"₺": Currency(Noun("lira", "lira")), "₪": Currency(_noun("shekel"))},
    **{"₫": Currency(Noun("dong", "dong")), "₦": Currency(Noun("naira", "naira"))},
    **{"₱": Currency(_noun("peso")), "฿": Currency(Noun("baht", "baht"))},
    **{"₿": Currency(_noun("bitcoin")), "₴": Currency(Noun("hryvnia", "hryvnia"))},
}
CURRENCY_CODES = {
    **{"USD": _dollar("U S"), "CAD": _dollar("Canadian"), "AUD": _dollar("Australian")},
    **{"EUR": _EURO, "GBP": Currency(Noun("pound sterling", "pounds sterling"), _PENNY)},
    **{"JPY": _YEN, "CNY": _YUAN, "RMB": _YUAN, "INR": _RUPEE},
    **{"CHF": Currency(_noun("Swiss franc"), Noun("centime", "centimes"))},
}
# After an amount of money; the others are said as they stand.
SCALES = {
    **{"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million"},
    **{"b": "billion", "B": "billion", "bn": "billion", "tn": "trillion", "T": "trillion"},
    **{s: s for s in ("hundred", "thousand", "million", "billion", "trillion", "quadrillion")},
}

_METRIC = {"km": "kilo", "m": "", "cm": "centi", "mm": "milli", "μm": "micro", "nm": "nano"}
_GRAMS = {"kg": "kilo", "g": "", "mg": "milli", "μg": "micro"}
_HERTZ = {"Hz": "", "kHz": "kilo", "MHz": "mega", "GHz": "giga", "THz": "tera"}
_BYTES = {"kB": "kilo", "KB": "kilo", "MB": "mega", "GB": "giga", "TB": "tera", "PB": "peta"}
_BINARY = {"KiB": "kibi", "MiB": "mebi", "GiB": "gibi", "TiB": "tebi"}
_BITS = {"kbit": "kilo", "Mbit": "mega", "Gbit": "giga"}
_WATTS = {"W": "", "mW": "milli", "kW": "kilo", "MW": "mega", "GW": "giga"}
_VOLTS = {"V": "", "mV": "milli", "kV": "kilo"}
_SECONDS = {"s": "", "ms": "milli", "μs": "micro", "ns": "nano"}
UNITS = {
    **{k: _noun(p + "meter") for k, p in _METRIC.items()},
    **{k: _noun(p + "gram") for k, p in _GRAMS.items()},
    **{k: Noun(p + "hertz", p + "hertz") for k, p in _HERTZ.items()},
    **{k: _noun(p + "byte") for k, p in (_BYTES | _BINARY).items()},
    **{k: _noun(p + "bit") for k, p in _BITS.items()},
    **{k: _noun(p + "watt") for k, p in _WATTS.items()},
    **{k + "h": _noun(p + "watt hour") for k, p in _WATTS.items()},
    **{k: _noun(p + "volt") for k, p in _VOLTS.items()},
    **{k: _noun(p + "second") for k, p in _SECONDS.items()},
    **{"l": _noun("liter"), "L": _noun("liter"), "ml": _noun("milliliter")},
    **{"mL": _noun("milliliter"), "cl": _noun("centiliter"), "dl": _noun("deciliter")},
    **{"sec": _noun("second"), "secs": _noun("second"), "min": _noun("minute")},
    **{"mins": _noun("minute"), "h": _noun("hour"), "hr": _noun("hour"), "hrs": _noun("hour")},
    **{"yr": _noun("year"), "yrs": _noun("year"), "ft": Noun("foot", "feet")},
    **{"yd": _noun("yard"), "yds": _noun("yard"), "mi": _noun("mile"), "lb": _noun("pound")},
    **{"lbs": _noun("pound"), "oz": _noun("ounce"), "gal": _noun("gallon"), "pt": _noun("pint")},
    **{"qt": _noun("quart"), "tsp": _noun("teaspoon"), "tbsp": _noun("tablespoon")},
    **{"mph": Noun("mile per hour", "miles per hour")},
    **{"kph": Noun("kilometer per hour", "kilometers per hour")},
    **{"kmh": Noun("kilometer per hour", "kilometers per hour")},
    **{"rpm": Noun("revolution per minute", "revolutions per minute")},
    **{"fps": Noun("frame per second", "frames per second"), "px": _noun("pixel")},
    **{"dpi": Noun("dot per inch", "dots per inch"), "dB": _noun("decibel")},
    **{"bps": Noun("bit per second", "bits per second")},
    **{"kbps": Noun("kilobit per second", "kilobits per second")},
    **{"Mbps": Noun("megabit per second", "megabits per second")},
    **{"Gbps": Noun("gigabit per second", "gigabits per second")},
    **{"mA": _noun("milliamp"), "mAh": _noun("milliamp hour"), "kcal": _noun("kilocalorie")},
    **{"cal": _noun("calorie"), "kJ": _noun("kilojoule"), "kPa": _noun("kilopascal")},
    **{"hPa": _noun("hectopascal"), "psi": Noun("P S I", "P S I"), "ha": _noun("hectare")},
    **{"sq ft": Noun("square foot", "square feet"), "sq. ft.": Noun("square foot", "square feet")},
    **{"sq m": _noun("square meter"), "sq km": _noun("square kilometer")},
    **{"sq mi": _noun("square mile"), "hp": Noun("horsepower", "horsepower")},
    **{"ppm": Noun("part per million", "parts per million"), "cc": Noun("C C", "C C")},
    **{"kΩ": Noun("kilohm", "kilohms"), "Ω": _noun("ohm")},
}
# Units whose short form may end with a full stop.
DOTTED_UNITS = {
    **{u: UNITS[u] for u in ("ft", "oz", "lb", "lbs", "yd", "mi", "min", "sec", "hr", "hrs")},
    **{u: UNITS[u] for u in ("gal", "pt", "qt", "tsp", "tbsp", "yr", "yrs", "mins", "cal")},
    "in": Noun("inch", "inches"),
}
# What may follow a slash after a number: "$3/hr".
PER = {
    **{w: w for w in ("second", "minute", "hour", "day", "night", "week", "month", "year", "mile")},
    **{w: w for w in ("person", "user", "seat", "unit", "piece", "ton", "page", "head", "pound")},
    **{"sec": "second", "min": "minute", "hr": "hour", "wk": "week", "mo": "month", "yr": "year"},
    **{"h": "hour", "s": "second", "kg": "kilogram", "lb": "pound", "km": "kilometer"},
    **{"L": "liter", "l": "liter", "m": "meter", "g": "gram", "kWh": "kilowatt hour"},
}

MONTHS = _words(
    "January February March April May June July August September October November December"
)
MONTH_SHORTS = {m[:3]: m for m in MONTHS} | {"Sept": "September"}
WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
WEEKDAY_SHORTS = {d[:3]: d for d in WEEKDAYS} | {
    **{"Tues": "Tuesday", "Thur": "Thursday", "Thurs": "Thursday"},
}

# Before a name, with or without the full stop.
TITLES = {
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor"},
    **{
        "Rev": "Reverend",
        "Gen": "General",
        "Col": "Colonel",
        "Capt": "Captain",
        "Lt": "Lieutenant",
    },
    **{"Sgt": "Sergeant", "Cpl": "Corporal", "Cmdr": "Commander", "Maj": "Major", "Sen": "Senator"},
    **{"Rep": "Representative", "Gov": "Governor", "Pres": "President", "Hon": "Honorable"},
    **{"Fr": "Father", "Messrs": "Messieurs", "Mt": "Mount", "Ft": "Fort", "St": "Saint"},
}
# Titles that stand without their full stop too; the others would be words ("Gen", "Rev").
BARE_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Mt")
# After a name of a place.
STREETS = {
    **{"St": "Street", "Dr": "Drive", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road"},
    **{"Ln": "Lane", "Hwy": "Highway", "Pkwy": "Parkway", "Sq": "Square", "Ct": "Court"},
}
# Before a number, with the full stop; "No." and "Art." are words otherwise.
COUNTED = {
    **{"no": "number", "nos": "numbers", "p": "page", "pp": "pages", "vol": "volume"},
    **{"ch": "chapter", "sec": "section", "fig": "figure", "figs": "figures", "eq": "equation"},
    **{"art": "article", "ver": "version", "v": "version", "ed": "edition", "para": "paragraph"},
    **{"c": "circa", "ca": "circa", "op": "opus", "apt": "apartment", "ext": "extension"},
}
# With the full stop, in small letters or with a capital. A sentence may end with those of ENDINGS.
ABBREVIATIONS = {
    **{"e.g.": "for example", "i.e.": "that is", "vs.": "versus", "cf.": "compare"},
    **{"approx.": "approximately", "incl.": "including", "excl.": "excluding", "viz.": "namely"},
    **{"esp.": "especially", "resp.": "respectively", "est.": "estimated", "max.": "maximum"},
    **{"min.": "minimum", "avg.": "average", "dept.": "department", "govt.": "government"},
    **{"tel.": "telephone", "temp.": "temperature", "misc.": "miscellaneous", "ft.": "featuring"},
    **{"a.k.a.": "also known as", "w/o": "without", "w/": "with", "n/a": "not applicable"},
    **{"et al.": "et al", "univ.": "university", "assoc.": "associate", "asst.": "assistant"},
    **{"bros.": "brothers", "intl.": "international"},
}
ENDINGS = {
    **{"etc.": "et cetera", "inc.": "incorporated", "ltd.": "limited", "corp.": "corporation"},
    **{"co.": "company", "jr.": "junior", "sr.": "senior", "ph.d.": "P H D", "phd": "P H D"},
    **{"m.d.": "M D", "b.a.": "B A", "m.a.": "M A", "esq.": "esquire", "llc.": "L L C"},
    **{"a.m.": "A M", "p.m.": "P M", "ave.": "avenue", "blvd.": "boulevard", "rd.": "road"},
}
# Words that begin sentences: a full stop before them is no mere part of an abbreviation.
STARTERS = _words(
    "The He She It They We I You But And So If In On At This That These There Then His Her My Our "
    "Their When What Who Why How Where After Before However"
)
# Words that stand without a full stop as well.
BARE = {
    **{"vs": "versus", "etc": "et cetera", "Jr": "Junior", "Sr": "Senior", "Ltd": "Limited"},
    **{"Inc": "Incorporated", "Corp": "Corporation", "PhD": "P H D", "iOS": "i O S"},
    **{
        "WWI": "World War one",
        "WWII": "World War two",
        "macOS": "mac O S",
        "mRNA": "m R N A",
        "tRNA": "t R N A",
        "approx": "approximately",
    },
    **{"C#": "C sharp", "F#": "F sharp", ".NET": "dot net"},
    **{"Blvd": "Boulevard", "Pkwy": "Parkway", "Hwy": "Highway", "Ave": "Avenue"},
}
# Short words with an apostrophe before them.
APOSTROPHE_WORDS = _words("tis twas em til cause n twere bout round")

# Read as a word though in capitals. The others of four letters or more are, unless SPELLED.
READ = frozenset(
    _words(
        "NASA NATO UNESCO UNICEF OPEC AIDS RAM ROM SIM PIN GIF LASER RADAR SCUBA SWAT FIFA UEFA "
        "NAFTA ASCII JPEG COVID SARS MERS OK LAN WAN ZIP POTUS SCOTUS YOLO CAPTCHA NASDAQ OSHA "
        "FEMA BIOS CAD DOS DARPA ASEAN INTERPOL NIMBY MIDI YAML JSON TOEFL LIDAR SONAR HAL NOAA"
    )
)
SPELLED = frozenset(
    _words(
        "USA US UK EU UN UAE AI IT API URL URI CEO CFO CTO CIA FBI IOU UFO VIP ATM GPA HIV IBM ISO "
        "ISP IPO IEEE UCLA NAACP ESPN MIT HBO NBA EPA FAQ DIY DOI IPA ASAP USSR ICBM ECG EKG NYU "
        "ABC AOL ATP UFC EST EDT PDT UTC AM PM AD CE BCE OS UI UX USB GPU CPU TPU LED OLED IP ID "
        "TV EV IQ ER ICU IRS HR PR AC ADHD AGM ASR USPS UPS NAS SSD USD EUR AUD CAD IPA RNA DNA "
        "WHO WWE EOF EULA IELTS NSA IRA AA AAA AARP ASMR BBC CNN OECD UCI AWS SEO UAW"
    )
)
# Two and three letters in capitals that only shout.
SHORT_WORDS = frozenset(
    _words(
        "THE AND FOR NOT BUT YOU ALL ANY CAN HAD HER WAS ONE OUR OUT DAY GET HAS HIM HIS HOW MAN "
        "NEW NOW OLD SEE TWO WAY BOY DID ITS LET PUT SAY SHE TOO USE NO YES SO GO DO IS TO OF IN "
        "ON AT BE BY HE ME MY WE UP IF AS AN OR ARE END WHY OFF BIG BAD TEN SIX RED RUN TOP OH HI "
        "MOM DAD GOD DOG CAT HOT WAR LAW ACT WIN WON TRY BUY PAY ASK SET SAD FUN GUN SUN SEA EAT"
    )
)

# Before a Roman numeral, which then counts.
ROMAN_COUNTS = frozenset(
    _words(
        "Chapter Part Volume Book Act Scene Section Article Appendix Phase Type Class Level Stage "
        "Title War Bowl Episode Vol Unit Schedule Figure Table Grade Canto Division Olympiad"
    )
)
# Before a Roman numeral, which then ranks: "Henry the eighth".
ROMAN_RANKS = frozenset(
    _words(
        "Henry Elizabeth Louis George Charles James William Edward Richard Paul Pius Benedict "
        "Napoleon Catherine Nicholas Alexander Peter Philip Frederick Francis Leo Gregory Ramses "
        "Rameses John Robert Alfonso Ferdinand Otto Leopold Wilhelm Mary Margaret Christian Gustav "
        "Constantine Innocent Clement Urban Sixtus Ptolemy Xerxes Darius Ivan Joseph Umberto Pope "
        "Albert Mehmed Selim Murad Juan Carlos Pedro Felipe Harald Olaf Haakon Margrethe Rama"
    )
)

SYMBOLS = {
    **{"&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "°": "degrees"},
    **{"§": "section", "¶": "paragraph", "©": "copyright", "×": "times", "÷": "divided by"},
    **{"±": "plus or minus", "≈": "approximately", "≠": "is not equal to", "≤": "at most"},
    **{"≥": "at least", "∞": "infinity", "√": "square root of", "\\": "backslash"},
    **{"‰": "per mille", "∑": "sum", "∂": "partial", "∆": "delta", "≡": "is identical to"},
    **{sign: currency.major.many for sign, currency in CURRENCY_SIGNS.items() if len(sign) == 1},
    "¢": "cents",
}
