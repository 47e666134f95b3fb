"""The `kubernetes` package: typed and dynamic clients, patches, watches, exec, errors."""

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

IMAGE = "kaji.local/busybox:1.0"

config.load_kube_config()
core, apps, version = client.CoreV1Api(), client.AppsV1Api(), client.VersionApi()
assert version.get_code().git_version.startswith("v1.37"), version.get_code()
assert "apps" in {group.name for group in client.ApisApi().get_api_versions().groups}

core.create_namespaced_config_map("default", client.V1ConfigMap(metadata={"name": "settings"}, data={"a": "1"}))
core.patch_namespaced_config_map("settings", "default", {"data": {"b": "2"}})
core.patch_namespaced_config_map("settings", "default", [{"op": "remove", "path": "/data/a"}])
assert core.read_namespaced_config_map("settings", "default").data == {"b": "2"}
try:
    core.read_namespaced_config_map("absent", "default")
    raise AssertionError("an absent object was found")
except ApiException as err:
    assert err.status == 404 and '"reason":"NotFound"' in err.body, err

deployment = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: sleeper}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: sleeper}}}}
  template:
    metadata: {{labels: {{app: sleeper}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: main, image: {IMAGE}, command: [sleep, "1000"]}}]
"""
utils.create_from_dict(client.ApiClient(), yaml.safe_load(deployment))
events = watch.Watch()
for event in events.stream(apps.list_namespaced_deployment, "default", timeout_seconds=60):
    # A new Deployment has a status already, as upstream's.
    if event["object"].status.available_replicas == 2:
        events.stop()
        break
else:
    raise AssertionError("the deployment did not become available")
pods = core.list_namespaced_pod("default", limit=1)
assert len(pods.items) == 1 and pods.metadata._continue and pods.metadata.remaining_item_count == 1
answer = stream(core.connect_get_namespaced_pod_exec, pods.items[0].metadata.name, "default",
                command=["echo", "from inside"], stdout=True, stderr=True, stdin=False, tty=False)
assert answer == "from inside\n", repr(answer)
assert apps.patch_namespaced_deployment_scale("sleeper", "default", {"spec": {"replicas": 1}}).spec.replicas == 1

dynamic_client = dynamic.DynamicClient(client.ApiClient())
secrets = dynamic_client.resources.get(api_version="v1", kind="Secret")
applied = secrets.server_side_apply(
    namespace="default", name="token", field_manager="script",
    body={"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "value"}})
assert applied.metadata.managedFields[0].manager == "script", applied
assert secrets.get(namespace="default", name="token").data["key"] == "dmFsdWU="
secrets.delete(namespace="default", name="token")
apps.delete_namespaced_deployment("sleeper", "default", propagation_policy="Foreground")
print("done")
