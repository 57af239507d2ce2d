"""Postal addresses by their form, and the names of countries and of the states of the USA."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinsmith.corpus.privacy.rules import LETTER, UPPER, near, occurrences, rule, search
from tinsmith.corpus.privacy.types import Span

_KINDS = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|drive|dr|lane|ln|court|courts|ct|circle|cir|place|pl|square|sq|terrace|trail|trl|"
    "parkway|pkwy|highway|hwy|way|plaza|loop|crescent|close|gardens|turnpike|pike|alley|row|streets|crossing|freeway|esplanade|quay"
)
_BEFORE = (
    "rue|avenue|av|allée|boulevard|place|quai|chemin|impasse|via|viale|vicolo|strada|corso|piazza|largo|calle|c/|avda|avenida|plaza|"
    "paseo|camino|carrer|rua|travessa|praça|estrada|ulica|ul|aleja|al|os|pod|nad|strasse|straße|rruga|rr|ulitsa"
)
_COMPOUND = (
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
# What follows a street: flat, then town with state or country and code. A town alone only before one of those.
_TAIL = (
    rf"(?:{_UNIT}){{0,3}}"
    rf"(?:[\s,>|]{{1,5}}{_PLACE}(?:[ -]{_PLACE}){{0,4}}\s{{0,2}}(?:,\s{{0,3}}(?:{UPPER}{{2,3}}|nan|[0-9]{{1,2}}))?(?:[\s,>|]{{1,4}}(?:[A-Z]{{2}}|{_COUNTRIES}|{_STATES}))?[\s,>|]{{1,4}}{_CODE}(?![\w-])"
    rf"|[\s,>|]{{1,5}}{_PLACE}(?:[ -]{_PLACE}){{0,4}}\s{{0,2}},?\s{{1,3}}(?:(?:{_COUNTRIES}|{_STATES})\b|[A-Z]{{2}}\b)"
    rf"|[\s,>|]{{1,4}}{_CODE}(?![\w-]))?"
)
_NUMBER = r"(?<![\w$€£.,/-])[0-9]{1,5}[A-Za-z]?(?:[-/][0-9]{1,4})?"
_STREET = re.compile(
    rf"{_NUMBER}[,]?[ ](?:[0-9]{{1,4}}[ ])?(?:[NSEW]\.?[EW]?\.?[ ])?{_WORDS}[ ](?i:{_KINDS})\b\.?(?:[ ](?:[NSEW]|NE|NW|SE|SW)\b\.?)?{_TAIL}"
)
_HOUSE = r"[ ][0-9]{1,4}[A-Za-z]?(?:[-/][0-9]{1,4}[a-z]?)?\b\.?(?![,.]?[0-9])"
_COMPOUND_STREET = re.compile(
    rf"(?:{_NUMBER}[ ])?(?:{_CAPITAL}[ ]){{0,3}}(?:{UPPER}(?:{LETTER}|[.'’-]){{2,24}}(?:{_COMPOUND})|{_CAPITAL}[ ](?i:{_COMPOUND}|u|tn|pst|pl|tee)\b\.?){_HOUSE}{_TAIL}"
)
_PREFIX_STREET = re.compile(
    rf"(?:{_NUMBER}[,]?[ ])?(?<![\w])(?:(?i:{_BEFORE})\b\.?|C/)[ ]{_WORDS}(?:,?{_HOUSE}){_TAIL}"
    rf"|{_NUMBER}[,]?[ ](?:bis[ ])?(?i:{_BEFORE})\b\.?[ ](?:l['’])?{_WORDS}{_TAIL}"
)
# A number, capitals, and a flat or house number with a code: streets of which no word is known.
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
    """Return a pattern of names in any case but for the first letter: a search leaps to the next capital that fits."""
    groups: dict[str, list[str]] = {}
    for name in names.split("|"):
        groups.setdefault(name[0], []).append(name[1:])
    return "|".join(f"{first}(?i:{'|'.join(rests)})" for first, rests in groups.items())


_LOCATION = re.compile(rf"(?:{_by_first_letter(f'{_COUNTRIES}|{_STATES}')})\b")
_NOT_PLACES = r"(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Section|Article|Item|Part|Exhibit|Note|Table|Form|Annex|Schedule|The|Our|This|That|It)\b)"
# Verbs that people do to places. Written in capitals, a town is a town too.
_AT_PLACE = re.compile(
    r"\b(?:(?:flew|fly|flying|travel(?:l?ed|l?ing)?|moved|moving|drove|driving|went|going|return(?:ed|ing)?|came|coming|commut(?:ed?|ing)|relocat(?:ed?|ing))[ ](?:back[ ])?(?:to|from)"
    r"|(?:grew[ ]up|born|raised|based|lives?|lived|living|headquartered|resid(?:es?|ed|ing)|arrived)[ ]in|\bhome[ ](?:city|town)|\bI(?:’|'|[ ]a)m[ ](?:in|from))"
    rf"[ ]{_NOT_PLACES}({UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}(?:[ ](?:(?:de|del|la|le|of|am|an|der|upon|sur|u)[ ])?{UPPER}(?:{LETTER}|['’-](?={LETTER})){{1,24}}){{0,3}})"
)
_KIND = re.compile(rf"[ ](?:{_KINDS})\b", re.IGNORECASE)
_NAMED = re.compile(rf"{UPPER}{LETTER}|[0-9](?:st|nd|rd|th)\b")
_DIGIT = re.compile(r"[0-9]")
_WORD_SIGN = re.compile(r"\w")
_SPACE_DIGIT = re.compile(r"[ ][0-9]")
_PREFIXES = tuple(word + sign for word in _BEFORE.split("|") for sign in (" ", ". "))
_ENDINGS = (*_COMPOUND.replace("stra(?:ß|ss)e", "straße|strasse").split("|"), "u", "tn", "pst", "pl", "tee")
_LEAD = re.compile(rf"{_NUMBER},?[ ](?:bis[ ])?\Z")
_HEADS = (
    "address is", "address:", "live", "located at", "station is on", "office is at", "meet ", "sen to", "sent to",
    "sen it to", "sent it to", "return to", "arrived at", "stop at", "enter on", "moved to", "corner of",
)  # fmt: skip
_BEFORE_HOUSE = 150  # characters, more than a street takes before its house number
_AFTER = 800  # more than a street and what follows it take


def _compound_places(text: str, lower: str) -> Iterator[int]:
    """Yield where a house number follows what may be a street in one word ("Hauptstraße 5")."""
    for found in _SPACE_DIGIT.finditer(text):
        place = found.start()
        if not lower[max(0, place - 12) : place].rstrip(".").endswith(_ENDINGS):
            continue
        word = text[max(text.rfind(sign, place - 60, place) for sign in " \n\t") + 1 : place]
        if any(map(str.isupper, word)) or lower[place - len(word) : place].rstrip(".") in _ENDINGS:
            yield place


def _prefix_places(text: str, lower: str) -> list[int]:
    """Return where a word stands that names of streets begin with ("rue de la Paix")."""
    places = occurrences(_PREFIXES, lower)
    return [place for place in places if place == 0 or not _WORD_SIGN.match(text, place - 1)]


def _prefix_streets(text: str, lower: str) -> Iterator[re.Match[str]]:
    done = 0
    for place in _prefix_places(text, lower):
        lead = _LEAD.search(text, max(done, place - 24), place)
        for start in (place,) if lead is None else (lead.start(), place):
            found = _PREFIX_STREET.match(text, start) if start >= done else None
            if found is not None:
                done = found.end()
                yield found
                break


def _streets(text: str, lower: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield what each form of a street matches, the commonest forms first."""
    yield from (("street", found) for found in _STREET.finditer(text))
    yield from (("prefix_street", found) for found in _prefix_streets(text, lower))
    houses = _compound_places(text, lower)
    compound = near(_COMPOUND_STREET, houses, text, _BEFORE_HOUSE, _AFTER)
    yield from (("compound_street", found) for found in compound)
    yield from (("plain_street", found) for found in _PLAIN_STREET.finditer(text))
    yield from (("headed", found) for found in near(_HEADED, occurrences(_HEADS, lower), text, 40, _AFTER))


def find_addresses(text: str, lower: str) -> Iterator[Span]:
    """Yield postal addresses: streets with a house number, boxes, postal codes after words that say so."""
    # Streets first: a flat or a box alone must not take its place from the address that it is a part of.
    if _DIGIT.search(text):
        for source, found in _streets(text, lower):
            start, end = found.span(1 if source == "headed" else 0)
            if source != "street" or _has_name(found.group()):
                yield Span(start, end, "address", source)
    yield from search(_BOXES, text, lower)


def _has_name(street: str) -> bool:
    """Say whether a word of two letters or more stands before the kind of street: "135 S. Ct. 2584" cites a case."""
    kind = _KIND.search(street)
    return bool(_NAMED.search(street, 0, kind.start() if kind else len(street)))


def find_locations(text: str) -> Iterator[Span]:
    """Yield names of countries, of states of the USA, and of places where people live or go."""
    for found in _LOCATION.finditer(text):
        if found.start() == 0 or not _WORD_SIGN.match(text, found.start() - 1):
            yield Span(found.start(), found.end(), "location", "gazetteer")
    for found in _AT_PLACE.finditer(text):
        yield Span(found.start(1), found.end(1), "location", "at_place")
