"""What must hold of every set of values, and what the chart refuses. No cluster: what Helm renders is read."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from prometheus_client import generate_latest

from helm import generate
from psychechat.policy import Limits
from psychechat.telemetry import Metrics
from psychechat_ray import haproxy
from psychechat_ray.environment import DEFAULTS
from psychechat_ray.server import OBJECT_STORE_BYTES
from tests.helm.charts import CHART, EXAMPLES, Helm, Manifest, Refused, Rendered

ROOT = CHART.parent
SHARED = ROOT.parent / "shared"
CUSTOM = {"ray.io/v1", "monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"}
KUBERAYS_OWN = {"networkPolicy", "tlsOptions", "authOptions"}
needs_shared = pytest.mark.skipif(
    not SHARED.exists(),
    reason="the schemas of KubeRay and of Prometheus's operator are not beside this checkout (../shared)",
)


@pytest.mark.parametrize("values", [None, *EXAMPLES], ids=lambda path: path.stem if path else "values")
def test_both_helms_find_no_fault_and_render_the_same(values: Path | None, each_helm: Helm, helm: Helm) -> None:
    given = ("--values", values) if values else ()
    each_helm.run("lint", "--strict", CHART, *given)
    assert each_helm.render(values=values) == helm.render(values=values)


def test_what_is_generated_from_the_values_is_current() -> None:
    assert (CHART / "README.md").read_text() == generate.readme(), "run `python -m helm.generate`"
    assert (CHART / "values.schema.json").read_text() == generate.schema(), "run `python -m helm.generate`"


def test_every_value_is_explained_or_speaks_for_itself() -> None:
    rows = [line for line in generate.readme().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    for top in ("app", "secrets", "drain", "head", "workerDefaults", "workerGroups", "networkPolicy"):
        assert any(row.startswith(f"| `{top}") and not row.endswith("|  |") for row in rows), top


def test_versions_are_those_of_the_project() -> None:
    assert yaml.safe_load((CHART / "values.yaml").read_text())["rayVersion"] == ray.__version__
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version("psychechat-server")


@pytest.mark.parametrize("kubernetes", ["1.30", "1.34"])
def test_kubernetes_takes_every_manifest(rendered: Rendered, kubernetes: str) -> None:
    pods = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": p}
        for p in rendered.pods.values()
    ]
    known = [manifest for manifest in rendered.manifests if manifest["apiVersion"] not in CUSTOM]
    for manifest in known + pods:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)


@needs_shared
def test_kuberay_takes_the_ray_service(rendered: Rendered, tmp_path: Path) -> None:
    assert_kuberay_takes(rendered, tmp_path)


@needs_shared
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("networkPolicy", {"mode": "DenyAll"}),
        (
            "networkPolicy",
            {
                "mode": "DenyAllIngress",
                "head": {"ingressRules": [{"from": [{"podSelector": {}}], "ports": [{"port": 8265}]}]},
                "workerGroups": [{"groupName": "ingress", "ingressRules": [{"ports": [{"port": "serve"}]}]}],
            },
        ),
        ("tlsOptions", {"enabled": True}),
        ("authOptions", {"mode": "token", "secretName": "ray-token"}),
    ],
    ids=["networkPolicy", "networkPolicy with rules", "tlsOptions", "authOptions"],
)
def test_kuberay_takes_its_own_options_as_they_are_given(
    helm: Helm, name: str, given: dict[str, Any], tmp_path: Path
) -> None:
    rendered = helm.render(f"rayCluster.{name}={json.dumps(given)}")
    others = {"authOptions": {"mode": "token"}}
    assert {key: rendered.cluster[key] for key in KUBERAYS_OWN & set(rendered.cluster)} == others | {name: given}
    assert_kuberay_takes(rendered, tmp_path)


def test_images_can_be_named_by_digest(helm: Helm) -> None:
    digest = f"sha256:{'ab' * 32}"
    own = {"": f"psychechat-server@{digest}", "0.1.0-cpu": f"psychechat-server:0.1.0-cpu@{digest}"}
    for tag, image in own.items():
        rendered = helm.render(
            f"image.tag={tag}",
            f"image.digest={digest}",
            "head.image=registry.example/psychechat-server:0.1.0-cpu",
            f"workerGroups.engines.image=registry.example/psychechat-server:0.1.0-gpu@{digest}",
            "redis.enabled=true",
            "redis.existingSecret=psychechat-redis",
            f"redis.image=redis:7.4-alpine@{digest}",
        )
        images = {name: pod["spec"]["containers"][0]["image"] for name, pod in rendered.pods.items()}
        assert images == {
            "head": "registry.example/psychechat-server:0.1.0-cpu",
            "ingress": image,
            "engines": f"registry.example/psychechat-server:0.1.0-gpu@{digest}",
        }
        redis = rendered.only("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
        assert redis == f"redis:7.4-alpine@{digest}"
    assert helm.render().pods["head"]["spec"]["containers"][0]["image"] == "psychechat-server:0.1.0-cpu"


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_who_asks_for_gpus_is_told_of_their_driver(helm: Helm, values: Path) -> None:
    notes = helm.run("install", "rel", CHART, "--dry-run=client", "--values", values).partition("NOTES:")[2]
    assert ("driver 580 or newer" in notes) is ("nvidia.com/gpu" in values.read_text("utf-8"))


@needs_shared
@pytest.mark.parametrize("values", [None, CHART / "ci/multi-gpu-values.yaml"], ids=["values", "multi-gpu-values"])
def test_prometheus_operator_takes_what_is_for_it(helm: Helm, values: Path | None, tmp_path: Path) -> None:
    asked = () if values else ("podMonitor.enabled=true", "prometheusRule.enabled=true")
    rendered = helm.render(*asked, values=values, chart=with_sample_files(tmp_path))
    for kind in ("PodMonitor", "PrometheusRule"):
        schema = (SHARED / f"schemas/monitoring/{kind.lower()}_v1.json").read_text()
        schema = schema.replace("^(?i)", "(?i)^")  # Go's way of saying so is not Python's
        jsonschema.validate(rendered.only(kind), json.loads(schema))


@pytest.mark.parametrize(
    "mistake",
    [
        "imgae.tag=x",
        "image.digest=0.1.0",
        "tls.existingSecret=t",
        "app.counsellor.model=x",
        "app.engines.mild.modle=x",
        "app.roles.judge=x",
        "app.policy.limits.turn_secs=5",
        "app.policy.risk.ideation=2",
        "app.ingress.num_cpus=many",
        "head.x=1",
        "workerGroups.engines.replcas=2",
        "drain.gracefulShutdownSeconds=soon",
        "upgradeStrategy.type=Sometimes",
        "rayCluster.authOptions.mode=tokens",
        "networkPolicy.clients=everybody",
        "slo.ttftSeconds=3",
        "prometheusRule.runbookBaseUrl=docs",
    ],
)
def test_what_is_mistyped_is_refused(each_helm: Helm, mistake: str) -> None:
    with pytest.raises(Refused, match="schema"):
        each_helm.render(mistake)


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [
        (["secrets.apiKeys.existingSecret="], "psychechat keys new"),
        (["app.memory.backend=redis"], "secrets.redisUrl.existingSecret"),
        (["app.memory.backend=redis", "secrets.redisUrl.existingSecret=r"], "psychechat keys memory"),
        (["app.escalation.url=https://pager.example"], "secrets.escalation.existingSecret"),
        (["app.escalation.url_file=/etc/pager"], "secrets.escalation.existingSecret"),
        (["secrets.escalation.urlKey=url"], "secrets.escalation.existingSecret"),
        (
            ["app.escalation.url=https://a", "secrets.escalation.urlKey=url", "secrets.escalation.existingSecret=e"],
            "take one",
        ),
        (["redis.enabled=true"], "redis.existingSecret"),
        (["gcsFaultTolerance.enabled=true"], "gcsFaultTolerance.redisAddress"),
        (["app.counselor.max_num_seqs=8", "app.engines.mild.max_num_seqs=8"], "write app.engines.counselor"),
        (["modelCache.prepare.enabled=true"], "modelCache.existingClaim"),
        (["modelCache.prepare.enabled=true", "modelCache.enabled=true"], "modelCache.existingClaim"),
        (
            ["modelCache.prepare.enabled=true", 'modelCache.volume={"hostPath": {"path": "/var/models"}}'],
            "hostPath is another one on each node",
        ),
        (["modelCache.prepare.enabled=true", 'modelCache.volume={"emptyDir": {"sizeLimit": "9Gi"}}'], "emptyDir is"),
        (["app.ingress.resources.elsewhere=1"], "could run nowhere"),
        (["workerGroups.engines.minReplicas=2"], "minReplicas"),
        (["workerGroups.engines.minAvailable=1"], "could ever be drained"),
        (["fullnameOverride=a-name-that-is-rather-too-long-for-what-kuberay-adds"], "47 characters"),
        (["ingress.enabled=true"], "ingress.hosts"),
        (["httpRoute.enabled=true"], "httpRoute.parentRefs"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(helm: Helm, sets: list[str], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        helm.render(*sets)


class TestDrain:
    def seconds(self, rendered: Rendered) -> list[float]:
        """What ends a turn, from what should do so first to what must do so last."""
        application, pod = rendered.application, rendered.pods["head"]
        policy = next(d for d in application["deployments"] if d["name"] == "ingress").get("user_config", {})
        turn = policy.get("limits", {}).get("turn_seconds", Limits().turn_seconds)
        environment = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
        graceful = {deployment["graceful_shutdown_timeout_s"] for deployment in application["deployments"]}
        graces = {template["spec"]["terminationGracePeriodSeconds"] for template in rendered.pods.values()}
        assert len(graceful) == len(graces) == 1
        assert float(environment["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"]) > turn
        assert rendered.only("RayService")["spec"]["rayClusterDeletionDelaySeconds"] > turn
        return [turn, float(environment["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]), graceful.pop(), graces.pop()]

    def test_who_may_end_a_turn_comes_after_its_deadline(self, rendered: Rendered) -> None:
        seconds = self.seconds(rendered)
        assert seconds == sorted(set(seconds))

    def test_a_pod_gives_its_replicas_all_their_time_before_it_stops(self, rendered: Rendered) -> None:
        _, _, graceful, grace = self.seconds(rendered)
        for name, pod in rendered.pods.items():
            [container] = pod["spec"]["containers"]
            if name == "head":
                assert "lifecycle" not in container
            else:
                *command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
                assert command == ["python", "-m", "psychechat_ray.drain", "--seconds"]
                assert graceful < int(seconds) < grace

    @pytest.mark.parametrize(("turn", "expected"), [("90", [90, 120, 150, 210]), ("200.5", [200.5, 231, 261, 321])])
    def test_a_longer_turn_moves_all(self, helm: Helm, turn: str, expected: list[float]) -> None:
        assert self.seconds(helm.render(f"app.policy.limits.turn_seconds={turn}")) == expected

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ("drain.haproxyHardStopSeconds=90", "a turn would be cut"),
            ("drain.gracefulShutdownSeconds=120", "before its connections"),
            ("drain.terminationGraceSeconds=165", "before its replicas"),
            ("drain.minDrainingSeconds=150", "minDrainingSeconds"),
            ("haproxy.timeoutServerSeconds=90", "a turn would be cut"),
        ],
    )
    def test_an_order_that_would_cut_a_turn_is_refused(self, helm: Helm, values: str, complaint: str) -> None:
        with pytest.raises(Refused, match=complaint):
            helm.render(values)


class TestSecrets:
    def test_none_is_rendered(self, rendered: Rendered) -> None:
        assert not rendered.of_kind("Secret")
        for container in containers(rendered):
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in ("PASSWORD", "TOKEN", "SECRET")):
                    assert set(variable) == {"name", "valueFrom"}, variable["name"]

    def test_only_where_the_ingress_runs(self, helm: Helm) -> None:
        rendered = helm.render(values=CHART / "ci/multi-gpu-values.yaml")
        found = {
            name: {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
            for name, pod in rendered.pods.items()
        }
        all_of_them = {"psychechat-keys", "psychechat-redis", "psychechat-memory", "psychechat-escalation"}
        assert found == {"head": set(), "ingress": all_of_them, "large": set(), "small": set()}

    def test_the_settings_say_where_they_are_mounted(self, helm: Helm) -> None:
        rendered = helm.render(values=CHART / "ci/multi-gpu-values.yaml")
        args, pod = rendered.application["args"], rendered.pods["ingress"]["spec"]
        keys = {"api-keys": "keys.yaml", "redis-url": "url", "memory-keys": "memory.yaml", "escalation": "secret"}
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        files = {
            "api-keys": args["auth"]["keys_file"],
            "redis-url": args["memory"]["url_file"],
            "memory-keys": args["memory"]["keys_file"],
            "escalation": args["escalation"]["secret_file"],
        }
        assert files == {name: f"{mounts[name]}/{key}" for name, key in keys.items()}

    def test_where_events_go_may_be_one(self, helm: Helm) -> None:
        rendered = helm.render("secrets.escalation.existingSecret=pager", "secrets.escalation.urlKey=hook")
        [mount] = [
            mount["mountPath"]
            for mount in rendered.pods["ingress"]["spec"]["containers"][0]["volumeMounts"]
            if mount["name"] == "escalation"
        ]
        assert rendered.application["args"]["escalation"] == {
            "secret_file": f"{mount}/secret",
            "url_file": f"{mount}/hook",
        }

    def test_the_bundled_redis_needs_no_secret_with_a_url(self, helm: Helm) -> None:
        rendered = helm.render(values=CHART / "ci/cpu-demo-values.yaml")
        [container] = rendered.pods["ingress"]["spec"]["containers"]
        names = [variable["name"] for variable in container["env"]]
        assert names.index("PSYCHECHAT_REDIS_PASSWORD") < names.index("PSYCHECHAT_REDIS_URL")  # which quotes it
        url = container["env"][names.index("PSYCHECHAT_REDIS_URL")]["value"]
        service = rendered.only("Service")["metadata"]["name"]
        assert url == f"redis://:$(PSYCHECHAT_REDIS_PASSWORD)@{service}.chat.svc:6379/1"
        assert rendered.cluster["gcsFaultToleranceOptions"]["redisAddress"] == f"redis://{service}.chat.svc:6379"
        assert "PSYCHECHAT_REDIS_URL" not in str(rendered.pods["engines"])


class TestPods:
    def test_ray_reads_the_same_everywhere(self, rendered: Rendered) -> None:
        """Serve's front, its controller and its replicas are on different nodes, and must agree."""
        environments = [
            {
                v["name"]: v["value"]
                for v in pod["spec"]["containers"][0]["env"]
                if v["name"].startswith("RAY_") or v["name"] in DEFAULTS
            }
            for pod in rendered.pods.values()
        ]
        assert all(environment == environments[0] for environment in environments)
        differs = {
            "RAY_SERVE_HAPROXY_BINARY_PATH",  # the image's
            "RAY_SERVE_HAPROXY_NBTHREAD",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
        }
        of_the_stop = {"RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S"}  # of `psychechat serve`; a pod drains in its own way
        expected = {name: value for name, value in DEFAULTS.items() if name not in differs | of_the_stop}
        assert expected.items() <= environments[0].items()
        assert differs <= set(environments[0])

    def test_haproxy_is_what_the_image_installs_and_bounds_headers(self, rendered: Rendered) -> None:
        """Ray starts none where the file is missing."""
        [prefix] = re.findall(r"^ENV VENV=(\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
        for pod in rendered.pods.values():
            environment = {v["name"]: v.get("value") for v in pod["spec"]["containers"][0]["env"]}
            folder, _, name = environment["RAY_SERVE_HAPROXY_BINARY_PATH"].rpartition("/")
            assert folder == f"{prefix}/bin"
            assert scripts[name] == "psychechat_ray.haproxy:main"
            assert environment[haproxy.HEADERS_SECONDS] == "30"

    def test_what_engines_download_and_compile_outlives_a_pod_but_no_image(self, helm: Helm) -> None:
        """It lies on the volume of the models, and code that was compiled for one image is no other's."""
        image = f"registry.example:5000/psychechat-server:0.2.0-gpu@sha256:{'ab' * 32}"
        folders = []
        for given in ("modelCache.enabled=true", f"workerGroups.engines.image={image}"):
            [container] = helm.render("modelCache.enabled=true", given).pods["engines"]["spec"]["containers"]
            environment = {v["name"]: v.get("value") for v in container["env"]}
            [models] = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "models"]
            named = [environment[name] for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE")]
            assert all(Path(folder).is_relative_to(models) for folder in [*named, environment["HF_HOME"]])
            assert all(re.fullmatch(r"[\w/.-]+", folder) for folder in named)
            folders += named
        assert len(set(folders)) == 6

    def test_they_may_do_nothing_that_they_need_not(self, rendered: Rendered) -> None:
        owners = rendered.of_kind("Deployment") + rendered.of_kind("Job")
        templates = [*rendered.pods.values(), *(owner["spec"]["template"] for owner in owners)]
        for pod in [*(template["spec"] for template in templates), rendered.only("Pod")["spec"]]:
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                assert {"requests", "limits"} == set(container["resources"])

    def test_none_may_dump_its_memory(self, rendered: Rendered) -> None:
        """KubeRay runs the container's command, and then `ray start`, in one shell."""
        for pod in rendered.pods.values():
            command = shlex.join(pod["spec"]["containers"][0]["command"])
            told = ["sh", "-c", f"ulimit -S -c $(ulimit -H -c) && {command} && sh -c 'ulimit -c'"]
            assert subprocess.run(told, capture_output=True, text=True, check=True).stdout.split() == ["0"]

    def test_only_the_autoscaler_may_speak_to_kubernetes(self, helm: Helm) -> None:
        for enabled in (False, True):
            pods = helm.render(f"autoscaler.enabled={str(enabled).lower()}").pods
            tokens = {name: pod["spec"]["automountServiceAccountToken"] for name, pod in pods.items()}
            assert tokens == {"head": enabled, "engines": False, "ingress": False}

    def test_what_is_written_is_written_to_volumes(self, rendered: Rendered) -> None:
        for pod in rendered.pods.values():
            [container] = pod["spec"]["containers"]
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            home = next(variable["value"] for variable in container["env"] if variable["name"] == "HOME")
            assert {"/tmp", "/dev/shm", "/models", home} <= set(mounts)
            assert set(mounts.values()) == {volume["name"] for volume in pod["spec"]["volumes"]}

    def test_no_replica_of_ours_runs_on_the_head(self, rendered: Rendered) -> None:
        assert rendered.cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert rendered.only("RayService")["spec"]["excludeHeadPodFromServeSvc"]

    def test_rays_object_store_takes_no_memory_to_speak_of(self, rendered: Rendered) -> None:
        """By itself Ray takes a third of the pod's, and with it more than /dev/shm has."""
        groups = [rendered.cluster["headGroupSpec"], *rendered.cluster["workerGroupSpecs"]]
        assert {group["rayStartParams"]["object-store-memory"] for group in groups} == {str(OBJECT_STORE_BYTES)}

    def test_only_engines_hold_the_model_cache(self, helm: Helm) -> None:
        """With ReadWriteOnce the pods of one node can share it, and no others."""
        rendered = helm.render(values=CHART / "ci/single-gpu-values.yaml")
        claims = {
            name: [
                v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v
            ]
            for name, pod in rendered.pods.items()
        }
        claim = rendered.only("PersistentVolumeClaim")["metadata"]["name"]
        assert claims == {"head": [], "ingress": [], "engines": [claim]}


class TestSelectors:
    def test_they_find_the_pods_that_they_are_for(self, rendered: Rendered) -> None:
        everything = {name: pod["metadata"]["labels"] for name, pod in rendered.pods.items()}
        for deployment in rendered.of_kind("Deployment"):
            everything["redis"] = deployment["spec"]["template"]["metadata"]["labels"]
        rays = set(rendered.pods)
        own = rendered.only("RayService")["metadata"]["name"]
        for policy in rendered.of_kind("NetworkPolicy"):
            chosen = {name for name, labels in everything.items() if selects(policy["spec"]["podSelector"], labels)}
            assert chosen == (rays if policy["metadata"]["name"] == own else {"redis"})
        for monitor in rendered.of_kind("PodMonitor"):
            assert {n for n, labels in everything.items() if selects(monitor["spec"]["selector"], labels)} == rays
        for service in rendered.of_kind("Service"):
            assert [
                n for n, labels in everything.items() if selects({"matchLabels": service["spec"]["selector"]}, labels)
            ] == ["redis"]
        for deployment in rendered.of_kind("Deployment"):
            assert selects(deployment["spec"]["selector"], everything["redis"])

    def test_no_pod_of_another_release_is_meant(self, helm: Helm, rendered: Rendered) -> None:
        others = helm.run("template", "other", CHART, "--set", "secrets.apiKeys.existingSecret=k")
        stranger = Rendered(list(yaml.safe_load_all(others))).pods["engines"]["metadata"]["labels"]
        for kind, field in (
            ("NetworkPolicy", "podSelector"),
            ("PodMonitor", "selector"),
            ("PodDisruptionBudget", "selector"),
        ):
            assert not any(selects(manifest["spec"][field], stranger) for manifest in rendered.of_kind(kind))

    def test_ports_are_named_as_they_are_asked_for(self, helm: Helm) -> None:
        rendered = helm.render("podMonitor.ingress=true", values=CHART / "ci/multi-gpu-values.yaml")
        head, worker = (
            {port["name"]: port["containerPort"] for port in rendered.pods[name]["spec"]["containers"][0]["ports"]}
            for name in ("head", "large")
        )
        assert head == {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080, "serve": 8000, "haproxy-metrics": 9101}
        assert worker == {"metrics": 8080, "serve": 8000, "haproxy-metrics": 9101}
        assert {end["port"] for end in rendered.only("PodMonitor")["spec"]["podMetricsEndpoints"]} == set(worker)
        asked = {
            port["port"] for rule in rendered.only("NetworkPolicy")["spec"]["ingress"] for port in rule.get("ports", [])
        }
        assert asked == {"dashboard", "metrics", "serve", "haproxy-metrics"}

    def test_what_is_in_front_points_to_the_service_that_kuberay_makes(self, helm: Helm) -> None:
        for sets in ([], ["service.name=chat"]):
            rendered = helm.render(
                *sets, "ingress.enabled=true", 'ingress.hosts=["x.example"]', "httpRoute.enabled=true",
                'httpRoute.parentRefs=[{"name": "public"}]', "app.port=9000",
            )  # fmt: skip
            name = rendered.only("RayService")["spec"]["serveService"]["metadata"]["name"]
            assert name == ("chat" if sets else "rel-psychechat-serve-svc")
            [path] = rendered.only("Ingress")["spec"]["rules"][0]["http"]["paths"]
            assert path["backend"]["service"] == {"name": name, "port": {"name": "serve"}}
            [rule] = rendered.only("HTTPRoute")["spec"]["rules"]
            assert rule["backendRefs"] == [{"name": name, "port": 9000}]
            # The probes and the metrics are nobody's business outside.
            assert path["path"] == rule["matches"][0]["path"]["value"] == "/v1"

    def test_a_gateway_is_told_of_the_api_alone_and_waits_as_long_as_a_turn(self, helm: Helm) -> None:
        """There is no schema of the Gateway API at hand: what it reads is compared as a whole."""
        values = CHART / "ci/tls-values.yaml"
        assert helm.render(values=values).only("HTTPRoute")["spec"] == {
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["psychechat.example"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                    "timeouts": {"request": "120s"},
                    "backendRefs": [{"name": "rel-psychechat-serve-svc", "port": 8000}],
                }
            ],
        }
        for sets, timeout in (("app.policy.limits.turn_seconds=200.5", "231s"), ("httpRoute.timeout=5m", "5m")):
            [rule] = helm.render(sets, values=values).only("HTTPRoute")["spec"]["rules"]
            assert rule["timeouts"] == {"request": timeout}


