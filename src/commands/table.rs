//! The format of tables: aligned columns under a ruled header and nothing else, so that lines can
//! be cut and grepped.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

/// Creates an empty table. The columns in `right` hold numbers and are right-aligned.
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
    // No padding on the left, so that the text starts where the rule does.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(last) = table.column_mut(N - 1) {
        last.set_padding((0, 0));
    }
    table
}
