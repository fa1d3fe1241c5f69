//! The reference of all keys, derived from the program itself: names, defaults and purposes from
//! `ringpost config`, types and ranges from the mistakes that `ringpost check` reports.
//!
//! `RINGPOST_WRITE_DOCS=1` writes the page instead of comparing it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::top;

const PAGE: &str = "docs/configuration-keys.md";
const HEAD: &str = "\
# Every key

Made from the program by `tests/it/docs/keys.rs`; do not edit it by hand. How a configuration is
written and checked is on a page of its own: [configuration](configuration.md).

Times carry their unit: `\"250ms\"`, `\"60s\"`, `\"2m\"`, `\"1h\"`, `\"90d\"`, `\"2y\"`. Sizes do as
well (`\"64KiB\"`, `\"4MB\"`), or are plain bytes. Relative paths are below `data_dir`. In
sections that begin with `[[`, of which a file may have several, `-` means that there is no default.
";
/// No key accepts a date, so each reports what it accepts.
const NO_VALUE: &str = "1979-05-27";
/// More than any number or size may be.
const HUGE: &str = "99999999999999999";

/// One mistake of a configuration.
#[derive(serde::Deserialize)]
pub(super) struct Mistake {
    line: Option<usize>,
    pub(super) text: String,
}

#[derive(serde::Deserialize)]
struct Verdict {
    mistakes: Vec<Mistake>,
}

/// A section of the template.
struct Section {
    /// As written: `[tftp]`, `[[http]]`; empty for the keys above the first one.
    head: String,
    intro: String,
    /// Whether it is commented out: its values are not defaults.
    is_example: bool,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    value: String,
    comment: String,
}

/// Returns every mistake that the program finds in a configuration.
pub(super) fn faults(dir: &Path, text: &str) -> Vec<Mistake> {
    let file = dir.join("sample.toml");
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["check", "--json"])
        .arg(&file)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let verdict: Verdict = serde_json::from_slice(&output.stdout).unwrap();
    verdict.mistakes
}

fn template() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost")).arg("config").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns key, value and comment of a line that sets a key.
fn assignment(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_once(" = ")?;
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return None;
    }
    // A `#` within quotes is part of the value; no value of the template has one.
    let (value, comment) = rest.split_once('#').unwrap_or((rest, ""));
    Some((name, value.trim(), comment.trim()))
}

fn sections(text: &str) -> Vec<Section> {
    let top = || Section {
        head: String::new(),
        intro: String::new(),
        is_example: false,
        keys: Vec::new(),
    };
    let mut sections = vec![top()];
    let mut above = String::new();
    for line in text.lines() {
        let (bare, is_comment) = line.strip_prefix("# ").map_or((line, false), |bare| (bare, true));
        let current = sections.last_mut().unwrap();
        let goes_on = line.trim_start_matches('#').trim_start();
        if bare.starts_with('[') {
            let (head, comment) = bare.split_once('#').unwrap_or((bare, ""));
            let head = head.trim().to_owned();
            let intro = if above.is_empty() { sentence(comment.trim()) } else { above.clone() };
            sections.push(Section { head, intro, is_example: is_comment, ..top() });
        } else if let Some((name, value, comment)) = assignment(bare) {
            let (name, value) = (name.to_owned(), value.to_owned());
            current.keys.push(Key { name, value, comment: comment.to_owned() });
        } else if goes_on.starts_with('#') && !current.keys.is_empty() && !is_text(line) {
            let comment = &mut current.keys.last_mut().unwrap().comment;
            let more = goes_on.trim_start_matches('#').trim();
            // A line that only names the default follows the comment so far.
            *comment = format!("{comment} {more}").trim().to_owned();
        } else if is_comment {
            above = format!("{above} {}", bare.trim()).trim().to_owned();
            continue;
        }
        above.clear();
    }
    sections
}

/// Returns whether a line is a comment of its own, at the left edge.
fn is_text(line: &str) -> bool {
    line.strip_prefix("# ").is_some_and(|rest| !rest.starts_with(' '))
}

