//! Details of reading and writing that clients rely on: sizes, dry runs, preconditions, duplicates, other shapes of
//! watches, two faces of one object.

use http::Request;
use serde_json::{Value, json};

use crate::harness::Cluster;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let cluster = Cluster::new().await;
    // Within the body, beyond what a ConfigMap may hold.
    let refused = cluster.post(CONFIG_MAPS, config_map("a", json!({"k": "x".repeat(1024 * 1024 + 1)}))).await;
    assert_eq!(
        refused.line(),
        "422 Invalid: ConfigMap \"a\" is invalid: []: Too long: may not be more than 1048576 bytes"
    );
    // Beyond what the store takes, in a kind without a limit of its own.
    let argument = "x".repeat(100_000);
    let container = json!({"name": "a", "image": "a:1", "args": vec![argument; 17]});
    let template = json!({"metadata": {"name": "a"}, "template": {"spec": {"containers": [container]}}});
    let refused = cluster.post("/api/v1/namespaces/default/podtemplates", template).await;
    assert_eq!(refused.line(), "413 RequestEntityTooLarge: etcdserver: request is too large");
    let refused = cluster.post(CONFIG_MAPS, config_map("a", json!({"k": "x".repeat(3 * 1024 * 1024)}))).await;
    assert_eq!(refused.line(), "413 RequestEntityTooLarge: Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn a_dry_run_of_any_verb_writes_nothing() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, config_map("a", json!({"k": "1"}))).await;
    let before = cluster.get(&path).await.body;
    let answers = [
        cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("b", json!({}))).await,
        cluster.put(&format!("{path}?dryRun=All"), config_map("a", json!({"k": "2"}))).await,
        cluster.patch("merge", &format!("{path}?dryRun=All"), json!({"data": {"k": "3"}})).await,
        cluster
            .patch("apply", &format!("{path}?dryRun=All&fieldManager=m&force=true"), config_map("a", json!({"k": "4"})))
            .await,
        cluster.delete(&format!("{path}?dryRun=All")).await,
        cluster.call("DELETE", &path, json!({"dryRun": ["All"]})).await,
        cluster.delete(&format!("{CONFIG_MAPS}?dryRun=All")).await,
    ];
    assert_eq!(answers.map(|answer| answer.code), [201, 200, 200, 200, 200, 200, 200]);
    assert_eq!(cluster.get(&path).await.body, before);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/b")).await.code, 404);
    let refused = cluster.post(&format!("{CONFIG_MAPS}?dryRun=Some"), config_map("c", json!({}))).await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn a_delete_may_name_the_state_it_means() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let created = cluster.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    let version = created.at("/metadata/resourceVersion").clone();
    let refused = cluster.call("DELETE", &path, json!({"preconditions": {"resourceVersion": "1"}})).await;
    assert!(
        refused.line().starts_with("409 Conflict: Operation cannot be fulfilled on configmaps \"a\": "),
        "{}",
        refused.line()
    );
    let refused = cluster.call("DELETE", &path, json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(refused.code, 409);
    let done = cluster.call("DELETE", &path, json!({"preconditions": {"resourceVersion": version}})).await;
    assert_eq!(done.line(), "200 Status");
}

