//! The effective configuration, key by key, each with its origin: a line of the file, or the
//! default.
//!
//! Defaults come from the commented template, which is also the documentation. A test compares them
//! with the program's behaviour.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{TEMPLATE, renamed};

/// Sections whose mere presence has a meaning.
const OPTIONAL: [&str; 4] = ["tftp", "ftp", "vault", "admin"];
/// The column of a value's origin.
const ORIGIN_COLUMN: usize = 40;
/// Most differences that are listed one by one.
const CHANGES_MAX: usize = 50;

/// Every effective key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effective {
    sections: Vec<SectionValues>,
}

/// A section, or one of several rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SectionValues {
    name: String,
    /// Its number among rows of the same name, from 1; `None` for a section.
    row: Option<usize>,
    line: Option<usize>,
    /// What the file calls it.
    spelling: Spelling,
    entries: Vec<Entry>,
    /// Unset keys without a simple default.
    unset: Vec<String>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Entry {
    key: String,
    value: String,
    /// The line of the file; `None` for a default.
    line: Option<usize>,
    /// What the file calls it.
    #[serde(skip)]
    spelling: Spelling,
}

/// The name in the file if it is an old one. It makes no difference between configurations.
#[derive(Clone, Debug, Default)]
struct Spelling(Option<String>);

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spelling {}

/// A section of the template.
struct Pattern {
    name: String,
    is_row: bool,
    /// Whether it is commented out: an example, whose values are not defaults.
    is_example: bool,
    keys: Vec<PatternKey>,
}

struct PatternKey {
    key: String,
    value: String,
    /// Whether the value is the one without the line.
    is_default: bool,
}

impl Effective {
    /// Builds it from a file's text, which is valid.
    pub(super) fn of(text: &str, table: &DeTable<'_>) -> Effective {
        let mut sections = Vec::new();
        let file = Source { text };
        for pattern in template() {
            let found = find(table, &pattern.name);
            let values: Vec<&Spanned<DeValue<'_>>> = match found {
                Some(value) if pattern.is_row => {
                    value.get_ref().as_array().into_iter().flat_map(|rows| rows.iter()).collect()
                }
                Some(value) => vec![value],
                None => Vec::new(),
            };
            let spelling = file.spelling(table, &pattern.name);
            if pattern.name.is_empty() {
                sections.push(file.part(pattern, None, None, Some(table)));
            } else if values.is_empty() && !pattern.is_row && pattern.is_always_there() {
                sections.push(file.part(pattern, None, None, None));
            }
            for (place, value) in values.into_iter().enumerate() {
                let row = pattern.is_row.then_some(place + 1);
                let line = Some(file.line(value.span().start));
                let part = file.part(pattern, row, line, value.get_ref().as_table());
                sections.push(SectionValues { spelling: spelling.clone(), ..part });
            }
        }
        Effective { sections }
    }

    /// Writes an equivalent configuration, with the origin of each value beside it.
    #[must_use]
    pub(crate) fn toml(&self, file: &Path) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write_toml(&mut text, file);
        text
    }

    fn write_toml(&self, text: &mut String, file: &Path) -> fmt::Result {
        let origin = |line: Option<usize>, spelling: &Spelling| match (line, &spelling.0) {
            (Some(line), Some(old)) => format!("{}:{line}, as {old}", file.display()),
            (Some(line), None) => format!("{}:{line}", file.display()),
            (None, _) => "default".into(),
        };
        for part in &self.sections {
            if !part.name.is_empty() {
                let head = part.head();
                writeln!(text, "\n{head:<ORIGIN_COLUMN$} # {}", origin(part.line, &part.spelling))?;
            }
            for Entry { key, value, line, spelling } in &part.entries {
                let set = format!("{key} = {value}");
                writeln!(text, "{set:<ORIGIN_COLUMN$} # {}", origin(*line, spelling))?;
            }
            part.unset.iter().try_for_each(|key| writeln!(text, "# {key} is not set"))?;
        }
        Ok(())
    }

    /// Returns the same as JSON.
    #[must_use]
    pub(crate) fn json(&self) -> serde_json::Value {
        let part = |part: &SectionValues| {
            serde_json::json!({
                "section": part.head(), "row": part.row, "line": part.line, "keys": part.entries,
            })
        };
        self.sections.iter().map(part).collect()
    }

    /// Describes the changes since `before`.
    #[must_use]
    pub(crate) fn changes_from(&self, before: &Effective) -> Vec<String> {
        let (old, new) = (before.values(), self.values());
        let mut changes = Vec::new();
        let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
        for key in keys {
            let (section, name) = key;
            let place = if section.is_empty() { String::new() } else { format!("{section} ") };
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) if old != new => {
                    changes.push(format!("{place}{name}: {old} is now {new}"));
                }
                (Some(old), None) => changes.push(format!("{place}{name}: {old} is gone")),
                (None, Some(new)) => changes.push(format!("{place}{name}: is now {new}")),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        let more = changes.len().saturating_sub(CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        if more > 0 {
            changes.push(format!("and {more} more"));
        }
        changes
    }

    /// Returns the values by section and key.
    fn values(&self) -> BTreeMap<(String, &str), &str> {
        let mut values = BTreeMap::new();
        for part in &self.sections {
            let row = part.row.map_or(String::new(), |row| format!(" {row}"));
            let name = if part.name.is_empty() { String::new() } else { part.head() + &row };
            for entry in &part.entries {
                values.insert((name.clone(), entry.key.as_str()), entry.value.as_str());
            }
        }
        values
    }
}

