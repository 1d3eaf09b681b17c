"""Sentences written for this project: what the data sets lack, in English and Chinese.

Good risk data exists in Chinese only, and strong emotions are rare everywhere. These lists are the project's own words,
nobody's story. Each core sentence is varied with neutral openers and closers that all levels share, so that only the
core tells them apart; whole cores are held out for development.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

Language = Literal["en", "zh"]

VARIANTS = 8
HELD_OUT = 6
"""Every sixth core is for development."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text and its label: a risk severity 0..4, or an emotion group with its level 1..3 (and then no risk)."""

    text: str
    language: Language
    risk: int
    group: str | None
    level: int
    held_out: bool


def sentences(seed: int) -> Iterator[Sentence]:
    """All sentences with their variants; the same ones for the same seed."""
    for language in ("en", "zh"):
        for risk, cores in _RISK[language].items():
            for number, core in enumerate(cores):
                for text in _vary(core, language, seed):
                    yield Sentence(text, language, risk, None, 0, number % HELD_OUT == HELD_OUT - 1)
        for group, levels in _EMOTION[language].items():
            for level, joined in enumerate(levels, start=1):
                for number, core in enumerate(joined.split(" | ")):
                    for text in _vary(core, language, seed):
                        yield Sentence(text, language, 0, group, level, number % HELD_OUT == HELD_OUT - 1)


def _vary(core: str, language: Language, seed: int) -> list[str]:
    chance = random.Random(f"{seed} {core}")  # of its own, so that a new core leaves the others' variants alone
    openers, closers = _FRAMES[language]
    space, stop = (" ", ".") if language == "en" else ("", "。")
    end = "" if core[-1] in "?!？！" else stop
    texts = {core + end: None, core: None}
    while len(texts) < VARIANTS:
        opener = chance.choice(["", *openers])
        closer = chance.choice(["", *closers])
        text = f"{opener}{core}{end}{space + closer if closer else ''}"
        if language == "en" and chance.random() < 0.3:
            text = text.lower().rstrip(".")
        texts[text] = None
    return list(texts)


_FRAMES: dict[Language, tuple[list[str], list[str]]] = {
    "en": (
        [
            "Honestly, ",
            "I don't know how to say this, but ",
            "Lately things have changed. ",
            "Hi, thanks for listening. ",
            "It's been a long week. ",
            "To be frank, ",
            "Since we last talked: ",
            "My sister says I should tell someone. ",
            "Well, ",
            "After everything with my job, ",
            "I had dinner with my parents yesterday. ",
            "Can I tell you something? ",
        ],
        [
            "That's all for today.",
            "What do you think?",
            "I don't really know why.",
            "I wanted to tell someone.",
            "It's been like this for a while.",
            "Anyway.",
            "I've told nobody else.",
            "My friend noticed it too.",
            "Does that make sense?",
        ],
    ),
    "zh": (
        [
            "说实话，",
            "我不知道怎么开口，",
            "最近变化挺大的，",
            "你好，谢谢你听我说。",
            "这个星期过得很慢，",
            "老实讲，",
            "上次聊完以后，",
            "朋友让我来说说，",
            "嗯，",
            "工作上出了些事以后，",
            "昨天和爸妈吃了饭，",
            "我想跟你讲件事，",
        ],
        [
            "今天就想说这些。",
            "你怎么看？",
            "我也不清楚为什么。",
            "就是想找个人说说。",
            "这样有一阵子了。",
            "算了，就这样吧。",
            "我没跟别人说过。",
            "朋友也看出来了。",
            "你能明白吗？",
        ],
    ),
}