#[tokio::test]
async fn duplicates_are_seen_in_json_and_yaml() {
    let cluster = Cluster::new().await;
    let json = r#"{"metadata": {"name": "NAME"}, "data": {"a": "1", "a": "2"}, "extra": 1}"#;
    let yaml = "metadata: {name: NAME}\ndata:\n  a: '1'\n  a: '2'\nextra: 1\n";
    for (media_type, body, name, duplicate) in [
        ("application/json", json, "a", r#"299 - "duplicate field \"data.a\"""#),
        ("application/yaml", yaml, "b", r#"299 - "line 4: key \"a\" already set in map""#),
    ] {
        let send = |mode: &str| {
            let path = format!("{CONFIG_MAPS}?fieldValidation={mode}");
            let request = Request::builder().method("POST").uri(path).header("content-type", media_type);
            cluster.ask(request, body.replace("NAME", name))
        };
        let strict = send("Strict").await;
        assert_eq!(strict.code, 400, "{}", strict.line());
        assert!(strict.line().contains("unknown field \"extra\""), "{}", strict.line());
        let warned = send("Warn").await;
        assert_eq!(warned.code, 201, "{}", warned.line());
        let warnings: Vec<&str> =
            warned.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect();
        assert_eq!(warnings, [duplicate, r#"299 - "unknown field \"extra\"""#]);
        assert_eq!(warned.at("/data/a"), "2");
    }
}

#[tokio::test]
async fn watches_have_the_shape_that_is_asked_for() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a", json!({"k": "1"}))).await;
    let watch = |accept: &'static str| {
        let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=0&timeoutSeconds=1");
        cluster.ask(Request::builder().uri(path).header("accept", accept), "")
    };
    let first = |answer: crate::harness::Answer| {
        let text = answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
        serde_json::from_str::<Value>(text.lines().next().expect("an event")).expect("JSON")
    };
    let event = first(watch("application/json;as=Table;v=v1;g=meta.k8s.io").await);
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
    assert_eq!(event["object"]["columnDefinitions"][0]["name"], "Name");
    let event = first(watch("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await);
    assert_eq!((&event["object"]["kind"], &event["object"]["data"]), (&json!("PartialObjectMetadata"), &Value::Null));
    assert_eq!(event["object"]["metadata"]["name"], "a");
}

#[tokio::test]
async fn an_autoscaler_has_two_faces() {
    let cluster = Cluster::new().await;
    let (v1, v2) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let body = json!({"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}});
    let created = cluster.post(v1, body).await;
    assert_eq!(created.code, 201, "{}", created.line());
    // What v1 leaves out is the default of v2.
    assert_eq!(created.at("/spec/targetCPUUtilizationPercentage"), 80);
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1k"}}});
    let patched = cluster.patch("merge", &format!("{v2}/web"), json!({"spec": {"metrics": [pods]}})).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    let old_face = cluster.get(&format!("{v1}/web")).await;
    assert_eq!(old_face.at("/spec/targetCPUUtilizationPercentage"), &Value::Null);
    let patched = cluster.patch("merge", &format!("{v1}/web"), json!({"spec": {"maxReplicas": 7}})).await;
    assert_eq!(patched.code, 200, "{}", patched.line());
    let new_face = cluster.get(&format!("{v2}/web")).await;
    assert_eq!(
        (new_face.at("/spec/maxReplicas"), new_face.at("/spec/metrics/0/pods/metric/name")),
        (&json!(7), &json!("rps"))
    );
    assert_eq!(new_face.at("/metadata/annotations"), &Value::Null);
}

#[tokio::test]
async fn list_options_are_judged() {
    let cluster = Cluster::new().await;
    for (query, expected) in [
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        ("resourceVersionMatch=Newer&resourceVersion=1", "Unsupported value: \"Newer\""),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        (
            "watch=true&sendInitialEvents=true",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        ("continue=x", "continue key is not valid"),
        (
            "fieldSelector=spec.x%3Dy",
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("labelSelector=a%20b", "unable to parse requirement"),
    ] {
        let answer = cluster.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert!(matches!(answer.code, 400 | 422), "{query}: {}", answer.line());
        assert!(answer.line().contains(expected), "{query}: {}", answer.line());
    }
}

/// Every kind knows its parts, and says what is missing.
#[tokio::test]
async fn what_is_missing_is_not_found_by_name() {
    let cluster = Cluster::new().await;
    for row in api::RESOURCES.iter().filter(|row| row.verbs.has("get") && row.plural != "componentstatuses") {
        let version = row.gvk.api_version();
        let root = if row.gvk.group.is_empty() { "api" } else { "apis" };
        let namespace = if row.is_namespaced() { "namespaces/default/" } else { "" };
        let path = format!("/{root}/{version}/{namespace}{}/none", row.plural);
        let expected = format!("404 NotFound: {} \"none\" not found", row.group_resource());
        assert_eq!(cluster.get(&path).await.line(), expected);
        if row.subresources.status {
            assert_eq!(cluster.get(&format!("{path}/status")).await.line(), expected);
            let patched = cluster.patch("merge", &format!("{path}/status"), json!({"status": {}})).await;
            assert_eq!(patched.line(), expected);
            let body = json!({"apiVersion": version, "kind": row.gvk.kind, "metadata": {"name": "none"}});
            assert_eq!(cluster.put(&format!("{path}/status"), body).await.line(), expected);
        }
        if row.subresources.scale.is_some() {
            let scale = format!("{path}/scale");
            assert_eq!(cluster.get(&scale).await.line(), expected);
            assert_eq!(cluster.patch("merge", &scale, json!({"spec": {"replicas": 1}})).await.line(), expected);
            let body = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "none"}});
            assert_eq!(cluster.put(&scale, body).await.line(), expected);
        }
    }
}

/// A part that is there is read, put and patched, and discovery says so.
#[tokio::test]
async fn every_part_is_discovered_with_its_verbs() {
    let cluster = Cluster::new().await;
    for row in api::RESOURCES.iter().filter(|row| row.verbs.has("get")) {
        let version = row.gvk.api_version();
        let root = if row.gvk.group.is_empty() { "api" } else { "apis" };
        let list = cluster.get(&format!("/{root}/{version}")).await;
        let parts = [("status", row.subresources.status), ("scale", row.subresources.scale.is_some())];
        for (part, _) in parts.into_iter().filter(|(_, is_there)| *is_there) {
            let name = format!("{}/{part}", row.plural);
            let found = list.at("/resources").as_array().expect("resources").iter().find(|one| one["name"] == name);
            let found = found.unwrap_or_else(|| panic!("{version} {name} is not discovered"));
            assert_eq!(found["verbs"], json!(["get", "patch", "update"]), "{name}");
        }
    }
}

/// Metadata is judged as strictly as the rest.
#[tokio::test]
async fn unknown_metadata_is_unknown() {
    let cluster = Cluster::new().await;
    let mut body = config_map("a", json!({}));
    body["metadata"]["bogus"] = json!(1);
    let refused = cluster.post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), body).await;
    assert_eq!(
        refused.line(),
        "400 BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.bogus\""
    );
}

/// Upstream: test/e2e/apimachinery/field_validation.go. What clients have wrong is told in the order of their text, and
/// of a patch as the patch's fault (upstream: endpoints/handlers/patch.go).
#[tokio::test]
async fn strictness_has_upstreams_words() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        r#"{"metadata":{"labels":{"app":"nginx"}},"spec":{"containers":[{"name":"nginx","image":"nginx"}]}}"#;
    let deployment = |spec: &str| {
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"d","labels":{{"app":"nginx"}}}},"spec":{{{spec}"selector":{{"matchLabels":{{"app":"nginx"}}}},"template":{template}}}}}"#
        )
    };
    let send = |method: &'static str, path: String, kind: &'static str, body: String| {
        cluster.ask(Request::builder().method(method).uri(path).header("content-type", kind), body)
    };
    let body = deployment(r#""unknownField":"foo","replicas":2,"replicas":3,"#);
    let refused = send("POST", format!("{path}?fieldValidation=Strict"), "application/json", body).await;
    assert_eq!(
        refused.line(),
        "400 BadRequest: Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \
         \"spec.unknownField\", duplicate field \"spec.replicas\""
    );
    let made = send("POST", path.to_owned(), "application/json", deployment("")).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let one = format!("{path}/d?fieldValidation=Strict");
    let patch = r#"{"spec":{"replicas":2,"replicas":3,"foo":[1,null]}}"#;
    let wrong = "strict decoding error: duplicate field \"spec.replicas\", unknown field \"spec.foo\"";
    let strategic = send("PATCH", one.clone(), "application/strategic-merge-patch+json", patch.into()).await;
    let said = format!(" \"\" is invalid: patch: Invalid value: \"map[spec:map[foo:[1 <nil>] replicas:3]]\": {wrong}");
    assert_eq!((strategic.code, strategic.at("/message")), (422, &json!(said)));
    assert_eq!(strategic.at("/details/causes/0/field"), "patch");
    let merged = send("PATCH", one.clone(), "application/merge-patch+json", patch.into()).await;
    assert_eq!(merged.code, 422);
    assert!(merged.line().contains(r#"patch: Invalid value: "{\"apiVersion\":\"apps/v1\","#), "{}", merged.line());
    assert!(merged.line().ends_with(wrong), "{}", merged.line());
    let json = r#"[{"op":"replace","path":"/spec/replicas","value":"many"}]"#;
    let mistyped = send("PATCH", one, "application/json-patch+json", json.into()).await;
    assert_eq!(mistyped.code, 422);
    let words = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
    assert!(mistyped.line().ends_with(words), "{}", mistyped.line());
    let warned = send("PATCH", format!("{path}/d"), "application/merge-patch+json", patch.into()).await;
    let warnings: Vec<&str> =
        warned.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect();
    let told = [r#"299 - "duplicate field \"spec.replicas\"""#, r#"299 - "unknown field \"spec.foo\"""#];
    assert_eq!((warned.code, warnings), (200, told.to_vec()));

    // What is applied is no patch in this sense: see the schema's words.
    let applied = deployment(r#""unknownField":"foo","replicas":"2","#);
    let apply = format!("{path}/d?fieldManager=me&force=true");
    let refused = send("PATCH", apply, "application/apply-patch+yaml", applied).await;
    assert_eq!(refused.code, 500);
    let prefix = "failed to create typed patch object (/d; apps/v1, Kind=Deployment): errors:\n";
    assert!(refused.at("/message").as_str().is_some_and(|words| words.starts_with(prefix)), "{}", refused.line());
    assert!(refused.line().contains(".spec.unknownField: field not declared in schema"), "{}", refused.line());
    assert!(refused.line().contains(".spec.replicas: expected numeric (int or float), got "), "{}", refused.line());
}

/// Upstream: endpoints/handlers/rest.go `transformDecodeError`: a body that cannot be read is shown as far as helps.
#[tokio::test]
async fn what_cannot_be_read_is_shown() {
    let cluster = Cluster::new().await;
    let send = |method: &'static str, path: &'static str, kind: &'static str, body: &'static str| {
        cluster.ask(Request::builder().method(method).uri(path).header("content-type", kind), body)
    };
    let unrecognized = "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): ";
    for (kind, body, cause, shown) in [
        ("application/json", "{\"a\":", "couldn't get version/kind; json parse error: ", " ({\"a\":)"),
        (
            "application/json",
            "{\"metadata\": {\"name\": \"a name that is long\"}",
            "couldn't get version/kind; json parse error: ",
            " ({\"metadata\": {\"name\": \"a name  ...)",
        ),
        ("application/json", "", "couldn't get version/kind; json parse error: ", " (<empty>)"),
        ("application/yaml", "a: [", "error converting YAML to JSON: yaml: ", " (613a205b)"),
    ] {
        let line = send("POST", CONFIG_MAPS, kind, body).await.line();
        assert!(line.starts_with(&format!("{unrecognized}{cause}")) && line.ends_with(shown), "{line}");
    }
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=me";
    let line = send("PATCH", path, "application/apply-patch+yaml", "a: [").await.line();
    assert!(line.starts_with("400 BadRequest: error encoding patch: yaml: "), "{line}");
    let line = send("PATCH", path, "application/apply-patch+yaml", "{\"a\": [").await.line();
    assert!(line.starts_with("400 BadRequest: error decoding patch: error converting YAML to JSON: yaml: "), "{line}");
    let line = send("PATCH", path, "application/apply-patch+yaml", "[a]").await.line();
    let words = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}";
    assert_eq!(line, format!("400 BadRequest: error decoding patch: {words}"));
    for (kind, body, words) in [
        ("application/merge-patch+json", "{", "invalid JSON patch"),
        (
            "application/merge-patch+json",
            "1",
            "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}",
        ),
        (
            "application/strategic-merge-patch+json",
            "[]",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            "application/json-patch+json",
            "{}",
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
    ] {
        assert_eq!(send("PATCH", path, kind, body).await.line(), format!("400 BadRequest: {words}"));
    }
}

/// Upstream: handlers/patch.go. A strategic merge patch is merged and converted without JSON in between.
#[tokio::test]
async fn patches_are_refused_in_upstreams_words() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
    }}});
    assert_eq!(cluster.post(path, deployment).await.code, 201);
    let one = format!("{path}/d");
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    for (patch, line) in [
        (
            pod(json!({"containers": [{"image": "x"}]})),
            "500 : map: map[image:x] does not contain declared merge key: name",
        ),
        (pod(json!({"$patch": "spoil"})), "500 : unknown patch type: spoil in map: map[$patch:spoil]"),
        (pod(json!({"$retainKeys": 1})), "400 BadRequest: invalid patch format of retainKeys"),
        (
            json!({"spec": {"replicas": "many"}}),
            "422 Invalid:  \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:many]]\": unrecognized type: int32",
        ),
        (
            pod(json!({"containers": "none"})),
            "422 Invalid:  \"\" is invalid: patch: Invalid value: \"map[spec:map[template:map[spec:map[containers:none]]]]\": cannot restore slice from string",
        ),
    ] {
        assert_eq!(cluster.patch("strategic-merge", &one, patch).await.line(), line);
    }
    let text = r#"[{"op":"replace","path":"/spec/replicas","value":1,"value":2,"vale":3}]"#;
    let send = |query: &str| {
        let request = Request::builder().method("PATCH").uri(format!("{one}{query}"));
        cluster.ask(request.header("content-type", "application/json-patch+json"), text)
    };
    let refused = send("?fieldValidation=Strict").await;
    let words = r#"strict decoding error: json patch duplicate field "[0].value", json patch unknown field "[0].vale""#;
    assert!(refused.code == 422 && refused.line().ends_with(words), "{}", refused.line());
    let warned = send("").await;
    let warnings: Vec<&str> = warned.headers.get_all("warning").iter().filter_map(|text| text.to_str().ok()).collect();
    let told =
        [r#"299 - "json patch duplicate field \"[0].value\"""#, r#"299 - "json patch unknown field \"[0].vale\"""#];
    assert_eq!((warned.code, warnings), (200, told.to_vec()));
    // Keys of YAML that are no text.
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keys}\ndata: {1: a, true: b, 1.5: c}\n";
    let request = Request::builder().method("POST").uri(CONFIG_MAPS).header("content-type", "application/yaml");
    let made = cluster.ask(request, yaml).await;
    assert_eq!(made.at("/data"), &json!({"1": "a", "true": "b", "1.5": "c"}), "{}", made.line());
}
