//! Statements about many rows at once.

use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Encode, Sqlite, Type};

use crate::error::StoreError;

/// Rows in one statement: few sizes, so that few statements are prepared; close to each other, so
/// that few rows are bound in vain.
const SIZES: [usize; 14] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
pub(super) const MOST: usize = SIZES[SIZES.len() - 1];

/// A statement around `VALUES (?, …), …`. It is prepared for a few numbers of rows: those that are
/// not there are NULL in every column, and the statement must leave them out.
pub(super) struct Many {
    before: &'static str,
    columns: usize,
    after: &'static str,
    texts: [OnceLock<String>; SIZES.len()],
}

impl Many {
    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { before, columns, after, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The statement for at most [`MOST`] rows, with what `bind` binds of each.
    pub(super) fn of<T>(
        &'static self,
        rows: &[T],
        bind: impl Fn(&T, &mut Binds) -> Result<(), StoreError>,
    ) -> Result<Query<'static, Sqlite, SqliteArguments>, StoreError> {
        let mut binds = Binds(SqliteArguments::default());
        binds.0.reserve(rows.len() * self.columns, 0);
        for row in rows {
            bind(row, &mut binds)?;
        }
        debug_assert_eq!(binds.0.len(), rows.len() * self.columns, "every column of a row is bound");
        let size = SIZES.partition_point(|size| *size < rows.len()).min(SIZES.len() - 1);
        let text = self.texts[size].get_or_init(|| self.text(SIZES[size]));
        Ok(sqlx::query_with(text.as_str(), binds.0))
    }

    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        format!("{} VALUES {}{}", self.before, vec![row; rows].join(","), self.after)
    }
}

/// The values of a statement, in the order of its parameters.
pub(super) struct Binds(SqliteArguments);

impl Binds {
    pub(super) fn push<'t, T>(&mut self, value: T) -> Result<&mut Self, StoreError>
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        self.0.add(value).map_err(|e| StoreError::Invalid(format!("a value cannot be written: {e}")))?;
        Ok(self)
    }
}
