//! Kinds that people define themselves, with a stock kubectl.

use crate::kit;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.harbour.example.com}
spec:
  group: harbour.example.com
  scope: Namespaced
  names: {plural: boats, kind: Boat, shortNames: [bt], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Length, type: integer, jsonPath: .spec.length}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A boat in the harbour.
        properties:
          spec:
            type: object
            required: [length]
            properties:
              length: {type: integer, minimum: 1, description: From stem to stern.}
              flag: {type: string, default: jp}
"#;

fn boat(name: &str, spec: &str) -> String {
    format!("apiVersion: harbour.example.com/v1\nkind: Boat\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn a_kind_of_ones_own() {
    let cluster = kit::cluster("custom");
    // kubectl reads what is served once for both: the definition has to be in effect when its apply returns.
    cluster.apply(DEFINITION);
    cluster.wait("condition=Established", &["crd/boats.harbour.example.com"]);
    cluster.apply(&boat("dory", "{length: 4}"));
    assert_eq!(cluster.value("boat/dory", "{.spec.flag}"), "jp");
    let table = cluster.kubectl(&["get", "bt"]).ok();
    assert!(table.starts_with("NAME") && table.contains("LENGTH"), "{table}");
    assert!(table.lines().nth(1).is_some_and(|row| row.starts_with("dory") && row.contains('4')), "{table}");
    cluster.kubectl(&["get", "fleet"]).says("dory");
    cluster.kubectl(&["explain", "boat.spec.length"]).says("From stem to stern.");
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], &boat("raft", "{length: 0}"))
        .fails_with("spec.length: Invalid value: 0: spec.length in body should be greater than or equal to 1");
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], &boat("raft", "{length: 1, sails: 2}"))
        .fails_with("unknown field \"spec.sails\"");
    cluster.apply(&boat("dory", "{length: 5, flag: nl}"));
    assert_eq!(cluster.value("boat/dory", "{.metadata.generation}"), "2");
    cluster.kubectl(&["create", "namespace", "dock"]).ok();
    cluster.kubectl_with_input(&["apply", "-n", "dock", "-f", "-"], &boat("canoe", "{length: 3}")).ok();
    // The namespace takes its boats with it.
    cluster.kubectl(&["delete", "namespace", "dock"]).ok();
    cluster.kubectl(&["delete", "crd", "boats.harbour.example.com"]).ok();
    cluster.kubectl(&["get", "boats"]).fails_with("could not find the requested resource");
}
