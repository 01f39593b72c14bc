"""Generated German and English phrases: templates with words from CLDR.

Every pair is a template filled at random, with words and signs between blanks. Word order differs as in the two
languages (verbs at the end of German clauses), numbers below a thousand are spelt out, and dates, months, weekdays,
quantities, countries and languages come from babel's CLDR.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.parallel import Parallel

Pair = tuple[str, str]  # German, English
Draws = np.random.Generator

NAMES = (
    "Anna Peter Maria Lukas Sofia Jonas Emma Paul Clara Felix Laura David Nina Simon Julia Martin Eva Thomas Lena Max"
).split()
_THINGS = (
    "Briefe letters Bücher books Karten cards Bilder pictures Äpfel apples Stühle chairs Lampen lamps Hefte notebooks "
    "Uhren clocks Rosen roses"
).split()
THINGS: tuple[Pair, ...] = tuple(zip(_THINGS[::2], _THINGS[1::2], strict=True))
# countries without an article in German, and languages, by their codes in CLDR
COUNTRIES = (
    "FR DE AT IT ES PT PL DK SE NO FI GR HU BG RO HR RS JP CN IN BR MX CA EG KE MA PE CL KR AU NZ IS IE "
    "BE LU EE LV LT MT AR BO CO CU EC GH ID JO KZ MG MY NG PK TH TN UY VN"
).split()
LANGUAGES = "de en fr it es pt pl da sv no fi el hu bg ro hr sr ja zh ar tr ru nl cs ko hi".split()
NAMED = {"country": (tuple(COUNTRIES), "territories"), "language": (tuple(LANGUAGES), "languages")}
DISTANCES = ("length-kilometer", "length-mile")
SPANS = ("duration-day", "duration-week", "duration-month", "duration-year")
# 0 to 19, and the tens from 20.
GERMAN = (
    (
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
        "siebzehn achtzehn neunzehn"
    ).split(),
    "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split(),
)
ENGLISH = (
    (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    ).split(),
    "twenty thirty forty fifty sixty seventy eighty ninety".split(),
)
LONGEST = 20
FIRST_DAY = date(1950, 1, 1)


def german_number(number: int) -> str:
    """A whole number from 2 to 999 in words."""
    ones, tens = GERMAN
    hundreds, rest = divmod(number, 100)
    word = f"{'ein' if hundreds == 1 else ones[hundreds]}hundert" if hundreds else ""
    if not rest:
        return word
    if rest < 20:
        return word + ones[rest]
    ten, unit = divmod(rest, 10)
    return word + (f"{'ein' if unit == 1 else ones[unit]}und" if unit else "") + tens[ten - 2]


def english_number(number: int) -> str:
    """A whole number from 2 to 999 in words."""
    ones, tens = ENGLISH
    hundreds, rest = divmod(number, 100)
    parts = [f"{ones[hundreds]} hundred"] if hundreds else []
    if rest:
        ten, unit = divmod(rest, 10)
        parts.append(ones[rest] if rest < 20 else tens[ten - 2] + (f"-{ones[unit]}" if unit else ""))
    return " and ".join(parts)


@cache
def _names_of(codes: tuple[str, ...], kind: str) -> tuple[Pair, ...]:
    from babel import Locale

    german, english = (getattr(Locale(language), kind) for language in ("de", "en"))
    return tuple((german[code], english[code]) for code in codes)


def filling(slot: str, draws: Draws) -> Pair:
    """Draw a value of a template's slot, in German and English."""
    if slot == "person":
        name = NAMES[int(draws.integers(len(NAMES)))]
        return name, name
    if slot in ("thing", "country", "language"):
        values = THINGS if slot == "thing" else _names_of(*NAMED[slot])
        return values[int(draws.integers(len(values)))]
    if slot == "number":  # small ones more often
        number = int(draws.integers(2, 1000 if draws.random() < 0.5 else 60))
        return german_number(number), english_number(number)
    if slot == "price":
        from babel.numbers import format_decimal

        value = int(draws.integers(100, 500_000)) / 100
        return format_decimal(value, "#,##0.00", locale="de"), format_decimal(value, "#,##0.00", locale="en")
    if slot in ("distance", "span"):
        return _quantity(draws, *((DISTANCES, 999) if slot == "distance" else (SPANS, 30)))
    from babel.dates import format_date

    at = FIRST_DAY + timedelta(days=int(draws.integers(30_000)))
    german, english = ("d. MMMM y", "d MMMM y") if slot == "day" else ("EEEE", "EEEE")
    return format_date(at, german, locale="de"), format_date(at, english, locale="en")


