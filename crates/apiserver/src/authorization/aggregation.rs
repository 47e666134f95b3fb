//! Aggregated cluster roles: their rules are those of the roles that their selectors match
//! (upstream: pkg/controller/clusterroleaggregation).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Entry, Error, Expect, RangeRequest, Store, Write};

use super::policy::AggregationRule;
use super::rule::PolicyRule;

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/clusterroles/";

/// A role may take in one that is itself aggregated; deeper chains than this are settled by later events.
const ROUNDS: usize = 4;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stored {
    metadata: Metadata,
    rules: Option<Vec<PolicyRule>>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

/// Brings every aggregated role up to date.
pub async fn sync(store: &Arc<dyn Store>) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let request = RangeRequest { prefix: PREFIX.into(), ..RangeRequest::default() };
        let writes = plan(&store.range(&request).await?.entries);
        if writes.is_empty() {
            break;
        }
        // A write that is refused met a newer one, whose event comes.
        try_join_all(writes.into_iter().map(|write| store.write(write))).await?;
    }
    Ok(())
}

/// Keeps aggregated roles up to date until the store closes.
pub async fn run(store: Arc<dyn Store>) -> Result<(), Error> {
    loop {
        let revision = store.revision();
        sync(&store).await?;
        let mut watch = store.watch(PREFIX, revision).await?;
        loop {
            match watch.next().await {
                None => return Ok(()),
                // Too far behind: read everything anew.
                Some(Err(Error::TooSlow)) => break,
                Some(Err(err)) => return Err(err),
                Some(Ok(_)) => sync(&store).await?,
            }
        }
    }
}

/// The writes that give aggregated roles the rules they should have.
fn plan(entries: &[Entry]) -> Vec<Write> {
    let read = |entry: &Entry| serde_json::from_slice::<Stored>(&entry.finished.value).unwrap_or_default();
    let roles: Vec<Stored> = entries.iter().map(read).collect();
    let stale = roles.iter().zip(entries).filter_map(|(role, entry)| {
        let wanted = aggregate(role, &roles)?;
        (role.rules.as_deref().unwrap_or_default() != wanted).then(|| rewrite(entry, &wanted)).flatten()
    });
    stale.collect()
}

/// The rules of an aggregated role, in the order of the roles' names and each once; `None` for other roles.
fn aggregate(role: &Stored, roles: &[Stored]) -> Option<Vec<PolicyRule>> {
    let selectors = &role.aggregation_rule.as_ref()?.cluster_role_selectors;
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in roles.iter().filter(|part| part.metadata.name != role.metadata.name) {
        let labels = part.metadata.labels.clone().unwrap_or_default();
        if !selectors.iter().any(|selector| selector.matches(&labels)) {
            continue;
        }
        for rule in part.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

fn rewrite(entry: &Entry, rules: &[PolicyRule]) -> Option<Write> {
    let mut object: Value = serde_json::from_slice(&entry.finished.value).ok()?;
    object["rules"] = json!(rules);
    let value = Some(super::bootstrap::encode(object));
    Some(Write { key: entry.key.to_string(), expect: Expect::At(entry.modified), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::finish::Canonical;
    use component_base::Scope;
    use std::time::Duration;
    use store::Embedded;
    use store::suite::{next, put};

    #[tokio::test]
    async fn a_labelled_role_is_taken_in_when_it_comes() {
        let store: Arc<dyn Store> = Embedded::in_memory(Arc::new(Canonical::default()));
        let scope = Scope::root();
        let own = store.clone();
        scope.spawn("aggregation", async move { run(own).await.expect("memory") });
        let mut watch = store.watch(&format!("{PREFIX}all"), store.revision()).await.expect("open");
        let all = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]}});
        put(&*store, &format!("{PREFIX}all"), Expect::Absent, &all.to_string()).await;
        let part = json!({"metadata": {"name": "part", "labels": {"part": "yes"}}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        put(&*store, &format!("{PREFIX}part"), Expect::Absent, &part.to_string()).await;
        loop {
            let store::Event::Put { entry, .. } = next(&mut *watch).await else { continue };
            let role: Stored = serde_json::from_slice(&entry.finished.value).expect("a role");
            if role.rules.is_some_and(|rules| rules.len() == 1) {
                break;
            }
        }
        assert!(scope.shutdown(Duration::from_secs(30)).await);
    }
}
