"""Checks the chart without a cluster: its life on a pretend API server, strict lint, a render matrix against several versions of Kubernetes, assertions on what is
rendered, wrong values that must be refused, when alerts fire, checkov, and that README.md is what values.yaml says.

`python3 deploy/helm/test.py [--write]`, with helm-python-sdk, kubernetes-validate and checkov installed (see .ci/run). What cannot be
checked here is said at the end. `--write` regenerates README.md.
"""
import base64
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml
from helm_python import Chart, Config, chart

import pretend

HERE = pathlib.Path(__file__).parent
CHART = HERE / "wharf"
VERSIONS = ["1.31", "1.34", "1.37"]
# What is not a part of Kubernetes itself has no schema in kubernetes-validate.
FOREIGN = {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}
EVERYTHING = {
    "ingress": {"enabled": True, "tlsSecret": "tls"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "rules": {"enabled": True, "runbookUrl": "https://wiki/wharf"},
        "dashboard": {"enabled": True},
    },
    "backup": {"enabled": True, "existingClaim": "backups"},
    "networkPolicy": {"webhookPorts": [8443], "ingressFrom": [{"namespaceSelector": {}}]},
    "sandbox": {"enabled": True},
    "podLabels": {"team": "bots"},
    "podAnnotations": {"a": "b"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra", "namespace": "bots"}}],
}
CASES = {
    "default": {},
    "everything": EVERYTHING,
    "restore": {"restore": {"enabled": True, "file": "wharf-1.backup"}, "backup": {"existingClaim": "backups"}},
    "existing secret": {"secrets": {"existing": "mine"}, "image": {"digest": "sha256:" + "a" * 64}},
}
WRONG = {
    "an unknown value": ({"replicas": 3}, "replicas"),
    "an unknown setting": ({"config": {"netwrok": {}}}, "netwrok"),
    "a size that is none": ({"persistence": {"size": "much"}}, "size"),
    "a shared volume": ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "accessModes"),
    "a port that is none": ({"service": {"port": 0}}, "port"),
    "a backup without a claim": ({"backup": {"enabled": True}}, "backup.existingClaim"),
    "a restore without a file": ({"restore": {"enabled": True}, "backup": {"existingClaim": "b"}}, "restore.file"),
}
# Why these are not followed: each names its objects.
SKIPPED = {
    "CKV_K8S_35": "the admin key is an environment variable; the master key, which is worth more, is a file",
    "CKV_K8S_43": "the image is pinned by image.digest, which the default does not know",
    "CKV_K8S_15": "a tag is a version and is never moved; pulling always would make the registry part of every restart",
}
failed = []


def check(holds, what):
    if not holds:
        failed.append(what)
        print(f"FAILED  {what}")


def render(values):
    files = Chart.load(str(CHART)).render(values=values, name="demo", namespace="bots")
    objects = []
    for path, text in files.items():
        if path.endswith("NOTES.txt"):
            continue
        objects += [it for it in yaml.safe_load_all(text) if it]
    return objects, next((text for path, text in files.items() if path.endswith("NOTES.txt")), "")


def find(objects, kind, suffix=""):
    return next((it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)), None)