_RISK_EN: dict[int, list[str]] = {
    # Everyday life, hard days without danger, figures of speech, and losses of others.
    0: [
        "I picked up my new glasses this morning",
        "the shift was long and I just want to sleep in tomorrow",
        "my manager criticised my slides in front of everybody",
        "this homework is killing me",
        "I'm dying to see that film",
        "I nearly died laughing at his joke",
        "my phone died in the middle of the call",
        "I could murder a pizza right now",
        "we're killing time until the train comes",
        "the deadline is on Friday and I'm behind",
        "I would kill for a week at the beach",
        "my boss is going to kill me when she sees the bill",
        "my grandmother died last spring and I miss her every Sunday",
        "our old dog had to be put to sleep and the house is so quiet",
        "we broke up and I cry whenever I hear our song",
        "I can't fall asleep before exams",
        "I feel lonely in this new city",
        "I argued with my mother about money again",
        "I'm so tired of this endless project",
        "I feel like a failure at work compared with my colleagues",
        "my therapist moved away and I need a new one",
        "I'm nervous about my operation next week",
        "I started running and it lifts my mood",
        "the baby keeps us awake and we're both worn out",
        "he ghosted me and I feel worthless next to his new girlfriend",
        "shoot me an email if you have time",
        "the team got slaughtered in the final",
        "that meeting bored me to death",
        "I worry about my daughter's grades",
        "I cut my finger while chopping onions",
        "I want to jump at this chance to study abroad",
        "I'm stressed about rent but I have a plan with my bank",
        "everything annoys me before my coffee",
        "I want to end this relationship because we only fight",
        "I'm sad that summer is over",
        "I quit my job and I'm looking forward to the new one",
        "I keep procrastinating and then I panic",
        "I got divorced two years ago and dating scares me",
        "I feel empty after finishing my degree and don't know what comes next",
        "I hate my body in photographs",
        "I want to disappear under my blanket and watch series all weekend",
        "we lost the house in the flood but everybody is safe",
        "I'm happy with how the therapy is going",
        "I was depressed last winter and now I'm well again",
        "it was a hard day but I'm fine now",
        "I drank too much at the wedding and I'm embarrassed",
        "I'm completely burned out and need a holiday",
        "I want to live by the sea one day",
        "I was shot down when I asked her out",
        "there is no way out of this contract before March",
        "the traffic this morning made me want to scream",
        "that joke killed the whole table",
        "I could die of embarrassment after what I said in class",
        "my legs are dead after the gym",
        "the suspense in that series is killing me",
        "I was dead tired after the flight",
        "she looks drop-dead gorgeous in that dress",
        "we're dying of heat in this office",
        "he hung himself out to dry with that remark",
        "I would jump off my chair if they called me back",
        "my plants died while I was away and I'm annoyed",
        "I'm cutting sugar and it makes me grumpy",
        "the battery is on its last legs",
        "over my dead body will I eat that again",
        "I overdid the coffee and my hands shake",
        "I bombed the interview and feel like an idiot",
        "my back is killing me since we moved the sofa",
        "the film ends with the hero's death and I cried",
        "he drives me up the wall with his drumming",
        "I'm so over this week, wake me up on Saturday",
        "I want to quit the team because the coach shouts",
        "I can't go on with this diet any longer",
        "we finally end our lease in May",
        "my grandfather passed peacefully and I keep his watch",
        "I'm hurting after the surgery but it heals",
        "I miss my late wife and I visit her grave on Sundays",
        "I missed the last bus and wanted to cry",
        "I gave my old clothes away to charity",
        "I wrote a letter to my parents to thank them",
        "I've been saving up for a trip with my sister",
    ],
    # The subject is touched: questions, worry about others, denial, the past, despair without a wish to die.
    1: [
        "I'm worried that my roommate may want to kill himself",
        "my cousin took his own life last year and I keep asking why",
        "I read an article about suicide prevention",
        "why do people end their own lives?",
        "I'm not suicidal, I'm only worn out",
        "I would never hurt myself, my children need me",
        "years ago I wanted to die, but I don't feel like that any more",
        "my friend told me she cuts herself and I don't know what to say to her",
        "how can I help someone who talks about ending it all?",
        "no, I have no thoughts of harming myself",
        "a student at our school died by suicide and everybody is shaken",
        "I used to hurt myself as a teenager and I stopped long ago",
        "life feels completely meaningless and I can't imagine it getting better",
        "I feel hopeless and like a burden on my whole family",
        "I don't see any future for myself",
        "I'm trapped and nothing I do changes anything",
        "what happens to people after a suicide attempt?",
        "I'm scared my brother will do something to himself",
        "my doctor asked whether I think about suicide and I said no",
        "nothing matters to me any more and I feel numb",
        "does talking about suicide make it worse?",
        "I don't want to die, I just want the pain to stop being so loud",
        "I feel there is no place for me in this world",
        "everyone is tired of me and I have no strength left",
        "my sister said she doesn't want to live and I'm frightened for her",
        "my son has been cutting and I found the blades",
        "a girl in my class tried to overdose and I can't stop thinking about it",
        "my husband tried to hang himself last year, how do I support him?",
        "my mother keeps saying she'd be better off dead",
        'he said "I want to die" and then hung up on me',
        "\"I'll kill myself if you leave\", that's what my ex always told me",
        "in the novel the woman drowns herself and it shook me",
        "I don't want to kill myself, I want someone to help me",
        "I'm not going to do anything to myself, I promise",
        "I have no plan and no wish to die, I'm just exhausted",
        "I wouldn't end my life, I only need a rest from everything",
        "when I was sixteen I took pills, today I'm glad that I lived",
        "I had suicidal thoughts before the medication and they're gone now",
        "we had a training on how to recognise self-harm",
        "my best friend has been giving away her things and I'm scared",
        "I feel like I'm failing everybody and always will",
        "I can't see how any of this gets better",
        "there is nothing good left in me",
        "I'm a weight around everyone's neck",
    ],
    # A wish to be dead or thoughts of suicide or self-injury, plain or veiled; no plan, no act.
    2: [
        "I want to die",
        "I want to kill myself",
        "I don't want to live any more",
        "I don't want to be alive any longer",
        "I'm thinking about ending my life",
        "I have been having suicidal thoughts every night",
        "I wish I could go to sleep and never wake up",
        "everyone would be better off without me",
        "I can't find a single reason to keep living",
        "I wish I had never been born and that it would end now",
        "some days I hope a car hits me so that it's over",
        "I keep imagining my own funeral and it feels like relief",
        "I just want everything to end, including me",
        "I'd rather be dead than go through this again",
        "death seems like the only way out for me",
        "I feel like ending it all",
        "I think about suicide when I'm alone",
        "I'm tired of being alive",
        "there is no point in going on, I'd be happier dead",
        "I keep thinking about hurting myself",
        "I have the urge to cut myself when it gets dark",
        "I don't plan anything, but I often wish I were dead",
        "if I were gone tomorrow nobody would notice, and I'd like that",
        "I don't think I can stay in this world much longer",
        "I want to disappear for good and not exist any more",
        "I'm considering taking my own life",
        "I laugh with my friends and inside I want to be dead",
        "maybe I should just kill myself and stop bothering people",
        "I can't do this any more, I want my life to be over",
        "living hurts too much and I don't want to continue",
        "sometimes I stand at the window and think how easy it would be not to be here",
        "I told my partner I was fine, but I want to die",
        "I lost my job and now I want to end my life",
        "I feel suicidal",
        "I'm suicidal and I don't know whom to call",
        "the thought of killing myself comes back every morning",
        "I have nothing left to live for",
        "I'm ready to leave this world",
        "I pray that I won't wake up tomorrow",
        "I just don't want to exist",
        "I keep thinking about suicide",
        "suicide is on my mind all the time",
        "I see no sense in staying alive",
        "being alive has no point any more",
        "what is the point of living when it's like this?",
        "I'm done with life",
        "I don't want to be here any more, and I don't mean this town",
        "I wish the plane would go down with me on it",
        "I'd be fine with not waking up from the anaesthetic",
        "it would be easier on everyone if I weren't around",
        "I'm so tired that only forever sleep sounds good",
        "I envy people who are already dead",
        "I keep wondering how long it takes to drown",
        "every time I cross the bridge something tells me to go over the rail",
        "the pills in the cabinet look like a way out",
        "my kids deserve a mother who is alive, but I don't want to be",
        "I want it all to stop, the pain and my life with it",
        "I hope the illness takes me soon",
        "what would change if I were dead? nothing",
        "I've had enough of being on this earth",
        "part of me wants to step in front of the train",
        "I'm not scared of dying, I'm looking forward to it",
        "I've been thinking about not being around any more",
        "I can't promise that I'll still be here next week",
        "I just want to fall asleep for good",
        "I feel like opening my veins",
        "I want to punish my body until it bleeds",
        "I don't deserve to live",
        "my life isn't worth living",
        "no one will miss me when I'm dead, and that's soon enough",
        "God, please let me die",
    ],
    # A plan, preparation, or self-injury that happened.
    3: [
        "I have decided on the day I'm going to end my life",
        "I have written goodbye letters to my family and hidden them",
        "I've been saving up pills so that I can kill myself",
        "I know exactly how and where I'm going to do it tonight",
        "I gave away my things because I won't need them after this weekend",
        "I cut my arms again last night",
        "I've been cutting myself every week",
        "I burned my skin on purpose because I couldn't bear the feeling",
        "I hit my head against the wall until it bled",
        "tonight I'm going to kill myself, everything is prepared",
        "I went to the bridge yesterday to see whether I could jump",
        "I made my will and chose a place to die",
        "I bought what I need to end it",
        "I hurt myself with a blade and hid the cuts under my sleeves",
        "I have a plan to kill myself when my parents are away",
        "I said goodbye to everyone today, they just don't know it yet",
        "I started scratching my wrists open again",
        "I have the rope ready at home",
        "I looked up how many tablets it takes and I have enough",
        "I have been starving and cutting to punish myself",
        "I relapsed and hurt myself again",
        "the cutting is back, I did it twice this week",
        "I've picked the bridge and the night",
        "I'm sorting out my papers so that nobody has trouble after I'm gone for good on Friday",
        "I told the dog goodbye, the note is on the kitchen table",
        "I've loaded the gun and I'm sitting here with it",
        "I'm on the roof and I'm going to jump",
        "I'm standing at the platform waiting for the fast train to end it",
        "I've counted the tablets, tonight I take them",
        "I carved words into my thigh again",
        "I punched myself until I was bruised, as I do most evenings",
        "I've been practising the knot",
        "I held the knife to my wrist this morning",
        "I have a date and a method",
        "I bought the razor blades and used them",
        "there are fresh cuts on my legs from yesterday",
    ],
    # An attempt, recent or under way.
    4: [
        "I tried to kill myself last month",
        "I took all my pills and woke up in the hospital",
        "I attempted suicide two weeks ago and nobody knows",
        "last night I tried to hang myself but I was found",
        "I have just swallowed all my tablets",
        "I survived my suicide attempt and I'm angry that I did",
        "I jumped and somebody pulled me back",
        "this is the second time I tried to end my life",
        "I tried to take my own life after the divorce and they pumped my stomach",
        "I cut my wrists to die and my brother called an ambulance",
        "they discharged me yesterday after my overdose",
        "I walked into the river to drown myself and a stranger got me out",
        "I took the whole bottle an hour ago",
        "I tried to end it last week and the rope broke",
        "I've overdosed, I feel dizzy and I haven't told anyone",
        "I tried to gas myself in the car in spring",
        "I shot at myself and missed",
        "I've already taken them all, it's too late",
        "I jumped in front of a car and lived",
        "I nearly died by my own hand on Monday",
        "the nurses call it my third attempt",
        "I drank bleach to kill myself and threw it up",
        "I woke up from my attempt and cried because it failed",
        "I tried to do it yesterday but couldn't finish",
    ],
}

