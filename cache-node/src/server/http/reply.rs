//! From a command's reply to what HTTP says.

use axum::http::StatusCode;
use hypercache_core::resp::Reply;

use super::error::ApiError;
use crate::router;

/// The reply, unless it is an error.
///
/// # Errors
/// The command's error with the status that fits.
pub fn checked(reply: Reply) -> Result<Reply, ApiError> {
    match reply {
        Reply::Error(text) => Err(error(&text)),
        reply => Ok(reply),
    }
}

/// A reply of a kind that the command does not give.
pub fn unexpected(reply: &Reply) -> ApiError {
    let kind = match reply {
        Reply::Null => "nothing",
        Reply::Integer(_) => "an integer",
        Reply::Bulk(_) | Reply::Simple(_) => "a text",
        _ => "an aggregate",
    };
    let message = format!("a command was answered with {kind}, which does not fit it");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
}

/// The HTTP error for an error reply, by the word that it begins with.
fn error(text: &str) -> ApiError {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (status, code) = match word {
        "WRONGTYPE" => (StatusCode::CONFLICT, "wrong_type"),
        "OOM" => (StatusCode::INSUFFICIENT_STORAGE, "out_of_memory"),
        _ if text == router::NO_QUORUM => (StatusCode::SERVICE_UNAVAILABLE, "no_quorum"),
        "CLUSTERDOWN" => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        "UNKNOWN" => (StatusCode::GATEWAY_TIMEOUT, "outcome_unknown"),
        "TRYAGAIN" | "LOADING" | "MOVED" | "ASK" => (StatusCode::SERVICE_UNAVAILABLE, "try_again"),
        "ERR" if rest.contains("exceeds maximum allowed size") => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
        }
        _ => (StatusCode::BAD_REQUEST, "refused"),
    };
    let message = if word == "ERR" && !rest.is_empty() { rest } else { text };
    ApiError::new(status, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_commands_have_the_status_that_fits() {
        for (text, status, code) in [
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                409,
                "wrong_type",
            ),
            ("OOM command not allowed when used memory > 'maxmemory'.", 507, "out_of_memory"),
            (router::NO_QUORUM, 503, "no_quorum"),
            ("CLUSTERDOWN Hash slot not served within 5s", 504, "deadline_exceeded"),
            (router::CUT_OFF, 504, "outcome_unknown"),
            ("TRYAGAIN later", 503, "try_again"),
            ("ERR string exceeds maximum allowed size (proto-max-bulk-len)", 413, "too_large"),
            ("ERR value is not an integer or out of range", 400, "refused"),
            ("", 400, "refused"),
        ] {
            let error = checked(Reply::Error(text.into())).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (status, code), "{text}");
        }
        assert_eq!(error("ERR syntax error").message(), "syntax error");
    }
}
