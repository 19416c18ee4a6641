//! The format of tables: aligned columns under a ruled header and nothing else, so that lines can
//! be cut and grepped. A row is one line: on a narrow terminal, columns are dropped first, and then
//! texts are cut. An id is never cut, because half an id is of no use.

use std::io::{Write, stdout};

use unicode_width::UnicodeWidthStr as _;

/// The space between two columns.
const GAP: usize = 2;

/// A column, and what happens to it where the terminal is too narrow. By default: nothing.
#[must_use]
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    is_right: bool,
    /// Its texts may be cut down to this width.
    cut: Option<usize>,
    /// It may be dropped. Those with the lowest number are dropped first.
    drop: Option<u8>,
}

/// Returns a column of texts that are always shown whole.
pub const fn column(name: &'static str) -> Column {
    Column {
        name,
        is_right: false,
        cut: None,
        drop: None,
    }
}

impl Column {
    /// Aligns it on the right, for numbers.
    pub const fn right(self) -> Self {
        let is_right = true;
        Self { is_right, ..self }
    }

    pub const fn cut(self, width: usize) -> Self {
        let cut = Some(width);
        Self { cut, ..self }
    }

    pub const fn drop(self, order: u8) -> Self {
        let drop = Some(order);
        Self { drop, ..self }
    }
}

#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

/// The width of each column; `None` if it is dropped.
type Widths<const N: usize> = [Option<usize>; N];

impl<const N: usize> Table<N> {
    pub const fn new(columns: [Column; N]) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    /// Adds a row. A cell must be one line without control characters.
    pub fn add_row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Writes the table as wide as the terminal, or as it needs where there is none.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.write_within(terminal_width(), out)
    }

    fn write_within(&self, limit: Option<usize>, out: &mut impl Write) -> std::io::Result<()> {
        let widths = self.widths(limit);
        let header = self.columns.map(|column| column.name);
        writeln!(out, "{}", self.line(&header, &widths))?;
        writeln!(out, "{}", "─".repeat(total(&widths)))?;
        for row in &self.rows {
            let cells = row.each_ref().map(String::as_str);
            writeln!(out, "{}", self.line(&cells, &widths))?;
        }
        Ok(())
    }

    fn widths(&self, limit: Option<usize>) -> Widths<N> {
        let mut widths: Widths<N> = std::array::from_fn(|n| {
            let cells = self.rows.iter().map(|row| row[n].width());
            cells.chain([self.columns[n].name.width()]).max()
        });
        let Some(limit) = limit else { return widths };
        while total(&self.least(&widths)) > limit {
            let shown = (0..N).filter(|n| widths[*n].is_some());
            let droppable = shown.filter_map(|n| Some((self.columns[n].drop?, n)));
            let Some((_, n)) = droppable.min() else { break };
            widths[n] = None;
        }
        // The widest texts lose most.
        let least = self.least(&widths);
        while total(&widths) > limit {
            let cuttable = (0..N).filter(|n| widths[*n] > least[*n]);
            let Some(n) = cuttable.max_by_key(|n| widths[*n]) else {
                break;
            };
            widths[n] = widths[n].map(|width| width - 1);
        }
        widths
    }

    /// Returns the widths where all texts are cut as far as they may be.
    fn least(&self, widths: &Widths<N>) -> Widths<N> {
        std::array::from_fn(|n| {
            let width = widths[n]?;
            let least = self.columns[n]
                .cut
                .map(|cut| cut.max(self.columns[n].name.width()));
            Some(least.map_or(width, |least| least.min(width)))
        })
    }

    fn line(&self, cells: &[&str; N], widths: &Widths<N>) -> String {
        let mut line = String::new();
        for n in 0..N {
            let Some(width) = widths[n] else { continue };
            if n > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = shortened(cells[n], width);
            let space = " ".repeat(width.saturating_sub(cell.width()));
            if self.columns[n].is_right {
                line.push_str(&space);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&space);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn total<const N: usize>(widths: &Widths<N>) -> usize {
    let shown: Vec<usize> = widths.iter().flatten().copied().collect();
    shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

/// Cuts a text to at most `width` columns, and marks that it is cut.
pub fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    // Characters that follow one another may be wider than each of them alone, as emoji are.
    let left = width.saturating_sub(1);
    let mut cut = String::new();
    for character in text.chars() {
        let before = cut.len();
        cut.push(character);
        if cut.width() > left {
            cut.truncate(before);
            break;
        }
    }
    cut.push('…');
    cut
}

/// The columns of the terminal on stdout, if it is one.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::{Table, column};

    fn shown(limit: Option<usize>) -> Vec<String> {
        let columns = [
            column("task"),
            column("prompt").cut(8),
            column("age").right().drop(2),
            column("client").drop(1),
        ];
        let mut table = Table::new(columns);
        for (id, prompt) in [
            ("task-0123456789", "a cat that sleeps"),
            ("task-1", "可愛い猫の絵を描いて"),
        ] {
            table.add_row([id, prompt, "3m", "web"].map(str::to_owned));
        }
        let mut written = Vec::new();
        table.write_within(limit, &mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_table_without_a_terminal_is_as_wide_as_it_needs() {
        let expected = [
            "task             prompt                age  client",
            "──────────────────────────────────────────────────",
            "task-0123456789  a cat that sleeps      3m  web",
            "task-1           可愛い猫の絵を描いて   3m  web",
        ];
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(50)), expected);
    }

    #[test]
    fn a_narrow_terminal_drops_columns_and_cuts_texts_but_never_ids() {
        let expected = [
            "task             prompt        age",
            "──────────────────────────────────",
            "task-0123456789  a cat that …   3m",
            "task-1           可愛い猫の…    3m",
        ];
        assert_eq!(shown(Some(34)), expected);
        let expected = [
            "task             prompt",
            "──────────────────────────",
            "task-0123456789  a cat th…",
            "task-1           可愛い猫…",
        ];
        assert_eq!(shown(Some(26)), expected);
        assert_eq!(shown(Some(10))[2], "task-0123456789  a cat t…");
        for limit in 25..60 {
            for line in shown(Some(limit)) {
                assert!(line.width() <= limit, "{limit}: {line}");
            }
        }
    }
}
