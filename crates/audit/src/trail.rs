//! [`Trail`]: one request's events, filled while it is served.

use std::sync::Arc;

use apimachinery::{Attributes, UserInfo};
use component_base::clock::rfc3339_micros;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::Sink;
use crate::event::{AuthenticationMetadata, Event, ObjectReference, Stage};
use crate::metrics::AuditMetrics;
use crate::policy::{Level, Policy, Verdict};

/// What is written down, and where to. Without it nothing costs anything.
pub struct Audit {
    policy: Policy,
    sinks: Vec<Box<dyn Sink>>,
    metrics: AuditMetrics,
}

/// What is known of a request when it arrives, beside its [`Attributes`].
#[derive(Clone, Debug, Default)]
pub struct Begin {
    /// The id that the client gave, or a new one.
    pub audit_id: String,
    /// Path and query.
    pub request_uri: String,
    /// From where.
    pub source_ips: Vec<String>,
    /// With what.
    pub user_agent: String,
}

/// See the module.
pub struct Trail {
    audit: Arc<Audit>,
    verdict: Verdict,
    event: Mutex<Event>,
}

impl Audit {
    /// Writes down what the policy says.
    pub fn new(policy: Policy, sinks: Vec<Box<dyn Sink>>) -> Arc<Self> {
        Self::counting(policy, sinks, AuditMetrics::default())
    }

    /// The same, counted by `metrics`, which the sinks count by as well.
    pub fn counting(policy: Policy, sinks: Vec<Box<dyn Sink>>, metrics: AuditMetrics) -> Arc<Self> {
        Arc::new(Self { policy, sinks, metrics })
    }

    /// What became of the events.
    pub fn metrics(&self) -> &AuditMetrics {
        &self.metrics
    }

    /// Begins a request's trail, and tells that it arrived; `None` when nothing of it is written down.
    pub fn begin(self: &Arc<Self>, facts: &Attributes<'_>, begin: Begin) -> Option<Arc<Trail>> {
        let verdict = self.policy.judge(facts);
        self.metrics.level(verdict.level);
        if verdict.level == Level::None {
            return None;
        }
        let now = rfc3339_micros(component_base::now());
        let reference = ObjectReference {
            resource: facts.resource.to_owned(),
            namespace: facts.namespace.to_owned(),
            name: facts.name.to_owned(),
            api_group: facts.group.to_owned(),
            api_version: facts.version.to_owned(),
            subresource: facts.subresource.to_owned(),
            ..ObjectReference::default()
        };
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: verdict.level,
            audit_id: begin.audit_id,
            stage: Stage::RequestReceived,
            request_uri: begin.request_uri,
            verb: facts.verb.to_owned(),
            user: facts.user.clone(),
            impersonated_user: None,
            authentication_metadata: None,
            source_ips: begin.source_ips,
            user_agent: begin.user_agent,
            object_ref: facts.is_resource.then_some(reference),
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: now.clone(),
            stage_timestamp: now,
            annotations: Default::default(),
        };
        let trail = Trail { audit: self.clone(), verdict, event: Mutex::new(event) };
        trail.tell(Stage::RequestReceived);
        Some(Arc::new(trail))
    }
}

impl Trail {
    /// Whether what the request carries is written down.
    pub fn wants_request(&self) -> bool {
        self.verdict.level >= Level::Request
    }

    /// Whether what is answered is written down.
    pub fn wants_response(&self) -> bool {
        self.verdict.level >= Level::RequestResponse
    }

    /// The request is served as somebody else's.
    pub fn impersonated(&self, user: &UserInfo, constraint: &str) {
        let mut event = self.event.lock();
        event.impersonated_user = Some(user.clone());
        if !constraint.is_empty() {
            event.authentication_metadata =
                Some(AuthenticationMetadata { impersonation_constraint: constraint.to_owned() });
        }
    }

    /// Notes something; what was noted first stays (upstream: `AddAuditAnnotation`).
    pub fn annotate(&self, key: &str, value: &str) {
        self.event.lock().annotations.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// What the request carries.
    pub fn request(&self, mut object: Value) {
        self.strip(&mut object);
        let mut event = self.event.lock();
        complete(&mut event, &object);
        event.request_object = Some(object);
    }

    /// What is answered.
    pub fn response(&self, mut object: Value) {
        self.strip(&mut object);
        self.event.lock().response_object = Some(object);
    }

    /// Tells how far the request has come, with the answer's code and, of a failure, its Status.
    pub fn reached(&self, stage: Stage, code: u16, failure: Option<&Value>) {
        let mut status = json!({ "metadata": {}, "code": code });
        for field in ["status", "message", "reason", "details"] {
            if let Some(value) = failure.and_then(|failure| failure.get(field)) {
                status[field] = value.clone();
            }
        }
        self.event.lock().response_status = Some(status);
        self.tell(stage);
    }

    fn tell(&self, stage: Stage) {
        let mut event = self.event.lock();
        event.stage = stage;
        if self.verdict.omit_stages.contains(&stage) {
            return;
        }
        event.stage_timestamp = rfc3339_micros(component_base::now());
        let Ok(value) = serde_json::to_value(&*event) else { return };
        drop(event);
        let value = Arc::new(value);
        self.audit.metrics.event();
        for sink in &self.audit.sinks {
            sink.take(&value);
        }
    }

    fn strip(&self, object: &mut Value) {
        if !self.verdict.omit_managed_fields {
            return;
        }
        let forget = |object: &mut Value| {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        };
        forget(object);
        object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(forget);
        for row in object.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(object) = row.get_mut("object") {
                forget(object);
            }
        }
    }
}

