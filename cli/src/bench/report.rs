//! What a benchmark found: a table for people, or JSON.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::table::{aligned, write_out};

#[derive(Debug)]
struct Row {
    what: Cow<'static, str>,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(goal) => value <= goal,
            Self::AtLeast(goal) => value >= goal,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(goal) => format!("≤ {}", number(goal)),
            Self::AtLeast(goal) => format!("≥ {}", number(goal)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
    ) {
        self.rows.push(Row { what: what.into(), value, unit, goal: None });
    }

    /// How many times the floor; nothing where the floor was too little to measure.
    pub(crate) fn ratio(&mut self, what: &'static str, value: f64, floor: f64) {
        if floor > 0.0 {
            self.add(what, value / floor, "times");
        }
    }

    pub(crate) fn goal(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.rows.push(Row { what: what.into(), value, unit, goal: Some(goal) });
    }

    pub(crate) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return write_out(format!("{}\n", self.json()).as_bytes());
        }
        let rows: Vec<[String; 5]> = self.rows.iter().map(cells).collect();
        write_out(format!("\n{}\n{}", self.name, aligned(&rows)).as_bytes())
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let met = row.goal.map(|goal| goal.met(row.value));
            json!({
                "what": row.what, "value": row.value, "unit": row.unit,
                "goal": row.goal.map(Goal::text), "met": met,
            })
        });
        json!({ "benchmark": self.name, "results": rows.collect::<Vec<_>>() })
    }
}

fn cells(row: &Row) -> [String; 5] {
    let (goal, verdict) = row.goal.map_or((String::new(), ""), |goal| {
        (goal.text(), if goal.met(row.value) { "met" } else { "MISSED" })
    });
    let cells = [&*row.what, &number(row.value), row.unit, &goal, verdict];
    cells.map(str::to_owned)
}

/// Three significant digits are what the measurements bear.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The value that `percent` of the sorted values do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100_u8).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|it| percentile(&values, it)), [50.0, 99.0, 100.0]);
        assert_eq!(percentile(&[], 99), 0.0);
    }

    #[test]
    fn a_missed_goal_is_said() {
        let mut report = Report::new("x");
        report.goal("cost", 0.7, "s", Goal::AtMost(0.6));
        report.goal("rate", 0.7, "1/s", Goal::AtLeast(0.6));
        let json = report.json();
        assert_eq!(json["results"][0]["met"], false);
        assert_eq!(json["results"][1]["met"], true);
    }
}
