//! What every cluster has, pinned: a line an object, with how many rules each has, to whom each binding is bound.

use expect_test::expect_file;
use serde_json::Value;

/// `name [in namespace]: rules, what it aggregates, subjects`.
fn line(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let mut line = format!("{} {}", text(&object["kind"]), text(&metadata["name"]));
    if let Some(namespace) = metadata["namespace"].as_str() {
        line += &format!(" in {namespace}");
    }
    let labels = metadata["labels"].as_object().into_iter().flatten();
    for (label, _) in labels.filter(|(label, _)| *label != super::BOOTSTRAPPING) {
        line += &format!(", {}", label.rsplit('/').next().unwrap_or(label));
    }
    if object["aggregationRule"].is_object() {
        line += ", aggregated";
    }
    for rule in object["rules"].as_array().into_iter().flatten() {
        line += &format!("\n  {}", rule_line(rule));
    }
    for subject in object["subjects"].as_array().into_iter().flatten() {
        let place = subject["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        line += &format!("\n  {} {place}{}", text(&subject["kind"]), text(&subject["name"]));
    }
    line
}

fn rule_line(rule: &Value) -> String {
    let words = |field: &str| {
        let words = rule[field].as_array().into_iter().flatten().map(|word| match word.as_str() {
            Some("") | None => "core",
            Some(word) => word,
        });
        words.collect::<Vec<_>>().join(",")
    };
    let fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"].map(words);
    fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_default_objects_are_these() {
    let mut lines: Vec<String> = super::defaults().map(|object| line(&object)).collect();
    lines.sort();
    expect_file!["testdata/defaults.txt"].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn every_default_object_is_labelled_and_kept_up_to_date() {
    for object in super::defaults() {
        assert_eq!(object["metadata"]["labels"][super::BOOTSTRAPPING], "rbac-defaults", "{object}");
        assert_eq!(object["metadata"]["annotations"][super::AUTOUPDATE], "true", "{object}");
    }
}
