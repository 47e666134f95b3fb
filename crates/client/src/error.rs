//! What an answer of the API means to a caller that decides on a retry.

use kube::Error;

/// The reasons callers tell apart (upstream: apimachinery/pkg/api/errors).
pub trait ApiError {
    /// The object does not exist.
    fn is_not_found(&self) -> bool;
    /// The object changed since it was read, or a precondition does not hold.
    fn is_conflict(&self) -> bool;
    /// Something of that name exists.
    fn is_already_exists(&self) -> bool;
    /// The object is refused for what it says: no retry helps until somebody changes it.
    fn is_invalid(&self) -> bool;
    /// The namespace takes no new objects because it goes away.
    fn is_namespace_terminating(&self) -> bool;
}

impl ApiError for Error {
    fn is_not_found(&self) -> bool {
        matches!(self, Error::Api(status) if status.code == 404)
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
    }

    fn is_already_exists(&self) -> bool {
        matches!(self, Error::Api(status) if status.reason == "AlreadyExists")
    }

    fn is_invalid(&self) -> bool {
        matches!(self, Error::Api(status) if status.code == 422)
    }

    fn is_namespace_terminating(&self) -> bool {
        let Error::Api(status) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }
}
