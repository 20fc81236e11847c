//! Of each bucket of a histogram the last request that has spans: whoever sees the bucket finds its trace.

use std::time::SystemTime;

use opentelemetry::trace::TraceId;
use parking_lot::Mutex;

use super::families::BOUNDS;

/// A request that has spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// How long it took.
    pub seconds: f64,
    /// When that was known.
    pub at: SystemTime,
}

/// The last ones, by bucket. Only requests that have spans come here, and who scrapes.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<[Option<Exemplar>; BOUNDS]>);

impl Exemplars {
    /// Puts one in the place of the one before.
    pub fn set(&self, bucket: usize, exemplar: Exemplar) {
        if let Some(last) = self.0.lock().get_mut(bucket) {
            *last = Some(exemplar);
        }
    }

    /// Puts those in that are newer than what is there.
    pub fn add_to(&self, newest: &mut [Option<Exemplar>; BOUNDS]) {
        let at = |of: &Option<Exemplar>| of.map(|exemplar| exemplar.at);
        for (newest, own) in newest.iter_mut().zip(*self.0.lock()) {
            if at(&own) > at(newest) {
                *newest = own;
            }
        }
    }
}
