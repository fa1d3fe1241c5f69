//! The references of a page: links, anchors, metrics, commands. Reads only text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{blocks, pages, top};

/// Returns the links of a page within the repository, images included.
pub(super) fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let in_html = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    targets.chain(in_html).filter(|target| !target.contains("://")).collect()
}

/// Returns the anchors of a page.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_inside = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        is_inside ^= line.trim_start().starts_with("```");
        if !is_inside && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

/// Returns the metrics that a page names.
pub(super) fn metrics(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c: char| !is_name(c));
    let has_more =
        |name: &&str| name.strip_prefix("ringpost_").is_some_and(|rest| !rest.is_empty());
    names.filter(has_more).collect()
}

/// Returns the program's commands that a page names, in blocks and in sentences.
fn commands(page: &super::Page) -> Vec<String> {
    let mut commands = Vec::new();
    for block in blocks(page) {
        for line in block.text.replace("\\\n", " ").lines() {
            let typed = match block.language.as_str() {
                "sh" => Some(line),
                "console" => line.strip_prefix("$ "),
                _ => None,
            };
            let bare = typed.map(|typed| typed.split(" #").next().unwrap().to_owned());
            let bare = bare.unwrap_or_default();
            commands.extend(bare.split(['|', '&', ';', '(', ')']).map(str::to_owned));
        }
    }
    // A span of code may continue in the next line, but not in the next paragraph.
    let mut is_inside = false;
    let mut prose = String::new();
    for line in page.text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_inside ^= is_fence;
        if !is_inside && !is_fence {
            prose.push_str(line.trim());
            prose.push(if line.trim().is_empty() { '\n' } else { ' ' });
        }
    }
    for paragraph in prose.lines() {
        commands.extend(paragraph.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    commands.iter().filter_map(|command| of_ringpost(command)).collect()
}

/// Returns the arguments if the program is called.
fn of_ringpost(command: &str) -> Option<String> {
    let mut words = command.split_whitespace().peekable();
    if words.peek() == Some(&"sudo") {
        // sudo -u USER
        words.nth(2);
    }
    let program = words.next()?;
    (program == "ringpost" || program.ends_with("/ringpost"))
        .then(|| words.collect::<Vec<_>>().join(" "))
}

/// Returns the help of a command, which is read once.
fn help<'h>(known: &'h mut BTreeMap<String, String>, command: &str) -> &'h str {
    known.entry(command.to_owned()).or_insert_with(|| {
        let words = command.split(' ').filter(|word| !word.is_empty());
        let output = Command::new(env!("CARGO_BIN_EXE_ringpost"))
            .args(words)
            .arg("--help")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    })
}

/// Returns whether a help lists a word as a command.
fn lists(help: &str, word: &str) -> bool {
    let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
    let commands = commands.split("\n\n").next().unwrap_or_default();
    commands.lines().any(|line| line.split_whitespace().next() == Some(word))
}

#[test]
fn every_command_and_option_of_every_page_exists() {
    let mut known = BTreeMap::new();
    let (mut broken, mut asked) = (Vec::new(), 0);
    for page in pages() {
        for command in commands(&page) {
            let mut path = String::new();
            let mut is_command = true;
            for word in command.split(' ') {
                if let Some(option) = word.strip_prefix("--") {
                    let option = option.split('=').next().unwrap();
                    let is_known = help(&mut known, &path).contains(&format!("--{option}"));
                    is_command = false;
                    if !is_known {
                        broken.push(format!("{}: ringpost {command}: --{option}", page.path));
                    }
                } else if is_command && lists(help(&mut known, &path), word) {
                    path = format!("{path} {word}").trim_start().to_owned();
                } else if is_command
                    && path.is_empty()
                    && word.starts_with(|c: char| c.is_ascii_lowercase())
                {
                    broken.push(format!("{}: ringpost {command}: {word}", page.path));
                    is_command = false;
                } else {
                    is_command = false;
                }
            }
            asked += 1;
        }
    }
    assert!(asked > 50 && broken.is_empty(), "{asked}: {broken:#?}");
}

/// Collects the program's whole text, with continued strings joined.
fn source(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            for piece in fs::read_to_string(path).unwrap().split("\\\n") {
                text.push_str(piece.trim_start());
            }
        }
    }
}

/// The page of symptoms quotes the log in the first column of its tables.
#[test]
fn every_line_of_the_log_that_the_page_of_symptoms_quotes_is_one_of_the_program() {
    let mut program = String::new();
    source(&top().join("src"), &mut program);
    let page = pages().into_iter().find(|page| page.path == "docs/troubleshooting.md").unwrap();
    let (mut is_of_log, mut quoted, mut unknown) = (false, 0, Vec::new());
    for line in page.text.lines() {
        let first = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        let Some(first) = first else { continue };
        match first {
            "the log says" => is_of_log = true,
            "what you see" | "what it says" => is_of_log = false,
            first if is_of_log => {
                for words in first.split('`').skip(1).step_by(2).flat_map(|t| t.split('…')) {
                    quoted += 1;
                    if !program.contains(words.trim()) {
                        unknown.push(words.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    assert!(quoted > 40 && unknown.is_empty(), "{quoted}: {unknown:#?}");
}

#[test]
fn links_anchors_metrics_and_commands_are_found_in_text() {
    let text = "# A `title`: of two\n\nSee [x](docs/a.md#b), [y](https://b/c), ringpost_ok_total.\n\
                `ringpost_` is none. `sudo -u ringpost ringpost vault list` is one.\n";
    assert_eq!(links(text), ["docs/a.md#b"]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a-title-of-two"]);
    assert_eq!(metrics(text).into_iter().collect::<Vec<_>>(), ["ringpost_ok_total"]);
    assert_eq!(of_ringpost("sudo -u ringpost ringpost vault list").as_deref(), Some("vault list"));
    assert_eq!(of_ringpost("ringpostal"), None);
}
