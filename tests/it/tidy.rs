//! The house rules, checked in the source: layers, places of unsafe and clocks, sizes, names.
//!
//! Reads only text, without a compiler: clippy and reviewers check the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// The pure crates: no sockets, files, threads or clocks.
const PURE: &[&str] = &["src/wire/", "src/vendor/", "src/engine/", "src/phones/"];
const WORLD: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "UdpSocket",
    "SyncSession",
    "TcpStream",
    "TcpListener",
    "Instant::now",
    "SystemTime::now",
];

const WITH_UNSAFE: &[&str] = &[
    "src/engine/src/catalog/blob.rs",
    "src/ringpost/src/sys/options.rs",
    "src/ringpost/src/sys/udp/linux.rs",
    "src/store/src/content/blob.rs",
    "src/store/src/sys/memory/linux.rs",
];

/// One source file: its text, and the same with comments and strings blanked out.
pub(super) struct Source {
    pub(super) path: String,
    text: String,
    code: String,
}

impl Source {
    /// Returns the code before the first module of tests.
    fn before_tests(&self) -> &str {
        &self.code[..self.tests_at()]
    }

    /// Returns the text before the first module of tests.
    pub(super) fn text_before_tests(&self) -> &str {
        // The code has the lines of the text.
        let lines = self.before_tests().matches('\n').count();
        &self.text[..self.text.split_inclusive('\n').take(lines).map(str::len).sum()]
    }

    fn tests_at(&self) -> usize {
        let is_module = |rest: &str| {
            let mut lines = rest.lines().map(str::trim).skip_while(|line| line.starts_with("#["));
            lines.next().is_some_and(|line| line.starts_with("mod "))
        };
        let mut tests = self.code.match_indices("#[cfg(test)]").map(|(at, _)| at);
        tests.find(|at| is_module(&self.code[*at..])).unwrap_or(self.code.len())
    }

    /// Whether the file has nothing but tests, or a model that only tests drive.
    pub(super) fn is_for_tests(&self) -> bool {
        let parts = self.path.split('/');
        parts.map(|part| part.trim_end_matches(".rs")).any(|part| matches!(part, "tests" | "model"))
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub(super) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "tools", "fuzz"] {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Source { path, code: blank(&text), text }
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the code with every comment, string and character blanked out, with its lines in place.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = token(rest).max(first.len_utf8());
        let (token, after) = rest.split_at(taken);
        let is_word = token.chars().all(|c| c.is_alphanumeric() || c == '_');
        let is_code = taken == first.len_utf8() || is_word;
        let keep = |c: char| if is_code || c == '\n' { c } else { ' ' };
        out.extend(token.chars().map(keep));
        rest = after;
    }
    out
}

/// Returns the length in bytes of the comment, string, character or word that starts here, or 0.
fn token(rest: &str) -> usize {
    let to = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with("/*") => to("*/", 2),
        b'"' => quoted(bytes),
        b'r' | b'b' if raw_hashes(rest).is_some() => {
            let hashes = raw_hashes(rest).unwrap();
            let start = rest.find('"').unwrap() + 1;
            to(&format!("\"{}", "#".repeat(hashes)), start)
        }
        b'b' if rest.starts_with("b\"") => 1 + quoted(&bytes[1..]),
        b'\'' if rest.starts_with("'\\") => to("'", 3),
        b'\'' if rest.chars().nth(2) == Some('\'') => to("'", 1),
        first if first.is_ascii_alphabetic() || first == b'_' => {
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            bytes.iter().position(|byte| !is_word(byte)).unwrap_or(rest.len())
        }
        _ => 0,
    }
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Returns the hashes of a raw string that starts here.
fn raw_hashes(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Returns whether the code contains the words as whole words.
fn names(code: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(at, _)| {
        !code[..at].ends_with(is_word)
            && (words.ends_with(':') || !code[at + words.len()..].starts_with(is_word))
    })
}

/// Returns the modules of this crate that the code imports: `a::b` for `crate::a::b` and
/// `crate::{a::b}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        let list = match rest.strip_prefix('{') {
            Some(group) => &group[..group.find("};").unwrap_or(group.len())],
            None => &rest[..rest.find([';', ',', ' ', '\n', '(', ')', '<', '>']).unwrap_or(0)],
        };
        found.extend(list.split(',').map(|path| path.trim().to_owned()));
    }
    found
}

