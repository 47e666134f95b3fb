"""Helm as a library: a chart is installed, upgraded, rolled back and uninstalled."""

import sys
from pathlib import Path

import helm_python as helm
from kubernetes import client, config
from kubernetes.client.rest import ApiException

CHART = Path(__file__).parent / "chart"

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()


def greeting():
    return core.read_namespaced_config_map("demo", "default").data


with helm.Config(namespace="default") as cluster:
    installed = cluster.install(CHART, "demo", {"greeting": "bonjour"}, wait="watcher", timeout=60)
    assert installed["revision"] == 1, installed
    assert greeting() == {"greeting": "bonjour", "deployments": "served"}
    assert apps.read_namespaced_deployment("demo", "default").status.ready_replicas == 1
    cluster.upgrade(CHART, "demo", {"greeting": "hola", "replicas": 2}, wait="watcher", timeout=60)
    assert greeting()["greeting"] == "hola"
    assert apps.read_namespaced_deployment("demo", "default").status.ready_replicas == 2
    cluster.rollback("demo", version=1, wait="watcher", timeout=60)
    assert greeting()["greeting"] == "bonjour"
    assert [one["revision"] for one in cluster.history("demo")] == [1, 2, 3]
    assert [one["name"] for one in cluster.list()] == ["demo"]
    cluster.uninstall("demo", wait="watcher", timeout=60)
    assert cluster.list() == []
try:
    greeting()
    sys.exit("the ConfigMap is still there")
except ApiException as err:
    assert err.status == 404, err
print("done")
