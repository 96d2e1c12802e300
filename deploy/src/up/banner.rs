//! What `up` prints once everything runs: what is where, and lines to paste.

use std::fmt::Write as _;

use std::path::{Path, PathBuf};

use super::{System, sample};
use crate::cli::Up;
use crate::place;

/// All of it.
pub(crate) fn text(system: &System, store: &str, up: &Up) -> String {
    let width = system.parts().map(|(part, _)| part.part.name.len()).max().unwrap_or(0).max("store".len());
    let mut text = "\nHeadgate runs; Ctrl-C stops it.\n\n".to_owned();
    let mut line = |name: &str, what: String| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {name:width$}  {what}");
    };
    for (part, address) in system.parts() {
        let admin = if part.part.name == "gateway" { format!("   admin http://{}", up.admin) } else { String::new() };
        line(&part.part.name, format!("http://{address}{admin}"));
    }
    line("store", store.to_owned());
    line("logs", up.dir.join("logs").display().to_string());
    if !up.no_sample {
        text.push_str(&sample_lines(store, up));
    }
    text
}

fn sample_lines(store: &str, up: &Up) -> String {
    let (program, model, target) = (program(), sample::MODEL, sample::TARGET);
    let data = up.dir.join(sample::FILE);
    // In the default directory the commands find both by themselves.
    let place = match up.dir == Path::new(place::DIR) {
        true => String::new(),
        false => format!(" --store {store} --admin {}", up.admin),
    };
    format!(
        "
Is this wine good? Ask the sample model:

  curl -s http://{}/v1/models/{model}:predict -d '{}'

Train a second version; it is proven and takes over while the first goes on serving:

  {program} train --data {} --target {target} --model {model} --param num_leaves=7 --promote{place}

See what is served where, and take it back:

  {program} status{place}
  {program} rollback {model}{place}

",
        up.listen,
        sample::request(),
        data.display()
    )
}

/// This program as the reader would type it: relative to the current directory where it is below it.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("headgate"));
    typed(&path, &std::env::current_dir().unwrap_or_default())
}

fn typed(path: &Path, here: &Path) -> String {
    match path.strip_prefix(here) {
        // A name without a slash would be looked for elsewhere.
        Ok(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_program_is_named_so_that_a_shell_finds_it() {
        let typed = |path: &str| typed(Path::new(path), Path::new("/a/b"));
        assert_eq!(typed("/a/b/target/release/headgate"), "target/release/headgate");
        assert_eq!((typed("/a/b/headgate").as_str(), typed("/c/headgate").as_str()), ("./headgate", "/c/headgate"));
    }

    #[test]
    fn the_lines_say_where_store_and_gateway_are_outside_the_default_directory() {
        let lines = |dir: &str| {
            let (listen, admin) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            sample_lines(
                "s3://b/p",
                &Up { backends: 1, listen, admin, dir: dir.into(), no_sample: false, process_python: None },
            )
        };
        let commands = |lines: &str, place: &str| lines.lines().filter(|line| line.ends_with(place)).count();
        assert_eq!(commands(&lines("elsewhere"), " --store s3://b/p --admin 127.0.0.1:2"), 3);
        assert!(!lines(place::DIR).contains("--store"));
    }
}
