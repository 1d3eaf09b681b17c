"""How models come to the engines: from the hub, from a cache that a Job fills first, or from a volume of your own."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from psychechat.config import Settings
from psychechat_ray.cli import app as commands
from tests.helm.charts import CHART, Helm, Manifest, Rendered

PRODUCTION = CHART / "ci/production-values.yaml"
PUBLIC = {
    "demo",
    "Qwen/Qwen3-8B",
    *(f"Johnnyfans/PsycheChat-{name}-Qwen3-8B" for name in ("Counselor-Agent-Mode", "Counselor-LLM-Mode", "Seeker")),
}
PREPARED = ("modelCache.prepare.enabled=true", "modelCache.existingClaim=models")


def variables(pod: Manifest) -> dict[str, Manifest]:
    return {variable["name"]: variable for variable in pod["spec"]["containers"][0]["env"]}


def models_of(pod: Manifest) -> Manifest:
    [volume] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "models"]
    return {key: value for key, value in volume.items() if key != "name"}


class TestToken:
    """Of the hub. A pod whose secret is not there never starts."""

    def test_no_example_asks_for_a_secret_that_it_can_do_without(self, rendered: Rendered) -> None:
        """By what its settings need, and its pods are to find. The models are all published, so none needs a token."""
        settings = Settings.model_validate(rendered.application["args"])
        assert {model.model for model in (settings.classifier, *settings.engines.values())} <= PUBLIC
        needed = {"api-keys"}
        needed |= {"memory-keys", "redis-url"} if settings.memory.backend == "redis" else set()
        needed |= {"escalation"} if settings.escalation.url or settings.escalation.url_file else set()
        pods = rendered.pods.values()
        mounted = {v["name"] for pod in pods for v in pod["spec"]["volumes"] if "secret" in v}
        assert mounted <= needed
        asked = {name for pod in pods for name, variable in variables(pod).items() if "secretKeyRef" in str(variable)}
        assert asked <= ({"PSYCHECHAT_REDIS_PASSWORD"} if rendered.of_kind("Deployment") else set())

    def test_only_engines_have_it_and_only_where_it_is_given(self, helm: Helm) -> None:
        pods = helm.render("secrets.huggingFace.existingSecret=hf").pods
        having = {name for name, pod in pods.items() if "HF_TOKEN" in variables(pod)}
        assert having == {"engines"}
        assert not any("HF_TOKEN" in variables(pod) for pod in helm.render().pods.values())


class TestOffline:
    def test_engines_ask_no_hub(self, helm: Helm) -> None:
        pods = helm.render("modelCache.offline=true", "modelCache.existingClaim=models").pods
        assert {n: variables(pod).get("HF_HUB_OFFLINE", {}).get("value") for n, pod in pods.items()} == {
            "head": None,
            "ingress": None,
            "engines": "1",
        }

    def test_by_default_they_may(self, helm: Helm) -> None:
        assert "HF_HUB_OFFLINE" not in str(helm.render().manifests)


class TestVolume:
    def test_it_is_what_the_values_say(self, helm: Helm) -> None:
        own = {"hostPath": {"path": "/var/models"}}
        for sets, expected in (
            ([], {"emptyDir": {}}),
            (["modelCache.enabled=true"], {"persistentVolumeClaim": {"claimName": "rel-psychechat-models"}}),
            (["modelCache.existingClaim=m"], {"persistentVolumeClaim": {"claimName": "m"}}),
            ([f"modelCache.volume={own}".replace("'", '"')], own),
        ):
            pods = helm.render(*sets).pods
            assert models_of(pods["engines"]) == expected
            assert models_of(pods["ingress"]) == models_of(pods["head"]) == {"emptyDir": {}}


class TestPrepare:
    def test_it_comes_before_all_else_and_fills_what_engines_read(self, helm: Helm) -> None:
        rendered = helm.render(*PREPARED)
        job, settings = rendered.only("Job"), rendered.only("ConfigMap")
        hooks = [manifest["metadata"]["annotations"] for manifest in (settings, job)]
        assert {hook["helm.sh/hook"] for hook in hooks} == {"pre-install,pre-upgrade,pre-rollback"}
        weights = [int(hook.get("helm.sh/hook-weight", "0")) for hook in hooks]
        assert weights[0] < weights[1]  # the settings first
        pod, engines = job["spec"]["template"], rendered.pods["engines"]
        assert models_of(pod) == models_of(engines)
        for name in ("HF_HOME", "HOME"):
            assert variables(pod)[name] == variables(engines)[name]
        [mine] = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["name"] == "models"]
        assert mine in engines["spec"]["containers"][0]["volumeMounts"]
        assert "HF_HUB_OFFLINE" not in variables(pod)

    def test_it_asks_for_nothing_that_is_made_later(self, helm: Helm) -> None:
        """Hooks run before the release's own objects are there: its service account, its claim."""
        rendered = helm.render(*PREPARED)
        pod = rendered.only("Job")["spec"]["template"]["spec"]
        assert "serviceAccountName" not in pod
        assert not rendered.of_kind("PersistentVolumeClaim")
        [settings] = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
        assert settings == rendered.only("ConfigMap")["metadata"]["name"]

    def test_it_is_where_the_engines_are(self, helm: Helm) -> None:
        """A claim that one node at a time may have is attached there already."""
        rendered = helm.render(*PREPARED)
        [term] = rendered.only("Job")["spec"]["template"]["spec"]["affinity"]["podAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        wanted = term["podAffinityTerm"]["labelSelector"]["matchLabels"].items()
        assert [n for n, pod in rendered.pods.items() if wanted <= pod["metadata"]["labels"].items()] == ["engines"]

    def test_its_command_takes_its_settings(self, helm: Helm, tmp_path: Path) -> None:
        """Run as it stands, with the demo's models: the settings name files of secrets that the Job has not."""
        rendered = helm.render(*PREPARED, "app.classifier.engine=scripted", f"app.cache={tmp_path}")
        [container] = rendered.only("Job")["spec"]["template"]["spec"]["containers"]
        file = tmp_path / "settings.yaml"
        file.write_text(rendered.only("ConfigMap")["data"]["settings.yaml"])
        program, *command = container["command"]
        assert program == "psychechat"
        mounted = next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "settings")
        assert command[-1] == f"{mounted}/settings.yaml"
        done = CliRunner().invoke(commands, [*command[:-1], str(file)])
        assert done.exit_code == 0, done.output
        assert "counselor: " in done.output

    def test_production_prepares_every_model_that_it_serves(self, helm: Helm) -> None:
        rendered = helm.render(values=PRODUCTION)
        prepared = next(m for m in rendered.of_kind("ConfigMap") if m["metadata"]["name"].endswith("-prepare"))
        settings = Settings.model_validate(yaml.safe_load(prepared["data"]["settings.yaml"]))
        served = Settings.model_validate(rendered.application["args"])
        assert {n: e.model for n, e in settings.engines.items()} == {n: e.model for n, e in served.engines.items()}
        assert "counselor" in settings.engines


