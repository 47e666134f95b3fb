//! Having the image a container needs (upstream: pkg/kubelet/images/image_manager.go).

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::{Error, Image, RegistryAuth};
use k8s_openapi::api::core::v1::Secret;
use tokio::time::Instant;

use super::ContainerJob;
use crate::container::env::Objects;
use crate::pod::container::SetupFailure;
use crate::pod::spec::spec;

fn failure(reason: &str, message: impl Into<String>) -> SetupFailure {
    SetupFailure { reason: reason.to_owned(), message: message.into() }
}

/// The image of the container, pulled when its policy asks for it.
pub async fn ensure(job: &ContainerJob) -> Result<Image, SetupFailure> {
    let name = job.spec.container.image.as_deref().unwrap_or_default();
    let images = &job.job.cx.images;
    let present = match images.image_status(name).await {
        Ok(present) => present,
        Err(err @ Error::InvalidImageName { .. }) => {
            let text = format!("Failed to apply default image tag {name:?}: {err}");
            job.event(true, "InspectFailed", text.clone());
            job.event(true, "Failed", "Error: InvalidImageName");
            return Err(failure("InvalidImageName", text));
        }
        Err(err) => {
            let text = format!("Failed to inspect image {name:?}: {err}");
            job.event(true, "InspectFailed", text.clone());
            job.event(true, "Failed", "Error: ImageInspectError");
            return Err(failure("ImageInspectError", text));
        }
    };
    match (policy(job), present) {
        ("IfNotPresent" | "Never", Some(image)) => {
            let text = format!("Container image {name:?} already present on machine and can be accessed by the pod");
            job.event(false, "Pulled", text);
            Ok(image)
        }
        ("IfNotPresent", None) => {
            // An image that is put into the store meanwhile is as good.
            tokio::select! {
                pulled = pull(job, name) => pulled,
                image = appears(job, name) => Ok(image),
            }
        }
        ("Never", None) => {
            let text = format!("Container image {name:?} is not present with pull policy of Never");
            job.event(true, "ErrImageNeverPull", text.clone());
            job.event(true, "Failed", "Error: ErrImageNeverPull");
            Err(failure("ErrImageNeverPull", text))
        }
        _ => pull(job, name).await,
    }
}

/// The pull policy, defaulted as the API server does.
fn policy(job: &ContainerJob) -> &str {
    let container = &job.spec.container;
    match container.image_pull_policy.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ => {
            let image = container.image.as_deref().unwrap_or_default();
            let last = image.rsplit('/').next().unwrap_or_default();
            let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
            if latest { "Always" } else { "IfNotPresent" }
        }
    }
}

/// Completes once the store has the image.
async fn appears(job: &ContainerJob, name: &str) -> Image {
    let mut changes = job.job.cx.images_changed.subscribe();
    loop {
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Ok(Some(image)) = job.job.cx.images.image_status(name).await {
            return image;
        }
    }
}

async fn pull(job: &ContainerJob, name: &str) -> Result<Image, SetupFailure> {
    job.event(false, "Pulling", format!("Pulling image {name:?}"));
    let asked = Instant::now();
    let given_up = || failure("ErrImagePull", "pull canceled: the pod is being terminated");
    let slot = tokio::select! {
        slot = job.job.cx.pulls.acquire() => slot,
        () = job.job.stop.cancelled() => return Err(given_up()),
    };
    // The semaphore is never closed; without a slot the pull only runs beside more others.
    let _slot = slot.ok();
    let began = Instant::now();
    let auth = credentials(job, name);
    let result = tokio::select! {
        result = job.job.cx.images.pull_image(name, &auth, None) => result,
        () = job.job.stop.cancelled() => return Err(given_up()),
    };
    match result {
        Ok(image) => {
            job.job.cx.node_changed.notify_one();
            let (took, with_wait) = (go_seconds(began.elapsed()), go_seconds(asked.elapsed()));
            job.event(
                false,
                "Pulled",
                format!(
                    "Successfully pulled image {name:?} in {took} ({with_wait} including waiting). Image size: {} bytes.",
                    image.size_bytes
                ),
            );
            Ok(image)
        }
        Err(err) => {
            job.event(true, "Failed", format!("Failed to pull image {name:?}: {err}"));
            job.event(true, "Failed", "Error: ErrImagePull");
            Err(failure("ErrImagePull", err.to_string()))
        }
    }
}

/// A duration as Go prints it, to the millisecond: `12ms`, `1.234s`.
fn go_seconds(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let mut text = format!("{}.{:03}", ms / 1000, ms % 1000);
    while text.ends_with('0') {
        text.pop();
    }
    let mut text = text.trim_end_matches('.').to_owned();
    let _ = write!(text, "s");
    text
}

/// Credentials of the pod's pull secrets that fit the image's registry.
fn credentials(job: &ContainerJob, image: &str) -> Vec<RegistryAuth> {
    let secrets = spec(&job.job.pod).image_pull_secrets.iter().flatten();
    let found = secrets.filter_map(|reference| job.job.sources.secret(&reference.name));
    found.flat_map(|secret| of_secret(&secret, image)).collect()
}

/// upstream: pkg/credentialprovider (dockerconfigjson and dockercfg).
fn of_secret(secret: &Secret, image: &str) -> Vec<RegistryAuth> {
    let data = secret.data.as_ref();
    let json = data.and_then(|data| data.get(".dockerconfigjson").or_else(|| data.get(".dockercfg")));
    let Some(value) = json.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes.0).ok()) else {
        return Vec::new();
    };
    let entries = value.get("auths").unwrap_or(&value);
    let fits = |registry: &str| {
        let plain = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let plain = plain.trim_end_matches("/v1").trim_end_matches("/v2");
        let host = registry_host(image);
        image == plain
            || image.strip_prefix(plain).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
            || plain == host
            || (host == "docker.io" && plain == "index.docker.io")
    };
    let entries = entries.as_object().into_iter().flatten().filter(|(registry, _)| fits(registry));
    entries.filter_map(|(_, entry)| auth_entry(entry)).collect()
}

fn registry_host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn auth_entry(entry: &serde_json::Value) -> Option<RegistryAuth> {
    let text = |key: &str| entry.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let mut auth =
        RegistryAuth { username: text("username"), password: text("password"), identity_token: text("identitytoken") };
    if let Ok(bytes) = STANDARD.decode(text("auth"))
        && let Ok(pair) = String::from_utf8(bytes)
        && let Some((user, password)) = pair.split_once(':')
    {
        auth.username = user.to_owned();
        auth.password = password.to_owned();
    }
    (!auth.username.is_empty() || !auth.identity_token.is_empty()).then_some(auth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_fit_their_registry() {
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:pw")},
            "reg.example:5000": {"username": "u", "password": "p"},
        }});
        let secret = Secret {
            data: Some(
                [(".dockerconfigjson".to_owned(), k8s_openapi::ByteString(config.to_string().into_bytes()))].into(),
            ),
            ..Secret::default()
        };
        for (image, expected) in
            [("nginx", Some("hub")), ("reg.example:5000/a/b:1", Some("u")), ("reg.example/a", None)]
        {
            let found = of_secret(&secret, image);
            assert_eq!(found.first().map(|auth| auth.username.as_str()), expected, "{image}");
        }
    }

    #[test]
    fn durations_look_like_gos() {
        assert_eq!(go_seconds(Duration::from_millis(12)), "12ms");
        assert_eq!(go_seconds(Duration::from_millis(1230)), "1.23s");
        assert_eq!(go_seconds(Duration::from_secs(20)), "20s");
    }
}
