"""Names of accounts, groups, pages and apps in what a model wrote, with or without a sign that they are some.

A name is told by its shape, by quotation marks, by its capitals or by what is said of it ("under the name"), beside a
platform, a shop for apps or a word for a group of people there. Platforms alone are talked of all the time.
"""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache

from psychechat.safety.replies.found import Found, Span
from psychechat.safety.replies.rules import Rules, rules


def accounts(text: str) -> Iterator[Found]:
    """Accounts of a text. They may overlap; then the first one counts."""
    text = text.translate(_NARROW)
    patterns = _patterns()
    if not patterns.hint.search(text):
        return
    for pattern in (*patterns.western, *(patterns.chinese if _HAN.search(text) else ())):
        for match in pattern.finditer(text):
            group = next(index for index, part in enumerate(match.groups(), 1) if part)
            name = _plain(match[group])
            if name not in patterns.brands:
                start = match.start(group)
                yield Span(start - text.startswith("@", start - 1), match.end(group), "account"), frozenset({name})


def names(text: str) -> Iterator[str]:
    """What may be an account's name in a text that no model wrote: whatever is shaped or quoted like one."""
    for match in _GIVEN.finditer(text.translate(_NARROW)):
        yield _plain(match.group())


def _plain(name: str) -> str:
    return name.strip(" .,-@#\"“”'‘’「」『』《》【】").lower()


_HAN = re.compile("[぀-ヿ一-鿿]")
_NARROW = {
    code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code - 0xFEE0).isalnum() or chr(code) in "＠＿＃"
}
"""Wide letters as narrow ones; the points and brackets of Chinese stay."""

_WORD = "[A-Za-z0-9_.-]"
_SHAPED = (
    rf"(?<![A-Za-z0-9_.@-])@?(?={_WORD}{{5}})(?={_WORD}*[A-Za-z])"
    rf"(?:[A-Za-z0-9.-]*(?:_|[A-Za-z]{{2}}[.-]?\d|\d[A-Za-z]{{2}}|[a-z]\.[a-z]+\.[a-z]){_WORD}*)(?![A-Za-z0-9_@])"
)
"""What looks like an account's name: letters with digits or a low line."""
_OPEN, _CLOSE = '"“「『《【', '"”」』》】'
_INSIDE = rf"[^{_OPEN}{_CLOSE}\n]"
_NAME = r"\b[A-Z][\w'&]+(?: [A-Z][\w'&]+){0,5}"
_GIVEN = re.compile(rf"{_SHAPED}|[{_OPEN}]{_INSIDE}{{2,40}}[{_CLOSE}]|#\w{{3,}}|{_NAME}")


class _Patterns:
    """The patterns of accounts, made of the table's words. The first group that matched is the name."""

    def __init__(self, words: Rules) -> None:
        self._words = words
        self.brands = frozenset("|".join(words.table["brands"]).split("|"))

    @cached_property
    def hint(self) -> re.Pattern[str]:
        """What a text without any account does not hold."""
        latin = (
            rf"{self._words.words('rooms')}|site|google|apps?|application|{self._words.words('shops')}|podcast|qr|code"
        )
        han = rf"{self._words.words('rooms_zh')}|{self._words.words('shops_zh')}|{self._words.words('apps_zh')}"
        return re.compile(
            rf"[@#][^\W\d]|#\d{{4}}|{_alone(self._place)}|{han}|[加➕+].{{0,8}}?[A-Za-z]"
            r"|[vV薇微]\s?[❤♥心:：]|码|口令|暗号|百度|搜狗|谷歌|必应|网|#.+#|昵称|暱稱|标签|標籤|用户名|[A-Za-z0-9]_[A-Za-z0-9]"
            rf"|(?i:\b(?:{latin}|user ?name|handle|screen name|tag|hashtag|search bar)s?\b)"
            r"|(?i:\b(?:dm|message to|(?:the|our|my) name|creator)\b)"
            rf"|(?i:{self._words.words('helping')}\w*[{_CLOSE}])|{self._words.words('helping_zh')}\w{{0,2}}[{_CLOSE}]"
        )

    @cached_property
    def _place(self) -> str:
        """Where an account leads."""
        return f"(?:{self._words.words('platforms')}|{self._words.words('platforms_zh')})"

    @cached_property
    def western(self) -> tuple[re.Pattern[str], ...]:
        return tuple(map(re.compile, _western(self._words, _alone(self._place))))

    @cached_property
    def chinese(self) -> tuple[re.Pattern[str], ...]:
        return tuple(map(re.compile, _chinese(self._words, _alone(self._place))))


