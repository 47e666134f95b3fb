//! `/images`: the node's image store for `kaji image` and `kaji cluster load-image`. Kaji's own; upstream has no
//! counterpart in the kubelet.
//!
//! `GET` lists, `POST import?path=` takes an archive that lies on this machine, `POST pull?reference=` fetches from a
//! registry, `DELETE ?reference=` removes. Answers of the posts are lines of JSON: progress, images, or an error.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cri::{Error, Image, ImageService, PullProgress};
use futures::{Stream, StreamExt, stream};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Body, json as json_answer, query, text};
use crate::kubelet::Workers;

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Every image.
    List,
    /// An archive of this machine.
    Import,
    /// From a registry.
    Pull,
    /// Away with one.
    Remove,
}

impl Action {
    /// The action of a method and the path below `/images`.
    pub fn of(method: &Method, rest: &[&str]) -> Result<Self, StatusCode> {
        match (method, rest) {
            (&Method::GET, []) => Ok(Self::List),
            (&Method::POST, ["import"]) => Ok(Self::Import),
            (&Method::POST, ["pull"]) => Ok(Self::Pull),
            (&Method::DELETE, []) => Ok(Self::Remove),
            (_, [] | ["import" | "pull"]) => Err(StatusCode::METHOD_NOT_ALLOWED),
            _ => Err(StatusCode::NOT_FOUND),
        }
    }
}

/// Does it, and answers. Pods that wait for an image look again once there is a new one.
pub async fn answer(
    images: &Arc<dyn ImageService>,
    workers: &Arc<Workers>,
    action: Action,
    parameters: Option<&str>,
) -> Response<Body> {
    let parameters = query(parameters);
    #[expect(clippy::result_large_err, reason = "the answer is made once")]
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(key, value)| key == name && !value.is_empty());
        let missing = || text(StatusCode::BAD_REQUEST, format!("the parameter {name:?} is missing"));
        found.map(|(_, value)| value.clone()).ok_or_else(missing)
    };
    match action {
        Action::List => match images.list_images().await {
            Ok(images) => json_answer(&images),
            Err(err) => refused(&err),
        },
        Action::Remove => match parameter("reference") {
            Err(missing) => missing,
            Ok(reference) => match images.remove_image(&reference).await {
                Ok(()) => {
                    workers.images_changed().await;
                    text(StatusCode::OK, "removed\n")
                }
                Err(err) => refused(&err),
            },
        },
        Action::Import => match parameter("path") {
            Err(missing) => missing,
            Ok(path) => {
                let (images, workers) = (images.clone(), workers.clone());
                let imported = async move {
                    let imported = images.import_archive(&PathBuf::from(path)).await;
                    workers.images_changed().await;
                    imported
                };
                lines(stream::once(imported).flat_map(|done| stream::iter(ended(done))))
            }
        },
        Action::Pull => match parameter("reference") {
            Err(missing) => missing,
            Ok(reference) => lines(pull(images.clone(), workers.clone(), reference)),
        },
    }
}

/// Progress while it is fetched, then the image or the error.
fn pull(
    images: Arc<dyn ImageService>,
    workers: Arc<Workers>,
    reference: String,
) -> impl Stream<Item = Value> + Send + 'static {
    let (sender, receiver) = watch::channel(PullProgress::default());
    let progress = stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let PullProgress { done_bytes, total_bytes } = *receiver.borrow_and_update();
        Some((json!({"done_bytes": done_bytes, "total_bytes": total_bytes}), receiver))
    });
    let pulled = async move {
        let pulled = images.pull_image(&reference, &[], Some(sender)).await;
        workers.images_changed().await;
        pulled.map(|image| vec![image])
    };
    let done = stream::once(pulled).flat_map(|done| stream::iter(ended(done)));
    // The progress ends when the pull drops its sender.
    stream::select(progress, done)
}

fn ended(done: Result<Vec<Image>, Error>) -> Vec<Value> {
    match done {
        Ok(images) => images.into_iter().map(|image| json!({"image": image})).collect(),
        Err(err) => vec![json!({"error": err.to_string()})],
    }
}

fn refused(err: &Error) -> Response<Body> {
    let status = match err {
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::InvalidImageName { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, err.to_string())
}

fn lines(values: impl Stream<Item = Value> + Send + 'static) -> Response<Body> {
    let frames = values.map(|value| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{value}\n")))));
    let body = StreamBody::new(SyncStream(Box::pin(frames)));
    Response::new(body.map_err(|never| -> io::Error { match never {} }).boxed())
}

/// A stream that is only ever polled through `&mut`, and so may be shared between threads.
struct SyncStream<T>(std::pin::Pin<Box<dyn Stream<Item = T> + Send>>);

// SAFETY: no method reaches the stream through a shared reference.
unsafe impl<T> Sync for SyncStream<T> {}

impl<T> Stream for SyncStream<T> {
    type Item = T;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<T>> {
        self.0.poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions() {
        for (method, rest, expected) in [
            (Method::GET, &[][..], Ok(Action::List)),
            (Method::POST, &["import"], Ok(Action::Import)),
            (Method::POST, &["pull"], Ok(Action::Pull)),
            (Method::DELETE, &[], Ok(Action::Remove)),
            (Method::GET, &["pull"], Err(StatusCode::METHOD_NOT_ALLOWED)),
            (Method::GET, &["other"], Err(StatusCode::NOT_FOUND)),
        ] {
            assert_eq!(Action::of(&method, rest), expected, "{method} {rest:?}");
        }
    }
}
