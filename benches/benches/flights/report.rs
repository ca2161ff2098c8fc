//! RESULTS.md, and the plots beside it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{fs, io, thread};

use benches::Score;

use crate::workloads::Facts;

/// Tables as they fill, and what is drawn.
#[derive(Default)]
pub(crate) struct Report {
    tables: Vec<Table>,
    plots: Vec<Plot>,
    behind: Vec<(String, String)>,
}

struct Table {
    title: &'static str,
    text: &'static str,
    columns: Vec<String>,
    rows: Vec<(String, Vec<(usize, String)>)>,
}

struct Plot {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

impl Report {
    /// What follows is in a table of its own.
    pub(crate) fn table(&mut self, title: &'static str, text: &'static str) {
        self.tables.push(Table { title, text, columns: Vec::new(), rows: Vec::new() });
    }

    /// What follows has a plot, too.
    pub(crate) fn plot(&mut self, file: &'static str, title: &'static str, x: &'static str) {
        self.plots.push(Plot { file, title, x, lines: Vec::new() });
    }

    /// A point of each contender, on the last plot.
    pub(crate) fn points(&mut self, x: usize, scores: &[Score]) {
        let plot = self.plots.last_mut().expect("there is one");
        for score in scores {
            let point = (x as f64, score.ratio);
            match plot.lines.iter_mut().find(|line| line.0 == score.name) {
                Some(line) => line.1.push(point),
                None => plot.lines.push((score.name, vec![point])),
            }
        }
    }

    /// A column of ratios.
    pub(crate) fn ratios(&mut self, workload: &str, scores: &[Score]) {
        for score in scores {
            self.cell(score.name, workload, format!("{:.2}", score.ratio));
        }
        let shares = |score: &&Score| !score.name.starts_with("floor");
        let ours = |score: &&Score| score.name.starts_with("**");
        let by_ratio = |a: &&Score, b: &&Score| a.ratio.total_cmp(&b.ratio);
        let first = scores.iter().filter(shares).min_by(by_ratio);
        let us = scores.iter().filter(ours).min_by(by_ratio);
        if let (Some(first), Some(us)) = (first, us)
            && first.ratio < us.ratio
        {
            let told = format!("{} {:.2}, {} {:.2}", first.name, first.ratio, us.name, us.ratio);
            self.behind.push((workload.to_owned(), told));
        }
    }

    /// Ratios, allocations of a call, and nanoseconds.
    pub(crate) fn calls(&mut self, workload: &str, scores: &[Score]) {
        self.ratios(workload, scores);
        for score in scores {
            self.cell(score.name, &format!("{workload} ns"), format!("{:.0}", score.ns));
            self.cell(
                score.name,
                &format!("{workload} allocs"),
                format!("{:.2}", score.allocations),
            );
        }
    }

    /// As they are.
    pub(crate) fn facts(&mut self, facts: Facts) {
        for (name, facts) in facts {
            for (column, fact) in facts {
                self.cell(name, &column, fact);
            }
        }
    }

    /// A cell of the last table.
    pub(crate) fn cell(&mut self, row: &str, column: &str, text: String) {
        let table = self.tables.last_mut().expect("there is one");
        let at = table.columns.iter().position(|name| name == column).unwrap_or_else(|| {
            table.columns.push(column.to_owned());
            table.columns.len() - 1
        });
        match table.rows.iter_mut().find(|(name, _)| name == row) {
            Some((_, cells)) => cells.push((at, text)),
            None => table.rows.push((row.to_owned(), vec![(at, text)])),
        }
    }

    /// The facts that no contest printed.
    pub(crate) fn print_last(&self) {
        println!("\n{}", self.tables.last().map(Table::to_markdown).unwrap_or_default());
    }