def _alone(words: str) -> str:
    """Words that are no part of a longer one in Latin letters; Chinese ones may stand anywhere."""
    return f"(?i:(?<![a-z]){words}(?:(?<![a-z])|(?![a-z])))"


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    return _Patterns(rules())


# ------------------------------------------------------------------------------------------------------- western


_SAYS = r"\b(?i:says?|tells?|writes?|asks?|types?|that|where|who|which|with|because|when|and say)\b"


def _western(words: Rules, place: str) -> Iterator[str]:
    """Lines for English, and for names in Latin letters wherever they stand."""
    room, shop, joining = (f"(?i:{words.words(name)})" for name in ("rooms", "shops", "joining"))
    no_name = f"(?!(?i:{words.words('no_names')})(?![\\w.])|(?i:{words.words('brands')})\\b)"
    state = r"(?![A-Za-z]+(?:ful|ing|ed|ous|less|able|ible|ive|ly|ness|thing|body|where)(?![\w.]))"
    single = r"(?<!\w)['‘]([A-Z][^'’\n.!?]{1,40}(?<!,))['’](?!\w)"
    quoted = rf"[{_OPEN}]({_INSIDE}{{2,40}}(?<![.!?,;。！？，]))[{_CLOSE}]|{single}"
    capital = rf"(?:[{_OPEN}](?=[A-Z0-9])({_INSIDE}{{2,40}}(?<![.!?,;]))[{_CLOSE}]|{single})"
    camel = rf"(?=[A-Z]){no_name}(?!Ma?c|De|Le|La|Di|Fitz|Van)[A-Z][a-z]+[A-Z][A-Za-z]+"
    title = (
        rf"(?=[A-Z]){no_name}[A-Z][\w'&]+(?: (?:of|the|and|in|for|with|on|to|who|[A-Z][\w'&]+)){{0,6}}(?<! on)(?<! in)"
    )
    titles = (
        rf"(?=[A-Z]){no_name}[A-Z][\w'&]+(?: (?:of|the|and|for|with|who)){{0,2}} [A-Z][\w'&]+(?: [A-Z][\w'&]+){{0,4}}"
    )
    handle = rf"{no_name}{state}@?[A-Za-z0-9_][A-Za-z0-9_.-]{{2,29}}[A-Za-z0-9_]"
    name = rf"(?:{quoted}|({title}|{handle}))"
    shelf = rf"(?i: (?:in|on|from)(?: (?:the|your))?(?: (?:apple|google))?) ?{shop}"
    glued = rf"(?=[\w.]{{12}})(?!\w*(?:tion|ment|ence|ance|ship|it(?:y|ie))s?\b){handle}"
    someone = rf"(?!(?i:{words.words('people')})\b)(?![A-Z])({handle})"
    told = rf"(?:{quoted}|({title}|{_SHAPED}|(?=[\w.]{{8}}){handle}))"
    ends = r"(?=[\"”'*)]*\s*(?:$|[.!?,;:()\n]|[一-鿿]| (?i:and|on|if|so|or|there|is the)\b))"
    called = r"(?i: (?:is|are|was)?(?: ?(?:called|named))?|'s|,|:)"
    gap = rf"(?:(?!{_SAYS})[^.!?\n{_OPEN}]){{0,30}}?"
    near = rf"[^.!?\n{_OPEN}]{{0,30}}?"
    spot = rf"(?:{place}|{shop}|\b(?:{room}s?|(?i:apps?|qr code|search bar))\b)"
    label = r"(?i: ?(?:id|handle|user ?name|nick(?:name)?|account name|账号|帐号|帳號|号码?|號|群号?))"
    whose = r"\b(?i:my|our)"

    # by its shape, anywhere or near a platform
    yield r"(?<![a-zA-Z0-9_.@/])@(?!所有人|全体|全體|[你我他她]|大家)(?=\w*[^\W\d])(\w[\w.]*\w)"
    yield r"(?<![\w#])([A-Za-z][\w.]+#\d{4})(?!\d)"
    yield r"(?<![\w./@\\|<{-])(?=\w{6})([A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+)(?![\w@|>}]|\.[a-z]|\"\s?:)"
    yield rf"{place}[^.!?。！？\n]{{0,40}}?({_SHAPED})"
    yield rf"({_SHAPED})[^.!?。！？\n]{{0,30}}?{place}"
    # said to be one
    yield rf"\b(?i:user ?name|handle|screen name)s? (?i:is |: ?)?[\"“'@]?({_SHAPED})"
    yield rf"\b(?i:user ?name|handle|screen name)(?i: is ?|: ?| ?= ?)(?i:called )?{name}{ends}"
    yield rf"{place}{label}\s?(?:[:：=]|是|为|叫)\s?[\"“'@]?([A-Za-z0-9_][A-Za-z0-9_.-]{{3,}})"
    yield rf"{place}{label} (?:is )?[\"“'@]?([A-Za-z0-9_][A-Za-z0-9_.-]{{3,}})[\"”']?(?=\s*(?:[.!?,;]|$))"
    yield rf"{whose} {place}(?: (?:{room}|(?i:name|id|handle)))?{called} {name}{ends}"
    yield rf"\b(?i:the|their|its|his|her|this|an?) {place}(?: (?:{room}|(?i:name|id|handle)))?{called} {told}{ends}"
    yield rf"\b(?i:the|their|its|his|her|our|my) {room}(?i: is (?:called|named)| goes by|,) {told} (?i:on|in) {place}"
    yield rf"\b(?i:add|use|take|here is|here's|this is|save) (?i:my|our|their|his|her) {place}[,:]? {name}{ends}"
    # after the platform, as behind a label
    begins = r"(?:^|[.!?;\n•*-] ?|\b(?i:my|our|their|the|official|via|by|also|and|or) )\*{0,2}"
    yield rf"{begins}{place}(?: {room})?\*{{0,2}} ?(?:[:：=>|]|→|->)\*{{0,2}} ?\*{{0,2}}{name}{ends}"
    yield rf"{place} \(@?({handle})\)"
    yield rf"\b{joining}\b[^.!?\n]{{0,20}} (?i:on) {place}: ?{name}{ends}"
    # under a name there
    yield rf"\b(?i:under|by) (?i:the|our|my) (?i:name)(?i: of)? {name}"
    yield rf"({title}) (?i:is|are)(?i: also)? on {place}(?i:,| and| where| so) (?i:you|they|we)\b"
    yield rf"\b(?i:on) {place},? (?i:under|by)(?i: (?:the|my|our|their))?(?i: name)?(?i: of)?[:,]? {name}"
    yield rf"\b{joining}\b(?i: (?:me|us|them|him|her|it)) (?i:on|over|via|in) {place} (?i:as|under) {name}{ends}"
    yield (
        rf"\b[Oo]n {place},? (?i:i am|i'm|we are|we're|i go by|{words.words('joining')})"
        rf"(?i: (?:the|our|my|a))?(?: (?:{room}|(?i:user)))?(?i: called| named)? {told}{ends}"
    )
    # to be looked for or joined
    helping = f"(?i:{words.words('helping')})"
    named = rf"({camel}|(?:[A-Z][\w'&]+ ){{0,3}}[A-Z]?\w*{helping}\w*)"
    reaching = rf"(?:{joining}|(?i:text|contact|reach|message))"
    yield (
        rf"\b(?:{reaching}(?i: us| me| our| the| my)* (?:{quoted})|{reaching} {named})"
        rf" (?:(?:{room}) )?(?i:on|in|via|through|over) {place}"
    )
    yield rf"{place} {room}s?[,:]? (?:(?i:called|named|under) )?(?:{quoted}|([A-Z]\w+(?: [A-Z]\w+)*))"
    yield rf"\b{joining}\b{gap}{spot}{gap}(?:{capital}|({titles}))"
    yield rf"\b(?:{joining}|(?i:contact|message|reach))\b{gap}{capital}[^.!?\n]{{0,30}}?{spot}"
    yield rf"\b{joining}\b(?i: (?:the|a|our|my))? ({titles}){near}{spot}"
    yield rf"\b{spot}{gap}({camel})"
    yield rf"({camel}){near}{spot}"
    yield rf"\b(?i:message|dm|dm to|message to|write to|contact)(?i: me at)? {someone} (?i:on|via|in) {place}"
    yield rf"\b(?i:dm|message|write|text|note)(?i: to)? ({_SHAPED})"
    yield rf"\b(?:DM|dm) {someone}(?=[.,;!?]|$| (?:and|she|he|they)\b)"
    yield rf"\b(?i:i am|i'm|we are|we're) (?=\w{{8}}){no_name}{state}({handle}) (?i:on) {place}"
    site = r"(?i:web ?site|site|forum|page|channel|server|podcast)"
    yield rf"\b(?i:our|their|my) {site}(?i: is|:)(?i: called| named)? ({titles})"
    yield rf"\b{site}(?i:,| is)?(?i: called| named) (?:({title})|(?=\w{{8}})({handle}))"
    yield rf"\b(?i:the (?:web ?site|forum|podcast)) ({titles})|({titles}) (?i:web ?site)"
    yield rf"\b(?i:google)(?i: for)? {capital}"
    adding = r"(?i:,? (?:and|then) (?:add|follow|message|write))\b"
    yield rf"\b(?i:search for|look for|look up|find) ({handle}) (?i:on|in) {place}{adding}"
    yield rf"\b(?i:i am|i'm|we are|we're)(?i: also)? (?i:on|over|in) {place} (?i:as|under) {name}{ends}"
    yield rf"{place} (?i:me|us)(?i: as| under| at|:) {name}{ends}"
    yield rf"\b(?i:request to) ({title}|{handle}) (?i:on) {place}"
    yield rf"\b(?i:creator|user|influencer|streamer|youtuber|blogger),? (?:called )?({titles}|[a-z]+[._][a-z]+)(?!\w)"
    yield rf"{place} {room} (?i:called|named) ([^\W\d_][^.!?,;\n{_OPEN}{_CLOSE}]{{2,40}})"
    yield rf"({title})[^.!?\n]{{0,25}}? (?i:find)(?i: it| them)?{shelf}"
    yield rf"\b{joining} (?i:the|this|our|an?)(?: \w+)? (?i:app) ({title})"
    yield rf"{shop},? (?i:it is|it's|under|as)(?i: called| named| the name)? {name}"
    field = rf"(?i:into|in)(?i: (?:the|your))? (?:(?i:search|address|app|browser)|{place})"
    yield rf"\b(?i:type|enter|put) [\"“]?({handle})[\"”]? {field}"
    yield rf"({titles}) (?i:has|have|runs|run|offers|keeps) (?i:an?|the|their|its) {place} {room}"
    yield rf"{place}[^.!?\n]{{0,20}} {room} ({titles})"
    yield rf"({titles}) {place}"
    yield rf"\b(?:{joining}|(?i:look at|see|visit|watch))\b{gap}({titles})'s {place}"
    yield rf"({titles})'s {place}(?i: {room})? (?i:has|offers|lists|posts|shares|is (?:full|open))"
    yield rf"\b(?i:connect|chat|talk|send [^.!?\n]{{1,20}}) (?i:with|to) ({titles}) (?i:on) {place}"
    yield rf"\b(?i:called|named) ({titles}),? (?i:on|in) {place}"
    yield rf"\b(?i:group|channel|server|community|podcast|forum|chat ?room|club)(?i:,| called| named)? {capital}"
    yield rf"\b{joining}\b{gap}[{_OPEN}]({_INSIDE}{{0,30}}{helping}{_INSIDE}{{0,12}}(?<![.!?,;]))[{_CLOSE}]"
    yield r"\b(?i:invite|invitation|group|room|access|join)(?i: code)(?i: is)?:? ([A-Z0-9][A-Z0-9-]{3,}|[a-z]+-?\d+)"
    yield rf"{place}(?:,|'s|上的?|:)? ?([a-z]{{3,}}\.[a-z]+)(?![\w.])"
    yield rf"(?<![\w.])([a-z]{{3,}}\.[a-z]{{2,}}) (?i:on) {place}"
    yield rf"\b(?i:add) (?=\w{{8}}){someone} (?i:on|in) {place}"
    yield rf"\b{joining}\b{gap}(?:{quoted}|({title}))(?: app)?{shelf}"
    yield rf"\b(?:{joining}|(?i:message))\b(?i: (?:the|our|my|this|a))?(?: \w+)? {room}(?i: called| named)? ({titles})"
    yield rf"\b(?i:search) {place} (?i:for)(?i: the)?(?: {room})?(?i: called)? (?:{quoted}|({titles}|{camel}|{glued}))"
    yield rf"\b(?i:subreddit)(?i: is)?(?i: called| named|,|:)? (?:{quoted}|([A-Z]\w{{3,}}))"
    yield rf"\b(?i:apps?|application)(?i:,| like|(?: is| was)?(?: called| named))? (?:{capital}|({camel}))"
    yield rf"\b(?i:app|application)(?i: is)?(?i: called| named) ({title})"
    yield rf"({titles}|{camel}) (?i:app)\b"
    yield rf"\b(?:{joining}|(?i:post|tag|tweet|use|channel|under))\b[^.!?\n]{{0,30}}?(#[^\W\d][\w-]{{4,}})"


