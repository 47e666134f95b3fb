//! list: a range of canonical bytes, joined (upstream: endpoints/handlers/get.go `ListResource`,
//! apiserver/pkg/storage/etcd3/store.go `GetList`, continue tokens: apiserver/pkg/storage/continue.go).

use std::time::Duration;

use api::Resource;
use apimachinery::StatusError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Entry, Event, Finished, RangeRequest};

use super::answer::{self, Item, ListParts};
use super::options::{ListOptions, StartFrom};
use super::selection::Selection;
use super::{Cx, Registry, convert, table};
use crate::body::Body;
use crate::custom;
use crate::negotiate::{Offer, Shape, negotiate_offer};
use crate::status;

/// How long a list waits for a revision that has not happened yet (upstream: 3 s, watch_cache.go `blockTimeout`).
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// So many entries at least are converted at once to find those that are selected.
const CANDIDATES: usize = 500;

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The selected entries, in key order.
    pub entries: Vec<Entry>,
    /// The revision of the list.
    pub revision: u64,
    /// The token for the next page; empty at the end.
    pub continue_token: String,
    /// How many entries follow, when known.
    pub remaining: Option<usize>,
}

/// Answers with the selected objects.
pub async fn list(cx: &Cx) -> Result<Response<Body>, StatusError> {
    let options = ListOptions::parse(&cx.query, false)?;
    let accepted = negotiate_offer(&cx.headers, &cx.query, Offer::of(&cx.row))?;
    let selection = Selection::parse(&cx.row, &cx.info, &options)?;
    let mut page = selected(cx, &selection, &options).await?;
    custom::convert::entries(&cx.server, &cx.row, &mut page.entries).await?;
    let metadata = metadata(&page);
    match accepted.shape {
        Shape::Whole => {
            let items = items(&cx.row, page.entries)?;
            let kind = cx.row.list_kind();
            Ok(answer::list(&accepted, ListParts::new(&kind, &cx.row.gvk.api_version(), &metadata, items)))
        }
        Shape::Table(version) => {
            let style = table::Style::parse(&cx.query, version)?;
            let objects = objects(cx, &page)?;
            let table = table::table(&cx.row, &style, metadata, &objects, cx.now);
            Ok(answer::value(&accepted, StatusCode::OK, &table))
        }
        Shape::Metadata(version) => {
            let items: Vec<_> = objects(cx, &page)?.iter().map(|object| table::partial(object, version)).collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "items": items,
            });
            Ok(answer::value(&accepted, StatusCode::OK, &list))
        }
    }
}

/// The entries as the row serves them.
fn items(row: &Resource, entries: Vec<Entry>) -> Result<Vec<Item>, StatusError> {
    if !convert::converts(row) {
        return Ok(entries.into_iter().map(|entry| Item::Stored(entry.finished)).collect());
    }
    entries.iter().map(|entry| convert::served(row, &entry.finished.value).map(Item::Made)).collect()
}

fn objects(cx: &Cx, page: &Page) -> Result<Vec<apimachinery::Object>, StatusError> {
    let decode = |entry: &Entry| Ok(convert::to_served(&cx.row, super::decode_entry(entry)?));
    page.entries.iter().map(decode).collect()
}