impl SectionValues {
    fn head(&self) -> String {
        match (self.name.as_str(), self.row) {
            ("", _) => String::new(),
            (name, Some(_)) => format!("[[{name}]]"),
            (name, None) => format!("[{name}]"),
        }
    }
}

impl Pattern {
    /// Returns whether its defaults apply if a file does not have it.
    fn is_always_there(&self) -> bool {
        !self.is_example && !OPTIONAL.contains(&self.name.as_str())
    }
}

/// The text of a file.
struct Source<'a> {
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    /// Returns what a table of the file sets, in the order of the template, and what it omits.
    fn part(
        &self,
        pattern: &Pattern,
        row: Option<usize>,
        line: Option<usize>,
        table: Option<&DeTable<'_>>,
    ) -> SectionValues {
        let said = |key: &str| table.and_then(|table| table.get(key));
        let (mut entries, mut unset) = (Vec::new(), Vec::new());
        for PatternKey { key, value, is_default } in &pattern.keys {
            match said(key) {
                Some(value) => {
                    let spelling =
                        table.map_or_else(Spelling::default, |table| self.spelling(table, key));
                    entries.push(Entry { spelling, ..self.entry(key, value) });
                }
                None if *is_default && !pattern.is_example => {
                    let (key, value) = (key.clone(), value.clone());
                    let spelling = Spelling::default();
                    entries.push(Entry { key, value, line: None, spelling });
                }
                None if pattern.is_example => {}
                None => unset.push(key.clone()),
            }
        }
        for (key, value) in table.into_iter().flat_map(|table| table.iter()) {
            let key: &str = key.get_ref();
            let is_section = template().iter().any(|other| {
                let (name, own) = (&other.name, &pattern.name);
                name == key && own.is_empty() || *name == format!("{own}.{key}")
            });
            if !is_section && !pattern.keys.iter().any(|known| known.key == key) {
                entries.push(self.entry(key, value));
            }
        }
        let (name, spelling) = (pattern.name.clone(), Spelling::default());
        SectionValues { name, row, line, spelling, entries, unset }
    }

    fn entry(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Entry {
        let line = Some(self.line(value.span().start));
        let (value, spelling) = (self.shown(value), Spelling::default());
        Entry { key: key.to_owned(), value, line, spelling }
    }

    /// Returns what the file calls a key of a table, if that is an old name.
    fn spelling(&self, table: &DeTable<'_>, key: &str) -> Spelling {
        let written = table.get_key_value(key).and_then(|(key, _)| self.text.get(key.span()));
        let is_old = |written: &&str| renamed::new_name(written) == Some(key);
        Spelling(written.filter(is_old).map(str::to_owned))
    }

    /// Formats a value on one line.
    fn shown(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::Array(list) => {
                let list: Vec<_> = list.iter().map(|value| self.shown(value)).collect();
                format!("[{}]", list.join(", "))
            }
            DeValue::Table(table) => {
                let keys = table.iter();
                let keys: Vec<_> = keys
                    .map(|(key, value)| format!("{} = {}", key.get_ref(), self.shown(value)))
                    .collect();
                format!("{{ {} }}", keys.join(", "))
            }
            DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                self.text.get(value.span()).unwrap_or_default().trim().to_owned()
            }
        }
    }
}