/// Adds a capital and a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches([',', ';', '.']);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    if text.is_empty() { String::new() } else { format!("{first}{}.", letters.as_str()) }
}

/// Returns the program's messages for each key, by position, when all keys have this value.
fn probe(dir: &Path, sections: &[Section], value: &str) -> BTreeMap<(usize, usize), Vec<String>> {
    let mut text = String::new();
    let mut places = vec![(0, 0)];
    for (section, Section { head, keys, .. }) in sections.iter().enumerate() {
        if !head.is_empty() {
            let _ = writeln!(text, "{head}");
            places.push((section, usize::MAX));
        }
        for (key, Key { name, .. }) in keys.iter().enumerate() {
            let _ = writeln!(text, "{name} = {value}");
            places.push((section, key));
        }
    }
    let mut message: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for fault in faults(dir, &text) {
        let Some(place) = fault.line.and_then(|line| places.get(line)) else { continue };
        message.entry(*place).or_default().push(fault.text);
    }
    message
}

/// Returns the type that a remedy asks for, in a word or two.
fn kind(mend: &str) -> String {
    let kinds = [
        ("a whole number", "number"),
        ("a time", "time"),
        ("a size", "size"),
        ("bytes per second", "bytes per second"),
        ("true or false", "`true`, `false`"),
        ("a path", "path"),
        ("text", "text"),
        ("a name such as", "name, or `false`"),
        ("address and port", "address with port"),
        ("a network, an address or a range", "network, address or range"),
        ("a network", "network"),
        ("the IPv4 address", "IPv4 address"),
        ("what Cache-Control says", "text"),
        ("first and last port", "range of ports"),
    ];
    let known = kinds.iter().find(|(start, _)| mend.starts_with(start));
    known.map_or_else(
        || mend.replace(" or \"", ", \"").split(", \"").map(quoted).collect::<Vec<_>>().join(", "),
        |(_, kind)| (*kind).to_owned(),
    )
}

/// Formats a word of a remedy as code.
fn quoted(word: &str) -> String {
    let bare = word.trim_start_matches('"');
    match bare.split_once('"') {
        Some((word, rest)) => format!("`\"{word}\"`{rest}"),
        None => bare.to_owned(),
    }
}

/// Describes a list by its elements.
fn list(element: &str) -> String {
    let plurals = [
        ("path", "paths"),
        ("text", "texts"),
        ("network", "networks"),
        ("address with port", "addresses with ports"),
        ("network, address or range", "networks, addresses and ranges"),
    ];
    let known = plurals.iter().find(|(one, _)| *one == element);
    format!("list of {}", known.map_or(element, |(_, several)| several))
}

/// Formats a number of bytes with its unit.
fn size(text: &str) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Ok(bytes) = text.parse::<u64>() else { return text.to_owned() };
    let unit = units.iter().find(|(_, bits)| bytes > 0 && bytes % (1_u64 << bits) == 0);
    unit.map_or(text.to_owned(), |(unit, bits)| format!("{}{unit}", bytes >> bits))
}

/// Returns the messages for a key that are about its value.
fn about(message: &BTreeMap<(usize, usize), Vec<String>>, place: (usize, usize)) -> Vec<&str> {
    message.get(&place).into_iter().flatten().map(String::as_str).collect()
}

