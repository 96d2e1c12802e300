//! Feature columns.

/// Feature columns in one arena, column-major: the value of row `r` in column `c` is at `c * rows + r`. NaN is missing.
/// A categorical column carries its categories' codes (0, 1, 2, ...).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    data: Vec<f64>,
    columns: usize,
    rows: usize,
}

impl Batch {
    /// All values missing.
    pub fn new(columns: usize, rows: usize) -> Self {
        let mut batch = Self::default();
        batch.reset(columns, rows);
        batch
    }

    /// From rows of equal length; a row's missing tail stays missing, values beyond `columns` are left out.
    pub fn from_rows<R: AsRef<[f64]>>(columns: usize, rows: &[R]) -> Self {
        let mut batch = Self::new(columns, rows.len());
        for (r, row) in rows.iter().enumerate() {
            for (c, &value) in row.as_ref().iter().take(columns).enumerate() {
                batch.set(r, c, value);
            }
        }
        batch
    }

    /// Makes all values missing and takes a new shape, keeping the allocation.
    pub fn reset(&mut self, columns: usize, rows: usize) {
        self.data.clear();
        self.data.resize(columns * rows, f64::NAN);
        self.columns = columns;
        self.rows = rows;
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of a column, one for each row. Panics where `column` is not below [`Batch::columns`].
    pub fn column(&self, column: usize) -> &[f64] {
        &self.data[column * self.rows..][..self.rows]
    }

    /// The values of a column, to be written. Panics where `column` is not below [`Batch::columns`].
    pub fn column_mut(&mut self, column: usize) -> &mut [f64] {
        &mut self.data[column * self.rows..][..self.rows]
    }

    /// Sets one value. Panics where row or column is out of range.
    pub fn set(&mut self, row: usize, column: usize, value: f64) {
        self.column_mut(column)[row] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_short_rows_end_in_missing() {
        let batch = Batch::from_rows(2, &[vec![1.0, 2.0, 9.0], vec![3.0]]);
        assert_eq!(batch.column(0), [1.0, 3.0]);
        assert_eq!(batch.column(1)[0], 2.0);
        assert!(batch.column(1)[1].is_nan());
    }

    #[test]
    fn reset_forgets_values_and_takes_the_new_shape() {
        let mut batch = Batch::from_rows(1, &[[1.0], [2.0], [3.0], [4.0]]);
        batch.reset(2, 2);
        assert_eq!((batch.columns(), batch.rows()), (2, 2));
        assert!((0..2).all(|c| batch.column(c).iter().all(|v| v.is_nan())));
    }
}
