//! Reads TOML key by key, and collects all mistakes in one pass.
//!
//! Knows no particular key. `value.rs` defines the values, `file.rs` the keys.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::renamed;

/// Most mistakes reported at once; a file with more usually has one cause.
const FAULTS_MAX: usize = 25;
/// Longest piece of a file that a message quotes, in characters.
const QUOTE_CHARS_MAX: usize = 40;

/// One mistake: its position, its description, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The file, as it was named on the command line.
    pub(crate) file: PathBuf,
    /// The line, from 1; `None` if the mistake is not in a line.
    pub(crate) line: Option<usize>,
    /// The mistake and its remedy.
    pub(crate) text: String,
    /// Whether the file itself could not be read.
    pub(crate) unread: bool,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.text),
            None => write!(f, "{}: {}", self.file.display(), self.text),
        }
    }
}

/// Every mistake that was found, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl Mistakes {
    /// Whether the file could not be read at all.
    #[must_use]
    pub(crate) fn is_unread(&self) -> bool {
        self.0.iter().any(|fault| fault.unread)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().take(FAULTS_MAX).enumerate() {
            let line_end = if place == 0 { "" } else { "\n" };
            write!(f, "{line_end}{fault}")?;
        }
        match self.0.len().saturating_sub(FAULTS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Mistakes {}

/// The mistakes found so far, by position in the text.
#[derive(Debug)]
pub(super) struct Findings {
    /// Where each line of the text begins.
    lines: Vec<usize>,
    faults: Vec<(Option<usize>, String)>,
    /// Every known key with its section's name, to suggest where a key belongs.
    known: Vec<(String, &'static str)>,
    unknown: Vec<(usize, String, String)>,
}

impl Findings {
    /// Creates an empty collection for a text.
    pub(super) fn in_text(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Findings { lines, faults: Vec::new(), known: Vec::new(), unknown: Vec::new() }
    }

    /// Returns whether no mistake was found so far, apart from unknown keys.
    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns every known key, with its section.
    #[cfg(test)]
    pub(super) fn known_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known.iter().map(|(section, key)| (section.as_str(), *key))
    }

    /// Returns the line, from 1, of a position in the text.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        self.lines.partition_point(|start| *start <= at.start)
    }

    /// Adds a mistake at a position in the text.
    pub(super) fn fault(&mut self, at: Range<usize>, text: impl Into<String>) {
        self.faults.push((Some(at.start), text.into()));
    }

    /// Adds a mistake without a line.
    pub(super) fn fault_anywhere(&mut self, text: impl Into<String>) {
        self.faults.push((None, text.into()));
    }

    /// Returns the mistakes as messages.
    pub(super) fn into_faults(mut self, file: &Path) -> Vec<Mistake> {
        self.check_unknown_keys();
        self.faults.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));
        let faults = std::mem::take(&mut self.faults).into_iter();
        let line = |at| self.line(&(at..at));
        let file = || file.to_owned();
        let fault = |(at, text): (Option<usize>, _)| Mistake {
            file: file(),
            line: at.map(line),
            text,
            unread: false,
        };
        faults.map(fault).collect()
    }

    fn check_unknown_keys(&mut self) {
        for (at, section, key) in std::mem::take(&mut self.unknown) {
            let place = if section.is_empty() { "the top".into() } else { format!("`{section}`") };
            let mend = self.mend_unknown(&section, &key);
            self.fault(at..at, format!("`{key}` is no key of {place}; {mend}"));
        }
    }

    fn mend_unknown(&self, section: &str, key: &str) -> String {
        let here = |(of, _): &&(String, &str)| of == section;
        let now = renamed::new_name(key);
        let before = now.map_or(String::new(), |now| format!("it is now called `{now}`; "));
        let key = now.unwrap_or(key);
        let mut places: Vec<&str> = Vec::new();
        for (of, _) in self.known.iter().filter(|(_, known)| *known == key) {
            let place = if of.is_empty() { "above the first section" } else { of };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if !places.is_empty() {
            let place = |place: &&str| match place.starts_with('[') {
                true => format!("in {place}"),
                false => (*place).to_owned(),
            };
            let places: Vec<_> = places.iter().map(place).collect();
            return format!("{before}it belongs {}; move it there", places.join(" or "));
        }
        let distance = |known: &str| strsim::damerau_levenshtein(known, key);
        let nearest = self.known.iter().filter(here).min_by_key(|(_, known)| distance(known));
        if let Some((_, known)) = nearest
            && distance(known) <= 1 + known.len() / 4
        {
            return format!("did you mean `{known}`?");
        }
        let is_near = |old: &str| distance(&old.to_ascii_lowercase()) <= 1 + old.len() / 4;
        if let Some((old, new)) = renamed::names_in(section).find(|(old, _)| is_near(old)) {
            return format!("did you mean `{new}`, once `{old}`?");
        }
        let mut keys: Vec<_> = self.known.iter().filter(here).map(|(_, known)| *known).collect();
        keys.sort_unstable();
        keys.dedup();
        format!("take it out, or write one of {}", keys.join(", "))
    }
}

