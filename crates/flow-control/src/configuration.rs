//! The configuration objects, digested (upstream: flowcontrol/apf_controller.go `lockAndDigestConfigObjects`).

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::Attributes;
use http::HeaderValue;
use serde::de::DeserializeOwned;

use crate::bootstrap;
use crate::concurrency::{Bounds, Shares};
use crate::level::{Clock, Level};
use crate::matching::matches;
use crate::metrics::{FlowControlMetrics, FlowMetrics};
use crate::queue_set::{Queues, Response};
use crate::spec::{CATCH_ALL, Distinguisher, EXEMPT, FlowSchema, PriorityLevelConfiguration};

/// One request takes no more of its level than this.
const MAX_SEATS_FRACTION: f64 = 0.15;

/// A flow schema with its level.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) schema: FlowSchema,
    pub(crate) level: Arc<Level>,
    pub(crate) is_exempt: bool,
    pub(crate) metrics: FlowMetrics,
    pub(crate) schema_uid: HeaderValue,
    pub(crate) level_uid: HeaderValue,
}

impl Flow {
    /// What tells this request's flow from the others of the schema.
    pub(crate) fn distinguisher<'d>(&self, asked: &Attributes<'d>) -> &'d str {
        match self.schema.spec.distinguisher_method.as_ref().map(|method| method.kind) {
            None => "",
            Some(Distinguisher::ByUser) => &asked.user.username,
            Some(Distinguisher::ByNamespace) => asked.namespace,
        }
    }
}

/// A level with its part of the server.
#[derive(Clone, Debug)]
pub(crate) struct LevelState {
    pub(crate) level: Arc<Level>,
    pub(crate) is_exempt: bool,
    pub(crate) bounds: Bounds,
    uid: String,
    shares: Shares,
    hand_size: Option<i32>,
}

/// Everything that classification reads.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// In the order in which they are asked.
    pub(crate) flows: Vec<Arc<Flow>>,
    pub(crate) levels: BTreeMap<String, LevelState>,
}

/// Whether a flow schema's level exists: its condition `Dangling`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The flow schema.
    pub schema: String,
    /// `True` when the level does not exist.
    pub status: &'static str,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why.
    pub message: String,
}

impl Condition {
    fn of(schema: &FlowSchema, exists: bool) -> Self {
        let level = &schema.spec.priority_level_configuration.name;
        let start = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} ");
        let (status, reason, end) = if exists {
            ("False", "Found", "and it exists")
        } else {
            ("True", "NotFound", "but there is no such object")
        };
        Self { schema: schema.metadata.name.clone(), status, reason, message: start + end }
    }
}

/// What configurations are made with.
pub(crate) struct Maker<'m> {
    pub(crate) total: u32,
    pub(crate) metrics: &'m FlowControlMetrics,
    pub(crate) clock: Clock,
    pub(crate) scope: &'m component_base::Scope,
}

impl Configuration {
    /// The first schema that means the request; whatever none means goes to `catch-all`.
    pub(crate) fn classify(&self, asked: &Attributes<'_>) -> Option<&Arc<Flow>> {
        let catches_all = |flow: &&Arc<Flow>| flow.schema.metadata.name == CATCH_ALL;
        self.flows.iter().find(|flow| matches(asked, &flow.schema)).or_else(|| self.flows.iter().find(catches_all))
    }
}

