//! Built-in plugins: limits, quotas, Pod Security, classes, protections.

use std::sync::Arc;

use apimachinery::UserInfo;
use apiserver::authenticator::NobodyKnown;
use apiserver::{Config, admission};
use component_base::Scope;
use expect_test::expect;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

async fn with_account(cluster: Cluster) -> Cluster {
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.code, 201);
    cluster
}

async fn cluster() -> Cluster {
    with_account(Cluster::new().await).await
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn asking(name: &str, cpu: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu}});
    pod(name, json!({"containers": [{"name": "c", "image": "i", "resources": resources}]}))
}

fn claim(name: &str, spec: Value) -> Value {
    let mut claim = json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    for (field, value) in spec.as_object().into_iter().flatten() {
        claim["spec"][field] = value.clone();
    }
    claim
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect()
}

#[tokio::test]
async fn limit_ranges_complete_and_bound() {
    let cluster = cluster().await;
    let range = json!({"metadata": {"name": "limits"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}},
    ]}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/limitranges", range).await.code, 201);
    let silent = cluster.post(PODS, pod("a", json!({}))).await;
    assert_eq!(
        silent.at("/spec/containers/0/resources"),
        &json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        silent.at("/metadata/annotations/kubernetes.io~1limit-ranger"),
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let resources = json!({"limits": {"cpu": "2"}});
    let greedy = pod("b", json!({"containers": [{"name": "c", "image": "i", "resources": resources}]}));
    expect![[r#"403 Forbidden: pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#]]
        .assert_eq(&cluster.post(PODS, greedy).await.line());
    let large = claim("c", json!({"resources": {"requests": {"storage": "3Gi"}}}));
    expect![[r#"403 Forbidden: persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"#]]
        .assert_eq(&cluster.post(CLAIMS, large).await.line());
    assert_eq!(cluster.delete("/api/v1/namespaces/default/limitranges/limits").await.code, 200);
    assert_eq!(cluster.post(CLAIMS, claim("c", json!({}))).await.code, 201, "a range that is gone bounds nothing");
}

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

/// A quota as its controller leaves it.
async fn quota(cluster: &Cluster, name: &str, spec: Value) {
    let hard = spec["hard"].clone();
    let made = cluster.post(QUOTAS, json!({"metadata": {"name": name}, "spec": spec})).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let used: Value = hard.as_object().expect("amounts").keys().map(|name| (name.clone(), json!("0"))).collect();
    let status = json!({"status": {"hard": hard, "used": used}});
    assert_eq!(cluster.patch("merge", &format!("{QUOTAS}/{name}/status"), status).await.code, 200);
}

#[tokio::test]
async fn quotas_are_charged_and_hold() {
    let cluster = cluster().await;
    quota(&cluster, "q", json!({"hard": {"requests.cpu": "1", "count/secrets": "1", "services.nodeports": "0"}})).await;
    assert_eq!(cluster.post(PODS, asking("a", "600m")).await.code, 201);
    assert_eq!(cluster.get(&format!("{QUOTAS}/q")).await.at("/status/used/requests.cpu"), "600m");
    expect![[r#"403 Forbidden: pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"#]]
        .assert_eq(&cluster.post(PODS, asking("b", "600m")).await.line());
    expect![[r#"403 Forbidden: pods "b" is forbidden: failed quota: q: must specify requests.cpu for: c"#]]
        .assert_eq(&cluster.post(PODS, pod("b", json!({}))).await.line());
    let dry = cluster.post(&format!("{PODS}?dryRun=All"), asking("b", "100m")).await;
    assert_eq!(dry.code, 201, "{}", dry.line());
    assert_eq!(
        cluster.get(&format!("{QUOTAS}/q")).await.at("/status/used/requests.cpu"),
        "600m",
        "a dry run costs nothing"
    );
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(cluster.post(secrets, json!({"metadata": {"name": "a"}})).await.code, 201);
    expect![[r#"403 Forbidden: secrets "b" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1"#]]
        .assert_eq(&cluster.post(secrets, json!({"metadata": {"name": "b"}})).await.line());
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    expect![[r#"403 Forbidden: services "s" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0"#]]
        .assert_eq(&cluster.post("/api/v1/namespaces/default/services", service).await.line());
}

/// Old names count what has no other measure; quotas are counted as well (upstream: `legacyObjectCountAliases`).
#[tokio::test]
async fn quotas_count_controllers_and_themselves() {
    let cluster = cluster().await;
    quota(&cluster, "q", json!({"hard": {"replicationcontrollers": "1", "resourcequotas": "1"}})).await;
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }}})
    };
    assert_eq!(cluster.post(controllers, controller("a")).await.code, 201);
    expect![[r#"403 Forbidden: replicationcontrollers "b" is forbidden: exceeded quota: q, requested: replicationcontrollers=1, used: replicationcontrollers=1, limited: replicationcontrollers=1"#]]
        .assert_eq(&cluster.post(controllers, controller("b")).await.line());
    let further = || json!({"metadata": {"name": "r"}, "spec": {"hard": {}}});
    assert_eq!(cluster.post(QUOTAS, further()).await.code, 201);
    let mut second = further();
    second["metadata"]["name"] = json!("s");
    expect![[r#"403 Forbidden: resourcequotas "s" is forbidden: exceeded quota: q, requested: resourcequotas=1, used: resourcequotas=1, limited: resourcequotas=1"#]]
        .assert_eq(&cluster.post(QUOTAS, second).await.line());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_at_once_never_exceed_a_quota() {
    let cluster = cluster().await;
    quota(&cluster, "few", json!({"hard": {"pods": "5"}})).await;
    quota(&cluster, "more", json!({"hard": {"pods": "50"}})).await;
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    let answers = join_all(names.iter().map(|name| cluster.post(PODS, pod(name, json!({}))))).await;
    let made = answers.iter().filter(|answer| answer.code == 201).count();
    let refused =
        answers.iter().filter(|answer| answer.code == 403 && answer.line().contains("exceeded quota: few")).count();
    assert_eq!((made, refused), (5, 25));
    for name in ["few", "more"] {
        assert_eq!(cluster.get(&format!("{QUOTAS}/{name}")).await.at("/status/used/pods"), "5", "{name}");
    }
}

#[tokio::test]
async fn priority_classes_have_their_quotas() {
    let cluster = cluster().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    assert_eq!(cluster.post("/apis/scheduling.k8s.io/v1/priorityclasses", class).await.code, 201);
    let expression = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]});
    quota(&cluster, "high", json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [expression]}})).await;
    let high = |name: &str| pod(name, json!({"priorityClassName": "high"}));
    assert_eq!(cluster.post(PODS, high("a")).await.code, 201);
    assert_eq!(cluster.post(PODS, high("b")).await.code, 403);
    assert_eq!(cluster.post(PODS, pod("c", json!({}))).await.code, 201, "others are not counted");
}

async fn label(cluster: &Cluster, labels: Value) -> Answer {
    cluster.patch("merge", "/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await
}

#[tokio::test]
async fn pods_keep_to_the_level_of_their_namespace() {
    let cluster = cluster().await;
    let host = || pod("a", json!({"hostNetwork": true}));
    assert_eq!(cluster.post(PODS, host()).await.code, 201, "nothing is enforced yet");
    let wrong = label(&cluster, json!({"pod-security.kubernetes.io/enforce": "strict"})).await;
    expect![[r#"422 Invalid: Namespace "default" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#]]
        .assert_eq(&wrong.line());
    let tightened = label(&cluster, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    assert_eq!(tightened.code, 200);
    assert_eq!(
        warnings(&tightened),
        [
            r#"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"""#,
            r#"299 - "a: host namespaces""#,
        ]
    );
    let mut second = host();
    second["metadata"]["name"] = "b".into();
    expect![[r#"403 Forbidden: pods "b" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#]]
        .assert_eq(&cluster.post(PODS, second.clone()).await.line());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": second["spec"]});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let warned = cluster.post("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(warned.code, 201, "{}", warned.line());
    assert_eq!(
        warnings(&warned),
        [r#"299 - "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)""#]
    );
}

#[tokio::test]
async fn exemptions_are_configured() {
    let security = json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "restricted"}, "exemptions": {"usernames": ["trusted"]},
    });
    let admission = admission::Config {
        plugins: [("PodSecurity".to_owned(), security)].into(),
        disable_admission_plugins: vec!["ServiceAccount".into()],
        enable_admission_plugins: vec!["AlwaysPullImages".into()],
    };
    let config = Config { admission, ..Config::default() };
    let cluster = Cluster::with(config, Arc::new(NobodyKnown), &Scope::root()).await;
    let refused = cluster.post(PODS, pod("a", json!({}))).await;
    assert_eq!(refused.code, 403, "{}", refused.line());
    let trusted = cluster.acting_as(UserInfo::new("trusted", ["system:masters"]));
    let made = trusted.post(PODS, pod("a", json!({}))).await;
    assert_eq!(made.code, 201, "{}", made.line());
    assert_eq!(made.at("/spec/containers/0/imagePullPolicy"), "Always");
    assert_eq!(made.at("/spec/serviceAccountName"), &Value::Null, "that plugin is off");
}

#[tokio::test]
async fn plugins_that_are_off_by_default() {
    let selectors =
        json!({"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "zone=a", "default": "zone=a,disk=ssd"}});
    let tolerations = json!({
        "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration",
        "default": [{"key": "gpu", "operator": "Exists"}], "whitelist": [{"operator": "Exists", "effect": "NoSchedule"}, {"key": "gpu", "operator": "Exists"}],
    });
    let admission = admission::Config {
        plugins: [("PodNodeSelector".to_owned(), selectors), ("PodTolerationRestriction".to_owned(), tolerations)]
            .into(),
        disable_admission_plugins: ["ServiceAccount", "DefaultTolerationSeconds"].map(str::to_owned).to_vec(),
        enable_admission_plugins: ["LimitPodHardAntiAffinityTopology", "PodNodeSelector", "PodTolerationRestriction"]
            .map(str::to_owned)
            .to_vec(),
    };
    let config = Config { admission, ..Config::default() };
    let cluster = Cluster::with(config, Arc::new(NobodyKnown), &Scope::root()).await;
    let made = cluster.post(PODS, pod("a", json!({"nodeSelector": {"disk": "ssd"}}))).await;
    assert_eq!(made.at("/spec/nodeSelector"), &json!({"disk": "ssd", "zone": "a"}), "{}", made.line());
    assert_eq!(made.at("/spec/tolerations"), &json!([{"key": "gpu", "operator": "Exists"}]));
    let refused = async |spec: Value| cluster.post(PODS, pod("b", spec)).await.line();
    expect![[r#"403 Forbidden: pods "b" is forbidden: pod node label selector conflicts with its namespace node label selector"#]]
        .assert_eq(&refused(json!({"nodeSelector": {"zone": "b"}})).await);
    expect![[
        r#"403 Forbidden: pods "b" is forbidden: pod node label selector labels conflict with its namespace whitelist"#
    ]]
    .assert_eq(&refused(json!({"nodeSelector": {"rack": "1"}})).await);
    expect![[r#"403 Forbidden: pods "b" is forbidden: pod tolerations (possibly merged with namespace default tolerations) conflict with its cluster whitelist"#]]
        .assert_eq(&refused(json!({"tolerations": [{"key": "x", "operator": "Exists", "effect": "NoExecute"}]})).await);
    let term = json!({"topologyKey": "zone", "labelSelector": {}});
    expect![[r#"403 Forbidden: pods "b" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed"#]]
        .assert_eq(&refused(json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})).await);
}

#[tokio::test]
async fn classes_are_found_and_volumes_protected() {
    let cluster = cluster().await;
    let class = |name: &str, default: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": default});
        json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/x"})
    };
    assert_eq!(cluster.post("/apis/storage.k8s.io/v1/storageclasses", class("slow", "false")).await.code, 201);
    assert_eq!(cluster.post("/apis/storage.k8s.io/v1/storageclasses", class("fast", "true")).await.code, 201);
    let made = cluster.post(CLAIMS, claim("a", json!({}))).await;
    assert_eq!(made.at("/spec/storageClassName"), "fast");
    assert_eq!(made.at("/metadata/finalizers"), &json!(["kubernetes.io/pvc-protection"]));
    let none = cluster.post(CLAIMS, claim("b", json!({"storageClassName": ""}))).await;
    assert_eq!(none.at("/spec/storageClassName"), "");
    let grown = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let refused = cluster.patch("merge", &format!("{CLAIMS}/a"), grown).await;
    assert!(matches!(refused.code, 403 | 422), "{}", refused.line());
    assert_eq!(cluster.delete(&format!("{CLAIMS}/a")).await.code, 200);
    assert!(cluster.get(&format!("{CLAIMS}/a")).await.at("/metadata/deletionTimestamp").is_string(), "it stays");
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    let ingress_class =
        json!({"metadata": {"name": "web", "annotations": annotations}, "spec": {"controller": "example.com/x"}});
    assert_eq!(cluster.post("/apis/networking.k8s.io/v1/ingressclasses", ingress_class).await.code, 201);
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}});
    let made = cluster.post("/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress).await;
    assert_eq!(made.at("/spec/ingressClassName"), "web", "{}", made.line());
}

#[tokio::test]
async fn a_runtime_costs_and_places() {
    let cluster = cluster().await;
    let class = json!({
        "metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"runtime": "kata"}},
    });
    assert_eq!(cluster.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.code, 201);
    let made = cluster.post(PODS, pod("a", json!({"runtimeClassName": "kata"}))).await;
    assert_eq!(
        (made.at("/spec/overhead/cpu"), made.at("/spec/nodeSelector/runtime")),
        (&json!("250m"), &json!("kata"))
    );
    expect![[r#"403 Forbidden: pods "b" is forbidden: pod rejected: RuntimeClass "nope" not found"#]]
        .assert_eq(&cluster.post(PODS, pod("b", json!({"runtimeClassName": "nope"}))).await.line());
    expect![[r#"403 Forbidden: pods "b" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"#]]
        .assert_eq(&cluster.post(PODS, pod("b", json!({"overhead": {"cpu": "1"}}))).await.line());
}

#[tokio::test]
async fn a_bound_pod_knows_its_zone() {
    let cluster = cluster().await;
    let node = json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}}});
    assert_eq!(cluster.post("/api/v1/nodes", node).await.code, 201);
    cluster.post(PODS, pod("a", json!({}))).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(cluster.post(&format!("{PODS}/a/binding"), binding).await.code, 201);
    let bound = cluster.get(&format!("{PODS}/a")).await;
    assert_eq!(bound.at("/metadata/labels/topology.kubernetes.io~1zone"), "z");
}

#[tokio::test]
async fn there_is_one_default_priority() {
    let cluster = cluster().await;
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 5, "globalDefault": true});
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    assert_eq!(cluster.post(classes, class("a")).await.code, 201);
    expect![[r#"403 Forbidden: priorityclasses.scheduling.k8s.io "b" is forbidden: PriorityClass a is already marked as default. Only one default can exist"#]]
        .assert_eq(&cluster.post(classes, class("b")).await.line());
}

#[tokio::test]
async fn a_kubelet_keeps_to_its_node() {
    let cluster = cluster().await;
    let kubelet = cluster.acting_as(UserInfo::new("system:node:n", ["system:nodes", "system:masters"]));
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    expect![[r#"403 Forbidden: nodes "m" is forbidden: node "n" is not allowed to modify node "m""#]]
        .assert_eq(&kubelet.post("/api/v1/nodes", node("m", json!({}))).await.line());
    expect![[r#"403 Forbidden: nodes "n" is forbidden: node "n" is not allowed to set the following labels: node-role.kubernetes.io/control-plane"#]]
        .assert_eq(&kubelet.post("/api/v1/nodes", node("n", json!({"node-role.kubernetes.io/control-plane": ""}))).await.line());
    assert_eq!(kubelet.post("/api/v1/nodes", node("n", json!({"kubernetes.io/hostname": "n"}))).await.code, 201);
    expect![[r#"403 Forbidden: nodes "n" is forbidden: node "n" is not allowed to modify taints"#]]
        .assert_eq(&kubelet.patch("merge", "/api/v1/nodes/n", json!({"spec": {"taints": []}})).await.line());
    expect![[r#"403 Forbidden: pods "a" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n" can only create mirror pods"#]]
        .assert_eq(&kubelet.post(PODS, pod("a", json!({}))).await.line());
}

#[tokio::test]
async fn the_system_namespaces_stay() {
    let cluster = cluster().await;
    expect![[r#"403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted"#]]
        .assert_eq(&cluster.delete("/api/v1/namespaces/default").await.line());
    expect![[r#"404 NotFound: namespaces "nope" not found"#]].assert_eq(
        &cluster.post("/api/v1/namespaces/nope/configmaps", json!({"metadata": {"name": "a"}})).await.line(),
    );
}