    /// All of it.
    pub(crate) fn write(&self) -> io::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut text = String::from(
            "# Results\n\nWritten by `cargo bench -p benches`, which writes it anew; `notes.md` is where words of one's own go.\n\
             README.md says what is measured and how. Ratios of CPU time are medians; smaller is better; `–`: it cannot, or\n\
             `notes.md` says why not. Nanoseconds hold for this machine only.\n\n",
        );
        let compiler = Command::new("rustc").arg("--version").output()?;
        let cores = thread::available_parallelism()?;
        let compiler = String::from_utf8_lossy(&compiler.stdout);
        let system = (std::env::consts::OS, std::env::consts::ARCH);
        _ = writeln!(text, "{cores} cores, {} {}, {}.", system.0, system.1, compiler.trim());
        for table in &self.tables {
            _ = write!(text, "\n## {}\n\n{}\n\n{}", table.title, table.text, table.to_markdown());
        }
        text.push_str("\n## Plots\n\n");
        fs::create_dir_all(folder.join("plots"))?;
        for plot in &self.plots {
            fs::write(folder.join("plots").join(plot.file), plot.to_svg())?;
            _ = writeln!(text, "![{}](plots/{})\n", plot.title, plot.file);
        }
        let notes = fs::read_to_string(folder.join("notes.md"))?;
        text.push_str("## Where somebody else is first\n\n");
        for (workload, told) in &self.behind {
            let prefix = format!("- {workload}: ");
            let why = notes.lines().find_map(|line| line.strip_prefix(&prefix));
            _ = writeln!(text, "- {workload}: {told}. {}", why.unwrap_or("Not looked into yet."));
        }
        let (_, rest) = notes.split_once("\n## ").unwrap_or_default();
        _ = write!(text, "\n## {rest}");
        fs::write(folder.join("RESULTS.md"), text)
    }
}

impl Table {
    fn to_markdown(&self) -> String {
        let mut text = format!("| | {} |\n|---", self.columns.join(" | "));
        text.push_str(&"|--:".repeat(self.columns.len()));
        text.push_str("|\n");
        for (name, cells) in &self.rows {
            _ = write!(text, "| {name} |");
            for at in 0..self.columns.len() {
                let cell = cells.iter().find(|cell| cell.0 == at);
                _ = write!(text, " {} |", cell.map_or("–", |cell| &cell.1));
            }
            text.push('\n');
        }
        text
    }
}

impl Plot {
    /// Both scales are logarithmic.
    fn to_svg(&self) -> String {
        const COLOURS: [&str; 8] = [
            "#7f7f7f", "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf",
        ];
        let (left, top, width, height) = (60.0, 40.0, 470.0, 330.0);
        let points = || self.lines.iter().flat_map(|line| &line.1);
        let range = |of: fn(&(f64, f64)) -> f64| {
            points().map(of).fold((f64::MAX, f64::MIN), |(a, b), n| (a.min(n), b.max(n)))
        };
        let ((x0, x1), (y0, y1)) = (range(|p| p.0), range(|p| p.1));
        let x = |n: f64| left + width * (n / x0).ln() / (x1 / x0).ln().max(0.01);
        let y = |n: f64| top + height * (1.0 - (n / y0).ln() / (y1 / y0).ln().max(0.01));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 780 430\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"780\" height=\"430\" fill=\"white\"/>\n\
             <text x=\"{left}\" y=\"22\" font-size=\"14\">{}</text>\n\
             <text x=\"{}\" y=\"418\" text-anchor=\"middle\">{}</text>\n",
            self.title,
            left + width / 2.0,
            self.x,
        );
        for decade in -3..6 {
            for tick in [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(decade)) {
                if (y0..=y1).contains(&tick) {
                    let at = y(tick);
                    _ = writeln!(
                        svg,
                        "<path d=\"M{left} {at:.1}h{width}\" stroke=\"#ddd\"/><text x=\"54\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                        at + 4.0
                    );
                }
            }
        }
        let mut xs: Vec<f64> = points().map(|p| p.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        for n in xs {
            _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"390\" text-anchor=\"middle\">{n}</text>",
                x(n)
            );
        }
        // Names stand at the ends of their lines, apart.
        let mut ends: Vec<_> = (0..self.lines.len())
            .map(|n| (n, self.lines[n].1.last().map_or(top, |p| y(p.1))))
            .collect();
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut above = 0.0;
        for (_, at) in &mut ends {
            *at = at.max(above + 13.0);
            above = *at;
        }
        let mut below = 425.0;
        for (_, at) in ends.iter_mut().rev() {
            *at = at.min(below - 13.0);
            below = *at;
        }
        for (n, at) in ends {
            let (name, points) = &self.lines[n];
            let (colour, stroke) = match name.starts_with("**") {
                true => ("#d62728", 3.0),
                false => (COLOURS[n % COLOURS.len()], 1.2),
            };
            let line: String =
                points.iter().map(|p| format!("{:.1},{:.1} ", x(p.0), y(p.1))).collect();
            let name = name.replace(['*', '`'], "");
            _ = writeln!(
                svg,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{stroke}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
                left + width + 8.0,
                at + 4.0
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}
