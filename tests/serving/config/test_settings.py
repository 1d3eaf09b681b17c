from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.config import Auth, EscalationSettings, GeneratorSettings, MemorySettings, Settings, SettingsError
from psychechat.emotion import Group
from psychechat.policy import Policy


def test_a_settings_file_survives_the_round_trip_through_json() -> None:
    assert Settings.model_validate_json(Settings().model_dump_json()) == Settings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hots: 127.0.0.1", "hots"),  # a misspelt key
        ("policy: {limits: {turn_seconds: 0}}", "turn_seconds"),
        ("policy: {risk: {ideation: 1.5}}", "ideation"),
        ("ingress: {num_replicas: 2}", "seen by one replica only"),
        ("ingress: {autoscaling: {max_replicas: 2}}", "seen by one replica only"),
        ("counselor: {replicas: {num_replicas: 2, autoscaling: {max_replicas: 3}}}", "leave it out"),
        ("counselor: {replicas: {autoscaling: {min_replicas: 3, max_replicas: 2}}}", "more than max_replicas"),
        ("counselor: {replicas: {autoscaling: {max_replicas: 2, target: 40}}}", "autoscaling.target"),
        ("counselor: {replicas: {autoscaling: {max_replicas: 2, target: 0.8}}}", "must be below 0.80"),
        ("memory: {backend: local, keys_file: keys.yaml}", "set it, or leave them out"),
        ("memory: {backend: redys}", "memory.backend"),
        ("policy: {routing: {sharp_shift: 2}}", "sharp_shift"),
        ("packs: {zh: zh}", "packs needs"),
        ("host: 0.0.0.0", "there are no API keys"),
        ("auth: {keys: {intake: psy-the-key-itself}}", "auth.keys.intake"),
        ('auth: {keys: {"": "aa"}}', "auth.keys"),
        (f"auth: {{keys: {{scraper: {{sha256: {'a' * 64}, metrics: true, tasks: true}}}}}}", "asks for nothing else"),
        (f"auth: {{keys: {{page: {{sha256: {'a' * 64}, fields: some}}}}}}", "fields"),
        (f"auth: {{keys: {{dev: {{sha256: {'a' * 64}, inspect: true, tasks: true}}}}}}", "sees all of a turn"),
        ("policy: {guard: {mode: silent}}", "guard.mode"),
        ("policy: {guard: {ending: {en: Stop.}}}", "guard.ending has no entry for 'zh'"),
        ("policy: {guard: {rules: {phrases: {method: {en: [eat <glue>]}}}}}", "names <glue>"),
        ("policy: {guard: {rules: {phrases: {method: {en: ['eat ~ (', x]}}}}}", "is no line of words"),
        ("policy: {guard: {rules: {phrases: {method: {en: ['! ~']}}}}}", "is no line of words"),
        ("escalation: {url: pager.example}", "escalation.url"),
        ("escalation: {url: 'http://pager.example'}", "must be https"),
        ("escalation: {url: 'http://localhost.pager.example'}", "must be https"),
        ("escalation: {url: 'https://pager.example', url_file: pager}", "take one"),
    ],
)
def test_a_wrong_file_is_refused_with_the_name_of_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=complaint):
        Settings.load(file)


def test_with_keys_others_may_reach_the_server() -> None:
    Settings.model_validate({"host": "0.0.0.0", "auth": {"keys": {"intake": "0" * 64}}})
    Settings.model_validate({"host": "0.0.0.0", "auth": {"keys_file": "/run/secrets/keys"}})


def test_keys_come_from_the_settings_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"ward: {'b' * 64}\n")
    auth = Auth.model_validate({"keys": {"intake": "a" * 64}, "keys_file": file})
    assert auth.all_keys() == {"intake": "a" * 64, "ward": "b" * 64}


def test_a_key_may_be_for_practice(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"ward: {{sha256: {'b' * 64}, drill: true}}\nspare: {{sha256: {'c' * 64}}}\n")
    auth = Auth.model_validate({"keys": {"intake": "a" * 64}, "keys_file": file})
    assert auth.all_keys() == {"intake": "a" * 64, "ward": "b" * 64, "spare": "c" * 64}
    assert [name for name, key in auth.read().items() if key.drill] == ["ward"]
    assert Settings.model_validate_json(Settings(auth=auth).model_dump_json()).auth.read() == auth.read()


