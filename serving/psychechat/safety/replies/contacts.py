"""Contacts in what a model wrote: telephone numbers, web and e-mail addresses, account names that nobody gave it.

A made-up number rings at a stranger's, or nowhere, and a seeker may not try a second one. So a contact may leave only
if it is in the policy's resources, in the operator's notes or in what the seeker said.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from psychechat.safety.replies.telephone import Number, Rules, fold, form, forms, numbers, rules, telephone_numbers

Kind = Literal["number", "address", "account"]


class Span(NamedTuple):
    """A contact, where it is in the text, and what it is."""

    start: int
    end: int
    kind: Kind


def allowed_contacts(texts: Iterable[str]) -> frozenset[str]:
    """Contacts of texts that no model wrote, in the form in which they are compared. Made once a turn."""
    found: set[str] = set()
    for text in texts:
        for part in _PARTS.findall(text):
            found.update(_given(part))
    return frozenset(found)


def made_up_contacts(text: str, allowed: Collection[str], start: int = 0) -> tuple[Span, ...]:
    """Contacts that are not among the allowed ones; a sentence that holds one stays here.

    `start`: where the newest sentence begins. What is before it has left, and is there to be understood by.
    """
    found = sorted(_made_up(text, fold(text), allowed))
    return tuple(span for span in found if span.end > start)


def warm() -> None:
    """The table read and its patterns compiled, so that no reply waits for it."""
    made_up_contacts(
        "Call one two three or 5555 people, write to a@b.example, or find A_1 on Telegram at 112 or 3.", ()
    )


_PARTS = re.compile(r"[^\n]{1,500}(?![^\s一-鿿])|[^\n]{1,500}")
"""Of a text that may be long: what is on one line belongs together, and no word is cut."""


_MOST_GROUPS = 12
"""Of digits, that are tried as several numbers in a row."""


def _made_up(text: str, folded: str, allowed: Collection[str]) -> Iterator[Span]:
    rest = folded
    for span, names in _named(text, folded):
        if "\x00" not in rest[span.start : span.end]:
            rest = rest[: span.start] + "\x00" * (span.end - span.start) + rest[span.end :]
            if not any(name in allowed for name in names):
                yield span
    for number in telephone_numbers(rest):
        if not _is_allowed(number, number.groups, allowed):
            yield Span(number.start, number.end, "number")


def _is_allowed(number: Number, groups: tuple[str, ...], allowed: Collection[str]) -> bool:
    """Whether it is an allowed number, or several in a row, or one with a small number behind it: "988 24 hours"."""
    if len(groups) == len(number.groups):
        if form(number) in allowed:
            return True
    elif "".join(groups) in allowed or (len(groups) == 1 and len(groups[0]) < 3):
        return True
    cuts = range(1, min(len(groups), _MOST_GROUPS))
    return any("".join(groups[:cut]) in allowed and _is_allowed(number, groups[cut:], allowed) for cut in cuts)


def _given(text: str) -> Iterator[str]:
    folded = fold(text)
    for _, names in _named(text, folded):
        yield from names
    for number in numbers(folded):
        yield from forms(number)
        yield from _parts(number)
    yield from (match.group().lower() for match in _IDENTIFIER.finditer(text))


def _parts(number: Number) -> Iterator[str]:
    """A number that stands in a row with others may be theirs in part: it must be a long one."""
    groups = number.groups[:_MOST_GROUPS]
    for first in range(len(groups)):
        for last in range(first + 1, len(groups) + 1):
            part = "".join(groups[first:last])
            if len(part) > 6:
                yield part


# ------------------------------------------------------------------------------------ addresses and accounts


_Found = tuple[Span, frozenset[str]]
"""A contact, and the names of which one must be allowed."""


def _named(text: str, folded: str) -> Iterator[_Found]:
    """Addresses and accounts. They may overlap; then the first one counts."""
    if _VANITY_HINT.search(text):
        for match in _VANITY.finditer(text):
            yield Span(*match.span(), "number"), frozenset({re.sub(r"\W", "", match.group()).lower()})
    if _patterns().address_hint.search(folded):
        yield from _addresses(text, folded)
    if _patterns().account_hint.search(folded):
        yield from _accounts(text)


def _addresses(text: str, folded: str) -> Iterator[_Found]:
    patterns = _patterns()
    for match in patterns.mail.finditer(folded):
        yield Span(*match.span(), "address"), frozenset({_DOT.sub(".", _AT.sub("@", match.group()))})
    for match in patterns.address.finditer(folded):
        yield Span(*match.span(), "address"), frozenset({_host(match.group())})
    for match in patterns.worded.finditer(folded):
        ending = text[match.start("end") : match.end("end")]
        if ending.islower() and (match["path"] or patterns.visiting.search(folded, 0, match.start())):
            yield Span(*match.span(), "address"), frozenset({_host(match.group())})
    for match in patterns.spelled.finditer(folded):
        words = re.split(r"[\s-]+", match["host"].strip())
        if words[-1] not in ("a", "the", "this"):
            yield Span(*match.span(), "address"), frozenset(_hosts(words, match["end"] or match["zh"] or match["es"]))


def _host(address: str) -> str:
    """Without the scheme, `www` and what ends a sentence."""
    plain = re.sub(r"\s", "", address).replace("[.]", ".").replace("(.)", ".").replace("。", ".")
    return re.sub(r"^(?:[a-z]+:/{0,2})?(?:www\.)?", "", plain).rstrip("/.,;:!?)]}\"'’”*_>，")


def _hosts(words: list[str], ending: str) -> Iterator[str]:
    """Of a spelled domain, whose name may be one word or several: "find a helpline dot com"."""
    end = _DOT.sub(".", ending).replace("コム", "com")
    words = [re.sub("^[一-鿿]+(?=[a-z0-9])", "", words[0]), *words[1:]]
    for first in range(len(words)):
        yield f"{''.join(words[first:])}.{end}"
        yield f"{'-'.join(words[first:])}.{end}"


def _accounts(text: str) -> Iterator[_Found]:
    for pattern in _patterns().accounts:
        for match in pattern.finditer(text):
            name = next(filter(None, match.groups())).strip(" .,-@").lower()
            if name not in _patterns().brands:
                yield Span(*match.span(), "account"), frozenset({name})


_DOT = re.compile(r"\s*[\[({<]?\s?(?:\bdot\b|\bpunkt\b|点|點|ドット|\.)\s?[\])}>]?\s*")
_AT = re.compile(r"\s*[\[({<]\s?(?:at|@|ät|arroba)\s?[\])}>]\s*|\s+at sign\s+|\s*艾特\s*|\s+arroba\s+|\s*@\s*")
_VANITY = re.compile(
    r"(?<![\w-])(?:13|1300|1800|0800|0808|1-?[89]\d\d|8\d\d)[ -](?:\d{1,3}[ -]?)?"
    r"(?:[A-Z]{4,}|[A-Z]{2,3}-[A-Z]{3,})[A-Z0-9]*\b"
)
"""A number that is spelled with letters."""
_VANITY_HINT = re.compile(r"\d[ -]\d{0,3}[ -]?[A-Z]{2}")
_IDENTIFIER = re.compile(
    r"(?<![\w.@-])@?(?=[\w.-]{5})(?=[\w.-]*[A-Za-z])"
    r"(?:[A-Za-z0-9.-]*(?:_|[A-Za-z]{2}[.-]?\d|\d[A-Za-z]{2}|[a-z]\.[a-z]+\.[a-z])[\w.-]*)(?![\w@])",
    re.ASCII,
)
"""What looks like an account's name: letters with digits or a low line."""


