//! A report about turn taking as one page.
use super::report::Report;

/// Lays the report out as an HTML page.
#[must_use]
pub fn page(report: &Report) -> String {
    format!("<pre>{report}</pre>")
}
