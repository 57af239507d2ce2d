"""Rules for postal addresses, and for the names of countries and US states."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy.rules import LETTER, UPPER, occurrences, rule, search, search_near
from tinsmith.corpus.privacy.types import Span

_STREET_WORDS = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|drive|dr|lane|ln|court|courts|ct|circle|cir|place|pl|square|sq|terrace|trail|trl|"
    "parkway|pkwy|highway|hwy|way|plaza|loop|crescent|close|gardens|turnpike|pike|alley|row|streets|crossing|freeway|esplanade|quay"
)
_PREFIX_WORDS = (
    "rue|avenue|av|allée|boulevard|place|quai|chemin|impasse|via|viale|vicolo|strada|corso|piazza|largo|calle|c/|avda|avenida|plaza|"
    "paseo|camino|carrer|rua|travessa|praça|estrada|ulica|ul|aleja|al|os|pod|nad|strasse|straße|rruga|rr|ulitsa"
)
_COMPOUND_ENDINGS = (
    "stra(?:ß|ss)e|str|gasse|platz|allee|damm|ufer|ring|straat|laan|plein|gracht|kade|dreef|hof|dijk|gade|vej|alle|torv|stræde|veien|vegen|gata|"
    "gaten|gatan|vägen|gränd|katu|tie|kuja|polku|tänav|iela|gatve|utca|tér|körút|út|utja|park|weg|toften|parken|holmatun|braut|vegur|gata|stígur"
)
_CAPITAL = rf"(?:{UPPER}(?:{LETTER}|[.'’-](?={LETTER})){{1,24}}\.?|{UPPER}\.|de|del|la|le|du|des|of|the|and|d[ei]|van|von|der|den|[0-9]{{1,4}}(?:st|nd|rd|th))"
_WORDS = rf"{_CAPITAL}(?:[ ]{_CAPITAL}){{0,3}}"
_COUNTRIES = """Afghanistan|Albania|Algeria|Andorra|Angola|Argentina|Armenia|Aruba|Australia|Austria|Azerbaijan|Bahamas|Bahrain|Bangladesh|
Barbados|Belarus|Belgium|Belize|Benin|Bermuda|Bhutan|Bolivia|Bosnia and Herzegovina|Botswana|Brazil|Brunei|Bulgaria|Burkina Faso|Burundi|
Cambodia|Cameroon|Canada|Cape Verde|Cayman Islands|Chad|Chile|China|Colombia|Comoros|Congo|Costa Rica|Croatia|Cuba|Cyprus|Czechia|
Czech Republic|Denmark|Djibouti|Dominica|Dominican Republic|Ecuador|Egypt|El Salvador|England|Equatorial Guinea|Eritrea|Estonia|Eswatini|Ethiopia|
Faroe Islands|Fiji|Finland|France|Gabon|Gambia|Germany|Ghana|Gibraltar|Great Britain|Greece|Greenland|Grenada|Guatemala|Guernsey|Guinea|Guyana|Haiti|Honduras|
Hong Kong|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|Israel|Italy|Ivory Coast|Jamaica|Japan|Jersey|Kazakhstan|Kenya|Kiribati|Kosovo|
Kuwait|Kyrgyzstan|Laos|Latvia|Lebanon|Lesotho|Liberia|Libya|Liechtenstein|Lithuania|Luxembourg|Macau|Madagascar|Malawi|Malaysia|
Maldives|Mali|Malta|Marshall Islands|Mauritania|Mauritius|Mexico|Micronesia|Moldova|Monaco|Mongolia|Montenegro|Morocco|Mozambique|
Myanmar|Namibia|Nauru|Nepal|Netherlands|New Zealand|Nicaragua|Niger|Nigeria|North Korea|North Macedonia|Northern Ireland|Norway|Oman|Pakistan|
Palau|Palestine|Panama|Papua New Guinea|Paraguay|Peru|Philippines|Poland|Portugal|Puerto Rico|Qatar|Romania|Russia|Rwanda|Samoa|San Marino|
Saudi Arabia|Scotland|Senegal|Serbia|Seychelles|Sierra Leone|Singapore|Slovakia|Slovenia|Solomon Islands|Somalia|South Africa|South Korea|
South Sudan|Spain|Sri Lanka|Sudan|Suriname|Sweden|Switzerland|Syria|Taiwan|Tajikistan|Tanzania|Thailand|Togo|Tonga|Trinidad and Tobago|
Tunisia|Turkey|Turkmenistan|Tuvalu|Uganda|Ukraine|United Arab Emirates|United Kingdom|United States of America|United States|Uruguay|Uzbekistan|
Vanuatu|Vatican City|Venezuela|Vietnam|Wales|Yemen|Zambia|Zimbabwe""".replace("\n", "")
_STATES = """Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|
Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|
New Jersey|New Mexico|New York City|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|
Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming""".replace("\n", "")
_UNIT = r"(?:[\s,>|•*?]{1,8}(?:Apt\.?|Apartment|Suite|Ste\.?|Unit|Floor|Fl\.?|Room|Rm\.?|#|Box|Building|Bldg\.?)[ ]?#?[A-Za-z]?[0-9]{1,5}[A-Za-z]?|,?[ ][0-9]{1,3}(?:st|nd|rd|th)[ ][Ff]loor)"
_PLACE = rf"(?:{UPPER}(?:{LETTER}|[.'’-](?={LETTER})){{1,24}}|de|la|do|del|u|v|der|am|im|an)"
_CODE = r"(?:[0-9]{5}-[0-9]{4}|[0-9]{4,6}|[0-9]{4}-[0-9]{3}|[0-9]{4}[ ][A-Z]{2}|[A-Z]{1,2}[0-9][0-9A-Z]?[ ][0-9][A-Z]{2}|[A-Z][0-9][A-Z][ ]?[0-9][A-Z][0-9])"
# What follows a street: flat, then town with state or country and postal code. A town alone does not count.
_TAIL = (
    rf"(?:{_UNIT}){{0,3}}"
    rf"(?:[\s,>|]{{1,5}}{_PLACE}(?:[ -]{_PLACE}){{0,4}}\s{{0,2}}(?:,\s{{0,3}}(?:{UPPER}{{2,3}}|nan|[0-9]{{1,2}}))?(?:[\s,>|]{{1,4}}(?:[A-Z]{{2}}|{_COUNTRIES}|{_STATES}))?[\s,>|]{{1,4}}{_CODE}(?![\w-])"
    rf"|[\s,>|]{{1,5}}{_PLACE}(?:[ -]{_PLACE}){{0,4}}\s{{0,2}},?\s{{1,3}}(?:(?:{_COUNTRIES}|{_STATES})\b|[A-Z]{{2}}\b)"
    rf"|[\s,>|]{{1,4}}{_CODE}(?![\w-]))?"
)
_NUMBER = r"(?<![\w$€£.,/-])[0-9]{1,5}[A-Za-z]?(?:[-/][0-9]{1,4})?"
_STREET = re.compile(
    rf"{_NUMBER}[,]?[ ](?:[0-9]{{1,4}}[ ])?(?:[NSEW]\.?[EW]?\.?[ ])?{_WORDS}[ ](?i:{_STREET_WORDS})\b\.?(?:[ ](?:[NSEW]|NE|NW|SE|SW)\b\.?)?{_TAIL}"
)
_HOUSE = r"[ ][0-9]{1,4}[A-Za-z]?(?:[-/][0-9]{1,4}[a-z]?)?\b\.?(?![,.]?[0-9])"
_COMPOUND_STREET = re.compile(
    rf"(?:{_NUMBER}[ ])?(?:{_CAPITAL}[ ]){{0,3}}(?:{UPPER}(?:{LETTER}|[.'’-]){{2,24}}(?:{_COMPOUND_ENDINGS})|{_CAPITAL}[ ](?i:{_COMPOUND_ENDINGS}|u|tn|pst|pl|tee)\b\.?){_HOUSE}{_TAIL}"
)
_PREFIX_STREET = re.compile(
    rf"(?:{_NUMBER}[,]?[ ])?(?<![\w])(?:(?i:{_PREFIX_WORDS})\b\.?|C/)[ ]{_WORDS}(?:,?{_HOUSE}){_TAIL}"
    rf"|{_NUMBER}[,]?[ ](?:bis[ ])?(?i:{_PREFIX_WORDS})\b\.?[ ](?:l['’])?{_WORDS}{_TAIL}"
)
# Streets without a known street word: a number, capitalised words, then a flat or house number with a code.
_PLAIN_STREET = re.compile(rf"{_NUMBER}[ ](?:[0-9]{{1,4}}[ ])?{_WORDS}(?:{_HOUSE})?(?:{_UNIT}){{1,3}}{_TAIL}")
_HEADED = re.compile(
    rf"(?i:\baddress(?:[ ]is|:)|\blives? (?:on|at|in)(?: the (?:north|south|east|west) side of)?|\blocated at|\bstation is on|\boffice is at|\bmeet (?:me |you )?at|\bsent? (?:it )?to|"
    rf"\breturn to|\barrived at|\bstop at|\benter on|\bmoved to|\bcorner of)\s{{1,6}}"
    rf"((?:the corner of )?(?:[0-9]{{1,5}}[ ]){{0,2}}{_WORDS}{_HOUSE}(?:[ ]and[ ]{_WORDS})?{_TAIL}|(?:the corner of )?{_WORDS}[ ]and[ ]{_WORDS}{_HOUSE}{_TAIL})"
)
_BOXES = (
    rule("po_box", "address", "box", rf"\b(?:P\.?[ ]?O\.?|Post[ ]Office)[ ]?Box[ ][0-9]{{1,8}}{_TAIL}", before=12, any_case=False),
    rule("military", "address", "box", r"(?:PSC|Unit|CMR)[ ][0-9]{1,5},?[ ]Box[ ][0-9]{1,5}(?:[\s,]{1,3}(?:APO|FPO|DPO)(?:[ ,]{1,2}A[AEP])?(?:[ ][0-9]{5})?)?", before=14),
    rule("ship", "address", "apo|fpo|dpo", r"(?:\bUS[A-Z]{1,4}[ ][^\n,]{2,30}[\n,]\s?)?\b(?:APO|FPO|DPO)[ ,]{1,2}A[AEP][ ][0-9]{5}\b", before=44, any_case=True),
    rule("unit", "address", "apt|suite|apartment", r"\b(?:Apt\.?|Apartment|Suite)[ ]#?[A-Z]?[0-9]{1,5}[A-Z]?\b"),
    rule("zip_code", "address", "zip|postcode|postal code", r"\b(?:zip|post|postal)[ ]?(?:code)?(?:[ ]is|:|[ ])[ ]{0,2}([0-9]{3,5}(?:-[0-9]{3,4})?|[A-Z]{1,2}[0-9][0-9A-Z]?[ ]?[0-9][A-Z]{2})\b", any_case=True),
)  # fmt: skip


def _by_first_letter(names: str) -> str:
    """Return a pattern of names in any case except for the first letter, which makes the search fast."""
    groups: dict[str, list[str]] = {}
    for name in names.split("|"):
        groups.setdefault(name[0], []).append(name[1:])
    return "|".join(f"{first}(?i:{'|'.join(rests)})" for first, rests in groups.items())


_LOCATION = re.compile(rf"(?:{_by_first_letter(f'{_COUNTRIES}|{_STATES}')})\b")
_NOT_PLACES = r"(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Section|Article|Item|Part|Exhibit|Note|Table|Form|Annex|Schedule|The|Our|This|That|It)\b)"
# Verbs that take a place. Towns may be written in capitals.
_AT_PLACE = re.compile(
    r"\b(?:(?:flew|fly|flying|travel(?:l?ed|l?ing)?|moved|moving|drove|driving|went|going|return(?:ed|ing)?|came|coming|commut(?:ed?|ing)|relocat(?:ed?|ing))[ ](?:back[ ])?(?:to|from)"
    r"|(?:grew[ ]up|born|raised|based|lives?|lived|living|headquartered|resid(?:es?|ed|ing)|arrived)[ ]in|\bhome[ ](?:city|town)|\bI(?:’|'|[ ]a)m[ ](?:in|from))"
    rf"[ ]{_NOT_PLACES}({UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}(?:[ ](?:(?:de|del|la|le|of|am|an|der|upon|sur|u)[ ])?{UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}){{0,3}})"
)
_STREET_WORD = re.compile(rf"[ ](?:{_STREET_WORDS})\b", re.IGNORECASE)
_STREET_NAME = re.compile(rf"{UPPER}{LETTER}|[0-9](?:st|nd|rd|th)\b")
_DIGIT = re.compile(r"[0-9]")
_WORD_CHARACTER = re.compile(r"\w")
_SPACE_DIGIT = re.compile(r"[ ][0-9]")
_PREFIXES = tuple(word + sign for word in _PREFIX_WORDS.split("|") for sign in (" ", ". "))
_ENDINGS = (
    *_COMPOUND_ENDINGS.replace("stra(?:ß|ss)e", "straße|strasse").split("|"),
    "u",
    "tn",
    "pst",
    "pl",
    "tee",
)
_LEAD = re.compile(rf"{_NUMBER},?[ ](?:bis[ ])?\Z")
_HEADS = (
    "address is", "address:", "live", "located at", "station is on", "office is at", "meet ", "sen to", "sent to",
    "sen it to", "sent it to", "return to", "arrived at", "stop at", "enter on", "moved to", "corner of",
)  # fmt: skip
_BEFORE_HOUSE = 150  # characters of a street before its house number, at most
_AFTER = 800  # characters of a street and what follows it, at most


def _house_numbers(text: str, lower: str) -> Iterator[int]:
    """Yield the positions where a house number follows a one-word street such as "Hauptstraße 5"."""
    for match in _SPACE_DIGIT.finditer(text):
        position = match.start()
        if not lower[max(0, position - 12) : position].rstrip(".").endswith(_ENDINGS):
            continue
        word = text[max(text.rfind(space, position - 60, position) for space in " \n\t") + 1 : position]
        if any(map(str.isupper, word)) or lower[position - len(word) : position].rstrip(".") in _ENDINGS:
            yield position


def _prefix_streets(text: str, lower: str) -> Iterator[re.Match[str]]:
    """Yield streets whose name begins with a street word, such as "rue de la Paix"."""
    done = 0
    for position in occurrences(_PREFIXES, lower):
        if position and _WORD_CHARACTER.match(text, position - 1):
            continue
        lead = _LEAD.search(text, max(done, position - 24), position)
        for start in (position,) if lead is None else (lead.start(), position):
            match = _PREFIX_STREET.match(text, start) if start >= done else None
            if match is not None:
                done = match.end()
                yield match
                break


def _streets(text: str, lower: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield the matches of each form of a street, the most common forms first."""
    yield from (("street", match) for match in _STREET.finditer(text))
    yield from (("prefix_street", match) for match in _prefix_streets(text, lower))
    compound = search_near(_COMPOUND_STREET, _house_numbers(text, lower), text, _BEFORE_HOUSE, _AFTER)
    yield from (("compound_street", match) for match in compound)
    yield from (("plain_street", match) for match in _PLAIN_STREET.finditer(text))
    headed = search_near(_HEADED, occurrences(_HEADS, lower), text, 40, _AFTER)
    yield from (("headed", match) for match in headed)


def find_addresses(text: str, lower: str) -> Iterator[Span]:
    """Yield postal addresses: streets with a house number, boxes, and postal codes after a keyword."""
    # Streets first: they contain flats and boxes, which must not claim a part of them.
    if _DIGIT.search(text):
        for source, match in _streets(text, lower):
            start, end = match.span(1 if source == "headed" else 0)
            if source != "street" or _has_name(match.group()):
                yield Span(start, end, "address", source)
    yield from search(_BOXES, text, lower)


def _has_name(street: str) -> bool:
    """Return whether a word of two or more letters precedes the street word: "135 S. Ct. 2584" cites a case."""
    match = _STREET_WORD.search(street)
    return bool(_STREET_NAME.search(street, 0, match.start() if match else len(street)))


def find_locations(text: str) -> Iterator[Span]:
    """Yield names of countries and US states, and places where people live or go."""
    for match in _LOCATION.finditer(text):
        if match.start() == 0 or not _WORD_CHARACTER.match(text, match.start() - 1):
            yield Span(match.start(), match.end(), "location", "gazetteer")
    for match in _AT_PLACE.finditer(text):
        yield Span(match.start(1), match.end(1), "location", "at_place")
