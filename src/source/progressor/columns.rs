//! Finding the needed columns of a table by name, once per Relation message, and their values in one walk of a row.

use crate::change::{Class, InvalidRow, Relation, Trouble, Tuple, Value};

/// A column that we cannot do without.
pub(super) struct Needed {
    pub(super) name: &'static str,
    /// Its type, for an operator.
    pub(super) type_name: &'static str,
    /// OIDs of the built-in types whose values we read rightly (`pg_type.dat`).
    pub(super) type_oids: &'static [u32],
}

/// OIDs from here on are of types that users made (FirstNormalObjectId): enums, domains, types of extensions.
const FIRST_USER_OID: u32 = 16_384;

/// Where the `N` needed columns stand in the rows of a table.
pub(super) struct Columns<const N: usize> {
    /// For each column of the table its place among the needed ones, or `N` and above: not needed.
    places: Vec<usize>,
}

impl<const N: usize> Columns<N> {
    /// Finds the needed columns.
    ///
    /// # Errors
    /// If one is missing or of a built-in type that we would misread.
    pub(super) fn bind(namespace: &str, relation: &Relation, needed: &[Needed; N]) -> Result<Self, Trouble> {
        let mut places = vec![N; relation.columns.len()];
        for (place, need) in needed.iter().enumerate() {
            let position = relation.position(need.name).ok_or_else(|| missing(namespace, relation, need))?;
            if let Some(column) = relation.columns.get(position)
                && (1..FIRST_USER_OID).contains(&column.type_oid)
                && !need.type_oids.contains(&column.type_oid)
            {
                return Err(mistyped(relation, need, column.type_oid));
            }
            if let Some(slot) = places.get_mut(position) {
                *slot = place;
            }
        }
        Ok(Self { places })
    }

    /// The values of the needed columns, in the order in which they were asked for.
    ///
    /// # Errors
    /// If the row has not the columns of its Relation message.
    pub(super) fn of<'a>(&self, row: Tuple<'a>) -> Result<[Value<'a>; N], InvalidRow> {
        if row.len() != self.places.len() {
            return Err(InvalidRow::new("process_id", "the row has not as many columns as its table"));
        }
        let mut found = [Value::Null; N];
        for (value, place) in row.values().zip(&self.places) {
            if let Some(slot) = found.get_mut(*place) {
                *slot = value;
            }
        }
        Ok(found)
    }
}

fn missing(namespace: &str, relation: &Relation, need: &Needed) -> Trouble {
    let publication = quoted(namespace);
    let processes = quoted(&format!("{namespace}_processes"));
    let events = quoted(&format!("{namespace}_events"));
    Trouble::new(
        Class::Schema,
        format!("table {} has no published column {}", table(relation), need.name),
        format!(
            "if the publication has a column list: ALTER PUBLICATION {publication} SET TABLE public.{processes}, \
             public.{events}; if the table itself lacks {} ({}): run progressor's migrations",
            need.name, need.type_name
        ),
    )
}

fn mistyped(relation: &Relation, need: &Needed, oid: u32) -> Trouble {
    let table = table(relation);
    let Needed { name, type_name, .. } = need;
    Trouble::new(
        Class::Schema,
        format!("column {name} of table {table} has the type with OID {oid}, {type_name} is expected"),
        format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {type_name};", quoted(name)),
    )
}

/// The table's name as SQL.
pub(super) fn table(relation: &Relation) -> String {
    format!("{}.{}", relation.schema, quoted(&relation.name))
}

/// An identifier as SQL.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
