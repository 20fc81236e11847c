//! Who may use `/api`: whoever brings the password, as soon as there is one.
//!
//! `/livez`, `/readyz`, `/health`, `/stats`, `/metrics` and `/openapi.json` stay open: they tell
//! figures, states and names of members, never keys or values, and probes and scrapers bring no
//! credentials.

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;

use super::error::ApiError;
use crate::config::Secret;
use crate::server::logins::shown_user;

/// Checks `Authorization: Bearer PASSWORD`, or `Basic` with any user and that password.
///
/// # Errors
/// 401 for a password that is missing or wrong.
pub fn check(password: Option<&Secret>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(password) = password else { return Ok(()) };
    let denied = |message| Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return denied("a password is needed: send 'Authorization: Bearer PASSWORD'");
    };
    match offered(given.as_bytes()) {
        Some(offer) if password.is(&offer) => Ok(()),
        Some(_) => denied("the password is wrong"),
        None => denied(
            "'Authorization' is neither 'Bearer PASSWORD' nor 'Basic' with base64 of USER:PASSWORD",
        ),
    }
}

/// Who a request says that it is from, for the audit: the user of `Basic`, who is whoever they say, as one
/// password opens for all; `bearer`, or `nobody`.
pub fn who(headers: &HeaderMap) -> String {
    let given = headers.get(header::AUTHORIZATION).map(|given| given.as_bytes());
    let Some((scheme, rest)) =
        given.and_then(|given| Some(given.split_at(given.iter().position(|b| *b == b' ')?)))
    else {
        return "nobody".to_owned();
    };
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return "bearer".to_owned();
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii());
    let user = pair.unwrap_or_default().split(|b| *b == b':').next().unwrap_or_default().to_vec();
    shown_user(&user)
}

/// The password in an `Authorization` header.
fn offered(header: &[u8]) -> Option<Vec<u8>> {
    let space = header.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = (&header[..space], header[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        let pair = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|b| *b == b':')?;
        return Some(pair[colon + 1..].to_vec());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(password: Option<&str>, header: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
        }
        let password = password.map(Secret::new);
        check(password.as_ref(), &headers).map_or_else(|e| e.status().as_u16(), |()| 200)
    }

    #[test]
    fn without_a_password_nobody_is_asked() {
        assert_eq!(code(None, None), 200);
        assert_eq!(code(None, Some("Bearer x")), 200);
    }

    #[test]
    fn the_password_opens_by_bearer_and_by_basic_with_any_user() {
        assert_eq!(code(Some("s3:cret"), Some("Bearer s3:cret")), 200);
        assert_eq!(code(Some("s3:cret"), Some("bearer  s3:cret")), 200);
        let basic = base64::engine::general_purpose::STANDARD.encode("anyone:s3:cret");
        assert_eq!(code(Some("s3:cret"), Some(&format!("Basic {basic}"))), 200);
    }

    #[test]
    fn the_user_is_told_and_never_the_password() {
        let told = |header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = header {
                headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            }
            who(&headers)
        };
        let basic = base64::engine::general_purpose::STANDARD.encode("anna:s3:cret");
        assert_eq!(told(Some(&format!("Basic {basic}"))), "anna");
        assert_eq!(told(Some("Bearer s3cret")), "bearer");
        assert_eq!(told(Some("Basic !!")), "");
        assert_eq!((told(None), told(Some("x"))), ("nobody".into(), "nobody".into()));
    }

    #[test]
    fn everything_else_stays_out() {
        for header in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic !!", "Digest s3cret"]
        {
            assert_eq!(code(Some("s3cret"), Some(header)), 401, "{header:?}");
        }
        assert_eq!(code(Some("s3cret"), None), 401);
        let no_colon = base64::engine::general_purpose::STANDARD.encode("s3cret");
        assert_eq!(code(Some("s3cret"), Some(&format!("Basic {no_colon}"))), 401);
    }
}
