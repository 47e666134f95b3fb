//! Rules are compiled and judged where they are written
//! (upstream: schema/cel/compilation.go, pkg/apis/apiextensions/validation/{validation,cel_validation}.go).

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::field::{self, ErrorType, Path};
use serde_json::Value as Json;

use super::{EXPRESSION_COST_LIMIT, Node, Rule, SCHEMA_COST_LIMIT, field_path, has_rules};
use crate::environment::{Environment, Program};
use crate::escaping::escape;
use crate::schema::{Decl, MAX_REQUEST_SIZE, additional_properties, is_embedded_resource};
use crate::types::Type;

/// The reasons a rule may give.
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Compiles a whole schema.
pub(super) fn schema(schema: &Json, path: &Path) -> Result<Option<Node>, Vec<field::Error>> {
    let mut compiler = Compiler { errors: Vec::new(), total: 0, expensive: Vec::new() };
    let scope = Scope { cardinality: Some(1), uncorrelatable: None, is_lenient: false };
    let decl = Decl::of_schema(schema, true);
    let root = compiler.node(&Place { validations: schema, schema, decl: decl.as_ref(), path, scope: &scope });
    compiler.judge_total(path);
    if compiler.errors.is_empty() { Ok(root) } else { Err(compiler.errors) }
}

/// What the places above say about a place.
#[derive(Clone)]
struct Scope {
    /// How often values may stand at this place; nothing where no limit is set.
    cardinality: Option<u64>,
    /// The place above from which on old and new values cannot be told to be the same.
    uncorrelatable: Option<Path>,
    /// Problems are kept for the evaluation.
    is_lenient: bool,
}

/// A place in the schema, and what stands above it.
struct Place<'p> {
    /// Says something about values of `schema`: a part of it, or of an `allOf` beside it.
    validations: &'p Json,
    schema: &'p Json,
    decl: Option<&'p Arc<Decl>>,
    path: &'p Path,
    scope: &'p Scope,
}

struct Compiler {
    errors: Vec<field::Error>,
    total: u64,
    expensive: Vec<(Path, u64)>,
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn limit(schema: &Json, keyword: &str) -> Option<u64> {
    schema.get(keyword).map(|limit| limit.as_u64().unwrap_or(0))
}

impl Compiler {
    /// The rules of a place and of those below it.
    fn node(&mut self, place: &Place<'_>) -> Option<Node> {
        let Place { schema, decl, path, .. } = *place;
        let rules = self.rules(place);
        let Some(decl) = decl else {
            if rules.is_some() {
                let words = "internal error: failed to construct type information for x-kubernetes-validations rules: \
                             unable to convert structural schema to CEL declarations";
                self.internal(&path.child("x-kubernetes-validations"), words);
            }
            return None;
        };
        let list_type = text(schema, "x-kubernetes-list-type");
        let mut node = Node {
            rules: rules.unwrap_or_default(),
            decl: decl.clone(),
            type_name: text(schema, "type").into(),
            all_of: Vec::new(),
            properties: BTreeMap::new(),
            additional_properties: None,
            items: None,
            keys: (list_type == "map").then(|| {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array);
                keys.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
            }),
        };
        self.children(&mut node, place);
        let has_some = !node.rules.is_empty()
            || !node.all_of.is_empty()
            || !node.properties.is_empty()
            || node.items.is_some()
            || node.additional_properties.is_some();
        has_some.then_some(node)
    }