fn expect_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn no_folder_of_a_crate_imports_one_that_imports_it() {
    let mut imported: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let Some((of, module)) = top_level(&source.path) else { continue };
        let paths = imports(source.before_tests());
        let heads = paths.iter().filter_map(|path| path.split("::").next());
        let others: Vec<_> = heads.filter(|head| *head != module).map(str::to_owned).collect();
        imported.entry((of, module)).or_default().extend(others);
    }
    let reached = |from: &(String, String)| {
        let (mut found, mut ahead) = (BTreeSet::new(), vec![from.1.clone()]);
        while let Some(module) = ahead.pop() {
            let next = imported.get(&(from.0.clone(), module)).into_iter().flatten();
            ahead.extend(next.filter(|next| found.insert((*next).clone())).cloned());
        }
        found
    };
    let reached: BTreeMap<_, _> = imported.keys().map(|from| (from, reached(from))).collect();
    let mut circles = BTreeSet::new();
    for (from, others) in &reached {
        let is_back = |other: &&String| {
            let back = reached.get(&(from.0.clone(), (*other).clone()));
            back.is_some_and(|back| back.contains(&from.1))
        };
        let circle: Vec<_> = others.iter().filter(is_back).map(String::as_str).collect();
        if circle.len() > 1 {
            circles.insert((from.0.as_str(), circle));
        }
    }
    let broken = circles.iter().map(|(of, circle)| format!("{of}: {circle:?}"));
    expect_none("dependencies point one way", &broken.collect::<Vec<_>>());
}

/// Returns the crate and the top-level module of a file, or `None` if it has only tests.
fn top_level(path: &str) -> Option<(String, String)> {
    let (of, path) = path.strip_prefix("src/")?.split_once("/src/")?;
    let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let module = path.split('/').next()?.trim_end_matches(".rs");
    (!is_test && module != "lib" && module != "main").then(|| (of.to_owned(), module.to_owned()))
}

#[test]
fn protocols_name_no_make_of_phone() {
    let protocols =
        ["tftp/", "http/", "ftp/"].map(|folder| format!("src/engine/src/session/{folder}"));
    let is_protocol = |path: &str| protocols.iter().any(|folder| path.starts_with(folder));
    let is_broken =
        |source: &Source| is_protocol(&source.path) && names(source.before_tests(), "avaya");
    let broken: Vec<_> =
        sources().into_iter().filter(is_broken).map(|source| source.path).collect();
    expect_none("a quirk is a row of a table", &broken);
}

#[test]
fn pure_crates_name_no_socket_no_file_no_thread_and_no_clock() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_under(PURE)) {
        let named = WORLD.iter().filter(|word| names(source.before_tests(), word));
        broken.extend(named.map(|word| format!("{}: {word}", source.path)));
    }
    expect_none("machines are told what happened", &broken);
}

#[test]
fn unsafe_stands_in_a_few_files_alone() {
    let is_broken = |source: &Source| {
        names(&source.code, "unsafe")
            && !source.is_under(WITH_UNSAFE)
            && !source.path.starts_with("tools/")
            && !source.path.starts_with("benches/")
    };
    let broken: Vec<_> =
        sources().into_iter().filter(is_broken).map(|source| source.path).collect();
    expect_none("unsafe is small and fenced", &broken);
}

#[test]
fn workers_read_the_clock_in_their_loop_alone() {
    let is_broken = |source: &Source| {
        let code = source.before_tests();
        let reads = names(code, "Instant::now") || names(code, "SystemTime::now");
        let file = source.path.strip_prefix("src/ringpost/src/net/");
        reads && file.is_some_and(|file| file != "mod.rs")
    };
    let broken: Vec<_> =
        sources().into_iter().filter(is_broken).map(|source| source.path).collect();
    expect_none("time is an argument", &broken);
}

#[test]
fn every_file_says_first_what_is_in_it() {
    let is_broken = |source: &Source| {
        let line = source.text.lines().find(|line| !line.starts_with("#!") && !line.is_empty());
        !line.unwrap_or_default().starts_with("//! ")
    };
    let broken: Vec<_> =
        sources().into_iter().filter(is_broken).map(|source| source.path).collect();
    expect_none("a module opens with what it does", &broken);
}

