//! A store's filter, as people write it and as the table keeps it.

use super::Invalid;
use serde::{Deserialize, Serialize};

/// The field's name in configuration and over HTTP.
const FIELD: &str = "cuckoo_filter";

/// The rate of false positives of a store's filter: 0.001 to 0.1, kept in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilterRate(pub(super) u32);

impl Default for FilterRate {
    /// One in a hundred.
    fn default() -> Self {
        Self(10_000)
    }
}

impl FilterRate {
    /// The lowest and the highest rate in parts per million.
    pub const RANGE_PPM: std::ops::RangeInclusive<u32> = 1_000..=100_000;

    /// A rate as people write it, such as 0.01.
    ///
    /// # Errors
    /// It is not from 0.001 to 0.1.
    pub fn new(rate: f64) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(FIELD, format!("a rate of false positives is 0.001 to 0.1, not {rate}"))
        };
        // Not a number, and what is too large, end at the bounds of the cast and so out of range.
        let ppm = (rate * 1e6).round() as u32;
        if Self::RANGE_PPM.contains(&ppm) { Ok(Self(ppm)) } else { Err(wrong()) }
    }

    /// In parts per million.
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// As people write it.
    pub fn rate(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// What a configuration or a request says of a store's filter: `true`, `false`, a rate, or both by
/// their names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "cuckoo_filter is true, false, a rate of false positives from 0.001 to 0.1, or \
                 {enabled, false_positive_rate}"
)]
pub enum FilterSetting {
    /// On, with the default rate, or off.
    Switch(bool),
    /// On, with this rate.
    Rate(f64),
    /// Both by name.
    Named(Named),
}

/// A filter's switch and rate by their names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Whether there is one; there is when only a rate is given.
    #[serde(default = "on")]
    pub enabled: bool,
    /// The rate of false positives; 0.01 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive_rate: Option<f64>,
}

fn on() -> bool {
    true
}

impl FilterSetting {
    /// The rate to keep; `None` for no filter.
    ///
    /// # Errors
    /// A rate out of its range, also of a filter that is off.
    pub fn rate(self) -> Result<Option<FilterRate>, Invalid> {
        match self {
            Self::Switch(enabled) => Ok(enabled.then(FilterRate::default)),
            Self::Rate(rate) => FilterRate::new(rate).map(Some),
            Self::Named(Named { enabled, false_positive_rate }) => {
                let rate = false_positive_rate.map(FilterRate::new).transpose()?;
                Ok(enabled.then(|| rate.unwrap_or_default()))
            }
        }
    }
}

impl From<Option<FilterRate>> for FilterSetting {
    /// The form that names both.
    fn from(filter: Option<FilterRate>) -> Self {
        let false_positive_rate = filter.map(FilterRate::rate);
        Self::Named(Named { enabled: filter.is_some(), false_positive_rate })
    }
}

/// For `#[serde(with)]`: a filter in a document for people, in any of its forms.
pub mod filter_setting {
    use super::{FilterRate, FilterSetting};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    /// Writes the form that names both.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(filter: &Option<FilterRate>, to: S) -> Result<S::Ok, S::Error> {
        FilterSetting::from(*filter).serialize(to)
    }

    /// Reads any form.
    ///
    /// # Errors
    /// It is none, or its rate is out of range.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FilterRate>, D::Error> {
        FilterSetting::deserialize(from)?.rate().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::StorePolicy;
    use super::*;

    #[test]
    fn rates_of_filters_out_of_range_are_refused_by_name() {
        for rate in [0.0, -1.0, 0.0009, 0.11, 1.0, 1e300, f64::NAN, f64::INFINITY] {
            let refused = FilterRate::new(rate).unwrap_err();
            assert_eq!(refused.field, "cuckoo_filter");
            assert!(refused.message.contains("0.001 to 0.1"), "{refused}");
        }
        for rate in [0.001, 0.01, 0.05, 0.1] {
            assert_eq!(FilterRate::new(rate).unwrap().rate(), rate);
        }
        let mut policy = StorePolicy::new("a", 1);
        policy.filter = Some(FilterRate(5));
        assert_eq!(policy.validate().unwrap_err().field, "cuckoo_filter");
    }

    #[test]
    fn a_filter_is_switched_rated_or_both() {
        let named = |enabled, false_positive_rate| {
            FilterSetting::Named(Named { enabled, false_positive_rate })
        };
        for (setting, ppm) in [
            (FilterSetting::Switch(true), Some(10_000)),
            (FilterSetting::Switch(false), None),
            (FilterSetting::Rate(0.001), Some(1_000)),
            (named(true, None), Some(10_000)),
            (named(true, Some(0.1)), Some(100_000)),
            (named(false, Some(0.1)), None),
        ] {
            let rate = setting.rate().unwrap();
            assert_eq!(rate.map(FilterRate::ppm), ppm, "{setting:?}");
            assert_eq!(FilterSetting::from(rate).rate().unwrap(), rate, "shown and read again");
        }
        assert!(named(false, Some(0.5)).rate().is_err(), "a mistake, also while it is off");
    }
}