fn metadata(page: &Page) -> serde_json::Value {
    let mut metadata = json!({ "resourceVersion": page.revision.to_string() });
    if !page.continue_token.is_empty() {
        metadata["continue"] = page.continue_token.as_str().into();
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    metadata
}

/// Reads the page that the options ask for. Fields are those of the version that is asked for: where a webhook makes it
/// of another, entries are converted before they are selected.
pub async fn selected(cx: &Cx, selection: &Selection, options: &ListOptions) -> Result<Page, StatusError> {
    let Some(candidates) = selection.of_converted() else { return page(cx.registry(), selection, options).await };
    let (mut entries, mut asked) = (Vec::new(), options.clone());
    asked.limit = if options.limit == 0 { 0 } else { options.limit.max(CANDIDATES) };
    loop {
        let mut read = page(cx.registry(), &candidates, &asked).await?;
        custom::convert::entries(&cx.server, &cx.row, &mut read.entries).await?;
        let page = |entries, continue_token| Page { entries, revision: read.revision, continue_token, remaining: None };
        let mut left = read.entries.len();
        for entry in read.entries {
            left -= 1;
            if !selection.takes(&entry) {
                continue;
            }
            let token = Token::encode(read.revision as i64, &entry.key, &selection.prefix);
            entries.push(entry);
            if entries.len() == options.limit && (left > 0 || !read.continue_token.is_empty()) {
                return Ok(page(entries, token));
            }
        }
        if read.continue_token.is_empty() {
            return Ok(page(entries, String::new()));
        }
        asked.continue_token = read.continue_token;
    }
}

/// Reads the page that the options ask for, as it is stored.
async fn page(registry: &Registry, selection: &Selection, options: &ListOptions) -> Result<Page, StatusError> {
    let mut start_after = None;
    let mut revision = match options.start {
        StartFrom::Newest | StartFrom::Any => None,
        StartFrom::NotOlderThan(asked) => {
            wait_for(registry, asked).await?;
            None
        }
        StartFrom::Exact(asked) => {
            wait_for(registry, asked).await?;
            Some(asked)
        }
    };
    if !options.continue_token.is_empty() {
        let token = Token::decode(&options.continue_token)?;
        start_after = Some(token.start_after(&selection.prefix)?);
        revision = u64::try_from(token.rv).ok().filter(|revision| *revision > 0);
    }
    let prefix = selection.prefix.clone();
    let attributes = selection.signature();
    let request = RangeRequest { prefix, start_after: start_after.clone(), limit: options.limit, revision, attributes };
    // What cannot be read may be anything: see below.
    let wanted = |key: &str, value: &Finished| value.value.is_empty() || selection.matches(key, value);
    let range = match registry.store().select(&request, &wanted).await {
        Err(store::Error::Compacted { .. }) if !options.continue_token.is_empty() => {
            let key = start_after.unwrap_or_default();
            return Err(status::continue_expired(&Token::encode(-1, &key, &selection.prefix)));
        }
        range => range.map_err(|error| status::of_store(&error))?,
    };
    if let Some(entry) = range.entries.iter().find(|entry| entry.finished.value.is_empty()) {
        // Its encryption key is missing (see crate `encryption`): a list without it would be a lie.
        let text = format!("unable to transform key {:?}: no matching prefix found", entry.key);
        return Err(StatusError::internal(text));
    }
    let continue_token = match range.entries.last() {
        Some(last) if range.remaining > 0 => Token::encode(range.revision as i64, &last.key, &selection.prefix),
        _ => String::new(),
    };
    let remaining = selection.is_everything().then_some(range.remaining);
    Ok(Page { entries: range.entries, revision: range.revision, continue_token, remaining })
}

/// Waits until the store has reached a revision, a few seconds at most.
async fn wait_for(registry: &Registry, asked: u64) -> Result<(), StatusError> {
    let store = registry.store();
    let newest = store.revision();
    if newest >= asked {
        return Ok(());
    }
    let wait = async {
        let mut watch = store.watch("/", newest).await.map_err(|error| status::of_store(&error))?;
        while store.revision() < asked {
            match watch.next().await {
                Some(Ok(Event::Put { .. } | Event::Delete { .. } | Event::Progress(_))) => {}
                Some(Err(error)) => return Err(status::of_store(&error)),
                None => break,
            }
        }
        Ok(())
    };
    match tokio::time::timeout(WAIT_FOR_REVISION, wait).await {
        Ok(result) => result,
        Err(_) => Err(status::too_large_revision(asked, store.revision())),
    }
}

/// Where a list goes on. Opaque to clients; the same form as upstream's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Token {
    v: String,
    rv: i64,
    start: String,
}

impl Token {
    /// The token to go on after `key` at `revision`; -1 goes on at whatever is newest.
    pub fn encode(revision: i64, key: &str, prefix: &str) -> String {
        let start = format!("{}\0", key.strip_prefix(prefix).unwrap_or(key));
        let token = Self { v: "meta.k8s.io/v1".into(), rv: revision, start };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Reads a token that a client sent.
    pub fn decode(text: &str) -> Result<Self, StatusError> {
        let invalid = |cause: String| StatusError::bad_request(format!("continue key is not valid: {cause}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| invalid(error.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(invalid(format!("server does not recognize this encoded version {:?}", token.v)));
        }
        if token.rv == 0 {
            return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into()));
        }
        Ok(token)
    }

    /// The revision to go on at; -1 for whatever is newest.
    pub fn revision(&self) -> i64 {
        self.rv
    }

    /// The key after which to go on; a token never leads outside the list it came from.
    pub fn start_after(&self, prefix: &str) -> Result<String, StatusError> {
        if self.start.is_empty() || self.start.split('/').any(|step| step == "..") {
            return Err(StatusError::bad_request(
                "continue key is not valid: encoded start key empty or out of bounds",
            ));
        }
        Ok(format!("{prefix}{}", self.start.trim_end_matches('\0')))
    }
}
