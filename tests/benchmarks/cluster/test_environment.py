"""A container's environment as Kubernetes makes it of a manifest."""

from typing import Any

import pytest

from benchmarks.cluster.environment import environment, expanded

METADATA = {"name": "rel-a", "namespace": "chat", "labels": {"ray.io/group": "engines"}}


def test_a_value_may_name_those_before_it() -> None:
    entries: list[dict[str, Any]] = [
        {"name": "URL", "value": "redis://:$(PASSWORD)@redis"},  # not known yet
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}},
        {"name": "LATER", "value": "redis://:$(PASSWORD)@redis"},
    ]
    found = environment(entries, secrets={"redis": {"password": "abc"}}, metadata=METADATA, ip="10.1.1.1")
    assert found == {"URL": "redis://:$(PASSWORD)@redis", "PASSWORD": "abc", "LATER": "redis://:abc@redis"}


def test_a_dollar_may_be_meant() -> None:
    assert expanded("$$(NAME) $(NAME) $NAME $(OTHER)", {"NAME": "a"}) == "$(NAME) a $NAME $(OTHER)"


def test_a_pod_knows_what_it_is_called() -> None:
    paths = ["metadata.name", "metadata.namespace", "metadata.labels['ray.io/group']", "status.podIP"]
    entries = [{"name": str(n), "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in enumerate(paths)]
    found = environment(entries, secrets={}, metadata=METADATA, ip="10.1.1.1")
    assert list(found.values()) == ["rel-a", "chat", "engines", "10.1.1.1"]


def test_a_secret_that_is_missing_and_a_source_that_is_not_acted_out_are_told() -> None:
    entry = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}
    with pytest.raises(KeyError):
        environment([entry], secrets={}, metadata=METADATA, ip="")
    with pytest.raises(ValueError, match="configMapKeyRef"):
        environment([{"name": "A", "valueFrom": {"configMapKeyRef": {}}}], secrets={}, metadata=METADATA, ip="")