class TestNetwork:
    @pytest.mark.parametrize("values", [None, *EXAMPLES], ids=lambda path: path.stem if path else "values")
    def test_ray_asks_for_a_token_which_is_nobodys_to_write_down(self, values: Path | None, helm: Helm) -> None:
        rendered = helm.render(values=values)
        assert rendered.cluster["authOptions"] == {"mode": "token"}
        # KubeRay sets these from the secret that it makes; one of ours would stand before its own.
        given = {variable["name"] for each in containers(rendered) for variable in each.get("env", [])}
        assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & given

    def test_it_is_told_where_ray_asks_for_none(self, helm: Helm) -> None:
        notes = helm.notes
        assert "can run code" not in notes()
        assert "asks for no token" in notes("rayCluster.authOptions.mode=disabled")
        assert "asks for no token" in notes("rayCluster.authOptions=null")
        assert "policy is off, and Ray asks for no token" in notes(
            "networkPolicy.enabled=false", "rayCluster.authOptions.mode=disabled"
        )
        assert "Ray's token alone" in notes("networkPolicy.enabled=false")

    def test_it_is_closed_unless_it_is_opened(self, helm: Helm) -> None:
        rules = helm.render("networkPolicy.prometheus=[]", "networkPolicy.operator=[]").only("NetworkPolicy")["spec"][
            "ingress"
        ]
        components = {"app.kubernetes.io/instance": "rel", "app.kubernetes.io/part-of": "psychechat"}
        [among_themselves, test] = rules
        assert "ports" not in among_themselves
        assert [peer["podSelector"]["matchLabels"] for peer in among_themselves["from"]] == [components]
        assert [peer["podSelector"]["matchLabels"] for peer in test["from"]] == [
            {**components, "app.kubernetes.io/component": "test"}
        ]

    def test_no_rule_lets_everybody_in(self, rendered: Rendered) -> None:
        """An empty or absent `from` is everybody; so is a peer that selects nothing."""
        for policy in rendered.of_kind("NetworkPolicy"):
            for rule in policy["spec"]["ingress"]:
                assert rule.get("from")
                assert all(any(peer[selector] for selector in peer) for peer in rule["from"])

    def test_clients_reach_the_api_and_nothing_else(self, helm: Helm) -> None:
        peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "chat"}}}
        policy = helm.render(f"networkPolicy.clients={json.dumps([peer])}").only("NetworkPolicy")
        rules = [rule for rule in policy["spec"]["ingress"] if peer in rule["from"]]
        assert [rule["ports"] for rule in rules] == [[{"port": "serve", "protocol": "TCP"}]]

    def test_what_leaves_is_restricted_once_a_list_says_so(self, helm: Helm) -> None:
        assert helm.render().only("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
        spec = helm.render("networkPolicy.egress=[]").only("NetworkPolicy")["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        [own, dns] = spec["egress"]
        assert [set(peer) for peer in own["to"]] == [{"podSelector"}]
        assert {port["port"] for port in dns["ports"]} == {53}


class TestDisruption:
    def test_a_budget_is_an_integer_and_leaves_a_pod_to_take(self, rendered: Rendered) -> None:
        groups = {group["groupName"]: group for group in rendered.cluster["workerGroupSpecs"]}
        for budget in rendered.of_kind("PodDisruptionBudget"):
            spec = budget["spec"]
            assert set(spec) == {"minAvailable", "selector", "unhealthyPodEvictionPolicy"}
            # A worker without a replica is unready, and counts as unhealthy.
            assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
            assert type(spec["minAvailable"]) is int
            [(name, group)] = [
                (name, group)
                for name, group in groups.items()
                if selects(spec["selector"], group["template"]["metadata"]["labels"])
            ]
            assert budget["metadata"]["name"].endswith(name)
            assert 0 < spec["minAvailable"] < group["minReplicas"]

    def test_where_there_are_several_pods_there_is_one(self, helm: Helm) -> None:
        budgets = helm.render(values=CHART / "ci/multi-gpu-values.yaml").of_kind("PodDisruptionBudget")
        found = {budget["metadata"]["name"]: budget["spec"]["minAvailable"] for budget in budgets}
        assert found == {f"rel-psychechat-{group}": 1 for group in ("ingress", "large", "small")}

    def test_pods_of_a_group_spread(self, rendered: Rendered) -> None:
        for name, pod in rendered.pods.items():
            for constraint in pod["spec"].get("topologySpreadConstraints", []):
                chosen = [
                    n for n, p in rendered.pods.items() if selects(constraint["labelSelector"], p["metadata"]["labels"])
                ]
                assert chosen == [name]
        assert all("topologySpreadConstraints" in pod["spec"] for name, pod in rendered.pods.items() if name != "head")


class TestFiles:
    def test_rules_and_dashboards_come_as_they_are(self, helm: Helm, tmp_path: Path) -> None:
        rendered = helm.render(
            "prometheusRule.enabled=true", "dashboards.enabled=true", chart=with_sample_files(tmp_path)
        )
        groups = [group for group in rendered.only("PrometheusRule")["spec"]["groups"] if group["name"] == "sample"]
        assert groups == [SAMPLE_GROUP]
        [board] = [
            b for b in rendered.of_kind("ConfigMap") if b["metadata"]["name"] == "rel-psychechat-dashboard-sample"
        ]
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(board["data"]["sample.json"]) == SAMPLE_DASHBOARD

    def test_runbooks_are_links_once_it_is_known_where_they_are(self, helm: Helm) -> None:
        def runbooks(*sets: str) -> set[str]:
            return {
                rule["annotations"]["runbook_url"]
                for group in helm.render("prometheusRule.enabled=true", *sets).only("PrometheusRule")["spec"]["groups"]
                for rule in group["rules"]
                if "alert" in rule
            }

        paths, base = runbooks(), "https://git.example/psychechat/blob/main/"
        assert all(path.startswith("docs/operations.md#psychechat") for path in paths)
        assert runbooks(f"prometheusRule.runbookBaseUrl={base}") == {base + path for path in paths}

    def test_what_is_slow_may_be_any_bound_that_the_histogram_has(self, helm: Helm) -> None:
        schema = json.loads(generate.schema())["properties"]["slo"]["properties"]["ttftSeconds"]
        metrics = Metrics()
        metrics.first_token_seconds.labels("llm")
        exposed = re.findall(r'first_token_seconds_bucket\{le="([^"]+)"', generate_latest(metrics.registry).decode())
        assert set(schema["enum"]) <= set(exposed)

        def shown(*sets: str) -> str:
            rendered = helm.render("prometheusRule.enabled=true", "dashboards.enabled=true", *sets)
            return json.dumps([rendered.only("PrometheusRule")["spec"], rendered.of_kind("ConfigMap")], indent=1)

        assert shown('slo.ttftSeconds="5.0"') == shown().replace("2.5", "5.0")

    def test_extra_objects_are_templates(self, helm: Helm) -> None:
        extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}
        assert helm.render(f"extraObjects={json.dumps([extra])}").only("ConfigMap")["metadata"]["name"] == "rel-x"


SAMPLE_GROUP = {
    "name": "sample",
    "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"summary": "{{ $labels.pod }} is {{ $value }}"}}],
}
SAMPLE_DASHBOARD = {"title": "Sample", "panels": [{"legendFormat": "{{pod}}", "description": "a\nb"}]}


def with_sample_files(folder: Path) -> Path:
    """The chart with a rule group and a dashboard of the test's own."""
    chart = shutil.copytree(CHART, folder / "psychechat")
    (chart / "rules").mkdir(exist_ok=True)
    (chart / "rules/sample.yaml").write_text(yaml.safe_dump({"groups": [SAMPLE_GROUP]}))
    (chart / "dashboards").mkdir(exist_ok=True)
    (chart / "dashboards/sample.json").write_text(json.dumps(SAMPLE_DASHBOARD, indent=2))
    return chart


def assert_kuberay_takes(rendered: Rendered, tmp_path: Path) -> None:
    (tmp_path / "rendered.yaml").write_text(yaml.safe_dump(rendered.only("RayService")))
    tool: list[str | Path] = [sys.executable, SHARED / "tools/validate_manifests.py"]
    tool += ["--crds", SHARED / "schemas/kuberay", tmp_path / "rendered.yaml"]
    checked = subprocess.run(tool, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def containers(rendered: Rendered) -> list[Manifest]:
    deployments = [deployment["spec"]["template"] for deployment in rendered.of_kind("Deployment")]
    return [container for pod in [*rendered.pods.values(), *deployments] for container in pod["spec"]["containers"]]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """As Kubernetes does, for what the chart uses of it."""
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )
