//! Feature columns.

/// Feature columns in one arena, column-major: the value of row `r` in column `c` is at `c * rows + r`. NaN is missing.
/// A categorical column carries its categories' codes (0, 1, 2, ...), a text column the places of its texts in
/// [`Batch::texts`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    data: Vec<f64>,
    columns: usize,
    rows: usize,
    texts: Texts,
}

/// Texts in one arena, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a text and answers its place.
    pub fn push(&mut self, text: &str) -> usize {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        self.ends.len() - 1
    }

    /// The text at a place.
    pub fn get(&self, place: usize) -> Option<&str> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start..end)
    }

    /// Forgets all texts, keeping the allocation.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all texts together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
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
        self.texts.clear();
    }

    /// The texts that text columns name by place.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The same, to be filled after [`Batch::reset`].
    pub fn texts_mut(&mut self) -> &mut Texts {
        &mut self.texts
    }

    /// The text of a value in a text column; none where it is missing. Panics where row or column is out of range.
    pub fn text(&self, row: usize, column: usize) -> Option<&str> {
        let place = self.column(column)[row];
        if place >= 0.0 { self.texts.get(place as usize) } else { None }
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

    /// One value. Panics where row or column is out of range.
    #[inline]
    pub fn value(&self, row: usize, column: usize) -> f64 {
        assert!(row < self.rows);
        self.data[column * self.rows + row]
    }

    /// Leaves out the rows that `keep` says no to.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let kept: Vec<usize> = (0..self.rows).filter(|row| keep(*row)).collect();
        for column in 0..self.columns {
            for (to, from) in kept.iter().enumerate() {
                // Never behind what is still to be read: rows only move forward.
                self.data[column * kept.len() + to] = self.data[column * self.rows + from];
            }
        }
        self.rows = kept.len();
        self.data.truncate(self.columns * self.rows);
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
    fn rows_that_are_left_out_leave_the_others_as_they_are() {
        let mut batch = Batch::from_rows(2, &[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]);
        batch.retain(|row| row != 1);
        assert_eq!(batch, Batch::from_rows(2, &[[1.0, 2.0], [5.0, 6.0], [7.0, 8.0]]));
        batch.retain(|_| false);
        assert_eq!((batch.rows(), batch.column(1)), (0, &[][..]));
    }

    #[test]
    fn rows_become_columns_and_short_rows_end_in_missing() {
        let batch = Batch::from_rows(2, &[vec![1.0, 2.0, 9.0], vec![3.0]]);
        assert_eq!(batch.column(0), [1.0, 3.0]);
        assert_eq!(batch.column(1)[0], 2.0);
        assert!(batch.column(1)[1].is_nan());
    }

    #[test]
    fn texts_are_found_by_place() {
        let mut batch = Batch::new(2, 2);
        let place = batch.texts_mut().push("");
        batch.set(0, 1, place as f64);
        let place = batch.texts_mut().push("São");
        batch.set(1, 1, place as f64);
        assert_eq!((batch.text(0, 1), batch.text(1, 1), batch.text(0, 0)), (Some(""), Some("São"), None));
        batch.reset(2, 2);
        assert!(batch.texts().is_empty() && batch.text(1, 1).is_none());
    }

    #[test]
    fn reset_forgets_values_and_takes_the_new_shape() {
        let mut batch = Batch::from_rows(1, &[[1.0], [2.0], [3.0], [4.0]]);
        batch.reset(2, 2);
        assert_eq!((batch.columns(), batch.rows()), (2, 2));
        assert!((0..2).all(|c| batch.column(c).iter().all(|v| v.is_nan())));
    }
}