fn page() -> String {
    let dir = tempfile::tempdir().unwrap();
    let sections = sections(&template());
    let of = |value: &str| probe(dir.path(), &sections, value);
    let (types, elements) = (of(NO_VALUE), of(&format!("[{NO_VALUE}]")));
    let (huge, never, ages) = (of(HUGE), of("\"0\""), of("\"99y\""));
    let mend = |messages: &[&str]| {
        let text = messages.iter().find(|text| text.contains(" is a date; write "));
        text.and_then(|text| text.split("; write ").nth(1)).map(str::to_owned)
    };
    let range = |place| {
        let messages = [about(&huge, place), about(&ages, place)].concat();
        let rest = messages.iter().find_map(|text| text.split(" allows ").nth(1));
        let range = rest.map(|rest| rest.split([';', ',']).next().unwrap().to_owned());
        let is_never = about(&never, place).iter().any(|text| text.contains(" is zero; write "));
        range.or_else(|| is_never.then(|| "not 0".to_owned()))
    };
    let mut page = HEAD.to_owned();
    for (number, section) in sections.iter().enumerate() {
        let title = if section.head.is_empty() { "Above all sections" } else { &section.head };
        let _ = write!(page, "\n## {title}\n\n");
        if !section.intro.is_empty() {
            let _ = write!(page, "{}\n\n", section.intro.replace('<', "&lt;"));
        }
        page += "| key | default | value | what it is for |\n|---|---|---|---|\n";
        for (place, key) in section.keys.iter().enumerate() {
            let place = (number, place);
            let said = mend(&about(&types, place));
            let said = said.unwrap_or_else(|| panic!("{} {}", section.head, key.name));
            let mut value = match said.starts_with("a list") {
                true => list(&kind(&mend(&about(&elements, place)).unwrap())),
                false => kind(&said),
            };
            let numbers = about(&huge, place).into_iter().find_map(|t| t.split("; write ").nth(1));
            if let Some(numbers) = numbers.filter(|mend| mend.starts_with(char::is_numeric)) {
                value = numbers.to_owned();
            }
            if let Some(range) = range(place) {
                let words = range.split(' ').map(|word| match value.starts_with("size") {
                    true => size(word),
                    false => word.to_owned(),
                });
                let range = words.collect::<Vec<_>>().join(" ");
                let _ = write!(value, ", {range}");
            }
            let (default, comment) = default_of(section, key);
            let row = format!("| `{}` | {default} | {value} | {comment} |", key.name);
            let _ = writeln!(page, "{row}");
        }
    }
    page
}

/// Returns the default of a key, and the comment without it.
fn default_of(section: &Section, key: &Key) -> (String, String) {
    let (mut default, mut rest) = (None, Vec::new());
    for part in key.comment.replace("; ", ". ").split(". ") {
        let part = part.trim().trim_end_matches([',', ';', '.', ':']);
        let said = part.strip_prefix("default: ").or_else(|| part.strip_prefix("Default: "));
        if let Some(said) = said {
            default = Some(said.to_owned());
        } else if part.eq_ignore_ascii_case("no default") {
            default = Some("none".into());
        } else if part.eq_ignore_ascii_case("the default") {
            default = Some(format!("`{}`", key.value));
        } else if !part.is_empty() {
            rest.push(sentence(part));
        }
    }
    let own = || if section.is_example { "-".into() } else { format!("`{}`", key.value) };
    let comment = rest.join(" ").replace('|', "\\|").replace('<', "&lt;");
    (default.unwrap_or_else(own), comment)
}

#[test]
fn the_page_of_all_keys_is_what_the_program_says() {
    let (file, page) = (top().join(PAGE), page());
    if std::env::var_os("RINGPOST_WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    let mend = "run this test with RINGPOST_WRITE_DOCS=1 and commit what it writes";
    assert!(differs.is_none() && written == page, "{PAGE}: {differs:?}; {mend}");
}

#[test]
fn a_section_of_the_template_has_its_keys_with_defaults_and_comments() {
    let text = "# Of the file.\n\na = 1 # first\n#          # goes on\n\n# Of the row.\n# [[row]]\n\
                # b = 2          # default: 3. Of b\n\n[c]     # of c\nd = \"x\"\n\
                \x20         # of d\n";
    let sections = sections(text);
    let heads: Vec<_> = sections.iter().map(|s| (&*s.head, &*s.intro, s.is_example)).collect();
    assert_eq!(heads, [("", "", false), ("[[row]]", "Of the row.", true), ("[c]", "Of c.", false)]);
    let shown = |s: usize| default_of(&sections[s], &sections[s].keys[0]);
    assert_eq!(shown(0), ("`1`".into(), "First goes on.".into()));
    assert_eq!(shown(1), ("3".into(), "Of b.".into()));
    assert_eq!(shown(2), ("`\"x\"`".into(), "Of d.".into()));
}