# ------------------------------------------------------------------------------------------------------- Chinese


def _chinese(words: Rules, place: str) -> Iterator[str]:
    """Lines for Chinese, where no space and no capital sets a name apart."""
    han = _alone(words.words("platforms_zh"))
    room, shop, joining = (words.words(name) for name in ("rooms_zh", "shops_zh", "joining_zh"))
    quoted = rf"[{_OPEN}]({_INSIDE}{{2,24}}(?<![.!?,。！？，…]))[{_CLOSE}]"
    bare = rf"(?!{words.words('no_names_zh')})([\w一-鿿]{{2,12}})"
    bare_end = rf"(?!{words.words('no_names_zh')})([\w一-鿿]{{2,12}}(?<!的))(?=\W|$)"
    no_name = f"(?!(?i:{words.words('no_names')})(?!\\w))"
    latin = rf"@?{no_name}([A-Za-z][A-Za-z0-9_.-]{{2,28}}[A-Za-z0-9_])(?![A-Za-z0-9_]| [a-z])"
    says = r"(?:\s?(?:是|叫做?|名叫|名为|为|[:：=])\s?)"
    called = r"\s?(?:叫做?|名叫|名为|[:：])\s?"
    gap = rf"(?:(?!{words.words('says_zh')})[^。！？；\n{_OPEN}{_CLOSE}]){{0,12}}?"
    apps, helping = words.words("apps_zh"), words.words("helping_zh")
    cue = f"(?:{place}|{room}|{shop}|{apps})"
    plain = rf"(?:(?!{words.words('no_names_zh')})[\w一-鿿])"
    feed = "(?:公众号|公眾號|小程序|服务号|订阅号|视频号|微信群|[Qq]{2}群|微博|抖音|小红书|知乎专栏|豆瓣小组)"

    # behind the platform
    yield rf"{han}(?:账号|帐号|号|群|{room})?{says}*([A-Za-z][A-Za-z0-9_-]{{4,}})"
    yield rf"{place}{room}{says}?{quoted}"
    yield rf"的{place}是{latin}"
    yield rf"{place}{room}(?:账号|名字|名称|名|ID|id)?{called}{bare_end}"
    yield rf"{place}(?:账号|名字|名称|名|ID|id|主页|号)?{called}(?:{quoted}|{bare_end})"
    yield rf"{place}(?:号|账号|帐号|帳號|名字|名称|ID|id)(?:{says}|\s)?{latin}"
    yield rf"{place}(?:账号|帐号|帳號|号|名字?|名称|昵称)是(?:{quoted}|{bare_end})"
    yield rf"(?:用户名|账号|帐号|帳號|昵称|暱稱|群名|群号){says}(?:{quoted}|{latin})|(?:昵称|暱稱){quoted}"
    yield rf"{feed}(?:号|名字|名称)?{says}?{quoted}|{quoted}(?:这个|的)?{feed}"
    yield rf"{feed}(?:名叫|[是叫]|名为|[:：])\s?{bare_end}"
    # what to do there
    yield rf"加\s?(?:我|个|一下)*的?\s?([A-Za-z][A-Za-z0-9_-]{{4,}})\s?的?{place}"
    yield rf"[加➕+]\s?(?:我|个|一下)*的?\s?(?:[vVqQ]|薇|微|扣|{place})(?:号|信号)?[吧呀哦❤♥\ufe0f]*[，,:：\s]*{latin}"
    yield rf"(?<![A-Za-z])[vV薇微]\s?(?:[❤♥心]\ufe0f?\s?[:：]?|[:：])\s?{latin}"
    yield rf"加[一-鿿]{{1,6}}的{place}[，,:：]\s?(?:{latin}|[是叫搜]\s?{bare_end})"
    yield rf"{han}@\s([\w一-鿿]{{2,12}})"
    someone = rf"(?:用户|[Uu][Pp]主|主播|博主)(?!{words.words('says_zh')})"
    yield rf"{han}(?:上的?)?{someone}({plain}{{2,8}}?)(?=有|可以|会|[，。])"
    yield rf"(?:{joining}|超话|[进去用])[^。！？\n]{{0,4}}#([^#\s]{{2,20}})#"
    yield rf"(?:邀请码|提取码|入群码|房间号|口令|暗号)(?:是|为|[:：])\s?(?:{quoted}|([A-Za-z0-9]{{4,}}))"
    # sites by their names
    yield rf"(?<!你)有一?[个款]叫做?\s?(?!{words.words('no_names_zh')})([\w一-鿿]{{2,10}}?)的\s?(?:{apps}|{room})"
    yield rf"(?:网站|官网|论坛)(?:名叫|名字?[是叫]|叫做?|[:：])\s?(?:{bare_end}|{latin})"
    yield rf"({plain}{{2,6}}{helping}{{1,2}})(?:官网|网站|平台|主页|网(?![站友络课]))"
    going = rf"(?:搜|输入|打开|登录|百度|上|关注|进入|访问)[^。！？\n{_OPEN}]{{0,6}}"
    helper = rf"(?!{words.words('no_names_zh')})({_INSIDE}{{1,10}}{helping}{_INSIDE}{{0,2}})"
    yield rf"{going}[{_OPEN}]{helper}[{_CLOSE}]"
    yield rf"(?:登录|登陆|百度一下|访问)\s?({plain}{{2,6}}{helping})"
    search = r"(?:百度|谷歌|搜狗|必应|网上|上网)(?:上|里)?(?:搜索?|输入)(?:一下)?"
    yield rf"{search}\s?({plain}{{1,6}}{helping}{plain}{{0,2}})"
    page = r"(?:网站|官网|论坛|网(?=[。，看]|\Z))"
    yield rf"(?<![A-Za-z0-9.@-])(?!{place})([A-Za-z][A-Za-z0-9-]{{4,}}) ?(?:这个|的)?{page}"
    yield rf"{shop}(?:上|里|里面)?{joining}{quoted}"
    yield rf"{place}(?:上|里|里面)?{joining}(?:一下|频道|群|我们的)?\s?(?:{quoted}|{latin})"
    yield rf"{place}(?:で|の|上の){quoted}"
    yield rf"{han}(?:上|里|里面)?(?:搜索?|搜[尋寻一]下?|关注|追蹤|追踪)(?:一下|账号|博主|话题)?\s?{bare}"
    yield rf"(?:关注|搜索|搜|添加|订阅)(?:一下|微信|我们的|官方)*{feed}(?:账号|号)?\s?(?![上里的中推文发看]){bare}"
    yield rf"(?:打开|进入|点开|用|使用)(?:微信|支付宝)?小程序\s?{bare}"
    yield rf"(?:去|到|上|进|用|看看?|听听?)\s?{place}(?:上|里)?的?{room}?{quoted}"
    yield rf"{cue}(?=[^\n]{{0,16}}?[一-鿿]){gap}{quoted}"
    yield rf"{cue}[^。！？\n]{{0,12}}?[{_OPEN}]({_INSIDE}{{0,12}}{helping}{_INSIDE}{{0,6}})[{_CLOSE}]"
    yield rf"{joining}{gap}{quoted}{gap}{cue}"
    yield rf"{quoted}(?:这[个款]|的)?(?:{apps}|网站|官网|论坛|平台|群|频道|小程序|博主|UP主)(?![上里]的)"
    yield rf"[{_OPEN}]({_INSIDE}{{2,16}}(?:群|电台|频道|小程序|公众号|[Aa]pp))[{_CLOSE}]"
    yield rf"(?:{place}|{feed}|{room})\s?({plain}{{2,6}}{helping})"
    yield rf"(?:关注|加|搜)[我你他她的]{{0,2}}(?:{place}|{feed})[，,]\s?{bare_end}"
    yield rf"(?:[找加]|联系)(?:管理员|群主|客服|助理)\s?{latin}|扫码加\s?{latin}"
    yield rf"({plain}{{2,6}}{helping})的?(?:{feed}|频道|{apps})"
    yield rf"{place}(?:直播间|频道|公众号){bare_end}"
    yield rf"(?:私信|关注|联系|加|搜索?){place}上?的?{bare_end}"
    yield rf"{cue}[^。！？\n]{{0,6}}(?:名字|名称)(?:是|叫做?)\s?{bare_end}"
    yield rf"{place}[一-鿿]{{0,3}}[:：]\s?{latin}"
    yield rf"{place}群?号?\s?[:：]?\s?(?<!\d)(\d{{6,12}})(?![\d人个条次万块元])"
    yield rf"{shop}(?:里|上)?{joining}{bare}"
    yield rf"{han}(?:上|里)?找{bare}(?:私信|聊|咨询|倾诉)"
    yield rf"有一?个{cue}叫做?\s?{bare_end}"
    yield rf"{place}上?的?({plain}{{2,8}}(?:社区|频道|服务器|电台|小屋))"
    yield rf"(?:下载|下載|安装|安裝|装|裝)(?:一?个)?(?:叫做?)?(?:{quoted}|{bare})(?:这个|的)?\s?(?:{apps}|应用)"
    yield r"(?:话题|話題|标签|標籤)\s?#([^#\s，。！？\n]{2,20})"
    yield rf"(?:UP主|[Uu]p主|博主|主播|频道|頻道|社团|社團|粉专|粉專|用户|群组|群組|贴吧|播客){says}?{quoted}"