/// Finds a table or its rows, by a dotted name.
fn find<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    match name.split_once('.') {
        None => table.get(name),
        Some((first, rest)) => find(table.get(first)?.get_ref().as_table()?, rest),
    }
}

/// Returns the parsed template.
fn template() -> &'static [Pattern] {
    static PATTERNS: OnceLock<Vec<Pattern>> = OnceLock::new();
    PATTERNS.get_or_init(|| patterns(TEMPLATE))
}

fn patterns(text: &str) -> Vec<Pattern> {
    let top = Pattern { name: String::new(), is_row: false, is_example: false, keys: Vec::new() };
    let mut patterns = vec![top];
    for line in text.lines() {
        let (line, is_comment) = match line.strip_prefix("# ") {
            Some(bare) => (bare, true),
            None => (line, false),
        };
        let Some(current) = patterns.last_mut() else { continue };
        if let Some(name) = head(line) {
            let is_row = line.starts_with("[[");
            let name = name.to_owned();
            patterns.push(Pattern { name, is_row, is_example: is_comment, keys: Vec::new() });
        } else if let Some((key, value, comment)) = assignment(line) {
            let is_default = is_plain(comment);
            current.keys.push(PatternKey { key, value, is_default });
        } else if line.trim_start_matches('#').trim_start().starts_with('#')
            && let Some(last) = current.keys.last_mut()
        {
            // The comment of the line before continues.
            last.is_default &= is_plain(line);
        }
    }
    patterns
}

/// Returns whether the value beside a comment is the default.
fn is_plain(comment: &str) -> bool {
    !comment.contains("no default") && !comment.contains("default:")
}

