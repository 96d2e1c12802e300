//! Features that arrive column by column, in any order.

use headgate_engine::Batch;

use super::Body;
use crate::refusal::Refusal;
use crate::schema::Schema;

/// Which feature arrived when. The values are in the staging area in the order of arrival, so that nothing is allocated
/// for what a shape claims.
pub(super) struct Columns {
    /// For each feature, the place at which it arrived.
    place: Vec<Option<usize>>,
    arrived: usize,
    /// Rows, and the name of the column that said so first.
    rows: Option<(usize, String)>,
}

impl Columns {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { place: vec![None; schema.features.len()], arrived: 0, rows: None }
    }

    /// Whether any feature arrived.
    pub(super) fn any(&self) -> bool {
        self.arrived > 0
    }

    /// Takes note of a column's rows, those of an ignored one too; all must have as many.
    pub(super) fn agree(&mut self, body: &Body<'_>, name: &str, rows: usize) -> Result<(), Refusal> {
        match &self.rows {
            Some((known, first)) if *known != rows => {
                Err(body.refuse(format_args!("'{name}' has {rows} rows, '{first}' has {known}")))
            }
            Some(_) => Ok(()),
            None => {
                self.rows = Some((rows, name.to_owned()));
                Ok(())
            }
        }
    }

    /// Takes note of a feature whose values are now at the end of the staging area.
    pub(super) fn arrive(&mut self, body: &Body<'_>, feature: usize) -> Result<(), Refusal> {
        if self.place[feature].replace(self.arrived).is_some() {
            return Err(body.refuse(format_args!("feature '{}' is sent twice", body.schema.features[feature].name)));
        }
        self.arrived += 1;
        Ok(())
    }

    /// Moves the columns to where the engine wants them; absent ones get their default.
    pub(super) fn finish(self, body: &Body<'_>, values: &[f64], batch: &mut Batch) -> Result<(), Refusal> {
        body.check_known(self.any())?;
        let rows = self.rows.map_or(0, |(rows, _)| rows);
        batch.reset(body.schema.features.len(), rows);
        for (at, (feature, place)) in body.schema.features.iter().zip(self.place).enumerate() {
            match place {
                Some(place) => batch.column_mut(at).copy_from_slice(&values[place * rows..][..rows]),
                None if feature.required => {
                    return Err(body.refuse(format_args!("feature '{}' is required and absent", feature.name)));
                }
                None if feature.absent.is_nan() => {}
                None => batch.column_mut(at).fill(feature.absent),
            }
        }
        Ok(())
    }
}
