//! The answer to an erasure.

use crate::base::counts::Counts;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Erased {
    /// The number of erased records of each kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(in crate::http) erased: Counts,
}
