//! TokenReview: whose token is this? (upstream: pkg/registry/authentication/tokenreview/storage.go)

use apimachinery::{Object, StatusError};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Tokens;

/// Answers a review.
pub async fn review(tokens: &Tokens, mut object: Object, now: Timestamp) -> Result<Object, StatusError> {
    let token = object.str_at(&["spec", "token"]).unwrap_or_default();
    if token.is_empty() {
        return Err(StatusError::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<String> = object
        .at(&["spec", "audiences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let audiences = if asked.is_empty() { tokens.api_audiences() } else { &asked };
    let status = match tokens.authenticate(token, audiences, now).await {
        Ok(mut known) => {
            if !known.user.is_in(super::AUTHENTICATED) {
                known.user.groups.push(super::AUTHENTICATED.into());
            }
            let user = serde_json::to_value(&known.user).map_err(StatusError::internal)?;
            json!({ "authenticated": true, "user": user, "audiences": known.audiences })
        }
        Err(err) => json!({ "user": {}, "error": err.to_string() }),
    };
    object.0.insert("status".into(), status);
    Ok(object)
}