def pods(objects):
    for it in objects:
        spec = it.get("spec") or {}
        if it["kind"] == "Pod":
            yield it["metadata"]["name"], spec
        elif it["kind"] == "CronJob":
            yield it["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]["spec"]
        elif it["kind"] in ("StatefulSet", "Deployment", "Job"):
            yield it["metadata"]["name"], spec["template"]["spec"]


def lint():
    for version in VERSIONS:
        result = chart.lint(str(CHART), strict=True, kube_version=f"v{version}.0")
        errors = result.get("errors") if isinstance(result, dict) else getattr(result, "errors", None)
        check(not errors, f"lint for {version}: {errors}")


def matrix(folder):
    for name, values in CASES.items():
        objects, notes = render(values)
        out = folder / name.replace(" ", "-")
        out.mkdir()
        known = []
        for at, it in enumerate(objects):
            file = out / f"{at:02}-{it['kind'].lower()}.yaml"
            file.write_text(yaml.safe_dump(it))
            if it["kind"] not in FOREIGN:
                known.append(str(file))
        for version in VERSIONS:
            done = subprocess.run(
                ["kubernetes-validate", "--strict", "-k", version, *known], capture_output=True, text=True, check=False
            )
            check(done.returncode == 0, f"{name}, Kubernetes {version}: {done.stdout} {done.stderr}")
        assert_objects(name, objects, notes)
    print(f"rendered {len(CASES)} sets of values, validated for {', '.join(VERSIONS)}")


def assert_objects(name, objects, notes):
    for pod, spec in pods(objects):
        what = f"{name}, pod of {pod}"
        check(spec.get("automountServiceAccountToken") is False, f"{what}: a service account token")
        security = spec["securityContext"]
        check(security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault", f"{what}: {security}")
        for container in spec["containers"]:
            own = container["securityContext"]
            check(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], f"{what}: {own}")
            check(own["capabilities"]["drop"] == ["ALL"], f"{what}: capabilities")
            check({"requests", "limits"} <= container["resources"].keys(), f"{what}: resources")
    server = find(objects, "StatefulSet")
    template = server["spec"]["template"]
    container = template["spec"]["containers"][0]
    check(server["spec"]["replicas"] == (0 if name == "restore" else 1), f"{name}: replicas")
    check(container["readinessProbe"]["httpGet"]["path"] == "/readyz", f"{name}: readiness")
    check(container["livenessProbe"]["httpGet"]["path"] == "/healthz", f"{name}: liveness")
    config = yaml.safe_load(find(objects, "ConfigMap", "wharf")["data"]["config.yaml"])
    grace = template["spec"]["terminationGracePeriodSeconds"]
    stop = container["lifecycle"]["preStop"]["sleep"]["seconds"] + config["drain_seconds"]
    check(grace > stop, f"{name}: {grace} s to end, and {stop} s needed")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    check(config["data"].startswith(mounts["data"] + "/"), f"{name}: the data are a folder of the volume, not the volume")
    key = config["storage"]["master_key_file"]
    check(key.startswith(mounts["master-key"] + "/"), f"{name}: the master key is a file of the secret")
    claim = server["spec"]["volumeClaimTemplates"][0]["spec"]
    check(claim["accessModes"] == ["ReadWriteOncePod"], f"{name}: {claim}")
    check(server["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain", f"{name}: the claim is kept")
    secret = find(objects, "Secret")
    check((secret is None) == (name == "existing secret"), f"{name}: secret")
    if secret:
        master = base64.b64decode(secret["data"]["master-key"]).decode()
        admin = base64.b64decode(secret["data"]["admin-key"]).decode()
        check(re.fullmatch("[0-9a-f]{64}", master) and len(admin) >= 32, f"{name}: keys of the right form")
        check(secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", f"{name}: the secret outlives")
    check("no autoscaler" in notes and "curl" in notes, f"{name}: notes")
    if name == "everything":
        egress = find(objects, "NetworkPolicy", "wharf")["spec"]["egress"]
        ports = sorted({port["port"] for rule in egress for port in rule["ports"]})
        check(ports == [53, 443, 7070, 7443, 8443], f"{name}: egress to {ports}")
        rules = find(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
        for rule in rules:
            own = rule["expr"].count('{namespace="bots",job="demo-wharf"')
            check(own and own == rule["expr"].count("{"), f"{rule['alert']} watches others too: {rule['expr']}")
            check(rule["annotations"]["runbook_url"] == f"https://wiki/wharf#{rule['alert'].lower()}", f"{rule['alert']}: runbook")
        alerts = {rule["alert"] for rule in rules}
        documented = set(re.findall(r"^### (Wharf\w+)", (HERE.parents[1] / "docs/operations.md").read_text(), re.M))
        check(alerts == documented, f"alerts and their entries in docs/operations.md differ: {alerts ^ documented}")
        check(find(objects, "HorizontalPodAutoscaler") is None, "an autoscaler")
        wanted = find(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
        scraped = [it for it in objects if it["kind"] == "Service" and wanted <= it["metadata"]["labels"].items()]
        check(len(scraped) == 1, f"scraped {len(scraped)} times")
    old = find(render({"config": {"log": "debug"}})[0], "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    check(old["checksum/config"] != template["metadata"]["annotations"]["checksum/config"], f"{name}: checksum")


def settings():
    wharf = os.environ.get("WHARF")
    if not wharf:
        print("NOT checked: whether Wharf takes the rendered settings; set WHARF to its program")
        return
    for name, values in CASES.items():
        config = find(render(values)[0], "ConfigMap", "wharf")["data"]["config.yaml"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config)
            file.flush()
            done = subprocess.run([wharf, "check-config", "--config", file.name], capture_output=True, text=True, check=False)
            check(done.returncode == 0, f"{name}: Wharf refuses the settings: {done.stderr}")
    print(f"Wharf takes the settings of {len(CASES)} sets of values")


def life(folder):
    """Install, upgrade, test, uninstall and install again, against a pretend API server."""
    newer = folder / "newer"
    shutil.copytree(CHART, newer)
    about = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(re.sub(r"(?m)^(version|appVersion): .*", r"\1: 99.0.0", about))
    with pretend.cluster() as (cluster, kubeconfig):
        helm = Config(kubeconfig_content=kubeconfig, namespace="bots", storage_driver="memory")
        common = {"namespace": "bots", "timeout": 30}
        helm.install(str(CHART), "demo", EVERYTHING, **common)
        made = cluster.named("Secret")["demo-wharf"]["data"]
        before = cluster.named("StatefulSet")["demo-wharf"]["spec"]
        helm.test("demo", timeout=30)
        helm.upgrade(str(newer), "demo", {"config": {"log": "debug"}, "podLabels": {"team": "others"}}, **common)
        after = cluster.named("StatefulSet")["demo-wharf"]["spec"]
        check(after["template"] != before["template"], "an upgrade changes the pod")
        for field in ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy"):
            check(after.get(field) == before.get(field), f"an upgrade changes {field} of the StatefulSet, which is immutable")
        check(cluster.named("Secret")["demo-wharf"]["data"] == made, "an upgrade keeps the keys")
        helm.upgrade(str(CHART), "demo", CASES["restore"], **common)
        check(len(cluster.named("Job")) == 1 and "demo-wharf" in cluster.named("StatefulSet"), "an upgrade restores")
        helm.uninstall("demo", timeout=30)
        left = sorted(f"{it['kind']}/{it['metadata']['name']}" for it in cluster.objects.values())
        check("Secret/demo-wharf" in left, f"the keys outlive the release: {left}")
        check(all(it.startswith(("Secret/", "Job/", "Pod/")) for it in left), f"left behind: {left}")
        helm.install(str(CHART), "demo", {}, **common)
        check(cluster.named("Secret")["demo-wharf"]["data"] == made, "a new installation takes the keys that are there")
        helm.install(str(CHART), "other", {}, **common)
        check(cluster.named("Secret")["other-wharf"]["data"] != made, "each release has its own keys")
    print("installed, tested, upgraded, restored, uninstalled and installed again, with the keys kept, on a pretend API server")


def wrong():
    for what, (values, said) in WRONG.items():
        try:
            render(values)
        except Exception as error:  # whatever the SDK raises
            check(said in str(error), f"{what}: refused without naming {said}: {error}")
        else:
            check(False, f"{what} was taken")
    print(f"refused {len(WRONG)} sets of wrong values")


def checkov(folder):
    command = ["checkov", "-d", str(folder / "everything"), "--framework", "kubernetes", "--compact", "--quiet"]
    command += ["--skip-download", "--skip-check", ",".join(SKIPPED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "BC_SKIP_DOWNLOAD": "1"})
    check(done.returncode == 0, f"checkov:\n{done.stdout[-4000:]}{done.stderr[-500:]}")
    print(f"checkov: skipped {', '.join(f'{code} ({why})' for code, why in SKIPPED.items())}")


def alerts():
    if not shutil.which("promtool"):
        print("NOT checked: when alerts fire, for there is no promtool here")
        return
    for command in (["check", "rules", CHART / "files/rules.yaml"], ["test", "rules", HERE / "rules_test.yaml"]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"promtool {command[0]}:\n{done.stdout}{done.stderr}")
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts", (HERE / "rules_test.yaml").read_text()))
    named = set(re.findall(r"alert: (\w+)", (CHART / "files/rules.yaml").read_text()))
    check(fired == named, f"no test lets these fire: {named - fired}")
    print(f"{len(named)} alerts fire when they should, and not when they should not")


def readme(write):
    rows, path, about = [], [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        text = line.strip()
        if text.startswith("# --"):
            about.append(text.removeprefix("# --").strip())
        elif ":" in text and not text.startswith(("#", "-")):
            key, _, value = text.partition(":")
            path = path[:indent] + [key]
            if about:
                rows.append(f"| `{'.'.join(path)}` | {' '.join(about)} | {f'`{value.strip()}`' if value.strip() else ''} |")
                about = []
    text = f"""# The chart's values

Made from `values.yaml` by `python3 deploy/helm/test.py --write`.

```sh
helm install wharf deploy/helm/wharf
```

| value | | default |
|---|---|---|
{chr(10).join(rows)}
"""
    file = CHART / "README.md"
    if write:
        file.write_text(text)
    check(file.read_text() == text, "deploy/helm/wharf/README.md is not what values.yaml says: --write")


def main():
    readme("--write" in sys.argv)
    lint()
    wrong()
    settings()
    alerts()
    with tempfile.TemporaryDirectory() as folder:
        matrix(pathlib.Path(folder))
        checkov(pathlib.Path(folder))
        life(pathlib.Path(folder))
    print("NOT checked: pods that run, for there is no cluster; objects of other APIs (" + ", ".join(sorted(FOREIGN)) + ")")
    if failed:
        sys.exit(f"{len(failed)} checks failed")
    print("the chart is sound")


main()
