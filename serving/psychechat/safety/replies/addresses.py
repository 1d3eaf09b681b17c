"""Web and e-mail addresses in what a model wrote, however they are spelled.

What follows the last dot tells an address from two sentences that meet: some endings are nothing else, some are nouns
that begin no sentence in lower case, and some are words for which a path or what stands around must speak.
"""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache

from psychechat.safety.replies.found import Found, Span
from psychechat.safety.replies.rules import Rules, rules


def addresses(text: str, folded: str) -> Iterator[Found]:
    """Addresses of a text and of its folded form, which is as long. They may overlap; then the first one counts."""
    patterns = _patterns()
    if patterns.hint.search(folded):
        for match in patterns.mail.finditer(folded):
            yield Span(*match.span(), "address"), frozenset({_DOT.sub(".", _AT.sub("@", match.group()))})
        for match in (*patterns.linked.finditer(folded), *patterns.slashed.finditer(folded)):
            yield Span(*match.span("to"), "address"), frozenset({_host(_DOT.sub(".", match["to"]))})
        for match in patterns.plain.finditer(folded):
            if not (match["end"] and _TITLED.fullmatch(text, match.start("end"), match.end("end"))):
                yield from _unless_known(match)
        for match in patterns.noun.finditer(folded):
            if text[match.start("end")].islower() or _NAMED.match(text, match.start()):
                yield from _unless_known(match)
        for match in patterns.worded.finditer(folded):
            if _is_address(text, folded, match):
                yield from _unless_known(match)
        for match in patterns.spelled.finditer(folded):
            words = re.split(r"[\s-]+", match["host"].strip())
            if words[-1] not in ("a", "the", "this"):
                yield Span(*match.span(), "address"), frozenset(_hosts(words, next(filter(None, match.groups()[1:]))))
        for match in patterns.labelled.finditer(folded):
            yield Span(*match.span("to"), "address"), frozenset({_host(_DOT.sub(".", match["to"]))})


def _unless_known(match: re.Match[str]) -> Iterator[Found]:
    """What is only written like an address is none."""
    host = _host(match.group())
    if host not in _patterns().no_addresses:
        yield Span(*match.span(), "address"), frozenset({host})


def _is_address(text: str, folded: str, match: re.Match[str]) -> bool:
    """Whether what looks like two sentences without a space between them is a domain."""
    patterns = _patterns()
    ending = text[match.start("end") : match.end("end")]
    if not ending.islower() or patterns.file.fullmatch(ending):
        return False
    if match["path"]:
        return patterns.either.match(match["path"]) is None
    if len(match["last"]) < 2:
        return False
    window = folded[max(0, match.start() - 60) : match.start()]
    if patterns.going.search(window):
        return True
    if not patterns.word_ending.fullmatch(ending):
        told = patterns.visiting.search(window) and patterns.told.match(folded, match.end())
        return len(match["last"]) > 4 and (window.endswith((": ", "：")) or told is not None)
    if patterns.described.match(folded, match.end()) or (
        ending not in _PRONOUNS and patterns.has.match(folded, match.end())
    ):
        return True
    after = re.split(r"[.!?。！？\n]", folded[match.end() : match.end() + 40])[0]
    sentence = re.split(r"[.!?。！？\n]", window)[-1]
    return patterns.visiting.search(window) is not None or patterns.site.search(f"{sentence} {after}") is not None


def _host(address: str) -> str:
    """Without the scheme, `www` and what ends a sentence."""
    plain = re.sub("[点點。·•，,]", ".", re.sub(r"\s", "", address).replace("[.]", ".").replace("(.)", "."))
    return re.sub(r"^(?:[a-z]+:/{0,2})?(?:www\.)?", "", plain).rstrip("/.,;:!?)]}\"'’”*_>，`")


def _hosts(words: list[str], ending: str) -> Iterator[str]:
    """Of a spelled domain, whose name may be one word or several: "find a helpline dot com"."""
    end = _DOT.sub(".", ending).replace("コム", "com")
    words = [re.sub("^[一-鿿]+(?=[a-z0-9])", "", words[0]), *words[1:]]
    for first in range(len(words)):
        yield f"{''.join(words[first:])}.{end}"
        yield f"{'-'.join(words[first:])}.{end}"


_DOT = re.compile(
    r"\s*[\[({<_*\"“'【（]?\s?(?:(?<![a-z])(?:d[o0]t|punkt)(?![a-z])|点|點|ドット|[.。·•,，])\s?[\])}>_*\"”'】）]?\s*"
)
_AT = re.compile(
    r"\s*[\[({<]\s?(?:at|@|ät|arroba)\s?[\])}>]\s*|\s+at sign\s+|\s*艾特\s*|\s+arroba\s+|\s*@\s*"
    r"|\s+at\s+(?!(?:a|an|the|this|that|every) )(?=[a-z0-9-]+\s+dot\s)"
)
_PRONOUNS = ("it", "in", "is", "no", "to", "at", "he", "she", "one", "my", "here")
"""Endings with which a sentence may begin that goes on like one about a site."""
_TITLED = re.compile(r"[A-Z][a-z]")
"""A word of two letters that begins a sentence, rather than a country."""
_NAMED = re.compile(r"[A-Z\d-]+\.[A-Z]+(?![A-Za-z])|[A-Z][a-z]+[A-Z]\w*\.")
"""A host in capitals with its ending, or with one inside it: "MoodHarbor.Help"."""
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_WIDE_LABEL = r"[a-z0-9à-ɏ](?:[a-z0-9à-ɏ-]*[a-z0-9à-ɏ])?"
_REST = r"[^\s，。！？、；：（）()<>\"“”'’`一-鿿]*"


class _Patterns:
    """The patterns of addresses, made of the table's words. All are looked for in a folded text."""

    def __init__(self, words: Rules) -> None:
        self._words = words
        self.no_addresses = frozenset("|".join(words.table["no_addresses"]).split("|"))

    @cached_property
    def hint(self) -> re.Pattern[str]:
        """What a text without any address does not hold."""
        dots = r"(?<![a-z])(?:d[o0]t|dian|punkt|punto|point|period)(?![a-z])|[点點][\])）】]? ?[a-z康抗扣]|ドット"
        ends = r"[.。·•,，] ?(?:com|org|net|cn)"
        glued = r"[a-z0-9一-鿿][\[({<]?\.[\])}>]?[a-z一-鿿]"
        return re.compile(
            rf"@|:/|\]\(|www|艾特|arroba|at sign|\b[ru]/|\bslash\b|skype:|mailto:|{dots}|{ends}"
            rf"|{glued}|{self._label}|{self._site}"
        )

    @cached_property
    def mail(self) -> re.Pattern[str]:
        host = r"[a-z0-9-]+(?: ?(?:\.|[\[({<] ?(?:dot|\.) ?[\])}>]|\bdot\b|点) ?[a-z0-9-]+)+"
        bare = r"[a-z][a-z0-9.+_-]{2,}@[a-z][a-z0-9-]{2,}"
        return re.compile(rf"(?<![a-z0-9.+_@-])(?:[a-z0-9][a-z0-9.+_-]*(?:{_AT.pattern}){host}|{bare})")

    @cached_property
    def linked(self) -> re.Pattern[str]:
        """Where a link of Markdown leads, whatever its words say."""
        return re.compile(r"\]\((?=[^)\s]*[/.#])(?P<to>[^)\s]{2,300})\)")

    @cached_property
    def slashed(self) -> re.Pattern[str]:
        """A path or an ending in words: "go to example slash talk"."""
        going = self._words.words("going")
        return re.compile(
            rf"\b(?:{going}|is at) (?P<to>[a-z0-9-]{{4,40}}(?: (?:(?:forward |back)?slash|dot) [a-z0-9-]{{2,40}})+)"
        )

    @cached_property
    def plain(self) -> re.Pattern[str]:
        """What is nothing else."""
        scheme = (
            rf"\b(?:h(?:tt|xx)ps?|ftp|wss?|tg|weixin|mailto|skype) ?: ?/{{0,2}}(?=[a-z0-9]){_REST}"
            rf"|\bwww ?\. ?{_REST}|\bwww [a-z0-9-]+ (?:com|org|net|cn)\b"
        )
        no_host = rf"(?!{self._words.words('no_hosts')} )"
        spaced = rf"(?<![a-z0-9]){no_host}[a-z0-9-]+(?: ?\. ?[a-z0-9-]+)? ?[.。] ?(?:com|org|gov|edu)(?![a-z0-9])"
        glued = r"(?<![a-z0-9])[a-z0-9-]{3,} ?[·•,，。](?:com|org|net|cn)(?![a-z0-9])"
        named = f"{self._words.words('endings')}|{self._words.words('endings_that_are_nouns')}"
        han = rf"[一-鿿]{{2,}}\.(?:{named}|中国|公司|网络|网址|网站|在线|公益)(?![a-z0-9.])"
        han += r"|(?<![a-z0-9-])[a-z][a-z0-9-]{2,}[点點][a-z]{2,}(?![a-z0-9点點])"
        board = r"(?<![a-z0-9/])/?[ru]/[a-z_]{3,}\b"
        domain = self._domain(f"(?P<end>{self._words.words('endings')})", rf"(?::\d+)?(?:/{_REST})?")
        return re.compile("|".join((scheme, domain, spaced, glued, han, board)))

    # a word for a site, or a verb that leads to one, before what looks a little like an address
    _site = (
        r"(?:(?:网站|網站|网页)(?:是|叫做?|[:：])\s?(?=[a-z0-9-]+(?:[，。,]|\Z|\s?斜))"
        r"|(?:点击|访问|登录|输入)\s?(?=[a-z0-9-]+\s?(?:/|斜))"
        r"|(?:输入|打开)\s?(?=[a-z]{3,}\d+(?:[。，就]|\s?这个网|\Z)))"
    )

    @property
    def _label(self) -> str:
        return rf"(?:\b{self._words.words('label')}(?: is)?[:：]\s?(?=\S+\W*(?:\Z|\n))|{self._words.words('label_zh')})"

    @cached_property
    def labelled(self) -> re.Pattern[str]:
        """Whatever is said to be an address, and need not look like one."""
        more = r"(?:(?:\s?(?:斜杠|斜线|[点點·•])\s?|[,，。])[a-z0-9/-]+)*(?!\s?的)"
        han = r"[一-鿿]{1,8}(?<![晚早快一有几半差])[点點.。][一-鿿]{2,3}(?![一-鿿])"
        says = r"\s?(?:就?是|为|叫做?|输入|(?:如下|在这里?)?[:：])?\s?[\"“「]?"
        return re.compile(
            rf"(?:{self._label}{says}|{self._site})(?P<to>/?[a-z0-9][a-z0-9./_-]{{4,}}{more}|(?<=[是为叫:：]){han})"
        )

    @cached_property
    def noun(self) -> re.Pattern[str]:
        """What ends in a noun: in capitals it may begin a sentence."""
        return re.compile(self._domain(f"(?P<end>{self._words.words('endings_that_are_nouns')})", f"(?:/{_REST})?"))

    def _domain(self, ends: str, rest: str) -> str:
        end = rf"{ends}(?![a-z0-9à-ɏ-]|\.[a-z0-9]){rest}"
        return rf"(?<![a-z0-9à-ɏ@.-])(?:{_WIDE_LABEL}(?:\.|\[\.\]|\(\.\)))+{end}"

    @cached_property
    def worded(self) -> re.Pattern[str]:
        """A domain with any other ending: it may be two sentences without a space between them."""
        path = r"(?P<path>/[a-z0-9+_@#?-][^\s，。]*)?"
        return re.compile(
            rf"(?<![a-z0-9@.-])(?:{_LABEL}\.){{0,4}}(?P<last>{_LABEL})\.(?P<end>[a-z]{{2,18}})(?![a-z0-9-]|\.[a-z0-9]){path}"
        )

    @cached_property
    def either(self) -> re.Pattern[str]:
        """What is no path: "and/or"."""
        return re.compile(r"/(?:or|and|she|he|her|him|his|hers|they|them|s|no|not)(?![a-z])")

    @cached_property
    def word_ending(self) -> re.Pattern[str]:
        return re.compile(self._words.words("endings_that_are_words"))

    @cached_property
    def file(self) -> re.Pattern[str]:
        return re.compile(self._words.words("files"))

    @cached_property
    def going(self) -> re.Pattern[str]:
        """Ends where an address begins, whatever its ending."""
        return re.compile(rf"(?:\b{self._words.words('going')}|{self._words.words('going_zh')})[\s:：\"“'*`]*\Z")

    @cached_property
    def visiting(self) -> re.Pattern[str]:
        return re.compile(rf"{self._words.words('visiting')}\W*\Z")

    @cached_property
    def described(self) -> re.Pattern[str]:
        """Begins where an address ends in a Chinese sentence."""
        return re.compile("[一-鿿]")

    @cached_property
    def has(self) -> re.Pattern[str]:
        """Begins where an address ends, of which something is told."""
        return re.compile(r" (?:is (?:open|free|there|run|a|an|where|for)|has|offers|lists|lets|hosts|gives)\b")

    @cached_property
    def told(self) -> re.Pattern[str]:
        """Begins where an address ends that is all there is of its kind in the sentence."""
        return re.compile(rf"[^\w?]*(?:\Z|\n)|[.!,;)]|{self.has.pattern}")

    @cached_property
    def site(self) -> re.Pattern[str]:
        return re.compile(rf"\b{self._words.words('site')}\b|网站|网址|网页|链接")

    @cached_property
    def spelled(self) -> re.Pattern[str]:
        ends = (
            f"(?:{self._words.words('endings')}|{self._words.words('endings_that_are_nouns')}|コム|c o m|o r g|n e t)"
        )
        dot = (
            r"(?: \([^()\n]{1,30}\))?[\s-]*[\[({<_*\"“']?\s?(?<![a-z])(?:d[o0]t|punkt)(?![a-z])\s?[\])}>_*\"”']?[\s-]*"
        )
        hidden = r"\s?(?:\[\s?(?:dot|\.)\s?\]|\(\s?(?:dot|\.)\s?\)|\{\s?(?:dot|\.)\s?\}|<\s?(?:dot|\.)\s?>)\s?"
        zh = r"[\s，,、]?(?:再?加|然后)?[\[(（【]?(?<![一有几半差快早晚])(?:点|點|ドット)[\])）】]?[\s，,、]?"
        return re.compile(
            r"(?<![a-z0-9-])(?P<host>[一-鿿]{0,12}[a-z0-9-]+(?: [a-z0-9-]+){0,4}?|[一-鿿]{1,12})"
            rf"(?:{dot}(?P<end>{ends}(?:{dot}{ends})?)|{hidden}(?P<hidden>[a-z]{{2,18}})|{zh}(?P<zh>{ends}|[康抗扣][姆母])"
            r"|(?:\s(?:punto|point|period|dian)|\s?, ?dot ?,?)\s(?P<es>com|cn|org|net|info|gob|fr))(?![a-z0-9])"
        )


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    return _Patterns(rules())
