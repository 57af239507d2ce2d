"""Words that stay apart, or keep a hyphen, though a text may also write them as one."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "short- and long-term", "Haus- und Gartenarbeit": a hyphen before these stands for a word that follows.
JOINING = _words("and or to und oder bis bzw sowie ou y och og eller")

# The second halves of verbs and nouns that are two words and one: "take over" and "takeover", "web site" and "website".
_ENDS = _words(
    "up over off out in on down away back through around about along by together forth aside ahead under after "
    "account ball band bank bar base bases bed bell bill bird block blood board boards boat body bone book books "
    "border box boy break bridge broker brother builder building bureau card cards care case cast cause chair "
    "check child cloth coach coat code coin copy corn count cover craft cross cup cut date day days deal dealer "
    "deck desk dog door draft drop dust ear earth edge edges end estate eye face fall farm father fee feed field "
    "fields fight file fire fish flow fold folk food foot force forces form frame frames fund game gate gear girl "
    "glass grade ground grounds guard guards guide hair half hall hand hands head heads heart hill hold holder "
    "holders hole home homes hook horse host hour house houses keeper keeping key king lady lamp land lands law "
    "laws lead leaf lease leg level life lift light lights line lines link list lists load loads loan lock log "
    "look lord lords loss mail maker makers making man mark market markets marks mate mates meal men mill mind "
    "mine money month moon mother mouth name names neck net news night note notes number office officer owned "
    "owner owners pack page pages paper papers part parties parts party pass path pay payer payers phone piece "
    "pin pipe pit place places plane plant plate play player point points pool port post pot power print proof "
    "pull push rail read reader reading right rights river road rock roll rolls roof room rooms rope round row "
    "run runner running safe sale sales school screen sea seat seed self sense set sets shape share shares sheet "
    "sheets shift ship shoe shop shops shot show side sides sight sign silver site sites size skin smith snow "
    "song sound space speak spot spring staff stage stand standing star start state station step stick stock "
    "stone stop store stores storm story stream street string style suit suits table tables tail take taker "
    "taking tax taxes team term test text thing things thought tie time times title tone tool tools top town "
    "track trade train trap tree trip tube turn type use user users value view wage wages walk wall war ward ware "
    "wash watch water wave way ways wear week weeks weight wheel wide wife wind window wing wire woman women wood "
    "word words work worker workers works world worth writer writers writing yard year years zone "
)
_SHORT = _words("as at by do go he in it no of on or so to up us we")
_VOWELS = frozenset("aeiouy")
_MIN_LETTERS = 3


def may_be_apart(left: str, right: str) -> bool:
    """Return whether two words, the second in lower case, may be right apart: a verb and its particle, or two nouns."""
    if right not in _ENDS:
        return False
    left = left.lower()
    return left in _SHORT or (len(left) >= _MIN_LETTERS and not _VOWELS.isdisjoint(left))
