//! Errors as HTTP tells them: a status, and `{"error":{"code","message",…}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
}

impl ApiError {
    /// An error with a status, a code that programs can use, and a message for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), more: Map::new() }
    }

    /// 400: something about the request is wrong.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 that names the field that is wrong.
    pub fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::bad_request(code, message).with("field", field)
    }

    /// Adds a field to the body.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let reason = super::audit::Reason(self.message.clone());
        let mut error = self.more;
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        let mut response = (self.status, axum::Json(json!({ "error": error }))).into_response();
        response.extensions_mut().insert(reason);
        if self.status == StatusCode::UNAUTHORIZED {
            let ask =
                HeaderValue::from_static("Bearer realm=\"hypercache\", Basic realm=\"hypercache\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        response
    }
}
