//! A slot's records and pieces on their way in, at a replica.

/// See the module.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The session of the primary's link.
    #[expect(dead_code, reason = "what comes in is not here yet")]
    pub(crate) session: u64,
}