class _Patterns:
    """The patterns of addresses and accounts, made of the table's words."""

    def __init__(self, words: Rules) -> None:
        self._words = words
        self.brands = frozenset("|".join(words.table["brands"]).split("|"))

    @cached_property
    def address_hint(self) -> re.Pattern[str]:
        """What a text without any address does not hold."""
        dots = r"\b(?:dot|punkt|punto|point)\b|[点點] ?[a-z]|ドット|[.。] ?(?:com|org)"
        glued = r"[a-z0-9一-鿿][\[(]?\.[\])]?[a-z一-鿿]"
        return re.compile(rf"@|:/|www|艾特|arroba|at sign|\b[ru]/|skype:|mailto:|{dots}|{glued}")

    @cached_property
    def account_hint(self) -> re.Pattern[str]:
        return re.compile(rf"@|#\d\d\d\d|{self._place}|user ?name|handle|screen name|服务号|订阅号|视频号")

    @cached_property
    def _place(self) -> str:
        """Where an account leads. LINE is a word too."""
        return rf"(?:{self._words.words('platforms')}|{self._words.words('platforms_zh')}|line(?= ?(?:id|で|公式|上)))"

    @cached_property
    def mail(self) -> re.Pattern[str]:
        host = r"[a-z0-9-]+(?: ?(?:\.|[\[({<] ?(?:dot|\.) ?[\])}>]|\bdot\b|点) ?[a-z0-9-]+)+"
        return re.compile(rf"(?<![a-z0-9.+_-])[a-z0-9][a-z0-9.+_-]*(?:{_AT.pattern}){host}")

    @cached_property
    def address(self) -> re.Pattern[str]:
        rest = r"[^\s，。！？、；：（）()<>\"“”'’一-鿿]*"
        scheme = (
            rf"\b(?:h(?:tt|xx)ps?|ftp|wss?|tg|weixin|mailto|skype) ?: ?/{{0,2}}(?=[a-z0-9]){rest}|\bwww ?\. ?{rest}"
        )
        label = r"[a-z0-9à-ɏ](?:[a-z0-9à-ɏ-]*[a-z0-9à-ɏ])?"
        end = rf"{self._words.words('endings')}(?![a-z0-9à-ɏ-]|\.[a-z0-9])(?::\d+)?(?:/{rest})?"
        domain = rf"(?<![a-z0-9à-ɏ@.-])(?:{label}(?:\.|\[\.\]|\(\.\)))+{end}"
        spaced = r"(?<![a-z0-9])[a-z0-9-]+(?: ?\. ?[a-z0-9-]+)? ?[.。] ?(?:com|org|gov|edu)(?![a-z0-9])"
        han = r"[一-鿿]{2,}\.(?:com|cn|net|org|中国|公司|网络|在线)(?![a-z])"
        return re.compile("|".join((scheme, domain, spaced, han, r"(?<![a-z0-9/])[ru]/[a-z_]{3,}\b")))

    @cached_property
    def worded(self) -> re.Pattern[str]:
        """A domain whose end is a word: it may be two sentences without a space between them."""
        ends = self._words.words("endings_that_are_words")
        label = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
        return re.compile(
            rf"(?<![a-z0-9@.-])(?:{label}\.)+(?P<end>{ends})(?![a-z0-9-]|\.[a-z0-9])(?P<path>/[a-z0-9+_@-][^\s，。]*)?"
        )

    @cached_property
    def visiting(self) -> re.Pattern[str]:
        return re.compile(rf"{self._words.words('visiting')}\W*\Z")

    @cached_property
    def spelled(self) -> re.Pattern[str]:
        ends = self._words.words("spoken_endings")
        dot = r"[\s-]*[\[({<]?\s?\b(?:dot|punkt)\b\s?[\])}>]?[\s-]*"
        zh = r"\s?[\[(（]?(?:点|點|ドット)[\])）]?\s?"
        return re.compile(
            r"(?<![a-z0-9-])(?P<host>[一-鿿]{0,12}[a-z0-9-]+(?: [a-z0-9-]+){0,4}?|[一-鿿]{1,12})"
            rf"(?:{dot}(?P<end>{ends}(?:{dot}{ends})?)|{zh}(?P<zh>com|org|net|cn|info|edu|gov|jp|hk|tw|コム)"
            r"|\s(?:punto|point)\s(?P<es>com|org|net|info|gob|fr))(?![a-z0-9])"
        )

    @cached_property
    def accounts(self) -> tuple[re.Pattern[str], ...]:
        place = f"(?i:(?<![a-z]){self._place}(?![a-z]))"
        shaped = f"(?:{_IDENTIFIER.pattern})"
        quoted = r"[\"“「『《【']([^\"”」』》】'\n]{2,24})[\"”」』》】']"
        label = r"(?i: ?(?:id|handle|user ?name|nick(?:name)?|account name|账号|帐号|帳號|号码?|號|群号?))"
        room = "group|channel|server|page|community|chat|bot"
        helping = f"(?i:{room}|line|support|help|hope|care|counsel|crisis|centre|center)"
        named = rf"({_CAMEL}|(?:[A-Z][\w'&]+ ){{0,3}}[A-Z]?\w*{helping}\w*)"
        found = r"add|find|follow|search(?: for)?|join|look up|subscribe to"
        called = (
            rf"\b(?:(?i:{found})(?: us| me| our| the| my)* {quoted}|(?i:{found}|message|contact|dm|text|reach) {named})"
        )
        han = f"(?i:(?<![a-z])(?:{self._words.words('platforms_zh')}))"
        feed = "(?:公众号|公眾號|小程序|服务号|订阅号|视频号|微信群|[Qq]{2}群|微博|抖音|小红书|知乎专栏|豆瓣小组)"
        lines = (
            r"(?<![a-zA-Z0-9_.@/])@(?=\w*[^\W\d])(\w[\w.]*\w)",
            rf"\b(?i:username|user name|handle|screen name)s? (?:is |: ?)?[\"“'@]?({shaped})",
            rf"{place}{label}\s?(?:[:：=]|是|为|叫)\s?[\"“'@]?([A-Za-z0-9_][A-Za-z0-9_.-]{{3,}})",
            rf"{place}{label} (?:is )?[\"“'@]?([A-Za-z0-9_][A-Za-z0-9_.-]{{3,}})[\"”']?(?=\s*(?:[.!?,;]|$))",
            rf"{place}[^.!?。！？\n]{{0,40}}?({shaped})",
            rf"({shaped})[^.!?。！？\n]{{0,30}}?{place}",
            rf"{called} (?:(?i:{room}) )?(?:on|in|via|through|over) {place}",
            rf"{place} (?i:{room})s?[,:]? (?:(?:called|named|under) )?(?:{quoted}|([A-Z]\w+(?: [A-Z]\w+)*))",
            rf"{han}(?:账号|帐号|号|群)?\s?(?:是|为|叫|[:：=])*\s?([A-Za-z][A-Za-z0-9_-]{{4,}})",
            rf"加\s?([A-Za-z][A-Za-z0-9_-]{{4,}})\s?的?{place}",
            r"(?<![\w#])([A-Za-z][\w.]+#\d{4})(?!\d)",
            rf"{han}[^。！？\n]{{0,4}}(?:搜索|搜|关注|找)(?:一下)?\s?{quoted}|(?i:{place})(?:で|の|上の){quoted}",
            rf"{feed}号?\s?(?:是|叫|名叫|名为|[:：])*\s?{quoted}|{quoted}(?:这个|的)?{feed}",
            rf"{feed}(?:是|叫|名叫|名为|[:：])\s?([\w一-鿿]{{2,12}})",
            rf"(?:关注|搜索|搜|添加|订阅)(?:一下|微信|我们的|官方)*{feed}\s?(?![上里的中推文发看])([\w一-鿿]{{2,12}})",
        )
        return tuple(map(re.compile, lines))


_CAMEL = r"[A-Z][a-z]+[A-Z][A-Za-z]+"


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    return _Patterns(rules())
