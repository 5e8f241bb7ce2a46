//! What mocha's JSON reporter says about one run of a suite.

use std::fmt;

use serde_json::Value;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Report {
    passed: u64,
    /// The titles of what failed, each with its reason.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The report is one JSON object; what a suite itself prints before it is passed over.
    pub(crate) fn parse(output: &str) -> Result<Self, String> {
        let starts = output.match_indices('{').map(|(at, _)| &output[at..]);
        let report = starts.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let report = report.into_iter().find(|report| report["stats"].is_object());
        let report = report.ok_or_else(|| format!("the suite did not run: {output}"))?;
        let failures = report["failures"].as_array().into_iter().flatten().map(|failure| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text(&failure["fullTitle"]), text(&failure["err"]["message"]))
        });
        let passed = report["stats"]["passes"].as_u64().unwrap_or_default();
        Ok(Self { passed, failures: failures.collect() })
    }

    /// Whether every test passed, and none was left out.
    pub(crate) fn holds(&self, tests: u64) -> bool {
        self.passed == tests && self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_named_and_a_test_that_is_left_out_is_one() {
        let output = r#"a line of the suite { not JSON
{"stats": {"passes": 1, "failures": 1},
 "failures": [{"fullTitle": "polling closes", "err": {"message": "too late"}}]}"#;
        let report = Report::parse(output).unwrap();
        assert_eq!(report.failures, ["polling closes: too late"]);
        assert!(!report.holds(1) && !report.holds(2));
        let report = Report::parse(r#"{"stats": {"passes": 24}, "failures": []}"#).unwrap();
        assert!(report.holds(24) && !report.holds(25));
    }

    #[test]
    fn a_suite_that_prints_no_report_did_not_run() {
        assert!(Report::parse("Error: Cannot find module").is_err());
    }
}
