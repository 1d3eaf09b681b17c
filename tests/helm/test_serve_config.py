"""The Serve config that the chart renders is our settings, and Ray takes it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from psychechat import prompts
from psychechat.config import ModelSettings, Replicas, Settings
from psychechat.policy import Policy
from psychechat.prompts.importer import import_pack
from psychechat_ray.app import build
from psychechat_ray.configurations import load
from tests.helm.charts import CHART, EXAMPLES, Helm, Rendered
from tests.support.published import checkout, client


@pytest.fixture(autouse=True, scope="module")
def _published_pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A stand-in for the prompts that a config map has in the pods, and nobody here."""
    folder = tmp_path_factory.mktemp("published")
    import_pack(checkout(folder, client()), folder / "pack")
    read = prompts.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "load", lambda pack: read(folder / "pack" if pack == "/packs/published" else pack))
        yield


def settings(rendered: Rendered) -> Settings:
    """As the replicas have them: `args`, and the policy that is the ingress's user_config."""
    application = rendered.application
    [ingress] = [deployment for deployment in application["deployments"] if deployment["name"] == "ingress"]
    return Settings.model_validate({**application["args"], "policy": ingress.get("user_config", {})})


def test_ray_takes_it(rendered: Rendered) -> None:
    config = ServeDeploySchema.model_validate(rendered.serve_config)
    assert [application.name for application in config.applications] == ["psychechat"]
    assert config.http_options.port == 8000


def test_it_is_what_the_values_say_and_where_secrets_are(rendered: Rendered) -> None:
    given = settings(rendered)
    assert given.host == "0.0.0.0"
    assert str(given.auth.keys_file).startswith("/etc/psychechat/")


@pytest.mark.parametrize("file", [CHART / "values.yaml", *EXAMPLES], ids=lambda path: path.stem)
def test_values_app_has_the_shape_of_a_settings_file(file: Any) -> None:
    app = yaml.safe_load(file.read_text()).get("app", {})
    keys = {"auth": {"keys": {"somebody": "0" * 64}}}
    Settings.model_validate({**app, **keys})


def test_numbers_arrive_as_they_were_written(helm: Helm) -> None:
    """Helm reads integers as floats: a million must not become 1e+06, which YAML takes for a text."""
    rendered = helm.render("app.policy.limits.body_bytes=2000000", "app.memory.ttl_seconds=86400000")
    assert settings(rendered).policy.limits.body_bytes == 2_000_000
    assert settings(rendered).memory.ttl_seconds == 86_400_000


def test_the_policy_is_apart_from_what_restarts_replicas(rendered: Rendered) -> None:
    assert "policy" not in rendered.application["args"]
    for deployment in rendered.application["deployments"]:
        assert set(deployment) <= {"name", "graceful_shutdown_timeout_s", "max_surge_percent", "user_config"}
        Policy.model_validate(deployment.get("user_config", {}))


def test_a_deployment_that_is_named_exists(rendered: Rendered) -> None:
    application = rendered.application
    built = build_app(build(application["args"]), name="psychechat")
    assert {d["name"] for d in application["deployments"]} == {deployment.name for deployment in built.deployments}


def test_every_engine_is_a_deployment_with_a_surge_of_its_own(helm: Helm) -> None:
    rendered = helm.render(
        'app.engines={"mild": {"max_num_seqs": 8}, "ming": {"max_num_seqs": 8}}',
        'app.roles={"counselor": {"en": "mild", "zh": "ming"}}',
        "serve.maxSurgePercent.ming=0",
    )
    surges = {d["name"]: d["max_surge_percent"] for d in rendered.application["deployments"]}
    assert surges == {"ingress": 100, "classifier": 100, "mild": 100, "ming": 0}
    assert settings(rendered).casting.lane("zh") == "ming"
    built = build_app(build(rendered.application["args"]), name="psychechat")
    assert {deployment.name for deployment in built.deployments} == set(surges)