_RISK_ZH: dict[int, list[str]] = {
    0: [
        "今天加班到很晚",
        "收到礼物，特别开心",
        "今天累死了，只想早点睡觉",
        "笑死我了，那个视频太好玩",
        "这作业要命，写到半夜",
        "我快饿死了，中午吃什么",
        "手机没电关机了，没接到电话",
        "我和男朋友分手了，听到歌就想哭",
        "奶奶去年走了，我很想她",
        "领导当着大家的面批评了我",
        "刚到新城市，有点孤单",
        "又跟妈妈因为钱吵架了",
        "孩子晚上老哭，我们都睡不好",
        "下周要做手术，有点紧张",
        "我觉得自己比同事差，挺失败的",
        "想辞职换一份工作",
        "这个会开得无聊死了",
        "截止日期快到了，我还没写完",
        "切菜的时候不小心割到手了",
        "最近跑步，心情好了一些",
        "室友打游戏太吵，烦死了",
        "我想结束这段感情，老是吵架",
        "去年冬天我情绪低落，现在好多了",
        "真想去海边住一个星期",
        "毕业以后有点空虚，不知道做什么",
        "他不回消息，我很难过",
        "周末只想躲在被窝里看剧",
        "我担心女儿的成绩",
        "谢谢你，跟你聊完轻松多了",
        "最近总是失眠，白天没精神",
        "堵车堵得我想骂人",
        "这个笑话把全桌人都笑死了",
        "丢死人了，话都说错了",
        "健身完腿都要废了",
        "这部剧悬念太折磨人了",
        "我被热死了，办公室没空调",
        "腰疼得要命，搬家累的",
        "困死了，昨天三点才睡",
        "气死我了，快递又丢了",
        "想死你了，什么时候回来",
        "我养的花死了，有点可惜",
        "面试搞砸了，觉得自己好蠢",
        "减肥太难了，我坚持不下去了",
        "电影结尾主角死了，我哭得不行",
        "这个星期太难熬，盼着周六",
        "教练老吼我，我想退队",
        "外公走得很安详，我留着他的手表",
        "手术后伤口还疼，不过在慢慢好",
        "我每个清明都去给爱人扫墓",
        "错过末班车，差点哭出来",
        "我把旧衣服都捐了",
        "我给爸妈写了一封感谢信",
        "我在攒钱跟妹妹去旅行",
        "爱死这家店的面了",
        "游戏里我又死了十几次",
        "老板要是知道了非杀了我不可",
        "吓死我了，还以为迟到了",
        "他离开我以后，我每天都很想他",
        "我只想安静地睡个好觉",
        "我的电脑卡死了，文件没保存",
        "考试又挂了，真想找个地洞钻进去",
        "压力大，头发一把一把地掉",
    ],
    1: [
        "我担心室友会想不开",
        "表哥去年自杀了，我一直想为什么",
        "为什么有人会选择自杀？",
        "我没有想自杀，只是太累了",
        "我不会伤害自己的，我还有孩子",
        "以前有过想死的念头，现在没有了",
        "朋友说她割过手，我不知道怎么劝她",
        "怎么帮助一个说不想活的人？",
        "看到新闻说有学生跳楼，心里很堵",
        "活着好像没有什么意义，看不到希望",
        "我觉得自己是全家的累赘",
        "我看不到自己的未来",
        "自杀的人最后在想什么？",
        "我什么都不在乎了，整个人麻木",
        "怕弟弟做傻事",
        "医生问我有没有轻生念头，我说没有",
        "这个世界好像没有我的位置",
        "我已经没有力气撑着了",
        "妹妹说她不想活，我很害怕",
        "我发现儿子在割自己，我该怎么办",
        "班里有个女生吃药自杀，我一直忘不掉",
        "我老公去年上吊被救回来，我该怎么陪他",
        "妈妈总说自己死了更好",
        "他说了句“我想死”就挂了电话",
        "前男友老说“你敢分手我就自杀”",
        "小说里她投河了，我看完心里难受",
        "我不想死，我只想有人帮帮我",
        "我保证不会做傻事",
        "我没有计划也不想死，就是太累",
        "我不会结束生命的，只是想歇一歇",
        "十六岁时我吞过药，现在很庆幸活着",
        "吃药以前有过自杀的念头，现在没有了",
        "我们学了怎么识别自伤的同学",
        "闺蜜最近把东西都送人，我很担心她",
        "我谁都对不起，以后也一样",
        "我看不出日子还能怎么好起来",
        "我就是大家的负担",
        "我这个人一点用都没有",
        "电视剧里他跳楼那段我不敢看",
        "老师问我是不是想自杀，我说不是",
        "我爸以前自杀过，我怕他再来一次",
        "新闻里又有人轻生，评论让人难过",
    ],
    2: [
        "我想死",
        "我不想活了",
        "我想结束自己的生命",
        "真希望一觉睡过去再也不醒来",
        "没有我大家会过得更好",
        "我找不到活下去的理由",
        "最近每天晚上都有自杀的念头",
        "要是出门被车撞了就好了，一了百了",
        "我想从这个世界上消失",
        "死了就解脱了",
        "活着太痛苦了，我不想继续了",
        "一难受就想割自己",
        "我总想着伤害自己",
        "我表面上笑，心里只想死",
        "也许我该离开这个世界了",
        "我撑不下去了，只想让一切结束，包括我自己",
        "如果我死了，应该没人会发现",
        "早上醒来第一个念头就是不想活",
        "我宁愿死也不想再经历一次",
        "站在窗边的时候会想跳下去",
        "我对生活没有留恋了，想走了",
        "我有轻生的想法",
        "脑子里全是自杀",
        "活着还有什么意思，不如死了",
        "我对活着已经没有兴趣了",
        "我不想待在这个世界上了",
        "要是飞机掉下去就好了，我正好在上面",
        "手术要是醒不过来也挺好的",
        "我不在了对谁都好",
        "好想永远睡着，不用再醒",
        "真羡慕那些已经死了的人",
        "我老在想淹死要多久",
        "每次过桥都有声音叫我跳下去",
        "看着柜子里的药，觉得那是条出路",
        "我想让一切停下来，连同我的命",
        "盼着这病快点把我带走",
        "我在这世上待够了",
        "有时想往地铁轨道上迈一步",
        "我不怕死，反而有点盼着",
        "我不敢保证下星期我还在",
        "我不配活着",
        "我的命不值得活下去",
        "反正也没人在乎我死不死",
        "老天爷让我死了吧",
        "我想把自己弄出血来惩罚自己",
        "我真的活腻了",
        "好想就这样走了，再也不回来",
        "人为什么非要活着，我不想了",
        "我厌倦了呼吸，厌倦了活着",
        "我想一个人安静地离开人世",
        "死是不是就不疼了，我想试试",
        "我好想解脱，永远闭上眼睛",
        "想到以后还要活几十年就绝望，真想现在就没了",
        "我控制不住想用刀划自己",
        "我最近老想着怎么死",
    ],
    3: [
        "我已经选好了日子要离开",
        "遗书写好了，藏在抽屉里",
        "我在攒药，准备自杀",
        "昨晚我又割了手臂",
        "我每个星期都会割自己",
        "我用烟头烫自己，因为太难受",
        "今晚我就要走了，东西都准备好了",
        "我去过那座桥，看能不能跳",
        "我把东西都送人了，以后用不着了",
        "我拿头撞墙撞到流血",
        "绳子已经放在家里了",
        "我计划等爸妈出门就自杀",
        "今天和每个人都告别了，只是他们不知道",
        "我又用刀划了手腕，藏在袖子里",
        "桥和晚上我都选好了",
        "后事我都安排好了，星期五就走",
        "我跟狗告了别，纸条放在厨房桌上",
        "我现在站在楼顶，要跳了",
        "我在站台等那趟快车，撞上去就结束了",
        "药片我数好了，今晚就吃",
        "我又在大腿上刻字了",
        "我几乎每晚都打自己，打到淤青",
        "我在练怎么打绳结",
        "今早我把刀架在手腕上",
        "日子和方法我都定了",
        "我买了刀片，已经用了",
        "腿上有昨天新割的口子",
        "我查好了要多少药才够",
        "木炭我买好了，等他们睡了就点",
        "我给每个人都写了告别的话，明天就不在了",
        "又忍不住咬自己，胳膊上全是血印",
        "我把存款密码都写给家人了，我要走了",
    ],
    4: [
        "上个月我自杀过，没有成功",
        "我吃了一整瓶药，醒来在医院",
        "两个星期前我试过自杀，没人知道",
        "我刚刚把药全吞了",
        "我跳下去了，被人拉了回来",
        "这是我第二次自杀未遂",
        "我割腕想死，是弟弟叫的救护车",
        "自杀被救回来以后，我恨自己还活着",
        "吞药以后洗了胃，昨天才出院",
        "我走进河里想淹死自己，被路人救了",
        "一小时前我吃了整瓶药",
        "上周我上吊，绳子断了",
        "我吃了很多药，头晕，没告诉任何人",
        "春天我在车里烧过炭，没死成",
        "药我已经全吃了，来不及了",
        "我冲到车前面，没死成",
        "护士说这是我第三次自杀",
        "我喝了农药，吐出来了",
        "醒过来发现没死成，我哭了",
        "昨天我试着去死，没能做完",
        "我割了动脉，被送去缝针",
        "我从三楼跳下来，摔断了腿",
        "我开煤气自杀，被邻居发现了",
        "跳河那天有人把我拉上来了",
    ],
}