def test_a_key_may_be_for_background_tasks_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"page-tasks: {{sha256: {'b' * 64}, tasks: true, of: page}}\n")
    keys = Auth.model_validate({"keys": {"page": "a" * 64}, "keys_file": file}).read()
    assert not keys["page"].tasks
    assert (keys["page-tasks"].tasks, keys["page-tasks"].of) == (True, "page")
    with pytest.raises(ValidationError, match="of is for a key with tasks"):
        Auth.model_validate({"keys": {"ward": {"sha256": "a" * 64, "of": "page"}}})


def test_a_key_for_background_tasks_is_of_a_key_of_conversations(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    tasks = {"sha256": "b" * 64, "tasks": True, "of": "page"}
    with pytest.raises(
        ValidationError, match="page-tasks is for the background tasks of another, and there is no such key:"
    ):
        Auth.model_validate({"keys": {"page-tasks": tasks}})
    auth = Auth.model_validate({"keys": {"page-tasks": tasks}, "keys_file": file})
    file.write_text(f"page: {'a' * 64}\n")
    assert auth.read()["page-tasks"].of == "page"
    file.write_text(f"pages: {'a' * 64}\n")
    with pytest.raises(SettingsError, match="there is no such key:"):
        auth.read()
    file.write_text(f"page: {{sha256: {'a' * 64}, tasks: true}}\n")
    with pytest.raises(SettingsError, match="no such key, but one for tasks or metrics:"):
        auth.all_keys()
    file.write_text(f"page: {{sha256: {'a' * 64}, metrics: true}}\n")
    with pytest.raises(SettingsError, match="no such key, but one for tasks or metrics:"):
        auth.all_keys()
    itself = {**tasks, "of": "page-tasks"}
    with pytest.raises(ValidationError, match="but one for tasks or metrics:"):
        Auth.model_validate({"keys": {"page-tasks": itself}})


def test_a_key_for_the_tasks_of_another_is_no_drill_of_its_own() -> None:
    key = {"sha256": "b" * 64, "tasks": True, "of": "page", "drill": True}
    with pytest.raises(ValidationError, match="drill is for the key that of names"):
        Auth.model_validate({"keys": {"page": "a" * 64, "page-tasks": key}})
    Auth.model_validate({"keys": {"training": {"sha256": "b" * 64, "tasks": True, "drill": True}}})


@pytest.mark.parametrize("text", ["", "{}", "ward: short", "- ward", "ward: {sha256: short}", "ward: {drill: true}"])
def test_a_file_without_keys_does_not_open_the_door(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError):
        Auth(keys_file=file).all_keys()


SECRET = "c29tZSAyNCBvciBtb3JlIHJhbmRvbSBieXRlcw=="


def test_the_webhooks_secret_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"whsec_{SECRET}\n")
    assert EscalationSettings(secret_file=file).secret() == b"some 24 or more random bytes"
    monkeypatch.setenv("PAGER", SECRET)
    assert EscalationSettings(secret_env="PAGER").secret() == b"some 24 or more random bytes"


def test_the_webhooks_url_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    told = EscalationSettings(url_file=file)
    assert told.is_on
    assert not EscalationSettings().is_on
    for url in ("https://chat.example/hooks/t0ken", "http://127.0.0.1:9000/t0ken", "http://[::1]:9000/t0ken"):
        file.write_text(f"{url}\n")
        assert told.target() == url
        assert "t0ken" not in repr(told)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "t0ken",
        "ftp://chat.example/t0ken",
        "http://chat.example/t0ken",
        "http://localhost.chat.example/t0ken",
        "https://chat.example/\udcfft0ken",
    ],
)
def test_a_file_without_a_safe_url_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "url"
    file.write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(SettingsError, match=r"escalation\.url_file") as refused:
        EscalationSettings(url_file=file).target()
    assert "t0ken" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "short", "not base64, though it is long enough for a secret", SECRET * 4])
def test_what_is_no_secret_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PAGER", text)
    with pytest.raises(ValueError, match="the environment variable PAGER holds no secret") as refused:
        EscalationSettings(secret_env="PAGER").secret()
    assert not text or text not in str(refused.value)


