//! Transactions over one member's data.

use super::*;