_RISK: dict[Language, dict[int, list[str]]] = {"en": _RISK_EN, "zh": _RISK_ZH}

_EMOTION_EN: dict[str, tuple[str, str, str]] = {
    "joy": (
        "I feel calm today | I'm at peace with how it went | a quiet evening, I feel relaxed | "
        "I'm content at the moment | I feel lighter now | it was a peaceful walk",
        "I'm so happy today | my sister is visiting and I'm really happy | we had a wonderful time together | "
        "I'm glad I finally said it | getting the job made me so happy | what a lovely day, I can't stop smiling",
        "I'm over the moon, I got in! | this is the best day of my life! | I'm ecstatic, we won! | "
        "I could jump for joy, she said yes! | I'm bursting with happiness | I've never been so overjoyed",
    ),
    "trust": (
        "I accept that it takes time | fair enough, I can live with that | "
        "okay, I'm willing to try what you suggest | I've come to terms with it | I accept how he is | "
        "all right, that makes sense to me",
        "I trust you with this | I can rely on my best friend | I believe she'll keep her word | "
        "I feel safe talking to you | my brother always has my back, I trust him | I have faith in my doctor",
        "I admire her courage so much | my mother is my hero | I look up to him more than to anyone | "
        "I'm in awe of how she raised us alone | I deeply respect my teacher | what he did was truly admirable",
    ),
    "fear": (
        "I'm a bit worried about tomorrow | I keep worrying about the results | I'm nervous about the interview | "
        "I'm uneasy about meeting them | I worry that I said something wrong | the exam makes me anxious",
        "I'm afraid of losing him | I'm scared to open that letter | I feel frightened when he shouts | "
        "I'm afraid of being alone at night | going outside scares me | I'm scared that it's cancer",
        "I'm terrified, I can't breathe | I was scared out of my mind when he broke the door | "
        "I'm in a total panic, my whole body is shaking | the thought of it fills me with terror | "
        "I was petrified and could not move | I wake up screaming from those nightmares",
    ),
    "surprise": (
        "I don't understand why he did that | I'm puzzled by her message | that's odd, it makes no sense to me | "
        "I'm confused about what you mean | why would she say that? | I can't work out what happened",
        "I was surprised that she called | I didn't expect that at all | wow, I didn't see that coming | "
        "what, he really came? | their visit took me by surprise | to my surprise I got an answer",
        "I'm stunned, I can't believe it | I was amazed, my jaw dropped | it was a complete shock to me | "
        "I'm absolutely astonished | unbelievable, I was speechless | I was thunderstruck when I heard it",
    ),
    "sadness": (
        "I feel a little down today | I'm feeling blue | it left me somewhat disappointed | I'm in low spirits | "
        "I feel a bit gloomy since the move | I've been down since Monday",
        "I'm really sad about it | I cried all evening | it makes me so unhappy | "
        "my heart is heavy since he left | I'm sad and lonely | I feel miserable about the break-up",
        "I'm devastated by her death | my heart is broken into pieces, I can't stop crying | "
        "I'm grieving for my son | the grief is crushing me | losing my father tore me apart | "
        "I sob every night since we buried her",
    ),
    "disgust": (
        "I'm bored of everything | the same routine every day, so tedious | I'm fed up with these meetings | "
        "nothing interests me, I'm bored | this course is so dull | I'm sick of hearing about it",
        "what he did disgusts me | that is revolting | I feel sick when I see him | it was a nasty thing to say | "
        "his behaviour is repulsive | the way they treat her is gross",
        "I loathe him | I hate him with every fibre | I despise myself for it | "
        "I detest everything about that man | I can't stand the sight of her, I hate her | I hate my stepfather",
    ),
    "anger": (
        "that's a bit annoying | my neighbour's noise gets on my nerves | I'm irritated that he's late again | "
        "it bugs me when she interrupts | I'm annoyed at myself | little things irritate me lately",
        "I'm angry with my boss | it makes me mad that nobody helps | I'm angry that she lied | "
        "I'm really cross with him | he made me so angry yesterday | why am I always the one to blame? I'm angry",
        "I'm furious! | I'm so enraged that I could scream | he betrayed me and I'm boiling with rage | "
        "I exploded and smashed a plate | I've never been so furious in my life | how dare they, I'm livid",
    ),
    "anticipation": (
        "I care about how she's doing | I hope my friend is all right, I want to check on her | "
        "I'm curious what she'll say | I'd like to look after him | "
        "I'm concerned for my sister and want to help | how is your mother doing?",
        "I'm looking forward to the weekend | I can't wait to see her | I hope it works out next month | "
        "I'm excited about the new job | I expect an answer tomorrow and I'm hopeful | "
        "I really hope things get better",
        "I'm on my guard around him | I keep checking the door, something is wrong | I stay alert all the time | "
        "I watch every step he makes | I have to be careful what I say to them | I'm wary of her offers",
    ),
}