def test_words_may_travel_unencrypted_on_this_machine_alone() -> None:
    for url in ("https://pager.example/x", "http://127.0.0.1:9/x", "http://localhost/x"):
        EscalationSettings.model_validate({"url": url, "include_utterance": True})


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.touch()
    assert Settings.load(file) == Settings()


def test_each_emotion_has_a_threshold_and_one_may_stand_for_all() -> None:
    shipped = Policy().thresholds.emotion
    assert set(shipped) == set(Group)
    joy = Policy.model_validate({"emotion_thresholds": {"joy": 0.3}}).thresholds.emotion
    assert joy == {**shipped, Group.JOY: 0.3}
    for half in (0.5, "0.5"):  # as a variable of the environment has it
        assert Policy.model_validate({"emotion_threshold": half}).thresholds.emotion == dict.fromkeys(Group, 0.5)
    both = Policy.model_validate({"emotion_threshold": 0.5, "emotion_thresholds": {"joy": 0.3}})
    assert both.thresholds.emotion == {**dict.fromkeys(Group, 0.5), Group.JOY: 0.3}
    again = Policy.model_validate(both.model_dump(mode="json"))  # as it reaches a replica
    assert again.thresholds == both.thresholds
    assert again.version == both.version != Policy().version


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"emotion_threshold": 2}, ("emotion_threshold",)),
        ({"emotion_threshold": "half"}, ("emotion_threshold",)),
        ({"emotion_thresholds": {"joy": -1}}, ("emotion_thresholds", "joy")),
        ({"emotion_threshold": 0.5, "emotion_thresholds": {"glee": 0.5}}, ("emotion_thresholds", "glee")),
        ({"emotion_threshold": 0.5, "emotion_thresholds": 0.5}, ("emotion_thresholds",)),
        ({"review": {"hurting_at": 1.5}}, ("review", "hurting_at")),
    ],
)
def test_a_wrong_threshold_is_refused_where_it_was_written(wrong: dict[str, object], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        Policy.model_validate(wrong)
    assert [error["loc"] for error in refused.value.errors()] == [place]


def test_a_crisis_table_needs_every_language() -> None:
    with pytest.raises(ValidationError, match="backstop has no entry for 'zh'"):
        Policy.model_validate({"crisis": {"backstop": {"en": ["an end"]}}})
    with pytest.raises(ValidationError, match="no generic entry"):
        Policy.model_validate({"crisis": {"resources": {"en-US": [{"name": "Line", "contact": "call 1"}]}}})


def test_a_sentence_of_the_fixed_words_is_changed_alone() -> None:
    own = Policy.model_validate({"crisis": {"words": {"en": {"opening": {"thoughts": "Stay."}}}}}).crisis.words
    shipped = Policy().crisis.words
    assert own["en"].opening.thoughts == "Stay."
    assert own["en"].opening.generic == shipped["en"].opening.generic
    assert own["zh"] == shipped["zh"]


def test_a_crisis_table_of_before_is_read() -> None:
    table = {"template": {"en": "Old words."}, "introduction": {"zh": "旧的："}, "resources": {"en": []}}
    with pytest.raises(ValidationError, match="expected a list of rows"):
        Policy.model_validate({"crisis": table})
    table["resources"] = {"en": [{"name": "Line", "contact": "call 1"}]}
    crisis = Policy.model_validate({"crisis": table}).crisis
    assert (crisis.words["en"].template, crisis.words["zh"].introduction) == ("Old words.", "旧的：")
    assert crisis.resources["en"][0].name == "Line"


def test_a_crisis_needs_a_sequence_that_nobody_else_takes() -> None:
    with pytest.raises(ValidationError, match="two sequences"):
        Settings.model_validate({"counselor": {"max_num_seqs": 1}})
    with pytest.raises(ValidationError, match="beside engine_args"):
        Settings.model_validate({"counselor": {"engine_args": {"max_num_seqs": 8}}})
    settings = Settings.model_validate(
        {"counselor": {"max_num_seqs": 10, "replicas": {"num_replicas": 2}}, "seeker": {"max_num_seqs": 12}}
    )
    assert settings.generations("counselor") == 12  # the smaller of the two engines' decides
    assert settings.policy.admission.ordinary(12) == 10
    assert Settings().policy.admission.ordinary(2) == 1


def test_permits_follow_the_replicas_that_run() -> None:
    settings = Settings.model_validate(
        {
            "ingress": {"num_replicas": 2},
            "memory": {"backend": "redis"},
            "counselor": {"max_num_seqs": 10, "replicas": {"num_replicas": 2}},
            "seeker": {"max_num_seqs": 40},
        }
    )
    assert (
        settings.generations("counselor")
        == settings.generations("counselor", {"classifier": 7, "counselor": 2, "seeker": 1})
        == 10
    )
    assert settings.generations("counselor", {"counselor": 1}) == 5
    assert settings.generations("counselor", {"counselor": 0}) == 5  # Serve starts another
    assert settings.generations("counselor", {"counselor": 9}) == 20  # all that the one seeker takes
    assert settings.generations("counselor", {"counselor": 9, "seeker": 2, "ingress": 1}) == 80
    assert (
        settings.generations("counselor", {"counselor": 1, "ingress": 50}) == 2
    )  # one for a crisis, one for the others


def test_permits_follow_what_the_engines_memory_holds() -> None:
    """Each engine's own, of the one that holds least; and a crisis has its place however little that is."""
    settings = Settings.model_validate(
        {"counselor": {"max_num_seqs": 40, "replicas": {"num_replicas": 2}}, "seeker": {"max_num_seqs": 100}}
    )
    assert settings.generations("counselor", {}, {}) == 80
    assert settings.generations("counselor", {}, {"counselor": 12}) == 24
    assert settings.generations("counselor", {"counselor": 5}, {"counselor": 12}) == 60
    assert settings.generations("counselor", {"counselor": 5}, {"counselor": 40, "seeker": 30}) == 30
    assert settings.generations("counselor", {"counselor": 0}, {"counselor": 12}) == 12  # Serve starts another
    least = settings.generations("counselor", {}, {"counselor": 40, "seeker": 1})
    assert (least, settings.policy.admission.ordinary(least)) == (2, 1)


@pytest.mark.parametrize(
    ("kv_tokens", "sequences"),
    [(None, 64), (10**9, 64), (64 * 1000, 64), (64 * 1000 - 1, 63), (5999, 5), (999, 1), (0, 1)],
)
def test_an_engine_takes_as_many_sequences_as_its_memory_holds(kv_tokens: int | None, sequences: int) -> None:
    assert GeneratorSettings(max_num_seqs=64, sequence_tokens=1000).sequences(kv_tokens) == sequences


def test_an_engine_that_two_lanes_need_is_divided_between_them() -> None:
    settings = Settings.model_validate(
        {
            "engines": {"mild": {"max_num_seqs": 40}, "ming": {"max_num_seqs": 6}, "judge": {"max_num_seqs": 24}},
            "roles": {"counselor": {"en": "mild", "zh": "ming"}, "review": "judge"},
        }
    )
    assert settings.generations("mild") == 12  # of the judge's 24
    assert settings.generations("ming") == 6
    assert settings.generations("mild", {"judge": 3}) == 36
    assert settings.generations("ming", {"ming": 3}) == 12
    with pytest.raises(
        ValidationError, match=r"two sequences of each engine \(judge and mild\) at least for the turns of"
    ):
        Settings.model_validate(
            {**settings.model_dump(), "engines": {"mild": {}, "ming": {}, "judge": {"max_num_seqs": 3}}}
        )


def test_a_shared_engine_may_scale_on_what_both_lanes_let_it_have() -> None:
    """The judge has 8 + 5 of its 20 at most: its two lanes' ordinary shares of 10 and of 6."""
    scaling = {"max_num_seqs": 20, "replicas": {"autoscaling": {"max_replicas": 2, "target": 0.6}}}
    given: dict[str, Any] = {
        "engines": {"mild": {}, "ming": {"max_num_seqs": 6}, "judge": scaling},
        "roles": {"counselor": {"en": "mild", "zh": "ming"}, "review": "judge"},
    }
    Settings.model_validate(given)
    scaling["replicas"] = {"autoscaling": {"max_replicas": 2, "target": 0.7}}
    with pytest.raises(ValidationError, match=r"judge\.replicas\.autoscaling\.target must be below 0\.65"):
        Settings.model_validate(given)


def test_bounds_take_the_place_of_a_number() -> None:
    """At the start there are the fewest engines. The most ingress replicas must find enough of those."""
    counselor = {"max_num_seqs": 10, "replicas": {"autoscaling": {"min_replicas": 2, "max_replicas": 6}}}
    ingress = {"autoscaling": {"max_replicas": 10}}
    given: dict[str, Any] = {"counselor": counselor, "ingress": ingress, "memory": {"backend": "redis"}}
    settings = Settings.model_validate(given)
    counselor_replicas = settings.engines["counselor"].replicas
    assert (counselor_replicas.least, counselor_replicas.most) == (2, 6)
    assert settings.generations("counselor") == 20
    assert settings.generations("counselor", {"counselor": 6, "ingress": 3}) == 20
    assert Settings.model_validate(settings.model_dump()) == settings
    with pytest.raises(ValidationError, match="two sequences"):
        Settings.model_validate(given | {"ingress": {"autoscaling": {"max_replicas": 11}}})


def test_an_engine_scales_on_what_admission_lets_it_have() -> None:
    """The seeker's ten bound the permits, so that the counselor is never fuller than 8 of 40."""
    given = {
        "counselor": {"max_num_seqs": 40, "replicas": {"autoscaling": {"max_replicas": 2}}},
        "seeker": {"max_num_seqs": 10},
    }
    with pytest.raises(ValidationError, match="must be below"):
        Settings.model_validate(given)
    Settings.model_validate(given | {"seeker": {"max_num_seqs": 40}})


def test_a_secret_in_the_wrong_place_is_not_shown() -> None:
    for wrong in ({"memory": {"url": "redis://:hunter2@host"}}, {"auth": {"keys": {"intake": "hunter2"}}}):
        with pytest.raises(ValidationError) as refused:
            Settings.model_validate(wrong)
        assert "hunter2" not in str(refused.value)


KEY, OTHER = "ab" * 32, "cd" * 32


def test_the_secrets_of_the_memory_come_from_files_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"index: {KEY}\nencrypt_with: two\nkeys: {{one: {KEY}, two: {OTHER}}}\n"
    (tmp_path / "url").write_text("redis://file\n")
    (tmp_path / "keys").write_text(text)
    files = MemorySettings(backend="redis", url_file=tmp_path / "url", keys_file=tmp_path / "keys")
    monkeypatch.setenv("PSYCHECHAT_REDIS_URL", "redis://environment")
    monkeypatch.setenv("PSYCHECHAT_MEMORY_KEYS", text)
    environment = MemorySettings(backend="redis")
    assert (files.url(), environment.url()) == ("redis://file", "redis://environment")
    for settings in (files, environment):
        assert settings.keys().keys["two"] == bytes.fromhex(OTHER)


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_without_its_secrets_the_memory_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    for variable in ("PSYCHECHAT_REDIS_URL", "PSYCHECHAT_MEMORY_KEYS"):
        monkeypatch.delenv(variable, raising=False)
    if text is not None:
        (tmp_path / "secret").write_text(text)
    files = MemorySettings(backend="redis", url_file=tmp_path / "secret", keys_file=tmp_path / "secret")
    for settings, found in ((files, "secret"), (MemorySettings(backend="redis"), "the environment's PSYCHECHAT_")):
        for read in (settings.url, settings.keys):
            with pytest.raises(SettingsError, match=found):
                read()


@pytest.mark.parametrize(
    "text",
    [
        f"{OTHER}: [",
        OTHER,
        f"index: {OTHER}",
        f"index: {OTHER}\nencrypt_with: one\nkeys: {{}}",
        f"index: {OTHER}\nencrypt_with: two\nkeys: {{one: {OTHER}}}",
        f"index: {OTHER[:-1]}\nencrypt_with: one\nkeys: {{one: {OTHER}}}",
        f"index: {OTHER}\nencrypt_with: one\nkeys: {{one: {OTHER}ef}}",
        f"index: {OTHER}\nencrypt_with: one\nkeys: {{{OTHER}ef: one}}",
        f"index: {OTHER}\nencrypt_with: one\nkeys: {{one: {OTHER}}}\n{OTHER}: more",
        f"index: {'12' * 32}\nencrypt_with: one\nkeys: {{one: {OTHER}}}",  # YAML reads a number
    ],
)
def test_wrong_keys_of_the_memory_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(SettingsError, match="psychechat keys memory") as refused:
        MemorySettings(backend="redis", keys_file=tmp_path / "keys").keys()
    assert OTHER[:8] not in str(refused.value)
    assert "1212" not in str(refused.value)
