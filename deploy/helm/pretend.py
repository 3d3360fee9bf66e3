"""A pretend API server of Kubernetes: keeps what it is given, and answers what Helm asks of it.

It schedules nothing and validates nothing (the schemas are kubernetes-validate's part): with it `helm install`, `upgrade`, `test` and
`uninstall` run as they are, `lookup` and hooks included. A pod or a job has succeeded as soon as it is there.
"""
import contextlib
import http.server
import json
import threading
import urllib.parse

import yaml

# Group and version, then kinds; the plural is the kind in small letters with an s, but for those that say otherwise.
KINDS = {
    "v1": ["Pod", "Service", "Secret", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"],
    "apps/v1": ["StatefulSet", "Deployment"],
    "batch/v1": ["Job", "CronJob"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
    "monitoring.coreos.com/v1": ["ServiceMonitor", "PrometheusRule"],
}
PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
DONE = {
    "Pod": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "True"}]},
    "Job": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
}


def plural(kind):
    return PLURALS.get(kind, kind.lower() + "s")


def root(version):
    return f"apis/{version}" if "/" in version else f"api/{version}"


def fields_are_checked_here(version):
    """What tells a client to leave the checking of fields to the server."""
    group, _, number = version.rpartition("/")
    paths = {}
    for kind in KINDS[version]:
        patch = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "done"}},
            "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
        }
        paths[f"/{root(version)}/namespaces/{{namespace}}/{plural(kind)}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "pretend", "version": "1"}, "paths": paths}


class Cluster:
    def __init__(self):
        self.objects = {}
        # One entry for each version, which is its place in the list plus one.
        self.events = []
        self.changed = threading.Condition()

    def put(self, path, given):
        with self.changed:
            event = "MODIFIED" if path in self.objects else "ADDED"
            given["status"] = DONE.get(given.get("kind"), {})
            self.objects[path] = given
            return self.happened(event, path, given)

    def delete(self, path):
        with self.changed:
            gone = self.objects.pop(path, None)
            return gone and self.happened("DELETED", path, gone)

    def happened(self, event, path, it):
        version = len(self.events) + 1
        it["metadata"] = {"uid": f"uid-{version}", **it["metadata"], "resourceVersion": str(version)}
        self.events.append({"type": event, "path": path, "object": it})
        self.changed.notify_all()
        return it

    def named(self, kind):
        return {it["metadata"]["name"]: it for it in list(self.objects.values()) if it["kind"] == kind}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = None

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def missing(self):
        self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})

    def body(self):
        return yaml.safe_load(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def discovery(self, parts):
        groups = [name for name in KINDS if "/" in name]
        if parts == ["version"]:
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            each = [(name.split("/")[0], {"groupVersion": name, "version": name.split("/")[1]}) for name in groups]
            listed = [{"name": group, "versions": [version], "preferredVersion": version} for group, version in each]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if parts == ["openapi", "v3"]:
            return {"paths": {root(name): {"serverRelativeURL": f"/openapi/v3/{root(name)}"} for name in KINDS}}
        if parts[0] == "openapi":
            return next((fields_are_checked_here(name) for name in KINDS if parts[2:] == root(name).split("/")), None)
        name = "/".join(parts[1:])
        if parts[0] in ("api", "apis") and name in KINDS:
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            each = [{"name": plural(kind), "singularName": kind.lower(), "kind": kind} for kind in KINDS[name]]
            resources = [{**it, "namespaced": True, "verbs": verbs} for it in each]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}
        return None

    def wanted(self, path, it, query):
        name = query.get("fieldSelector", [""])[0].partition("=")[2].lstrip("=")
        if not path.startswith(urllib.parse.urlparse(self.path).path + "/") or name not in ("", it["metadata"]["name"]):
            return False
        labels = it["metadata"].get("labels", {})
        pairs = (selector.partition("=") for selector in query.get("labelSelector", [""])[0].split(",") if selector)
        return all(labels.get(key) == value.lstrip("=") for key, _, value in pairs)

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query, parts = urllib.parse.parse_qs(url.query), url.path.strip("/").split("/")
        if "namespaces" not in parts:
            told = self.discovery(parts)
            return self.answer(200, told) if told else self.missing()
        if url.path in self.cluster.objects:
            return self.answer(200, self.cluster.objects[url.path])
        resource = parts[parts.index("namespaces") + 2 :]
        if len(resource) != 1:
            return self.missing()
        kind = next(kind for kinds in KINDS.values() for kind in kinds if plural(kind) == resource[0])
        version = "/".join(parts[1 : parts.index("namespaces")])
        if query.get("watch"):
            return self.watch(kind, version, query)
        found, at = self.listed(query)
        listed = {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": str(at)}, "items": found}
        return self.answer(200, listed)

    def watch(self, kind, version, query):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        at = int(query.get("resourceVersion", ["0"])[0] or 0)
        with contextlib.suppress(OSError):
            if query.get("sendInitialEvents") == ["true"]:
                found, at = self.listed(query)
                for it in found:
                    self.tell("ADDED", it)
                end = {"resourceVersion": str(at), "annotations": {"k8s.io/initial-events-end": "true"}}
                self.tell("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": end})
            while True:
                with self.cluster.changed:
                    self.cluster.changed.wait_for(lambda: len(self.cluster.events) > at, timeout=5)
                    new, at = self.cluster.events[at:], len(self.cluster.events)
                for event in new:
                    if self.wanted(event["path"], event["object"], query):
                        self.tell(event["type"], event["object"])

    def tell(self, event, it):
        self.wfile.write(json.dumps({"type": event, "object": it}).encode() + b"\n")

    def listed(self, query):
        with self.cluster.changed:
            found = [it for at, it in self.cluster.objects.items() if self.wanted(at, it, query)]
            return found, len(self.cluster.events)

    def do_POST(self):
        given = self.body()
        path = f"{urllib.parse.urlparse(self.path).path}/{given['metadata']['name']}"
        if path in self.cluster.objects:
            return self.answer(409, {"kind": "Status", "apiVersion": "v1", "reason": "AlreadyExists", "code": 409})
        return self.answer(201, self.cluster.put(path, given))

    def do_PUT(self):
        self.answer(200, self.cluster.put(urllib.parse.urlparse(self.path).path, self.body()))

    # Server-side apply, with everything of an object from one side.
    do_PATCH = do_PUT

    def do_DELETE(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        gone = self.cluster.delete(urllib.parse.urlparse(self.path).path)
        return self.answer(200, gone) if gone else self.missing()


@contextlib.contextmanager
def cluster():
    """The cluster, and a kubeconfig for it."""
    kept = Cluster()
    handler = type("Bound", (Handler,), {"cluster": kept})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pretend",
        "clusters": [{"name": "pretend", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "pretend", "context": {"cluster": "pretend", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
    }
    try:
        yield kept, yaml.safe_dump(config)
    finally:
        server.shutdown()
