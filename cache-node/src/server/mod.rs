//! What clients see: RESP and HTTP.

pub mod http;
pub mod logins;
pub mod resp;
pub mod stats;