/// A value's position in the text while it is read.
pub(super) struct ValueContext<'f> {
    /// Collects the mistakes.
    pub(super) found: &'f mut Findings,
    /// The key, as the file spells it.
    pub(super) key: &'static str,
}

impl ValueContext<'_> {
    /// Reports that the value is not acceptable, and what is.
    pub(super) fn wrong(&mut self, value: &Spanned<DeValue<'_>>, mend: impl fmt::Display) {
        let text = format!("`{}` is {}; write {mend}", self.key, shown(value.get_ref()));
        self.found.fault(value.span(), text);
    }
}

/// A type that can be read from a value of the file.
pub(super) trait Read: Sized {
    /// Reads the value, or reports what is wrong with it.
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self>;
}

/// A table of the file, read key by key; keys that are never read are unknown.
pub(super) struct Section<'t, 'i> {
    name: String,
    at: Range<usize>,
    table: Option<&'t DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// The whole file.
    pub(super) fn top(table: &'t Spanned<DeTable<'i>>) -> Self {
        let at = table.span();
        Section { name: String::new(), at, table: Some(table.get_ref()), known: Vec::new() }
    }

    /// A row within a list, `{ … }`; empty if the value is not a table.
    pub(super) fn row(value: &'t Spanned<DeValue<'i>>, name: &str) -> Self {
        let table = value.get_ref().as_table();
        Section { name: name.to_owned(), at: value.span(), table, known: Vec::new() }
    }

    /// Returns the position of its head in the text.
    pub(super) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Returns the position of a key's value, or otherwise of the section's head.
    pub(super) fn place(&mut self, key: &'static str) -> Range<usize> {
        self.value(key).map_or(self.at(), Spanned::span)
    }

    /// Returns whether the file has it at all.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Returns the value of a key, if the file has an acceptable one.
    pub(super) fn take<T: Read>(&mut self, key: &'static str, found: &mut Findings) -> Option<T> {
        let value = self.value(key)?;
        T::read(value, &mut ValueContext { found, key })
    }

    /// Returns a required value; the remedy shows `example`.
    pub(super) fn need<T: Read>(
        &mut self,
        key: &'static str,
        example: &str,
        found: &mut Findings,
    ) -> Option<T> {
        if self.value(key).is_none() {
            let text = format!("`{}` has no `{key}`; write {key} = {example}", self.name);
            found.fault(self.at(), text);
        }
        self.take(key, found)
    }

    /// Returns a number within a range; `rule` says who sets the range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        rule: &str,
        found: &mut Findings,
    ) -> Option<u64> {
        let number: u64 = self.take(key, found)?;
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = (range.start(), range.end());
        let mend = "write a number in that range or leave the line out";
        let text = format!("`{key}` is {number}; {rule} allows {low} to {high}; {mend}");
        found.fault(self.place(key), text);
        None
    }

    /// Returns a table below this one, `[name]`, empty if the file has none.
    pub(super) fn section(&mut self, key: &'static str, found: &mut Findings) -> Section<'t, 'i> {
        let name = format!("[{key}]");
        let value = self.value(key);
        let absent = Section { name: name.clone(), at: 0..0, table: None, known: Vec::new() };
        let Some(value) = value else { return absent };
        let Some(table) = value.get_ref().as_table() else {
            ValueContext { found, key }
                .wrong(value, format_args!("a section that starts with `{name}`"));
            return absent;
        };
        Section { name, at: value.span(), table: Some(table), known: Vec::new() }
    }

    /// Returns the rows `[[name]]` below this table.
    pub(super) fn rows(
        &mut self,
        key: &'static str,
        full: &str,
        found: &mut Findings,
    ) -> Vec<Section<'t, 'i>> {
        let name = format!("[[{full}]]");
        let Some(value) = self.value(key) else { return Vec::new() };
        let mut place = ValueContext { found, key };
        let mend = format!("rows that each start with `{name}`");
        let Some(rows) = value.get_ref().as_array() else {
            place.wrong(value, mend);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for row in rows.iter() {
            match row.get_ref().as_table() {
                Some(table) => {
                    let (name, at) = (name.clone(), row.span());
                    sections.push(Section { name, at, table: Some(table), known: Vec::new() });
                }
                None => place.wrong(row, &mend),
            }
        }
        sections
    }

    /// Reports every key that was never read.
    pub(super) fn finish(self, found: &mut Findings) {
        found.known.extend(self.known.iter().map(|key| (self.name.clone(), *key)));
        for key in self.table.iter().flat_map(|table| table.keys()) {
            let text: &str = key.get_ref();
            if !self.known.contains(&text) {
                found.unknown.push((key.span().start, self.name.clone(), text.to_owned()));
            }
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table?.get(key)
    }
}

/// Formats a value for quotation in a message.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let cut: String = text.chars().take(QUOTE_CHARS_MAX).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("{cut:?}{more}")
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
