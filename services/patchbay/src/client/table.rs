//! Tables for people: columns as wide as their content, safe to print.
//!
//! Texts come from MCP servers too: control characters, which could drive a terminal, never get through.

/// A cell longer than this is cut; `get` and `--output json` show everything.
const LONGEST_CELL: usize = 80;

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no row.
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self {
            rows: vec![columns.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.iter().map(|cell| cut(&one_line(cell))).collect());
    }

    /// The table as text, every line ended.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and values, one per line; empty values are left out.
pub(crate) fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in shown {
        text.push_str(&format!(
            "{name:<width$}  {}
",
            one_line(value)
        ));
    }
    text
}

/// The text with every control character made visible, in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\n' || c == '\t' {
                ' '
            } else {
                visible(c)
            }
        })
        .collect()
}

/// The text with every control character but line breaks and tabs made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\n' || c == '\t' {
                c
            } else {
                visible(c)
            }
        })
        .collect()
}

/// Also the characters that turn the direction of writing around: they can make a line read as another.
fn visible(c: char) -> char {
    let turns =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    if c.is_control() || turns {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= LONGEST_CELL {
        return cell.to_owned();
    }
    let mut cut: String = cell.chars().take(LONGEST_CELL - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["a".into(), "READY".into()]);
        table.row(["longer".into(), String::new()]);
        assert_eq!(table.render(), "NAME    STATE\na       READY\nlonger\n");
    }

    #[test]
    fn a_server_cannot_drive_the_terminal() {
        let mut table = Table::new(["TOOL"]);
        table.row(["a\u{1b}[2Jb\nc\u{202e}d".into()]);
        assert_eq!(table.render(), "TOOL\na\u{fffd}[2Jb c\u{fffd}d\n");
        assert_eq!(printable("a\nb\u{7}\r"), "a\nb\u{fffd}\u{fffd}");
    }

    #[test]
    fn long_cells_are_cut() {
        let mut table = Table::new(["D"]);
        table.row(["x".repeat(200)]);
        let line = table.render().lines().nth(1).unwrap().to_owned();
        assert_eq!(line.chars().count(), LONGEST_CELL);
        assert!(line.ends_with('…'));
    }

    #[test]
    fn empty_fields_are_left_out() {
        let text = fields([
            ("name", "a".into()),
            ("reason", String::new()),
            ("state", "READY".into()),
        ]);
        assert_eq!(text, "name   a\nstate  READY\n");
    }
}
