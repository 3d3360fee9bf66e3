//! The page of a list that a request asks for.

use serde::Deserialize;
use utoipa::IntoParams;

/// The size of a page, 1 to 1000.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(in crate::http) struct Limit(usize);

impl Limit {
    const DEFAULT: Self = Self(100);

    pub(in crate::http) const fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u64> for Limit {
    type Error = &'static str;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        match usize::try_from(limit) {
            Ok(limit @ 1..=1000) => Ok(Self(limit)),
            _ => Err("must be 1 to 1000"),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Page {
    /// The size of the page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub(in crate::http) limit: Limit,
    /// The `next` of the page before.
    pub(in crate::http) cursor: Option<String>,
}