impl Drop for Trail {
    /// A request that ends in a panic reaches no other stage (upstream: filters/audit.go `WithAudit`).
    fn drop(&mut self) {
        if std::thread::panicking() && self.event.get_mut().stage != Stage::ResponseComplete {
            let failure = json!({ "status": "Failure", "reason": "InternalError", "message": "APIServer panic'd" });
            self.reached(Stage::Panic, 500, Some(&failure));
        }
    }
}

/// Takes from the object what the path does not say (upstream: `LogRequestObject`).
fn complete(event: &mut Event, object: &Value) {
    let Some(reference) = &mut event.object_ref else { return };
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    for (known, field) in [
        (&mut reference.name, "name"),
        (&mut reference.namespace, "namespace"),
        (&mut reference.uid, "uid"),
        (&mut reference.resource_version, "resourceVersion"),
    ] {
        if known.is_empty() {
            *known = text(field);
        }
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Arc<Value>>>>);

    impl Sink for Kept {
        fn take(&self, event: &Arc<Value>) {
            self.0.lock().push(event.clone());
        }
    }

    #[test]
    fn a_request_leaves_its_events() {
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse, omitManagedFields: true, omitStages: [RequestReceived]}]";
        let kept = Kept::default();
        let audit = Audit::new(Policy::parse(policy).expect("a policy"), vec![Box::new(kept.clone())]);
        let user = UserInfo::new("ann", ["dev"]);
        let facts = Attributes {
            verb: "create",
            version: "v1",
            resource: "pods",
            namespace: "shop",
            path: "/api/v1/namespaces/shop/pods",
            ..Attributes::on_resource(&user)
        };
        let begin = Begin { audit_id: "7".into(), request_uri: facts.path.into(), ..Begin::default() };
        let trail = audit.begin(&facts, begin).expect("written down");
        trail.request(json!({"metadata": {"name": "web", "managedFields": [1]}}));
        trail.annotate("authorization.k8s.io/decision", "allow");
        trail.annotate("authorization.k8s.io/decision", "changed");
        trail.response(json!({"metadata": {"name": "web", "uid": "u", "managedFields": [1]}}));
        trail.impersonated(&UserInfo::new("bob", ["ops"]), "impersonate:user-info");
        trail.reached(Stage::ResponseComplete, 201, None);
        let events = kept.0.lock();
        let event = &events[0];
        assert_eq!(events.len(), 1);
        for (pointer, expected) in [
            ("/apiVersion", json!("audit.k8s.io/v1")),
            ("/auditID", json!("7")),
            ("/stage", json!("ResponseComplete")),
            ("/requestURI", json!("/api/v1/namespaces/shop/pods")),
            ("/objectRef", json!({"resource": "pods", "namespace": "shop", "name": "web", "apiVersion": "v1"})),
            ("/requestObject", json!({"metadata": {"name": "web"}})),
            ("/responseObject/metadata/uid", json!("u")),
            ("/responseStatus", json!({"metadata": {}, "code": 201})),
            ("/annotations", json!({"authorization.k8s.io/decision": "allow"})),
            ("/impersonatedUser/username", json!("bob")),
            ("/authenticationMetadata/impersonationConstraint", json!("impersonate:user-info")),
        ] {
            assert_eq!(event.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn a_panic_is_written_down() {
        let policy =
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, omitStages: [RequestReceived]}]";
        let kept = Kept::default();
        let audit = Audit::new(Policy::parse(policy).expect("a policy"), vec![Box::new(kept.clone())]);
        let user = UserInfo::new("ann", ["dev"]);
        let facts = Attributes { verb: "get", is_resource: false, path: "/version", ..Attributes::by(&user) };
        let trail = audit.begin(&facts, Begin::default()).expect("written down");
        let work = std::panic::AssertUnwindSafe(move || {
            let _trail = trail;
            // Not `panic!`, which would print to the test's output.
            std::panic::resume_unwind(Box::new("a bug"));
        });
        assert!(std::panic::catch_unwind(work).is_err());
        let events = kept.0.lock();
        assert_eq!(
            (events.len(), &events[0]["stage"], &events[0]["responseStatus"]["code"]),
            (1, &json!("Panic"), &json!(500))
        );
    }
}
