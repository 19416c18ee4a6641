//! How tables look: aligned columns under a ruled header, and nothing else, so that a line can be cut out or grepped for.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

/// An empty table. The columns in `right` hold numbers.
pub fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // The text starts where the lines around the table do.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(last) = table.column_mut(N - 1) {
        last.set_padding((0, 0));
    }
    table
}
