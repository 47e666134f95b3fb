//! Defaults of pods and pod templates (upstream: pkg/apis/core/v1/defaults.go and zz_generated.defaults.go).

use apimachinery::quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::check::quantity;
use crate::json::{Read, Write};

/// The mode of files made from ConfigMaps and Secrets, 0644.
const FILE_MODE: i64 = 0o644;

/// The defaults of a `Pod`: those of its spec, and the few that a template does not get.
pub(crate) fn pod(spec: &mut Map<String, Value>) {
    pod_spec(spec);
    for list in ["initContainers", "containers"] {
        for container in spec.items_mut(list) {
            if let Some(resources) = container.object_at("resources") {
                requests_from_limits(resources);
            }
        }
    }
    pod_requests(spec);
    spec.default_to("enableServiceLinks", true);
    if spec.flag("hostNetwork") {
        for list in ["initContainers", "containers"] {
            spec.items_mut(list).for_each(host_ports);
        }
    }
}

/// The defaults of a pod's spec, also within a template.
pub(crate) fn pod_spec(spec: &mut Map<String, Value>) {
    spec.default_text("dnsPolicy", "ClusterFirst");
    spec.default_text("restartPolicy", "Always");
    spec.default_to("securityContext", Map::new());
    spec.default_to("terminationGracePeriodSeconds", 30);
    spec.default_text("schedulerName", "default-scheduler");
    service_account(spec);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.items_mut(list).for_each(container);
    }
    spec.items_mut("volumes").for_each(volume);
}

/// `spec.template` of a workload.
pub(crate) fn template(owner_spec: &mut Map<String, Value>) {
    if let Some(spec) = owner_spec.object_made("template").and_then(|template| template.object_made("spec")) {
        pod_spec(spec);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always there or neither
/// (upstream: pkg/apis/core/v1/conversion.go).
fn service_account(spec: &mut Map<String, Value>) {
    let name = match (spec.text("serviceAccountName"), spec.text("serviceAccount")) {
        ("", "") => {
            spec.remove("serviceAccountName");
            spec.remove("serviceAccount");
            return;
        }
        ("", old) => old.to_owned(),
        (new, _) => new.to_owned(),
    };
    spec.insert("serviceAccountName".into(), name.clone().into());
    spec.insert("serviceAccount".into(), name.into());
}

/// The defaults of a container of any sort.
pub(crate) fn container(container: &mut Map<String, Value>) {
    let policy = pull_policy(container.text("image"));
    container.default_text("imagePullPolicy", policy);
    container.default_text("terminationMessagePath", "/dev/termination-log");
    container.default_text("terminationMessagePolicy", "File");
    container.default_to("resources", Map::new());
    container.items_mut("ports").for_each(|port| port.default_text("protocol", "TCP"));
    container.items_mut("env").for_each(environment);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(settings) = container.object_at(name) {
            probe(settings);
        }
    }
    if let Some(lifecycle) = container.object_at("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(http) = lifecycle.object_at(hook).and_then(|hook| hook.object_at("httpGet")) {
                http_get(http);
            }
        }
    }
}

/// An image without a tag, or tagged `latest`, may change under its name.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let tag = match (last.contains('@'), last.split_once(':')) {
        (true, _) => "digest",
        (false, Some((_, tag))) => tag,
        (false, None) => "latest",
    };
    if tag == "latest" { "Always" } else { "IfNotPresent" }
}

fn environment(variable: &mut Map<String, Value>) {
    let Some(source) = variable.object_at("valueFrom") else { return };
    source_refs(source);
    if let Some(file) = source.object_at("fileKeyRef") {
        file.default_to("optional", false);
    }
}

/// `fieldRef` and `resourceFieldRef`, of variables and of downward API files.
fn source_refs(source: &mut Map<String, Value>) {
    if let Some(field) = source.object_at("fieldRef") {
        field.default_text("apiVersion", "v1");
    }
    if let Some(resource) = source.object_at("resourceFieldRef") {
        resource.default_to("divisor", "0");
    }
}

