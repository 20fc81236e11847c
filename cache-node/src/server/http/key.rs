//! Keys in paths: percent-encoded bytes, slashes as they are.

use axum::http::Uri;

use super::error::ApiError;

/// Decodes `%41` and the like. `+` is a plus sign: this is a path, not a form.
///
/// # Errors
/// 400 for a percent sign that two hexadecimal digits do not follow.
pub fn percent_decode(text: &str) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                let message = "a '%' in the path is not followed by two hexadecimal digits; a plain one is %25";
                return Err(ApiError::bad_request("invalid_path", message));
            }
        }
    }
    Ok(bytes)
}

/// The key that follows `prefix` in a request's path; the rest of the path, however many slashes
/// it has.
///
/// # Errors
/// 400 for what cannot be decoded.
pub fn key_after(uri: &Uri, prefix: &str) -> Result<Vec<u8>, ApiError> {
    let path = uri.path();
    percent_decode(path.strip_prefix(prefix).unwrap_or(path))
}

/// The store's name and the key in `/api/stores/{name}/keys/{key}`.
///
/// # Errors
/// 400 for what cannot be decoded.
pub fn store_and_key(uri: &Uri) -> Result<(String, Vec<u8>), ApiError> {
    let path = uri.path().strip_prefix("/api/stores/").unwrap_or_default();
    let (name, key) = path.split_once("/keys/").unwrap_or((path, ""));
    let name = String::from_utf8_lossy(&percent_decode(name)?).into_owned();
    Ok((name, percent_decode(key)?))
}

/// The store's name in `/api/stores/{name}` and `/api/stores/{name}/keys`.
///
/// # Errors
/// 400 for what cannot be decoded.
pub fn store_name(uri: &Uri) -> Result<String, ApiError> {
    let path = uri.path().strip_prefix("/api/stores/").unwrap_or_default();
    let name = path.split('/').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(&percent_decode(name)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_a_key_in_a_path_can_be_any_bytes() {
        let uri: Uri = "/api/cache/a%2Fb/c%00%ff+d?store=x".parse().unwrap();
        assert_eq!(key_after(&uri, "/api/cache/").unwrap(), b"a/b/c\x00\xff+d");
        let uri: Uri = "/api/stores/s%65ssions/keys/keys/1".parse().unwrap();
        assert_eq!(store_and_key(&uri).unwrap(), ("sessions".into(), b"keys/1".to_vec()));
    }

    #[test]
    fn a_broken_escape_is_an_error() {
        for text in ["%", "%1", "%zz", "a%4"] {
            assert_eq!(percent_decode(text).unwrap_err().status().as_u16(), 400, "{text}");
        }
    }
}
