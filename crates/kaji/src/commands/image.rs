//! `kaji image ...`: the images of a cluster's node, through the API's node proxy (so that it is authorized and works
//! wherever the API is reached) and the kubelet's `/images` endpoint.

use std::path::Path;

use anyhow::{Context, bail};
use cluster::{Home, lifecycle};
use cri::Image;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

use crate::cli::ImageCommand;

/// One line of the kubelet's answer to a pull or import.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    done_bytes: u64,
    total_bytes: u64,
    image: Option<Image>,
    error: Option<String>,
}

fn name(image: &Image) -> &str {
    image.repo_tags.first().or(image.repo_digests.first()).map_or("<none>", String::as_str)
}

fn short_id(image: &Image) -> &str {
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    id.get(..12).unwrap_or(id)
}

/// Runs one command.
pub async fn run(command: ImageCommand) -> anyhow::Result<()> {
    let home = Home::from_env();
    match command {
        ImageCommand::List { cluster } => list(&Node::of(&home, &cluster.name).await?).await,
        ImageCommand::Import { archive, cluster } => import(&home, &cluster.name, &archive).await,
        ImageCommand::Pull { reference, cluster } => {
            let node = Node::of(&home, &cluster.name).await?;
            let response =
                node.send(Method::POST, &format!("/pull?reference={}", escape(&reference)), Body::empty()).await?;
            follow(response).await
        }
        ImageCommand::Remove { reference, cluster } => {
            let node = Node::of(&home, &cluster.name).await?;
            node.send(Method::DELETE, &format!("?reference={}", escape(&reference)), Body::empty()).await?;
            println!("Removed {reference}.");
            Ok(())
        }
    }
}

/// Has the node take in an archive. The node is made of this machine's namespaces, so it reads the file itself.
pub async fn import(home: &Home, cluster: &str, archive: &Path) -> anyhow::Result<()> {
    let path = archive.canonicalize().with_context(|| format!("use {}", archive.display()))?;
    let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    let node = Node::of(home, cluster).await?;
    let response = node.send(Method::POST, &format!("/import?path={}", escape(path)), Body::empty()).await?;
    follow(response).await
}

async fn list(node: &Node) -> anyhow::Result<()> {
    let response = node.send(Method::GET, "", Body::empty()).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    let images: Vec<Image> = serde_json::from_slice(&bytes).context("read the node's answer")?;
    println!("{:<60} {:<14} SIZE", "IMAGE", "ID");
    for image in &images {
        let names = if image.repo_tags.is_empty() { &image.repo_digests } else { &image.repo_tags };
        for name in names {
            println!("{name:<60} {:<14} {:.1} MB", short_id(image), image.size_bytes as f64 / 1e6);
        }
    }
    Ok(())
}

/// Shows the lines of an answer as they come; an error among them is the command's.
async fn follow(response: Response<Body>) -> anyhow::Result<()> {
    let mut body = response.into_body();
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            buffer.extend_from_slice(&data);
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            show(serde_json::from_slice(&line).context("read the node's answer")?)?;
        }
    }
    Ok(())
}

fn show(line: Line) -> anyhow::Result<()> {
    if let Some(error) = line.error {
        bail!(error);
    }
    match line.image {
        Some(image) => println!("{} ({}, {:.1} MB)", name(&image), short_id(&image), image.size_bytes as f64 / 1e6),
        None => println!("{:.1} of {:.1} MB", line.done_bytes as f64 / 1e6, line.total_bytes as f64 / 1e6),
    }
    Ok(())
}

/// The kubelet of a cluster's node, behind the API.
struct Node {
    client: Client,
    name: String,
}

impl Node {
    async fn of(home: &Home, cluster: &str) -> anyhow::Result<Self> {
        let (client, name) = lifecycle::connect(home, cluster).await?;
        Ok(Self { client, name })
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Response<Body>> {
        let uri = format!("/api/v1/nodes/{}/proxy/images{path}", self.name);
        let request = Request::builder().method(method).uri(uri).body(body)?;
        let response = self.client.send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.into_body().collect().await?.to_bytes();
        let message = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|value| Some(value["message"].as_str()?.to_owned()));
        bail!(message.unwrap_or_else(|| format!("{status}: {}", String::from_utf8_lossy(&bytes).trim())))
    }
}

/// Percent-encodes what may not stand in a query value.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_travel_in_a_query() {
        assert_eq!(escape("registry.example:5000/a/b:1+x&y"), "registry.example:5000/a/b:1%2Bx%26y");
    }

    #[test]
    fn an_error_line_fails_the_command() {
        let line: Line = serde_json::from_str(r#"{"error":"no space left"}"#).expect("a line");
        assert_eq!(show(line).expect_err("an error").to_string(), "no space left");
    }
}
