"""kr8s: objects with behaviour, waiting, exec, logs, port-forward."""

import kr8s
from kr8s.objects import ConfigMap, Deployment, Pod

IMAGE = "kaji.local/busybox:1.0"

assert kr8s.version()["minor"] == "37"
assert any(kind["kind"] == "Deployment" for kind in kr8s.api().api_resources())
settings = ConfigMap({"metadata": {"name": "kr8s", "namespace": "default"}, "data": {"a": "1"}})
settings.create()
settings.patch({"data": {"b": "2"}})
assert [one.data for one in kr8s.get("configmaps", "kr8s")] == [{"a": "1", "b": "2"}]
settings.label(team="blue")
assert [one.name for one in kr8s.get("configmaps", label_selector="team=blue")] == ["kr8s"]
pod = Pod({
    "metadata": {"name": "kr8s", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", "echo hello; sleep 1000"]}],
    },
})
pod.create()
pod.wait("condition=Ready", timeout=60)
assert pod.ready()
assert pod.exec(["echo", "inside"]).stdout == b"inside\n"
assert "hello" in list(pod.logs())
pod.delete()
pod.wait("delete", timeout=60)
settings.delete()
assert not settings.exists()
print("done")