@pytest.mark.parametrize(
    ("example", "config"),
    [("single-gpu", "single-gpu"), ("cpu-demo", "demo-cpu"), ("psychechat", "psychechat-8b-four-gpus")],
)
def test_an_example_serves_as_the_configuration_of_its_name(helm: Helm, example: str, config: str) -> None:
    """Other than where the engines' threads run, what the operator's side of the chart says, and who looks inside."""
    charted, configured = settings(helm.render(values=CHART / f"ci/{example}-values.yaml")), load(config)
    assert charted.casting == configured.casting
    pairs: list[tuple[ModelSettings, ModelSettings]] = [(charted.classifier, configured.classifier)]
    pairs += [(charted.engines[name], configured.engines[name]) for name in configured.engines]
    for one, other in pairs:
        assert one.model_copy(update={"replicas": Replicas()}) == other.model_copy(update={"replicas": Replicas()})
        assert (one.replicas.num_cpus, one.replicas.num_gpus) == (other.replicas.num_cpus, other.replicas.num_gpus)
    assert charted.policy == configured.policy.model_copy(update={"show_stages": False})


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_replica_finds_a_place(values: Path, helm: Helm) -> None:
    """Of the fewest that there may be, on the pods that the groups have without the autoscaler, whichever comes first
    and on whichever pod that has room: Serve spreads them.
    """
    rendered = helm.render(values=values)
    nodes, needs = capacity(rendered, "min_workers"), demand(settings(rendered), "least")
    assert (left := without_a_place([need for name in needs for need in needs[name]], nodes)) is None, left


def test_a_share_of_a_gpu_on_one_of_the_whole_ones_leaves_an_engine_without_a_place() -> None:
    """What the largest first would hide."""
    whole, share = exact({"GPU": 1}), exact({"GPU": 0.1})
    assert without_a_place([whole, exact({"GPU": 0.9}), share], [exact({"GPU": 1})] * 2) is not None
    assert without_a_place([whole, whole], [exact({"GPU": 1})] * 2) is None


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_where_no_engine_has_room_for_one_more_there_is_no_second_cluster(values: Path, helm: Helm) -> None:
    """It would need as much again, and wait for ever."""
    rendered = helm.render(values=values)
    surges = {d["name"]: d["max_surge_percent"] for d in rendered.application["deployments"] if d["name"] != "ingress"}
    no_room = not any(surges.values())
    assert (rendered.only("RayService")["spec"]["upgradeStrategy"]["type"] == "None") is no_room


def test_an_update_finds_a_place_for_one_more(rendered: Rendered) -> None:
    """Of each deployment that is replaced before the old one goes. The autoscaler may add pods for it."""
    nodes, needs = capacity(rendered, "max_workers"), demand(settings(rendered), "most")
    surging = [d["name"] for d in rendered.application["deployments"] if d["max_surge_percent"]]
    place([need for name in needs for need in needs[name]] + [needs[name][0] for name in surging], nodes)


def capacity(rendered: Rendered, bound: str) -> list[Counter[str]]:
    """The pods of the worker groups, at least (`min_workers`) or at most, as Ray's own autoscaler reads them."""
    cluster = {"metadata": {"name": "x", "namespace": "y"}, "spec": rendered.cluster}
    kinds = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    return [exact(kind["resources"]) for kind in kinds.values() for _ in range(kind[bound])]


def demand(given: Settings, bound: Literal["least", "most"]) -> dict[str, list[Counter[str]]]:
    models = {"classifier": given.classifier, **given.engines}
    parts = {"ingress": given.ingress, **{name: model.replicas for name, model in models.items()}}
    return {
        name: [exact({"CPU": part.num_cpus, "GPU": part.num_gpus, **part.resources})] * getattr(part, bound)
        for name, part in parts.items()
    }


def place(needs: list[Counter[str]], nodes: list[Counter[str]]) -> None:
    """First fit, the largest first."""
    for need in sorted(needs, key=lambda need: (need["GPU"], need["CPU"]), reverse=True):
        node = next((node for node in nodes if need <= node), None)
        assert node is not None, f"no pod has {need}"
        node.subtract(need)


def without_a_place(needs: list[Counter[str]], nodes: list[Counter[str]]) -> list[Counter[str]] | None:
    """Those that wait, for one of which no pod has room, after some order of placing the others anywhere. None: there
    is no such order.
    """
    seen = set[tuple[Any, Any]]()

    def left(waiting: list[Counter[str]], free: list[Counter[str]]) -> list[Counter[str]] | None:
        state = frozen(waiting), frozen(free)
        if state in seen:
            return None
        seen.add(state)
        for at, need in enumerate(waiting):
            room = [n for n, node in enumerate(free) if need <= node]
            if not room:
                return waiting
            for n in room:
                found = left(waiting[:at] + waiting[at + 1 :], [*free[:n], free[n] - need, *free[n + 1 :]])
                if found is not None:
                    return found
        return None

    return left(needs, nodes)


def frozen(several: list[Counter[str]]) -> tuple[Any, ...]:
    """The same for each order of them."""
    return tuple(sorted(tuple(sorted(resources.items())) for resources in several))


def exact(resources: Mapping[str, float]) -> Counter[str]:
    """In ten-thousandths, as Ray counts them: 0.9 and 0.1 are 1."""
    return Counter({name: round(amount * 10_000) for name, amount in resources.items()})