#[test]
fn files_functions_and_lines_fit_the_eye() {
    let mut broken = Vec::new();
    for source in sources() {
        let path = &source.path;
        let lines = source.before_tests().lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{path}: {lines} lines before its tests"));
        }
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                broken.push(format!("{path}:{}: more than {COLUMNS_MAX} columns", number + 1));
            }
        }
        for (number, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
                broken.push(format!("{path}:{number}: a function of {lines} lines"));
            }
        }
    }
    expect_none("sizes have a cap", &broken);
}

/// Returns where each function starts, and how many lines it has.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        if !names(line, "fn") {
            continue;
        }
        let (mut depth, mut taken) = (0_i32, 0);
        for line in &lines[first..] {
            taken += 1;
            let opens = line.contains('{');
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            if depth <= 0 && (opens || line.contains('}') || line.trim_end().ends_with(';')) {
                break;
            }
        }
        found.push((first + 1, taken));
    }
    found
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ign", "ore"),
        concat!("allow(dead", "_code"),
    ];
    let mut broken = Vec::new();
    for source in sources() {
        let found = words.iter().filter(|word| source.text.contains(**word));
        broken.extend(found.map(|word| format!("{}: {word}", source.path)));
    }
    expect_none("what is there works", &broken);
}

#[test]
fn every_variant_is_matched_by_name() {
    let mut broken = Vec::new();
    for source in sources() {
        let code = source.before_tests();
        if source.path.starts_with("src/") && (code.contains("_ => {}") || code.contains("_ => ()"))
        {
            broken.push(source.path);
        }
    }
    expect_none("a wildcard hides the next variant", &broken);
}

#[test]
fn names_say_what_a_thing_is() {
    let mut broken = Vec::new();
    for source in sources() {
        for line in source.before_tests().lines() {
            let line = line.trim();
            if !line.starts_with("pub") {
                continue;
            }
            let name_of = |keyword: &str| {
                line.split_once(keyword).map(|(_, name)| name.split(['(', '<', ' ', '{', ':', ';']))
            };
            let is_vague = |name: &str| {
                name.starts_with("get_")
                    || ["Manager", "Helper", "Util"].iter().any(|word| name.contains(word))
            };
            for keyword in ["fn ", "struct ", "enum ", "trait ", "mod ", "type "] {
                let name = name_of(keyword).and_then(|mut names| names.next());
                broken.extend(
                    name.filter(|name| is_vague(name))
                        .map(|name| format!("{}: {name}", source.path)),
                );
            }
        }
    }
    expect_none("one noun per idea", &broken);
}

#[test]
fn the_top_level_holds_what_it_should() {
    let expected = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "benches",
        "clippy.toml",
        "config",
        "deny.toml",
        "docs",
        "fuzz",
        "ringpost-data",
        "rustfmt.toml",
        "src",
        "target",
        "tests",
        "tools",
    ];
    let broken: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !expected.contains(&name.as_str()))
        .collect();
    expect_none("nothing else lies at the top", &broken);
}

#[test]
fn the_reader_of_these_rules_can_read() {
    let code = "let a = \"fn x() {\"; // unsafe\nlet b = b'\\''; let c = 'x'; let d: &'a u8;\n\
                let e = r#\"unsafe \" \"#; /* unsafe */ call(br\"unsafe\"); fn y() {\n}\n";
    let blanked = blank(code);
    assert_eq!(blanked.lines().count(), code.lines().count());
    assert!(!names(&blanked, "unsafe") && names(&blanked, "call") && names(&blanked, "'a u8"));
    assert_eq!(functions(&blanked), [(3, 2)]);
    assert!(!names("unsafe_code my_unsafe", "unsafe") && names("(unsafe {", "unsafe"));
    assert!(names("use mio::Poll", "mio::") && !names("use tokio::x", "mio::"));
    let imported = imports("use crate::{a::b, c};\nuse crate::d::e;\nlet f = crate::g::h(x);");
    assert_eq!(imported, ["a::b", "c", "d::e", "g::h"]);
    assert_eq!(top_level("src/a/src/b/c.rs"), Some(("a".into(), "b".into())));
    assert_eq!(top_level("src/a/src/b/tests/c.rs"), None);
    let code = "#[cfg(test)]\nuse a;\nuse b;\n#[cfg(test)]\n#[cfg(unix)]\nmod c {}";
    let source = Source { path: String::new(), text: code.into(), code: code.into() };
    assert!(source.before_tests().ends_with("use b;\n"));
}
