//! What kubectl makes of the schemas of custom kinds: a new one asks the server to be strict, an old one judges by
//! itself what OpenAPI v2 says.

use testkit::{Cluster, Run};

use crate::clients::tool;
use crate::kit;

const GROUP: &str = "crd-publish-openapi.example.com";

/// Defines a kind whose schema is this, in YAML's flow style; answers the definition's name.
fn define(cluster: &Cluster, kind: &str, schema: &str) -> String {
    let plural = format!("{}s", kind.to_lowercase());
    let name = format!("{plural}.{GROUP}");
    cluster.apply(&format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {name}}}\nspec:\n  \
         group: {GROUP}\n  scope: Namespaced\n  names: {{plural: {plural}, kind: {kind}}}\n  versions:\n  \
         - name: v1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {schema}}}\n"
    ));
    cluster.wait("condition=Established", &[&format!("crd/{name}")]);
    plural
}

fn object(kind: &str, name: &str, rest: &str) -> String {
    // In block style: an old kubectl takes what begins with a brace for JSON.
    format!("apiVersion: {GROUP}/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n")
}

/// Runs both kubectls, each with this on its standard input.
fn both(cluster: &Cluster, args: &[&str], input: &str) -> [Run; 2] {
    [cluster.kubectl_with_input(args, input), cluster.machine.run_with_input(tool("KUBECTL_1_20"), args, input)]
}

/// Creates, applies and deletes an object with properties nobody declared.
fn unknown_properties_are_taken(cluster: &Cluster, kind: &str, before: &str, after: &str) {
    for old in [false, true] {
        let run = |args: &[&str], rest: &str| {
            let input = object(kind, "test-cr", rest);
            if old {
                cluster.machine.run_with_input(tool("KUBECTL_1_20"), args, &input).ok()
            } else {
                cluster.kubectl_with_input(args, &input).ok()
            }
        };
        run(&["create", "-f", "-"], before);
        run(&["delete", "-f", "-"], before);
        run(&["apply", "-f", "-"], before);
        run(&["apply", "-f", "-"], after);
        run(&["delete", "-f", "-"], after);
    }
}

/// Conformance: Custom Resource OpenAPI Publish, with validation schema.
#[test]
fn kubectl_judges_by_the_schema_and_explains_it() {
    let cluster = kit::cluster("publish");
    let bars = "{description: List of Bars and their specs., type: array, items: {type: object, required: [name], properties: {name: {description: Name of Bar., type: string}, age: {description: Age of Bar., type: string}, feeling: {description: Whether Bar is feeling great., type: string, enum: [Great, Down]}, bazs: {description: List of Bazs., type: array, items: {type: string}}}}}";
    let schema = format!(
        "{{description: Foo CRD for Testing, type: object, properties: {{spec: {{type: object, description: Specification of Foo, properties: {{bars: {bars}}}}}, status: {{description: Status of Foo, type: object, properties: {{bars: {{type: array, items: {{type: object, properties: {{name: {{type: string}}}}}}}}}}}}}}}}"
    );
    let plural = define(&cluster, "Foo", &schema);
    let valid = object("Foo", "test-foo", "spec: {bars: [{name: test-bar, age: '10', feeling: Great, bazs: [a]}]}");
    for args in [["create", "-f", "-"], ["delete", "-f", "-"], ["apply", "-f", "-"]] {
        cluster.kubectl_with_input(&args, &valid).ok();
    }
    for run in both(&cluster, &["apply", "-f", "-"], &valid) {
        run.ok();
    }
    let unknown = object("Foo", "test-foo", "spec: {foo: true}");
    let incomplete = object("Foo", "test-foo", "spec: {bars: [{age: '10'}]}");
    let wrong = object("Foo", "test-foo", "spec: {bars: [{name: test-bar, feeling: NonExistentValue}]}");
    for args in [["create", "-f", "-"], ["apply", "-f", "-"]] {
        let [new, old] = both(&cluster, &args, &unknown);
        new.fails_with("unknown field \"spec.foo\"");
        old.fails_with("unknown field \"foo\"");
        let [new, old] = both(&cluster, &args, &incomplete);
        new.fails_with("spec.bars[0].name: Required value");
        old.fails_with("missing required field \"name\"");
        for run in both(&cluster, &args, &wrong) {
            run.fails_with("Unsupported value: \"NonExistentValue\": supported values: \"Great\", \"Down\"");
        }
    }
    for (path, said) in [
        (plural.clone(), &["DESCRIPTION:", "Foo CRD for Testing", "Specification of Foo"][..]),
        (format!("{plural}.metadata"), &["KIND:", "metadata"]),
        (format!("{plural}.spec"), &["Specification of Foo", "List of Bars and their specs"]),
        (format!("{plural}.spec.bars"), &["List of Bars", "Name of Bar"]),
    ] {
        for run in both(&cluster, &["explain", &path], "") {
            let text = run.says(said[0]);
            for part in said {
                assert!(text.contains(part), "{part} is not said of {path}:\n{text}");
            }
        }
    }
    for run in both(&cluster, &["explain", &format!("{plural}.spec.bars2")], "") {
        run.fails_with("does not exist");
    }
}

/// Conformance: Custom Resource OpenAPI Publish, with x-preserve-unknown-fields in object.
/// Conformance: Custom Resource OpenAPI Publish, with x-preserve-unknown-fields at root.
/// Conformance: Custom Resource OpenAPI Publish, with x-preserve-unknown-fields in embedded object.
#[test]
fn kubectl_takes_unknown_fields_where_the_schema_does() {
    let cluster = kit::cluster("preserve");
    let anything = "{type: object, x-kubernetes-preserve-unknown-fields: true}";
    let empty = define(&cluster, "Empty", anything);
    unknown_properties_are_taken(&cluster, "Empty", "a: {b: [{c: d}]}", "a: {b: [{c: e}]}");
    for run in both(&cluster, &["explain", &empty], "") {
        run.says("DESCRIPTION:");
    }

    let at_root = "{type: object, x-kubernetes-preserve-unknown-fields: true, properties: {spec: {type: object, description: Specification of Root, properties: {name: {type: string}}}}}";
    let root = define(&cluster, "Root", at_root);
    unknown_properties_are_taken(&cluster, "Root", "a: {b: [{c: d}]}", "a: {b: [{c: e}]}");
    for run in both(&cluster, &["explain", &root], "") {
        let text = run.says("KIND:");
        assert!(text.lines().any(|line| line.starts_with("KIND:") && line.ends_with("Root")), "{text}");
    }

    let nested = "{type: object, properties: {spec: {type: object, description: Specification of Nested, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, description: Status of Nested, x-kubernetes-preserve-unknown-fields: true}}}";
    let nested_plural = define(&cluster, "Nested", nested);
    let embedded = |value: &str| {
        format!("spec: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: inside}}, b: [{{c: {value}}}]}}")
    };
    unknown_properties_are_taken(&cluster, "Nested", &embedded("d"), &embedded("e"));
    for run in both(&cluster, &["explain", &nested_plural], "") {
        run.says("Specification of Nested");
    }
    cluster.apply(&object("Nested", "kept", &embedded("d")));
    assert_eq!(cluster.value(&format!("{nested_plural}/kept"), "{.spec.b[0].c}"), "d");
}
