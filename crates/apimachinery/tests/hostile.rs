//! Whatever arrives, nothing here may panic: every parser and every patch is fed mutated and random input.

use apimachinery::apply::{self, FieldSet, Writer};
use apimachinery::codec::{self, Format};
use apimachinery::duration::GoDuration;
use apimachinery::patch::{json::JsonPatch, merge, strategic};
use apimachinery::quantity::Quantity;
use apimachinery::schema::{self, NodeId, SchemaSet};
use apimachinery::{Object, fields, labels, meta, validation};
use serde_json::{Value, json};

/// A small generator of repeatable numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.next(list.len())]
    }

    /// A text that is nearly one of `seeds`.
    fn near(&mut self, seeds: &[&str]) -> String {
        let mut chars: Vec<char> = self.pick(seeds).chars().collect();
        let alphabet: Vec<char> = "aA0 19=!,()<>in\"\\/{}[]:.-+eEmkKi~$%\u{0}\u{e4}\u{1F6A2}".chars().collect();
        for _ in 0..self.next(4) {
            let at = self.next(chars.len() + 1);
            let char = alphabet[self.next(alphabet.len())];
            match self.next(3) {
                0 => chars.insert(at, char),
                1 if at < chars.len() => chars[at] = char,
                _ if at < chars.len() => drop(chars.remove(at)),
                _ => {}
            }
        }
        chars.into_iter().collect()
    }

    /// A value made of the names that the schema and the directives know.
    fn value(&mut self, depth: usize) -> Value {
        let names = [
            "metadata",
            "spec",
            "name",
            "list",
            "set",
            "labels",
            "managedFields",
            "finalizers",
            "$patch",
            "$retainKeys",
            "$setElementOrder/list",
            "$deleteFromPrimitiveList/set",
            "amount",
            "f:spec",
            ".",
            "k:{\"name\":\"a\"}",
            "size",
            "port",
            "apiVersion",
            "manager",
            "operation",
            "fieldsType",
            "fieldsV1",
            "ownerReferences",
            "time",
        ];
        let texts = [
            "a",
            "b",
            "replace",
            "delete",
            "merge",
            "1Gi",
            "v1",
            "Apply",
            "Update",
            "FieldsV1",
            "",
            "2026-01-01T00:00:00Z",
        ];
        match self.next(if depth == 0 { 5 } else { 12 }) {
            0 => Value::Null,
            1 => json!(self.next(3) == 0),
            2 => json!(self.next(1000) as i64 - 500),
            3 => json!(self.next(1000) as f64 / 7.0),
            4 => json!(self.pick(&texts)),
            5..=7 => (0..self.next(4)).map(|_| self.value(depth - 1)).collect::<Vec<_>>().into(),
            _ => {
                let entries = (0..self.next(5)).map(|_| (self.pick(&names).to_owned(), self.value(depth - 1)));
                Value::Object(entries.collect())
            }
        }
    }

    fn object(&mut self) -> Object {
        loop {
            if let Some(object) = Object::from_value(self.value(5)) {
                return object;
            }
        }
    }
}

fn kind() -> (SchemaSet, NodeId) {
    let item = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "port": {"type": "integer", "format": "int32", "default": 1},
        "list": {"type": "array", "items": {"type": "string"}},
    }});
    let definitions = json!({"io.k8s.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]}, "Kind": {
        "type": "object", "properties": {
            "apiVersion": {"type": "string"},
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
                "managedFields": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "time": {"type": "string", "format": "date-time"},
            }},
            "spec": {"type": "object", "properties": {
                "list": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"],
                    "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "name"},
                "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
                "amount": {"$ref": "#/definitions/io.k8s.api.resource.Quantity"},
                "size": {"x-kubernetes-int-or-string": true},
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        },
    }});
    let mut builder = SchemaSet::builder();
    builder.add_definitions(definitions.as_object().expect("an object")).expect("good schemas");
    let set = builder.build().expect("complete");
    let root = set.by_name("Kind").expect("defined");
    (set, root)
}

#[test]
fn texts_are_read_or_refused() {
    let mut random = Random(42);
    for _ in 0..20_000 {
        let text = random.near(&["a=b,c!=d", "e in (f,g),!h", "x notin (a),y>1", ""]);
        if let Ok(selector) = labels::Selector::parse(&text) {
            let again = labels::Selector::parse(&selector.to_string());
            assert_eq!(again.as_ref(), Ok(&selector), "{text}");
        }
        let text = random.near(&["metadata.name=a", r"a=b\,c,d!=e", "a==b"]);
        if let Ok(selector) = fields::Selector::parse(&text) {
            assert_eq!(fields::Selector::parse(&selector.to_string()).as_ref(), Ok(&selector), "{text}");
        }
        let text = random.near(&["100m", "1.5Gi", "12e6", "-0.001", "9999999999999999999999999999999999999999"]);
        if let Ok(quantity) = Quantity::parse(&text) {
            assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity), "{text}");
            let _ = (
                quantity.value(),
                quantity.milli_value(),
                quantity.add(quantity).sub(quantity).mul(i64::MAX).to_string(),
            );
        }
        let text = random.near(&["1h30m", "1.5s", "-2us", "9223372036854775807ns"]);
        if let Ok(duration) = text.parse::<GoDuration>() {
            assert_eq!(duration.to_string().parse(), Ok(duration), "{text}");
        }
        let text = random.near(&["10.0.0.0/8", "2001:db8::/32", "example.com/name", "*.a.b", "25%"]);
        for rule in [
            validation::cidr,
            validation::ip,
            validation::qualified_name,
            validation::dns1123_subdomain,
            validation::percent,
            validation::label_value,
            validation::wildcard_dns1123_subdomain,
            validation::port_name,
            validation::env_var_name,
        ] {
            let _ = rule(&text);
        }
    }
}

