//! Stored custom resources in the version and form that is asked for
//! (upstream: apiextensions-apiserver/pkg/apiserver/conversion/converter.go, customresource_handler.go).
//!
//! An object that was written under the present schema and in the version asked for is served as its bytes, like any
//! other. Only what is older, or of another version, is decoded.

use std::sync::Arc;

use api::{Conversion, Custom, Resource};
use apimachinery::{GroupVersionKind, Object, StatusError};
use bytes::Bytes;
use store::{Entry, Event, Finished};

use super::converted::Key;
use super::webhook;
use crate::registry::answer::decode;
use crate::registry::scan;
use crate::server::ApiServer;

/// So many objects are sent to a webhook at a time: a page of kubectl's. What it answers to more would pass the limit.
const BATCH: usize = 500;

/// Whether stored bytes are what the row serves.
fn is_served(row: &Resource, custom: &dyn Custom, stored: &[u8]) -> bool {
    is_in_form(custom, stored)
        && scan::at(stored, &["apiVersion"])
            .and_then(scan::text)
            .and_then(|version| {
                let (group, version) = version.split_once('/')?;
                Some(group == row.gvk.group && version == row.gvk.version)
            })
            .unwrap_or_default()
}

/// Whether stored bytes have the form that the schema of their version asks for now.
pub fn is_in_form(custom: &dyn Custom, stored: &[u8]) -> bool {
    let revision = scan::at(stored, &["metadata", "resourceVersion"]).and_then(scan::text);
    revision.and_then(|revision| revision.parse::<u64>().ok()).is_some_and(|revision| revision > custom.in_form_since())
}

/// Takes note of a write that began under a schema which has been replaced meanwhile: who reads the object restores it,
/// as upstream's decoder does with every object.
pub fn landed(server: &ApiServer, row: &Resource, written: &Entry) {
    let Some(custom) = &row.custom else { return };
    let rows = server.registry.rows();
    let present = rows.find(&row.gvk.group, &row.gvk.version, &row.plural).and_then(|row| row.custom.as_ref());
    if let Some(present) = present.filter(|present| !Arc::ptr_eq(present, custom)) {
        present.out_of_form(written.modified);
    }
}

/// The bytes as the row serves them; those of built-in kinds stay as they are.
pub async fn bytes(server: &ApiServer, row: &Resource, stored: &Bytes) -> Result<Bytes, StatusError> {
    let Some(custom) = row.custom.as_deref().filter(|custom| !is_served(row, *custom, stored)) else {
        return Ok(stored.clone());
    };
    let make = async { encode(&served(server, row, custom, decode(stored)?).await?) };
    match Key::of(row, custom, stored) {
        Some(key) => server.definitions.converted.get_or_make(key, make).await,
        None => make.await,
    }
}

/// The same for many, which a webhook converts at once.
pub async fn entries(server: &ApiServer, row: &Resource, entries: &mut [Entry]) -> Result<(), StatusError> {
    let Some(custom) = row.custom.as_deref() else { return Ok(()) };
    let kept = &server.definitions.converted;
    let mut differing = Vec::new();
    for (index, entry) in entries.iter_mut().enumerate() {
        let stored = &entry.finished.value;
        if is_served(row, custom, stored) {
            continue;
        }
        let key = Key::of(row, custom, stored);
        match key.as_ref().and_then(|key| kept.get(key)) {
            Some(served) => replace(entry, served),
            None => differing.push((index, key)),
        }
    }
    for batch in differing.chunks(BATCH) {
        let restored = |(index, _): &(usize, Option<Key>)| {
            let mut object = decode(&entries[*index].finished.value)?;
            custom.restore(&mut object);
            Ok(object)
        };
        let objects = batch.iter().map(restored).collect::<Result<Vec<Object>, StatusError>>()?;
        let converted = all(server, row, custom, &row.gvk, objects).await?;
        for ((index, key), object) in batch.iter().zip(converted) {
            let served = encode(&object)?;
            if let Some(key) = key {
                kept.put(key.clone(), served.clone());
            }
            replace(&mut entries[*index], served);
        }
    }
    Ok(())
}

