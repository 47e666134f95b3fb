//! A definition goes when its objects are gone (upstream: apiextensions-apiserver/pkg/controller/finalizer).

use std::sync::Arc;
use std::time::Duration;

use api::Resource;
use apiextensions::conditions::{self, Condition};
use apimachinery::{Object, StatusError};
use component_base::Backoff;
use store::{Entry, Event, Expect, RangeRequest, Write};

use super::CLEANUP_FINALIZER;
use crate::registry::delete::delete_object;
use crate::registry::options::DeleteOptions;
use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, fields};
use crate::server::ApiServer;
use crate::status;

/// What is said when the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its objects were deleted.
    Completed,
    /// It never had any.
    NeverEstablished,
    /// The objects belong to a kind of our own.
    Overlapping,
}

/// The end of one definition.
pub(super) struct Cleanup {
    pub(super) server: Arc<ApiServer>,
    pub(super) definitions: Arc<Resource>,
    /// The definition.
    pub(super) name: String,
    /// One of its rows, to delete by; there is none when no version is served.
    pub(super) row: Option<Arc<Resource>>,
    /// Where its objects are.
    pub(super) prefix: String,
    pub(super) outcome: Outcome,
}

impl Cleanup {
    /// Deletes the objects, waits until the last is gone and lets the definition go.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
        while let Err(error) = self.once().await {
            if error.reason == "NotFound" {
                return;
            }
            tracing::warn!(definition = self.name, %error, "the objects of a definition could not be deleted");
            let words = format!("could not issue all deletes: {error}");
            self.say(&Condition::new("Terminating", true, "InstanceDeletionFailed", words)).await;
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn once(&self) -> Result<(), StatusError> {
        if self.outcome == Outcome::Completed {
            let words = "CustomResource deletion is in progress";
            self.say(&Condition::new("Terminating", true, "InstanceDeletionInProgress", words)).await;
            self.delete_all().await?;
        }
        let (reason, words) = match self.outcome {
            Outcome::Completed => ("InstanceDeletionCompleted", "removed all instances"),
            Outcome::NeverEstablished => ("NeverEstablished", "resource was never established"),
            Outcome::Overlapping => {
                ("OverlappingBuiltInResource", "instances overlap with built-in resources in storage")
            }
        };
        let done = Condition::new("Terminating", false, reason, words);
        self.write(&|definition| {
            conditions::set(definition, &done, component_base::now());
            let rest: Vec<String> =
                definition.finalizers().filter(|one| *one != CLEANUP_FINALIZER).map(str::to_owned).collect();
            if rest.is_empty() {
                definition.metadata_mut().remove("finalizers");
            } else {
                definition.metadata_mut().insert("finalizers".into(), rest.into());
            }
        })
        .await
    }

    /// Deletes what there is, and returns when nothing is left; finalizers may take their time.
    async fn delete_all(&self) -> Result<(), StatusError> {
        let store = self.server.registry.store();
        let broken = |error: store::Error| status::of_store(&error);
        let request = RangeRequest { prefix: self.prefix.clone(), ..RangeRequest::default() };
        let range = store.range(&request).await.map_err(broken)?;
        let mut watch = store.watch(&self.prefix, range.revision).await.map_err(broken)?;
        let mut left = range.entries.len();
        for entry in &range.entries {
            self.delete(entry).await?;
        }
        while left > 0 {
            match watch.next().await {
                Some(Ok(Event::Delete { .. })) => left -= 1,
                // An object that was on its way when the definition was marked goes like the others.
                Some(Ok(Event::Put { entry, previous: None })) => {
                    left += 1;
                    self.delete(&entry).await?;
                }
                Some(Ok(Event::Put { .. } | Event::Progress(_))) => {}
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(StatusError::unavailable("the store is closed")),
            }
        }
        Ok(())
    }

    async fn delete(&self, entry: &Entry) -> Result<(), StatusError> {
        let Some(row) = &self.row else {
            let write = Write { key: entry.key.to_string(), expect: Expect::At(entry.modified), value: None };
            return self.server.registry.store().write(write).await.map(drop).map_err(|error| status::of_store(&error));
        };
        let path = entry.key.strip_prefix(self.prefix.as_str()).unwrap_or_default();
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let cx = Cx::internal(&self.server, row, "delete", namespace, name);
        match delete_object(&cx, namespace, name, &DeleteOptions::default()).await {
            Err(error) if error.reason != "NotFound" => Err(error),
            _ => Ok(()),
        }
    }

    /// Says how far it is; that it cannot be said stops nothing.
    async fn say(&self, condition: &Condition) {
        let said = self.write(&|definition| conditions::set(definition, condition, component_base::now())).await;
        if let Err(error) = said {
            tracing::debug!(definition = self.name, %error, "the condition of a definition was not written");
        }
    }

    async fn write(&self, edit: &(dyn Fn(&mut Object) + Send + Sync)) -> Result<(), StatusError> {
        let cx = Cx::internal(&self.server, &self.definitions, "update", "", &self.name);
        let transform = |old: &Object| {
            let mut object = old.clone();
            edit(&mut object);
            Ok(object)
        };
        let manager = fields::Manager::Update("kube-apiserver".into());
        change(&cx, &Change { part: Part::Special, manager, retry: true, transform: &transform }).await.map(drop)
    }
}
