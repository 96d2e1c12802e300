//! What lies where in the record batches of a schema: each column has its nodes and buffers behind those of the one
//! before it, what it has children for included.

use arrow_ipc::{Field, MetadataVersion, Precision, Schema, Type, UnionMode};

use crate::decode::binary::Datatype;

/// The columns of a schema.
pub(super) struct Layout<'a> {
    pub(super) columns: Vec<Column<'a>>,
    /// How many of each there are.
    pub(super) all: Place,
}

/// A column: which it is, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Column<'a> {
    field: Field<'a>,
    pub(super) place: Place,
    /// Where it holds places in a dictionary, the dictionary's number and the places' type.
    pub(super) index: Option<(i64, Datatype)>,
}

/// How many nodes and buffers come before; and how many columns of views, whose buffers each batch counts itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) nodes: usize,
    pub(super) buffers: usize,
    pub(super) views: usize,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All are missing.
    Null,
    /// Bits.
    Bool,
    /// Numbers.
    Fixed(Datatype),
    /// Texts behind each other, and offsets of 32 or 64 bits.
    Text {
        /// Whether they have 64.
        wide: bool,
    },
    /// Texts of up to 12 bytes, or where a longer one lies.
    View,
}

impl<'a> Layout<'a> {
    pub(super) fn new(schema: &Schema<'a>, version: MetadataVersion) -> Result<Self, String> {
        let mut all = Place::default();
        let mut columns = Vec::new();
        for field in schema.fields().into_iter().flatten() {
            let (place, mut index) = (all, None);
            if let Some(dictionary) = field.dictionary() {
                // The specification's default.
                let datatype = dictionary
                    .indexType()
                    .map_or(Some(Datatype::Int32), |int| integer(int.bitWidth(), int.is_signed()));
                let datatype = datatype.ok_or_else(|| format!("{} has indices of no type", named(&field)))?;
                index = Some((dictionary.id(), datatype));
            }
            all.pass(&field, version)?;
            columns.push(Column { field, place, index });
        }
        Ok(Self { columns, all })
    }
}

impl<'a> Column<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.field.name().unwrap_or_default()
    }

    /// What its values are, or those of its dictionary.
    pub(super) fn kind(&self) -> Result<Kind, String> {
        let field = &self.field;
        let kind = match field.type_type() {
            Type::Null => Some(Kind::Null),
            Type::Bool => Some(Kind::Bool),
            Type::Int => field.type_as_int().and_then(|int| integer(int.bitWidth(), int.is_signed())).map(Kind::Fixed),
            Type::FloatingPoint => field.type_as_floating_point().and_then(|float| match float.precision() {
                Precision::HALF => Some(Kind::Fixed(Datatype::Fp16)),
                Precision::SINGLE => Some(Kind::Fixed(Datatype::Fp32)),
                Precision::DOUBLE => Some(Kind::Fixed(Datatype::Fp64)),
                _ => None,
            }),
            Type::Utf8 => Some(Kind::Text { wide: false }),
            Type::LargeUtf8 => Some(Kind::Text { wide: true }),
            Type::Utf8View => Some(Kind::View),
            _ => None,
        };
        kind.ok_or_else(|| {
            let name = field.type_type().variant_name().unwrap_or("unknown").to_lowercase();
            format!("has type {name}: integers, floats, booleans, texts or a dictionary of them expected")
        })
    }
}

impl Place {
    /// Goes past a field and its children; the verifier has bounded how deep they go.
    fn pass(&mut self, field: &Field<'_>, version: MetadataVersion) -> Result<(), String> {
        self.nodes += 1;
        if field.dictionary().is_some() {
            self.buffers += 2;
            return Ok(());
        }
        self.buffers += match field.type_type() {
            Type::Null | Type::RunEndEncoded => 0,
            Type::FixedSizeList | Type::Struct_ => 1,
            Type::Utf8 | Type::LargeUtf8 | Type::Binary | Type::LargeBinary => 3,
            Type::ListView | Type::LargeListView => 3,
            Type::Utf8View | Type::BinaryView => {
                self.views += 1;
                2
            }
            Type::Union => {
                let dense = field.type_as_union().is_some_and(|union| union.mode() == UnionMode::Dense);
                // Before version 5 a union said which of its values are missing.
                1 + usize::from(dense) + usize::from(version < MetadataVersion::V5)
            }
            known if known.variant_name().is_some() && known != Type::NONE => 2,
            _ => return Err(format!("{} has a type that is not known here", named(field))),
        };
        for child in field.children().into_iter().flatten() {
            self.pass(&child, version)?;
        }
        Ok(())
    }
}

fn integer(bits: i32, signed: bool) -> Option<Datatype> {
    Some(match (bits, signed) {
        (8, true) => Datatype::Int8,
        (16, true) => Datatype::Int16,
        (32, true) => Datatype::Int32,
        (64, true) => Datatype::Int64,
        (8, false) => Datatype::Uint8,
        (16, false) => Datatype::Uint16,
        (32, false) => Datatype::Uint32,
        (64, false) => Datatype::Uint64,
        _ => return None,
    })
}

fn named(field: &Field<'_>) -> String {
    format!("column '{}'", crate::refusal::shorten(field.name().unwrap_or_default(), 80))
}
