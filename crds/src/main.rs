//! Prints the definition of `HyperCacheCluster` as YAML.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printed = hypercache_crds::definition::yaml()
        .map_err(|error| error.to_string())
        .and_then(|yaml| std::io::stdout().write_all(yaml.as_bytes()).map_err(|e| e.to_string()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypercache-crds: {error}");
            ExitCode::FAILURE
        }
    }
}
