//! docs/metrics.md says what the table says.

use hypercache_core::metric;

use super::table::SECTIONS;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

#[test]
fn the_page_of_metrics_says_what_the_table_says() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let wanted = metric::with_part(&page, "members", &metric::markdown(SECTIONS)).unwrap();
    if std::env::var_os("METRICS").is_some_and(|word| word == "write") {
        std::fs::write(DOCUMENT, &wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/metrics.md is not up to date: METRICS=write cargo test -p hypercache --lib docs_metrics"
    );
}

#[test]
fn names_are_prometheuss_and_stand_once() {
    let mut names: Vec<&str> = Vec::new();
    for metric in SECTIONS.iter().flat_map(|section| section.metrics) {
        let (name, kind) = (metric.name, metric.kind);
        assert!(name.starts_with("hypercache_"), "{name}");
        assert_eq!(kind == metric::Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(kind != metric::Kind::Histogram || metric.unit().is_some(), "{name}");
        assert!(!metric.help.is_empty() && !metric.help.contains('|'), "{name}");
        assert!(!names.contains(&name), "{name} stands twice");
        names.push(name);
    }
}
