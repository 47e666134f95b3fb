//! `/containerLogs/<namespace>/<pod>/<container>`.

use std::sync::Arc;

use component_base::{Scope, now};
use cri::ContainerState;
use futures::StreamExt;
use http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::SignedDuration;
use kube::ResourceExt;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::route::At;
use super::{Body, query, text};
use crate::context::Context;
use crate::kubelet::Workers;
use crate::logs;
use crate::logs::read::{LogOptions, read};
use crate::pod::PodRef;
use crate::pod::worker::PodView;

/// Chunks a client may be behind.
const BUFFER: usize = 8;

/// Answers with a container's log.
pub fn answer(cx: &Arc<Context>, workers: &Workers, scope: &Scope, at: &At, query: Option<&str>) -> Response<Body> {
    let options = match parse(query) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let Some(view) = workers.find(&at.namespace, &at.pod) else {
        return text(StatusCode::NOT_FOUND, format!("pod {:?} does not exist", at.pod));
    };
    let (id, attempt) = match instance(&view, &at.container, options.previous) {
        Ok(found) => found,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let pod_log_dir = cx.config.pod_log_dir.join(PodRef::of(&view.pod).log_directory());
    let log = logs::path(&pod_log_dir, &at.container, attempt);
    if !log.exists() {
        let message = format!("failed to try resolving symlinks in path {:?}: no such file or directory", log);
        return text(StatusCode::INTERNAL_SERVER_ERROR, message);
    }
    let (sender, receiver) = mpsc::channel(BUFFER);
    let cx = cx.clone();
    scope.spawn("container-log", async move {
        let events = cx.runtime.events();
        let result = read(&log, options, ended(&cx, id, events), sender.clone()).await;
        if let Err(err) = result {
            // A client that is gone needs no error.
            let _ = sender.send(Err(err)).await;
        }
    });
    let frames = ReceiverStream::new(receiver).map(|chunk| chunk.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    response
}

/// Completes once the instance does not run (any more).
async fn ended(cx: &Context, id: String, mut events: broadcast::Receiver<cri::ContainerEvent>) {
    loop {
        // Looked at after the subscription, so an end in between is not missed.
        match cx.runtime.container_status(&id).await {
            Ok(status) if !matches!(status.state, ContainerState::Exited { .. }) => {}
            _ => return,
        }
        loop {
            match events.recv().await {
                Ok(event) if event.container_id == id => break,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => break,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// Id and attempt of the instance whose log is wanted, or why there is none (upstream: validateContainerLogStatus).
fn instance(view: &PodView, container: &str, previous: bool) -> Result<(String, u32), String> {
    let pod = view.pod.name_any();
    let Some(found) = view.containers.iter().find(|known| known.name == container) else {
        return Err(format!("container {container:?} in pod {pod:?} is not available"));
    };
    let Some(id) = found.id.clone() else {
        let waiting = waiting_reason(view, container).unwrap_or_else(|| "ContainerCreating".to_owned());
        return Err(format!("container {container:?} in pod {pod:?} is waiting to start: {waiting}"));
    };
    match (previous, found.attempt) {
        (false, attempt) => Ok((id, attempt)),
        (true, 0) => Err(format!("previous terminated container {container:?} in pod {pod:?} not found")),
        // The id is only asked whether it still runs, which the previous one does not.
        (true, attempt) => Ok((String::new(), attempt - 1)),
    }
}

fn waiting_reason(view: &PodView, container: &str) -> Option<String> {
    let status = view.pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let found = lists.into_iter().flat_map(|list| list.iter().flatten()).find(|known| known.name == container)?;
    let waiting = found.state.as_ref()?.waiting.as_ref()?;
    match waiting.reason.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull") => {
            Some("trying and failing to pull image".to_owned())
        }
        other => other.map(str::to_owned),
    }
}

/// Reads a query (upstream: `v1.PodLogOptions`).
pub fn parse(text: Option<&str>) -> Result<LogOptions, String> {
    let mut options = LogOptions::default();
    for (name, value) in query(text) {
        let number = || value.parse::<u64>().map_err(|_| format!("{name}: invalid value {value:?}"));
        let yes = matches!(value.as_str(), "true" | "1" | "");
        match name.as_str() {
            "follow" => options.follow = yes,
            "previous" => options.previous = yes,
            "timestamps" => options.timestamps = yes,
            "tailLines" => options.tail = Some(number()?),
            "limitBytes" => options.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).map_err(|err| err.to_string())?;
                options.since = now().checked_sub(SignedDuration::from_secs(seconds)).ok();
            }
            "sinceTime" => {
                options.since = Some(value.parse().map_err(|_| format!("sinceTime: invalid value {value:?}"))?);
            }
            "stream" => {
                options.stream = match value.as_str() {
                    "Stdout" => Some("stdout".to_owned()),
                    "Stderr" => Some("stderr".to_owned()),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    // What ended before writes no more.
    options.follow &= !options.previous;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = parse(Some("follow=true&tailLines=5&sinceTime=2026-01-01T00%3A00%3A00Z&stream=Stderr"));
        let options = options.expect("options");
        assert!(options.follow && !options.timestamps);
        assert_eq!((options.tail, options.stream.as_deref()), (Some(5), Some("stderr")));
        assert_eq!(options.since, "2026-01-01T00:00:00Z".parse().ok());
        assert!(parse(Some("tailLines=x")).is_err());
    }
}