    fn children(&mut self, node: &mut Node, place: &Place<'_>) {
        let Place { validations, schema, path, scope, .. } = *place;
        let decl = node.decl.clone();
        let nested = |schema: Option<&Json>, limit: Option<u64>| {
            let factor = if schema.is_some() { limit } else { Some(1) };
            let cardinality = scope.cardinality.zip(factor).map(|(above, factor)| above.saturating_mul(factor));
            Scope { cardinality, ..scope.clone() }
        };
        for (name, property) in validations.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let spine = schema.get("properties").and_then(|properties| properties.get(name));
            let Some(spine) = spine.filter(|_| has_rules(property)) else { continue };
            let below = match escape(name) {
                Some(escaped) => decl.field(&escaped).map(|field| field.decl.clone()),
                None => Decl::of_schema(spine, is_embedded_resource(spine)),
            };
            let at = path.child("properties").key(name);
            let scope = nested(None, None);
            let below = Place { validations: property, schema: spine, decl: below.as_ref(), path: &at, scope: &scope };
            if let Some(found) = self.node(&below) {
                node.properties.insert(name.clone(), found);
            }
        }
        if let (Some(values), Some(spine)) = (additional_properties(validations), additional_properties(schema))
            && has_rules(values)
        {
            let scope = nested(Some(spine), limit(schema, "maxProperties"));
            let at = path.child("additionalProperties");
            let below = Place { validations: values, schema: spine, decl: decl.elements(), path: &at, scope: &scope };
            node.additional_properties = self.node(&below).map(Box::new);
        }
        if let (Some(items), Some(spine)) = (validations.get("items"), schema.get("items"))
            && has_rules(items)
        {
            let mut scope = nested(Some(spine), limit(schema, "maxItems"));
            if node.keys.is_none() {
                scope.uncorrelatable = Some(path.clone());
            }
            let at = path.child("items");
            let below = Place { validations: items, schema: spine, decl: decl.elements(), path: &at, scope: &scope };
            node.items = self.node(&below).map(Box::new);
        }
        for (index, part) in validations.get("allOf").and_then(Json::as_array).into_iter().flatten().enumerate() {
            if has_rules(part) {
                let scope = Scope { is_lenient: true, ..scope.clone() };
                let at = path.child("allOf").index(index);
                let below = Place { validations: part, schema, decl: Some(&decl), path: &at, scope: &scope };
                node.all_of.extend(self.node(&below));
            }
        }
    }

    /// The rules of one place; nothing where it has none.
    fn rules(&mut self, place: &Place<'_>) -> Option<Vec<Rule>> {
        let Place { validations, schema, decl, path, scope } = *place;
        let written = validations.get("x-kubernetes-validations").and_then(Json::as_array)?;
        let mut is_sound = true;
        for (index, rule) in written.iter().enumerate() {
            is_sound &= self.judge_fields(rule, schema, &path.child("x-kubernetes-validations").index(index));
        }
        let decl = decl?;
        if !is_sound {
            return Some(Vec::new());
        }
        let plain = Environment::new().with_schema("self", decl, false).with_schema("oldSelf", decl, false);
        let optional = Environment::new().with_schema("self", decl, false).with_schema("oldSelf", decl, true);
        let mut rules = Vec::with_capacity(written.len());
        for (index, rule) in written.iter().enumerate() {
            let is_optional = rule.get("optionalOldSelf") == Some(&Json::Bool(true));
            let environment = if is_optional { &optional } else { &plain };
            let at = path.child("x-kubernetes-validations").index(index);
            rules.extend(self.rule(rule, schema, decl, environment, &at, scope));
        }
        Some(rules)
    }

    /// What the fields of a rule must be, its expressions aside.
    fn judge_fields(&mut self, rule: &Json, schema: &Json, at: &Path) -> bool {
        let before = self.errors.len();
        let has_breaks = |text: &str| text.contains(['\n', '\r']);
        let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
        if source.is_empty() {
            self.errors.push(field::Error::required(&at.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let words = "must be non-empty if specified";
            self.errors.push(field::Error::invalid(&at.child("message"), message, words));
        } else if has_breaks(message.trim()) {
            self.errors.push(field::Error::invalid(&at.child("message"), message, "must not contain line breaks"));
        } else if has_breaks(source) && message.trim().is_empty() {
            let words = "message must be specified if rule contains line breaks";
            self.errors.push(field::Error::required(&at.child("message"), words));
        }
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let words = "messageExpression must be non-empty if specified";
            self.errors.push(field::Error::required(&at.child("messageExpression"), words));
        }
        let reason = text(rule, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            self.errors.push(field::Error::not_supported(&at.child("reason"), reason, &REASONS));
        }
        let field_path = text(rule, "fieldPath");
        if !field_path.is_empty() {
            let place = at.child("fieldPath");
            let mut refuse = |words| self.errors.push(field::Error::invalid(&place, field_path, words));
            if field_path.trim().is_empty() {
                refuse("must be non-empty if specified");
            }
            if has_breaks(field_path) {
                refuse("must not contain line breaks");
            }
            if field_path::resolve(field_path, schema, true).is_err() {
                refuse("must be a valid path");
            }
        }
        self.errors.len() == before
    }

    fn rule(
        &mut self,
        rule: &Json,
        schema: &Json,
        decl: &Arc<Decl>,
        environment: &Environment,
        at: &Path,
        scope: &Scope,
    ) -> Option<Rule> {
        let source = text(rule, "rule");
        let program = compile(environment, source, "", &Type::Bool, "cel expression must evaluate to a bool");
        let cardinality = scope.cardinality.unwrap_or(MAX_REQUEST_SIZE / (decl.min_size + 1));
        match &program {
            Ok(program) => {
                let cost = program.max_cost().saturating_mul(cardinality);
                self.judge_cost(&at.child("rule"), "estimated rule cost", cost, scope);
            }
            Err(words) if !scope.is_lenient => {
                self.errors.push(field::Error::invalid(&at.child("rule"), rule.clone(), words.clone()));
                return None;
            }
            Err(_) => {}
        }
        let message_source = text(rule, "messageExpression");
        let message_program = if message_source.is_empty() {
            None
        } else {
            self.message(rule, message_source, environment, &at.child("messageExpression"), scope)
        };
        let uses_old_self = program.as_ref().is_ok_and(|program| program.names("oldSelf"));
        if uses_old_self && let Some(uncorrelatable) = &scope.uncorrelatable {
            let words =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}");
            self.errors.push(field::Error::invalid(&at.child("rule"), source, words));
        }
        let optional = rule.get("optionalOldSelf").filter(|optional| !optional.is_null());
        if !uses_old_self && let Some(optional) = optional {
            let words = "may not be set if oldSelf is not used in rule";
            self.errors.push(field::Error::invalid(&at.child("optionalOldSelf"), optional.clone(), words));
        }
        let field_path = text(rule, "fieldPath");
        let resolved = field_path::resolve(field_path, schema, true).ok().filter(|_| !field_path.is_empty());
        Some(Rule {
            source: source.trim().to_owned(),
            message: text(rule, "message").trim().to_owned(),
            program,
            message_program,
            message_source: message_source.to_owned(),
            reason: reason(text(rule, "reason")),
            field_path: resolved.map(|(path, _)| path.to_string()),
            uses_old_self,
            optional_old_self: optional == Some(&Json::Bool(true)),
        })
    }

    fn message(
        &mut self,
        rule: &Json,
        source: &str,
        environment: &Environment,
        at: &Path,
        scope: &Scope,
    ) -> Option<Program> {
        let wrong = "messageExpression must evaluate to a string";
        match compile(environment, source, "messageExpression ", &Type::String, wrong) {
            Ok(program) => {
                self.judge_cost(at, "estimated messageExpression cost", program.max_cost(), scope);
                Some(program)
            }
            Err(words) => {
                if !scope.is_lenient {
                    self.errors.push(field::Error::invalid(at, rule.clone(), words));
                }
                None
            }
        }
    }

    fn judge_cost(&mut self, at: &Path, name: &str, cost: u64, scope: &Scope) {
        if scope.is_lenient {
            return;
        }
        if cost > EXPRESSION_COST_LIMIT {
            self.errors.push(field::Error::forbidden(at, too_expensive(name, cost, EXPRESSION_COST_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_COST_LIMIT / 100 {
            self.expensive.push((at.clone(), cost));
            self.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.expensive.truncate(4);
        }
    }

    fn judge_total(&mut self, path: &Path) {
        if self.total <= SCHEMA_COST_LIMIT {
            return;
        }
        for (at, _) in &self.expensive {
            let words = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.errors.push(field::Error::forbidden(at, words));
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.errors.push(field::Error::forbidden(path, too_expensive(name, self.total, SCHEMA_COST_LIMIT)));
    }

    fn internal(&mut self, at: &Path, words: &str) {
        self.errors.push(field::Error {
            kind: ErrorType::Internal,
            field: at.to_string(),
            value: None,
            detail: words.to_owned(),
        });
    }
}

/// Compiles an expression that must be of a type; the words say why it cannot be.
fn compile(environment: &Environment, source: &str, what: &str, wanted: &Type, wrong: &str) -> Result<Program, String> {
    let program = environment.compile(source).map_err(|error| format!("{what}compilation failed: {error}"))?;
    if program.output() == wanted { Ok(program) } else { Err(wrong.to_owned()) }
}

fn reason(name: &str) -> ErrorType {
    match name {
        "FieldValueForbidden" => ErrorType::Forbidden,
        "FieldValueRequired" => ErrorType::Required,
        "FieldValueDuplicate" => ErrorType::Duplicate,
        _ => ErrorType::Invalid,
    }
}

/// Upstream: `getCostErrorMessage`.
fn too_expensive(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
