//! Kinds that have nothing to default and nothing to refuse, and no generation either.

use crate::resource::{Generation, Strategy};

/// The strategy of service accounts and of the other kinds that only hold data.
pub(crate) struct Data;

impl Strategy for Data {
    fn generation(&self) -> Generation {
        Generation::Never
    }
}