def _quantity(draws: Draws, units: Sequence[str], most: int) -> Pair:
    from babel.units import format_unit

    value, unit = int(draws.integers(2, most + 1)), units[int(draws.integers(len(units)))]
    # the German dative plural, which CLDR's forms by number lack
    german = format_unit(value, unit, "long", locale="de")
    dative = german if german.endswith("n") or unit in DISTANCES else f"{german}n"
    return dative, format_unit(value, unit, "long", locale="en")


# German and English in turn. Slots are drawn in the order of the German side; a digit distinguishes two of a kind.
_SENTENCES = """\
{person} reiste am {day} nach {country} .
{person} travelled to {country} on {day} .
am {weekday} hat {person} {number} {thing} aus {country} bekommen .
on {weekday} {person} received {number} {thing} from {country} .
{person} spricht {language} und {language2} , aber kein {language3} .
{person} speaks {language} and {language2} , but no {language3} .
der Weg von {country} nach {country2} ist {distance} lang .
the way from {country} to {country2} is {distance} long .
{person} sagt , dass {person2} am {weekday} {number} {thing} gekauft hat .
{person} says that {person2} bought {number} {thing} on {weekday} .
wenn {person} am {weekday} kommt , fährt {person2} nach {country} .
if {person} comes on {weekday} , {person2} will drive to {country} .
in {country} kostet das {price} Euro , in {country2} nur {price2} .
in {country} it costs {price} euros , in {country2} only {price2} .
{person} lernt seit {span} {language} und kennt {number} Wörter .
{person} has been learning {language} for {span} and knows {number} words .
weil {person} kein {language} versteht , hat {person2} die {thing} übersetzt .
since {person} does not understand {language} , {person2} translated the {thing} .
am Ende waren {number} Gäste aus {country} und {number2} aus {country2} da .
in the end {number} guests from {country} and {number2} from {country2} were there .
{person} wurde am {day} in {country} geboren .
{person} was born in {country} on {day} .
hat {person} die {number} {thing} am {weekday} wirklich nach {country} geschickt ?
did {person} really send the {number} {thing} to {country} on {weekday} ?
""".splitlines()
TEMPLATES: tuple[Pair, ...] = tuple(zip(_SENTENCES[::2], _SENTENCES[1::2], strict=True))


def phrase(draws: Draws) -> Pair:
    """Fill a random template; return one pair."""
    german, english = TEMPLATES[int(draws.integers(len(TEMPLATES)))]
    filled = {slot: filling(slot.rstrip("23"), draws) for slot in re.findall(r"\{(\w+)\}", german)}
    return (
        german.format(**{slot: pair[0] for slot, pair in filled.items()}),
        english.format(**{slot: pair[1] for slot, pair in filled.items()}),
    )


def distinct(draws: Draws, count: int, seen: set[str]) -> list[Pair]:
    """Draw ``count`` new pairs of 5 to 20 words; add them to ``seen``."""
    pairs: list[Pair] = []
    for _ in range(50 * count):
        if len(pairs) == count:
            return pairs
        pair = phrase(draws)
        if pair[0] not in seen and all(5 <= len(side.split()) <= LONGEST for side in pair):
            seen.add(pair[0])
            pairs.append(pair)
    raise HarnessError(f"phrases: fewer than {count} distinct phrases exist; lower train or held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhrasesOptions:
    """Options of the data source ``phrases``."""

    source: str = option("de", "source language", choices=("de", "en"))
    train: int = option(3000, "training pairs", low=20)
    held_out: int = option(150, "pairs in validation and in test, each", low=10)


def load(request: DataRequest[PhrasesOptions]) -> Parallel:
    """Draw distinct phrases, test first: it must not depend on ``train``."""
    options = request.options
    try:
        import babel  # noqa: F401
    except ImportError as error:
        raise HarnessError("phrases: the package babel is not installed: pip install babel") from error
    first = 0 if options.source == "de" else 1
    seen: set[str] = set()
    splits = {}
    for split in ("test", "validation", "train"):
        count = options.train if split == "train" else options.held_out
        pairs = distinct(request.streams.numpy("data", "phrases", split), count, seen)
        splits[split] = (tuple(pair[first] for pair in pairs), tuple(pair[1 - first] for pair in pairs))
    languages = ("de", "en") if first == 0 else ("en", "de")
    return Parallel(splits, languages, tokenised=True)