fn probe(probe: &mut Map<String, Value>) {
    probe.default_int("timeoutSeconds", 1);
    probe.default_int("periodSeconds", 10);
    probe.default_int("successThreshold", 1);
    probe.default_int("failureThreshold", 3);
    if let Some(http) = probe.object_at("httpGet") {
        http_get(http);
    }
    if let Some(grpc) = probe.object_at("grpc") {
        grpc.default_to("service", "");
    }
}

fn http_get(http: &mut Map<String, Value>) {
    http.default_text("path", "/");
    http.default_text("scheme", "HTTP");
}

fn requests_from_limits(resources: &mut Map<String, Value>) {
    let limits = resources.object("limits").clone();
    if limits.is_empty() {
        return;
    }
    if let Some(requests) = resources.object_made("requests") {
        for (name, quantity) in limits {
            requests.default_to(&name, quantity);
        }
    }
}

/// Requests of the pod as a whole, where it has limits as a whole: what the containers request together,
/// else the limit.
fn pod_requests(spec: &mut Map<String, Value>) {
    if spec.object("resources").object("limits").is_empty() {
        return;
    }
    let together: Vec<(&str, Option<Quantity>)> = ["cpu", "memory"].map(|name| (name, requested(spec, name))).to_vec();
    let Some(resources) = spec.object_at("resources") else { return };
    if let Some(requests) = resources.object_made("requests") {
        for (name, amount) in together.iter().filter_map(|(name, amount)| Some((name, (*amount)?))) {
            requests.default_to(name, amount.to_string());
        }
    }
    requests_from_limits(resources);
}

/// What the containers request of a resource at the same time: those that run together, or one that runs before.
fn requested(spec: &Map<String, Value>, name: &str) -> Option<Quantity> {
    let request = |container: &Value| container.object("resources").object("requests").get(name).map(quantity);
    let (mut together, mut before): (Option<Quantity>, Option<Quantity>) = (None, None);
    let add = |sum: Option<Quantity>, more: Option<Quantity>| match (sum, more) {
        (Some(sum), Some(more)) => Some(sum.add(more)),
        (sum, more) => sum.or(more),
    };
    for container in spec.list("initContainers") {
        if container.text("restartPolicy") == "Always" {
            together = add(together, request(container));
        } else {
            before = before.max(add(together, request(container)));
        }
    }
    for container in spec.list("containers") {
        together = add(together, request(container));
    }
    together.max(before)
}

fn host_ports(container: &mut Map<String, Value>) {
    for port in container.items_mut("ports") {
        if let Some(number) = port.int("containerPort") {
            port.default_int("hostPort", number);
        }
    }
}

/// The defaults of a pod's volume.
fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
        return;
    }
    let sources: Vec<String> = volume.keys().filter(|key| *key != "name").cloned().collect();
    for name in sources {
        let Some(source) = volume.object_at(&name) else { continue };
        match name.as_str() {
            "configMap" | "secret" => source.default_to("defaultMode", FILE_MODE),
            "downwardAPI" => {
                source.default_to("defaultMode", FILE_MODE);
                source.items_mut("items").for_each(source_refs);
            }
            "projected" => projected(source),
            "image" => {
                let policy = pull_policy(source.text("reference"));
                source.default_text("pullPolicy", policy);
            }
            "ephemeral" => {
                let claim = source.object_at("volumeClaimTemplate").and_then(|template| template.object_at("spec"));
                if let Some(spec) = claim {
                    spec.default_text("volumeMode", "Filesystem");
                }
            }
            other => volume_source(other, source),
        }
    }
}

fn projected(source: &mut Map<String, Value>) {
    source.default_to("defaultMode", FILE_MODE);
    for part in source.items_mut("sources") {
        if let Some(token) = part.object_at("serviceAccountToken") {
            token.default_int("expirationSeconds", 3600);
        }
        if let Some(downward) = part.object_at("downwardAPI") {
            downward.items_mut("items").for_each(source_refs);
        }
        if let Some(certificate) = part.object_at("podCertificate") {
            certificate.default_int("maxExpirationSeconds", 86400);
        }
    }
}

