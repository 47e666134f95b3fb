//! What is written on the error channel when a session ends (upstream: apiserver remotecommand, metav1.Status).

use serde_json::{Value, json};

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Exited(i32),
    /// It could not be run.
    Failed(String),
}

impl Outcome {
    /// The Status that clients of protocol v4 and later expect.
    pub fn status(&self) -> Value {
        match self {
            Self::Exited(0) => json!({"metadata": {}, "status": "Success"}),
            Self::Exited(code) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(message) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("Internal error occurred: {message}"),
                "reason": "InternalError",
                "details": {"causes": [{"message": message}]},
                "code": 500,
            }),
        }
    }

    /// The bytes for the error channel; older clients read plain text and nothing on success.
    pub fn message(&self, structured: bool) -> Vec<u8> {
        match self {
            _ if structured => self.status().to_string().into_bytes(),
            Self::Exited(0) => Vec::new(),
            Self::Exited(code) => format!("command terminated with exit code {code}").into_bytes(),
            Self::Failed(message) => message.clone().into_bytes(),
        }
    }
}
