//! Features that arrive column by column, in any order.

use headgate_engine::Batch;

use super::Body;
use crate::refusal::Refusal;
use crate::schema::Schema;

/// Which features arrived. Values are in the staging area in the order of arrival, so that nothing is allocated for what
/// a shape claims; or in the batch already, where it is known that they are there.
pub(super) struct Columns {
    places: Vec<Place>,
    staged: usize,
    /// Whether the batch has its shape.
    shaped: bool,
    /// Rows, and the name of the column that said so first.
    rows: Option<(usize, String)>,
}

/// Where the values of a feature are.
#[derive(Clone, Copy)]
enum Place {
    Absent,
    /// So manieth in the staging area.
    Staged(usize),
    Batch,
}

impl Columns {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { places: vec![Place::Absent; schema.features.len()], staged: 0, shaped: false, rows: None }
    }

    /// Whether any feature arrived.
    pub(super) fn any(&self) -> bool {
        self.staged > 0 || self.shaped
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
        if !matches!(self.places[feature], Place::Absent) {
            return Err(body.refuse(format_args!("feature '{}' is sent twice", body.schema.features[feature].name)));
        }
        self.places[feature] = Place::Staged(self.staged);
        self.staged += 1;
        Ok(())
    }

    /// Where the values of the feature that arrived last may be written instead. Its rows must have been agreed on.
    pub(super) fn unstage<'b>(&mut self, body: &Body<'_>, feature: usize, batch: &'b mut Batch) -> &'b mut [f64] {
        if !self.shaped {
            self.shaped = true;
            self.shape(body, batch);
        }
        self.staged -= 1;
        self.places[feature] = Place::Batch;
        batch.column_mut(feature)
    }

    fn shape(&self, body: &Body<'_>, batch: &mut Batch) {
        batch.reset(body.schema.features.len(), self.rows.as_ref().map_or(0, |(rows, _)| *rows));
    }

    /// Moves the columns to where the engine wants them; absent ones get their default.
    pub(super) fn finish(self, body: &Body<'_>, values: &[f64], batch: &mut Batch) -> Result<(), Refusal> {
        body.check_known(self.any())?;
        if !self.shaped {
            self.shape(body, batch);
        }
        let rows = batch.rows();
        for (at, (feature, place)) in body.schema.features.iter().zip(self.places).enumerate() {
            match place {
                Place::Batch => {}
                Place::Staged(place) => batch.column_mut(at).copy_from_slice(&values[place * rows..][..rows]),
                Place::Absent if feature.required => {
                    return Err(body.refuse(format_args!("feature '{}' is required and absent", feature.name)));
                }
                Place::Absent if feature.absent.is_nan() => {}
                Place::Absent => batch.column_mut(at).fill(feature.absent),
            }
        }
        Ok(())
    }
}