class TestStart:
    def test_an_engine_has_the_time_that_the_values_say(self, helm: Helm) -> None:
        """vLLM gives it ten minutes, downloads included."""
        for sets, seconds in (([], "1800"), (["engineStartSeconds=60"], "60")):
            pods = helm.render(*sets).pods
            assert variables(pods["engines"])["VLLM_ENGINE_READY_TIMEOUT_S"]["value"] == seconds

    def test_every_pod_asks_for_disk(self, rendered: Rendered) -> None:
        """What an emptyDir holds is the node's; a pod that asks for none is evicted first."""
        for pod in rendered.pods.values():
            assert "ephemeral-storage" in pod["spec"]["containers"][0]["resources"]["requests"]


class TestContainers:
    def test_others_stand_behind_rays_own(self, helm: Helm) -> None:
        """KubeRay takes the first container for Ray's."""
        given = '[{"name": "pull", "image": "s3-client:1"}]'
        groups, keys = ("head", "workerGroups.engines"), ("initContainers", "extraContainers")
        rendered = helm.render(*(f"{group}.{key}={given}" for group in groups for key in keys))
        for name, first in (("head", "ray-head"), ("engines", "ray-worker")):
            spec = rendered.pods[name]["spec"]
            assert [container["name"] for container in spec["containers"]] == [first, "pull"]
            assert [container["name"] for container in spec["initContainers"]] == ["pull"]
        assert "initContainers" not in rendered.pods["ingress"]["spec"]


def secrets_told(notes: str) -> dict[str, set[str]]:
    """What the notes list: an indented name, and its keys in parentheses."""
    _, _, rest = notes.partition("These secrets must be there")
    lines = rest.partition("\n2. ")[0].splitlines()
    listed = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    keys = {name: more[0].strip("()").split(" ", 1)[1].split(", ") if more else [] for name, *more in listed}
    return {name: set(each) for name, each in keys.items()}