_EMOTION_ZH: dict[str, tuple[str, str, str]] = {
    "joy": (
        "今天心里很平静 | 这样就挺好，我很安心 | 散步以后放松了 | 现在感觉踏实 | 心情轻松了一些 | 安安静静的，很舒服",
        "我今天很开心 | 搬进新家了，好高兴 | 和朋友玩得很快乐 | 找到工作了，真开心 | 他记得我的生日，我很高兴 | "
        "今天真是美好的一天",
        "太棒了，我高兴得跳起来！ | 这是我最幸福的一天！ | 我们赢了，激动得不行！ | 我简直乐疯了 | "
        "她答应了，我欣喜若狂 | 从来没有这么开心过！",
    ),
    "trust": (
        "好吧，我能接受 | 我愿意试试你说的办法 | 慢慢来，我接受这个结果 | 我理解他的决定 | 你说得有道理 | "
        "就这样吧，我想通了",
        "我相信你 | 有事我就找她，她靠得住 | 我信任我的朋友 | 跟你说话我觉得安全 | 我相信他会做到 | 谢谢你，我很信赖你",
        "我特别敬佩我的老师 | 妈妈是我心中的英雄 | 她的勇气让我佩服得五体投地 | 我很崇拜他 | "
        "他的为人让我肃然起敬 | 我打心底里尊敬她",
    ),
    "fear": (
        "我有点担心明天 | 一直担心结果 | 面试让我紧张 | 总觉得不安 | 我担心说错话 | 考试快到了，很焦虑",
        "我害怕失去他 | 不敢一个人睡，害怕 | 他一吼我就怕 | 我很害怕是坏消息 | 出门让我恐惧 | 我怕他再打我",
        "我吓得浑身发抖 | 我惊恐得喘不过气 | 当时吓得动都动不了 | 半夜被噩梦吓醒，尖叫起来 | 想起来就毛骨悚然 | "
        "我快吓疯了",
    ),
    "surprise": (
        "我不明白他为什么这样 | 她的话让我很疑惑 | 怎么会这样呢？ | 我搞不懂是什么意思 | 有点奇怪，我想不通 | "
        "为什么突然这么说？",
        "没想到她会打电话来 | 真让人意外 | 哇，完全没料到 | 他居然来了 | 我很惊讶 | 这个消息出乎意料",
        "我惊呆了，不敢相信 | 太震惊了，说不出话 | 简直难以置信！ | 听到以后整个人都懵了 | 我震惊得愣在那里 | "
        "天哪，怎么可能！",
    ),
    "sadness": (
        "今天有点低落 | 心里有些失落 | 有点伤感 | 情绪不太高 | 觉得有些遗憾 | 这几天闷闷不乐",
        "我很难过 | 一个人哭了一晚上 | 想到他就伤心 | 分手以后特别难受 | 心里很痛苦 | 我很悲伤",
        "她走了，我的心都碎了 | 失去爸爸让我痛哭不止 | 我悲痛得说不出话 | 孩子没了，我天天以泪洗面 | "
        "撕心裂肺地难受 | 亲人去世，我崩溃大哭",
    ),
    "disgust": (
        "每天都一样，好无聊 | 对什么都提不起兴趣 | 我受够了这些会议 | 日子过得很乏味 | 这课太没意思了 | 听腻了这些话",
        "他做的事让我恶心 | 看到他就反感 | 我讨厌这种人 | 这种行为太恶心了 | 我厌恶他们的虚伪 | 真让人作呕",
        "我恨他 | 我恨透了这个家 | 我对她恨之入骨 | 我憎恨那个人 | 看都不想看他一眼，恨死了 | 我恨我的继父",
    ),
    "anger": (
        "有点烦 | 邻居太吵了，心烦 | 他又迟到，真烦人 | 最近一点小事就烦躁 | 她老打断我，很烦 | 催来催去的，烦",
        "我很生气 | 她骗了我，我很气 | 领导太过分了，气人 | 没人帮忙，我很恼火 | 昨天他把我惹火了 | 凭什么都怪我？",
        "我气炸了！ | 我愤怒到极点 | 他背叛我，我要气疯了 | 气得我把杯子摔了 | 从来没这么愤怒过！ | "
        "他们怎么敢，太可恨了，我暴跳如雷",
    ),
    "anticipation": (
        "我很关心她过得好不好 | 想去看看朋友怎么样了 | 不知道妈妈身体好点没有 | 我想多照顾他一些 | "
        "我很在意他的感受 | 你最近怎么样？",
        "好期待周末 | 等不及想见她 | 希望下个月能成 | 对新工作很期待 | 盼着他回来 | 希望以后会越来越好",
        "我对他一直有防备 | 总觉得不对劲，老去看门锁没锁 | 时刻提高警惕 | 跟他们说话要小心 | 我得提防着点 | "
        "对她的好意我保持戒心",
    ),
}

_EMOTION: dict[Language, dict[str, tuple[str, str, str]]] = {"en": _EMOTION_EN, "zh": _EMOTION_ZH}

RISK_CORES = frozenset(chain.from_iterable(cores for by_level in _RISK.values() for cores in by_level.values()))
"""What is training or development material here cannot test the heads: tests bring their own sentences."""