impl Maker<'_> {
    /// The configuration of these objects. Levels that were there before keep their queues.
    pub(crate) fn digest(
        &self,
        before: &Configuration,
        mut levels: Vec<PriorityLevelConfiguration>,
        mut schemas: Vec<FlowSchema>,
    ) -> (Configuration, Vec<Condition>) {
        let real: Vec<String> = levels.iter().map(|level| level.metadata.name.clone()).collect();
        imagine_missing(&mut levels, bootstrap::priority_levels(), |level| &level.metadata.name);
        let mut states = BTreeMap::new();
        for object in &levels {
            match self.level(before, object) {
                Some(state) => {
                    states.insert(object.metadata.name.clone(), state);
                }
                None => tracing::warn!(level = object.metadata.name, "a broken PriorityLevelConfiguration is ignored"),
            }
        }
        if !states.contains_key(EXEMPT) || !states.contains_key(CATCH_ALL) {
            // Mandatory levels whose objects are broken.
            levels = Vec::new();
            imagine_missing(&mut levels, bootstrap::priority_levels(), |level| &level.metadata.name);
            for object in levels.iter().filter(|object| !states.contains_key(&object.metadata.name)).collect::<Vec<_>>()
            {
                states.extend(self.level(before, object).map(|state| (object.metadata.name.clone(), state)));
            }
        }
        self.divide(&mut states);

        let exists = |schema: &FlowSchema| {
            let level = &schema.spec.priority_level_configuration.name;
            real.contains(level) && states.contains_key(level)
        };
        let conditions = schemas.iter().map(|schema| Condition::of(schema, exists(schema))).collect();
        schemas.retain(|schema| states.contains_key(&schema.spec.priority_level_configuration.name));
        imagine_missing(&mut schemas, bootstrap::flow_schemas(), |schema| &schema.metadata.name);
        schemas.sort_by(|one, other| order(one).cmp(&order(other)));
        let flows = schemas.into_iter().filter_map(|schema| self.flow(before, schema, &states)).collect();
        for gone in before.levels.keys().filter(|name| !states.contains_key(*name)) {
            self.metrics.forget_level(gone);
        }
        (Configuration { flows, levels: states }, conditions)
    }

    fn level(&self, before: &Configuration, object: &PriorityLevelConfiguration) -> Option<LevelState> {
        let (response, shares, hand_size) = read_level(object)?;
        let name = &object.metadata.name;
        let level = match before.levels.get(name) {
            Some(state) => {
                state.level.configure(response);
                state.level.clone()
            }
            None => {
                let metrics = self.metrics.of_level(name);
                Arc::new(Level::new(name, response, 0, metrics, self.clock, self.scope.clone()))
            }
        };
        let uid = object.metadata.uid.clone();
        let bounds = Bounds::default();
        Some(LevelState { level, is_exempt: response == Response::Exempt, bounds, uid, shares, hand_size })
    }

    /// Gives each level its part.
    fn divide(&self, states: &mut BTreeMap<String, LevelState>) {
        let sum: f64 = states.values().map(|state| f64::from(state.shares.nominal.max(0))).sum();
        for state in states.values_mut() {
            let bounds = state.shares.bounds(self.total, sum);
            state.bounds = bounds;
            let metrics = &state.level.metrics;
            metrics.nominal.set(i64::from(bounds.nominal));
            metrics.lower.set(i64::from(bounds.min));
            metrics.upper.set(i64::from(bounds.max));
            if let Some(hand_size) = state.hand_size.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0)
            {
                let fraction = (f64::from(bounds.nominal) * MAX_SEATS_FRACTION).ceil() as u32;
                state.level.set_max_seats(fraction.min(bounds.nominal / hand_size).max(1));
            }
        }
    }

    fn flow(
        &self,
        before: &Configuration,
        schema: FlowSchema,
        states: &BTreeMap<String, LevelState>,
    ) -> Option<Arc<Flow>> {
        let state = states.get(&schema.spec.priority_level_configuration.name)?;
        let same = |flow: &&Arc<Flow>| {
            flow.schema == schema && Arc::ptr_eq(&flow.level, &state.level) && flow.level_uid == state.uid.as_str()
        };
        if let Some(flow) = before.flows.iter().find(same) {
            return Some(flow.clone());
        }
        let uid = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        Some(Arc::new(Flow {
            metrics: self.metrics.of_flow(&state.level.name, &schema.metadata.name),
            schema_uid: uid(&schema.metadata.uid),
            level_uid: uid(&state.uid),
            level: state.level.clone(),
            is_exempt: state.is_exempt,
            schema,
        }))
    }
}

/// Lower numbers first, then by name (upstream: `FlowSchemaSequence`).
fn order(schema: &FlowSchema) -> (i32, &str) {
    (schema.spec.matching_precedence, &schema.metadata.name)
}

/// The server works before its mandatory objects are there, and when somebody deletes them.
fn imagine_missing<T: DeserializeOwned>(present: &mut Vec<T>, defaults: Vec<bootstrap::Default>, name: fn(&T) -> &str) {
    for default in defaults.into_iter().filter(|default| default.mandatory) {
        if !present.iter().any(|object| name(object) == default.name()) {
            present.extend(serde_json::from_value(default.object).ok());
        }
    }
}

/// Response, shares and hand size of a level whose object is sound (upstream: `queueSetCompleterForPL`).
fn read_level(object: &PriorityLevelConfiguration) -> Option<(Response, Shares, Option<i32>)> {
    let spec = &object.spec;
    let is_exempt = spec.kind == "Exempt";
    if is_exempt != (object.metadata.name == EXEMPT) {
        return None;
    }
    match (&spec.exempt, &spec.limited) {
        (exempt, None) if is_exempt => {
            let exempt = exempt.clone().unwrap_or_default();
            let shares = Shares {
                nominal: exempt.nominal_concurrency_shares.unwrap_or(0),
                lendable_percent: exempt.lendable_percent.unwrap_or(0),
                borrowing_percent: None,
            };
            Some((Response::Exempt, shares, None))
        }
        (None, Some(limited)) if !is_exempt => {
            let shares = Shares {
                nominal: limited.nominal_concurrency_shares.unwrap_or(30),
                lendable_percent: limited.lendable_percent.unwrap_or(0),
                borrowing_percent: limited.borrowing_limit_percent,
            };
            let answer = &limited.limit_response;
            let (response, hand_size) = match (answer.kind.as_str(), &answer.queuing) {
                ("Reject", None) => (Response::Reject, None),
                ("Queue", Some(queuing)) => (Response::Queue(Queues::new(queuing)?), Some(queuing.hand_size)),
                _ => return None,
            };
            Some((response, shares, hand_size))
        }
        _ => None,
    }
}