#[test]
fn documents_are_read_or_refused() {
    let mut random = Random(7);
    let seeds = [
        "{\"kind\": \"A\", \"spec\": {\"a\": [1, 2.5, null, true]}}",
        "kind: A\nspec:\n  a: &x [1, yes]\n  b: *x\n  c: |\n    text\n",
        "- a\n- {b: c, <<: {d: e}}\n",
    ];
    for _ in 0..5_000 {
        let text = random.near(&seeds);
        let _ = codec::decode(text.as_bytes(), Format::Json);
        if let Ok(parsed) = codec::decode(text.as_bytes(), Format::Yaml) {
            let yaml = codec::yaml::encode(&parsed.value).expect("any value can be written");
            let again = codec::yaml::decode(yaml.as_bytes()).unwrap_or_else(|err| panic!("{yaml:?}: {err}"));
            assert_eq!(again.value, parsed.value, "{text:?} became {yaml:?}");
        }
    }
}

#[test]
fn objects_are_patched_or_refused() {
    let (set, root) = kind();
    let mut random = Random(99);
    for _ in 0..5_000 {
        let (mut one, two) = (random.object(), random.object());
        let _ = strategic::apply(&set, root, one.0.clone(), two.0.clone());
        let mut merged = one.clone().into_value();
        merge::apply(&mut merged, two.clone().into_value());
        let op = random.pick(&["add", "remove", "replace", "move", "copy", "test"]);
        let path = random.near(&["/spec/list/0", "/metadata/-1", "/a~1b", ""]);
        let patch = json!([{"op": op, "path": path, "from": random.near(&["/spec", "/metadata/name"]), "value": two.clone().into_value()}]);
        if let Ok(patch) = JsonPatch::parse(patch) {
            let _ = patch.apply(&mut merged);
        }
        let mut pruned = one.0.clone();
        schema::prune(&set, root, &mut pruned);
        let before = one.clone();
        if schema::decode(&set, root, &mut one).is_ok() {
            let once = one.clone();
            let problems = schema::decode(&set, root, &mut one).expect("what was decoded decodes again");
            assert!(problems.is_empty() && one == once, "{before:?} became {once:?}, then {one:?}");
        }
        let path = apimachinery::field::Path::new("metadata");
        let _ = meta::validate_object_meta(&before, true, validation::name_is_dns_subdomain, &path);
        let _ = meta::validate_object_meta_update(&before, &two, &path);
    }
}

#[test]
fn applies_end_in_an_object_or_an_error() {
    let (set, root) = kind();
    let mut random = Random(123);
    let mut applied = 0;
    for round in 0..3_000 {
        let writer = Writer {
            schema: &set,
            root,
            manager: random.pick(&["one", "two", "kubectl"]),
            api_version: "v1",
            subresource: "",
            now: jiff::Timestamp::UNIX_EPOCH,
            reset_fields: None,
        };
        let mut live = random.object();
        let fields = FieldSet::parse(&random.value(4)).unwrap_or_default().into_value();
        let entry = json!({"manager": "two", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        live.metadata_mut().insert("managedFields".into(), json!([entry]));
        let mut new = random.object();
        apply::update(&writer, (round % 3 != 0).then_some(&live), &mut new);
        let mut config = random.object();
        config.0.insert("apiVersion".into(), "v1".into());
        config.0.retain(|name, _| set.child(root, name).is_some());
        for name in ["metadata", "spec"] {
            let child = set.child(root, name).expect("declared");
            match config.0.get_mut(name) {
                Some(Value::Object(map)) => {
                    map.retain(|name, _| set.child(child, name).is_some() && name != "managedFields")
                }
                _ => drop(config.0.remove(name)),
            }
        }
        if apply::check(&writer, &config).is_err() {
            continue;
        }
        let first = apply::apply(&writer, Some(&live), &config, true).expect("nobody's fields are in the way by force");
        applied += 1;
        let second = apply::apply(&writer, Some(&first), &config, true).expect("what was applied applies again");
        let third = apply::apply(&writer, Some(&second), &config, true).expect("and again");
        assert_eq!(second, third, "an apply settles");
    }
    assert!(applied > 500, "enough configurations are good: {applied}");
}
