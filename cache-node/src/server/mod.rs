//! What clients see: RESP and HTTP.

pub mod http;
pub mod resp;
pub mod stats;