/// The defaults of sources that pods and persistent volumes share.
pub(crate) fn volume_source(name: &str, source: &mut Map<String, Value>) {
    match name {
        "hostPath" => source.default_to("type", ""),
        "iscsi" => source.default_text("iscsiInterface", "default"),
        "rbd" => {
            source.default_text("pool", "rbd");
            source.default_text("user", "admin");
            source.default_text("keyring", "/etc/ceph/keyring");
        }
        "azureDisk" => {
            source.default_to("cachingMode", "ReadWrite");
            source.default_to("kind", "Shared");
            source.default_to("fsType", "ext4");
            source.default_to("readOnly", false);
        }
        "scaleIO" => {
            source.default_text("storageMode", "ThinProvisioned");
            source.default_text("fsType", "xfs");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(mut spec: Value, expected: &Expect) {
        pod(spec.as_object_mut().expect("a spec"));
        let mut again = spec.clone();
        pod(again.as_object_mut().expect("a spec"));
        assert_eq!(spec, again, "defaults are idempotent");
        expected.assert_eq(&format!("{spec:#}"));
    }

    #[test]
    fn a_bare_pod_gets_everything() {
        check(
            json!({
                "hostNetwork": true,
                "serviceAccount": "app",
                "containers": [{
                    "name": "web", "image": "registry:5000/web",
                    "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "1"}},
                    "livenessProbe": {"httpGet": {"port": 80}},
                    "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                }],
                "volumes": [{"name": "scratch"}, {"name": "settings", "configMap": {"name": "web"}}],
            }),
            &expect![[r#"
                {
                  "containers": [
                    {
                      "env": [
                        {
                          "name": "IP",
                          "valueFrom": {
                            "fieldRef": {
                              "apiVersion": "v1",
                              "fieldPath": "status.podIP"
                            }
                          }
                        }
                      ],
                      "image": "registry:5000/web",
                      "imagePullPolicy": "Always",
                      "livenessProbe": {
                        "failureThreshold": 3,
                        "httpGet": {
                          "path": "/",
                          "port": 80,
                          "scheme": "HTTP"
                        },
                        "periodSeconds": 10,
                        "successThreshold": 1,
                        "timeoutSeconds": 1
                      },
                      "name": "web",
                      "ports": [
                        {
                          "containerPort": 80,
                          "hostPort": 80,
                          "protocol": "TCP"
                        }
                      ],
                      "resources": {
                        "limits": {
                          "cpu": "1"
                        },
                        "requests": {
                          "cpu": "1"
                        }
                      },
                      "terminationMessagePath": "/dev/termination-log",
                      "terminationMessagePolicy": "File"
                    }
                  ],
                  "dnsPolicy": "ClusterFirst",
                  "enableServiceLinks": true,
                  "hostNetwork": true,
                  "restartPolicy": "Always",
                  "schedulerName": "default-scheduler",
                  "securityContext": {},
                  "serviceAccount": "app",
                  "serviceAccountName": "app",
                  "terminationGracePeriodSeconds": 30,
                  "volumes": [
                    {
                      "emptyDir": {},
                      "name": "scratch"
                    },
                    {
                      "configMap": {
                        "defaultMode": 420,
                        "name": "web"
                      },
                      "name": "settings"
                    }
                  ]
                }"#]],
        );
    }

    #[test]
    fn a_pod_with_limits_as_a_whole_requests_what_its_containers_do() {
        let request = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let mut spec = json!({
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
            "initContainers": [{"resources": request("100m")}],
            "containers": [{"resources": request("300m")}, {"resources": request("250m")}],
        });
        pod(spec.as_object_mut().expect("a spec"));
        assert_eq!(spec["resources"]["requests"], json!({"cpu": "550m", "memory": "1Gi"}));
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("nginx:latest@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