/// An event with the object, and what it was before, as the row serves them.
pub async fn event(server: &ApiServer, row: &Resource, event: Event) -> Result<Event, StatusError> {
    if row.custom.is_none() {
        return Ok(event);
    }
    let entry = async |mut entry: Entry| -> Result<Entry, StatusError> {
        let served = bytes(server, row, &entry.finished.value).await?;
        replace(&mut entry, served);
        Ok(entry)
    };
    Ok(match event {
        Event::Put { entry: now, previous } => {
            let previous = match previous {
                Some(previous) => Some(entry(previous).await?),
                None => None,
            };
            Event::Put { entry: entry(now).await?, previous }
        }
        Event::Delete { entry: last, previous } => {
            Event::Delete { entry: entry(last).await?, previous: entry(previous).await? }
        }
        Event::Progress(revision) => Event::Progress(revision),
    })
}

/// Objects of any version of the row's kind in the row's own.
pub async fn between(server: &ApiServer, row: &Resource, objects: Vec<Object>) -> Result<Vec<Object>, StatusError> {
    match row.custom.as_deref() {
        Some(custom) => all(server, row, custom, &row.gvk, objects).await,
        None => Ok(objects),
    }
}

/// A stored object as the row serves it.
pub async fn object(server: &ApiServer, row: &Resource, stored: Object) -> Result<Object, StatusError> {
    match row.custom.as_deref() {
        Some(custom) => served(server, row, custom, stored).await,
        None => Ok(stored),
    }
}

/// An object of the row as it is stored.
pub async fn to_stored(server: &ApiServer, row: &Resource, object: Object) -> Result<Object, StatusError> {
    let Some(custom) = row.custom.as_deref() else { return Ok(object) };
    let stored = GroupVersionKind { version: row.storage_version.clone(), ..row.gvk.clone() };
    one(server, row, custom, &stored, object).await
}

async fn served(
    server: &ApiServer,
    row: &Resource,
    custom: &dyn Custom,
    mut object: Object,
) -> Result<Object, StatusError> {
    custom.restore(&mut object);
    one(server, row, custom, &row.gvk, object).await
}

async fn one(
    server: &ApiServer,
    row: &Resource,
    custom: &dyn Custom,
    to: &GroupVersionKind,
    object: Object,
) -> Result<Object, StatusError> {
    let mut converted = all(server, row, custom, to, vec![object]).await?;
    converted.pop().ok_or_else(|| StatusError::internal("a conversion answered nothing"))
}

/// Converts objects, each from its own version.
async fn all(
    server: &ApiServer,
    row: &Resource,
    custom: &dyn Custom,
    to: &GroupVersionKind,
    mut objects: Vec<Object>,
) -> Result<Vec<Object>, StatusError> {
    let wanted = to.api_version();
    let differing: Vec<usize> = (0..objects.len()).filter(|index| objects[*index].api_version() != wanted).collect();
    if differing.is_empty() {
        return Ok(objects);
    }
    match custom.conversion() {
        Conversion::None => differing.iter().for_each(|index| objects[*index].set_type(to)),
        Conversion::Webhook(hook) => {
            let asked: Vec<Object> = differing.iter().map(|index| std::mem::take(&mut objects[*index])).collect();
            let answered = webhook::convert(server, hook, row, to, asked).await.map_err(StatusError::internal)?;
            for (index, object) in differing.iter().zip(answered) {
                objects[*index] = object;
            }
        }
    }
    for index in differing {
        custom.converted(&mut objects[index]).map_err(|error| StatusError::internal(error.to_string()))?;
    }
    Ok(objects)
}

/// The same entry with other bytes; those of the store stay as they are.
fn replace(entry: &mut Entry, value: Bytes) {
    if value != entry.finished.value {
        let attributes = entry.finished.attributes.clone();
        entry.finished = Arc::new(Finished { value, attributes });
    }
}

fn encode(object: &Object) -> Result<Bytes, StatusError> {
    serde_json::to_vec(object).map(Bytes::from).map_err(StatusError::internal)
}