/// Returns the name of a section that begins here.
fn head(line: &str) -> Option<&str> {
    let name = line.strip_prefix("[[").or_else(|| line.strip_prefix('['))?;
    let name = name.split(']').next()?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// Returns key, value and comment of a line that sets a key.
fn assignment(line: &str) -> Option<(String, String, &str)> {
    let (key, _) = line.split_once(" = ")?;
    let is_key = !key.is_empty() && key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    let table = is_key.then(|| DeTable::parse(line).ok())??;
    let span = table.get_ref().get(key)?.span();
    let (value, comment) = (line.get(span.clone())?, line.get(span.end..)?);
    Some((key.to_owned(), value.to_owned(), comment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Disk, Settings, parse, parse_for_tests};

    fn dumped(text: &str) -> String {
        parse_for_tests(text).effective.toml(Path::new("/c.toml"))
    }

    /// Formats the meaning of settings, without their line numbers.
    fn meaning(mut settings: Settings) -> String {
        settings.effective = Effective::default();
        let text = format!("{settings:#?}");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("line: "));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_dump_says_of_each_value_where_it_comes_from_and_is_a_configuration() {
        let text = "data_dir = \"/d\"\n[tftp]\nroot = [\n  \"a\", # first\n  \"b\",\n]\n\
                    [[tftp.subnet]]\nnet = [\"10.1.0.0/16\"]\nblksize_max = 512\n";
        let dump = dumped(text);
        let has = |start: &str, origin: &str| {
            let is_it = |line: &&str| line.starts_with(start) && line.ends_with(origin);
            assert!(dump.lines().any(|line| is_it(&line)), "{start} {origin}\n{dump}");
        };
        has("data_dir = \"/d\"", "# /c.toml:1");
        has("workers = 0", "# default");
        has("[tftp]", "# /c.toml:2");
        has("root = [\"a\", \"b\"]", "# /c.toml:3");
        has("blksize_max = 1468", "# default");
        has("[[tftp.subnet]]", "# /c.toml:7");
        has("blksize_max = 512", "# /c.toml:9");
        has("clients_max = 0", "# default");
        assert!(!dump.contains("[vault]") && dump.contains("# user is not set"), "{dump}");
        let again = parse(Path::new("/test/ringpost.toml"), &dump, Disk::Leave).unwrap();
        assert_eq!(meaning(again), meaning(parse_for_tests(text)));
    }

    #[test]
    fn the_defaults_of_the_template_are_those_of_the_program() {
        let bare = "[tftp]\n[[http]]\nlisten = [\"0.0.0.0:80\"]\n[[https]]\n\
                    listen = [\"0.0.0.0:411\"]\n[ftp]\n[vault]\n[admin]\n";
        let dump = dumped(bare);
        let again = parse(Path::new("/test/ringpost.toml"), &dump, Disk::Leave);
        let again = again.unwrap_or_else(|faults| panic!("{faults}\n{dump}"));
        let (said, meant) = (meaning(again), meaning(parse_for_tests(bare)));
        for (said, meant) in said.lines().zip(meant.lines()) {
            assert_eq!(said, meant, "left: the template; right: the program");
        }
    }

    #[test]
    fn every_key_that_the_program_reads_is_in_the_template() {
        let mut found = crate::config::read::Findings::in_text("");
        let table =
            DeTable::parse("[[http]]\n[[https]]\n[tftp]\n[[tftp.subnet]]\n[ftp]\n[vault]").unwrap();
        crate::config::file::File::read(&table, &mut found);
        let missing: Vec<_> = found
            .known_keys()
            .filter(|(section, key)| {
                let name = section.trim_matches(['[', ']']);
                let is_section = template()
                    .iter()
                    .any(|part| part.name == *key || part.name == format!("{name}.{key}"));
                let here = template().iter().filter(|part| part.name == name);
                let is_key = here.flat_map(|part| &part.keys).any(|known| known.key == *key);
                // A row of networks has the keys of its section.
                !is_key && !is_section && name != "tftp.subnet"
            })
            .collect();
        assert!(missing.is_empty(), "document them in config/ringpost.toml: {missing:?}");
    }

    #[test]
    fn what_a_change_of_the_file_changes_is_told_key_by_key() {
        let of = |text: &str| parse_for_tests(text).effective;
        let before = of("[tftp]\nblksize_max = 512\n[[http]]\nlisten = [\"0.0.0.0:80\"]\n");
        let same = of("# said otherwise\n[[http]]\nlisten = [ \"0.0.0.0:80\" ]\n[tftp]\n\
                       blksize_max = 512\nwindowsize_max = 64");
        assert_eq!(same.changes_from(&before), Vec::<String>::new());
        let after = of("[tftp]\nblksize_max = 1024\nwindowsize_max = 8\n[sessions]\nhold = \"9s\"");
        let changes = after.changes_from(&before);
        let has = |line: &str| assert!(changes.iter().any(|found| found == line), "{changes:?}");
        has("[tftp] blksize_max: 512 is now 1024");
        has("[tftp] windowsize_max: 64 is now 8");
        has("[sessions] hold: \"60s\" is now \"9s\"");
        has("[[http]] 1 listen: [\"0.0.0.0:80\"] is gone");
    }
}
