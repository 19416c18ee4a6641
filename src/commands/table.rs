//! How tables look: aligned columns under a ruled header, and nothing else, so that a line can be cut out or grepped for.

use comfy_table::{CellAlignment, Table, TableComponent, presets};

/// An empty table. The columns in `right` hold numbers.
#[must_use]
pub fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_header(header);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // The text starts where the lines around the table do.
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table
}
