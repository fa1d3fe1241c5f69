//! The commands of the command line. Results go to standard output, errors to standard error; the
//! exit code distinguishes them.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam_channel::TryRecvError;
use tracing::Level;

use crate::certificates;
use crate::cli::running::{self, CommandAnswer};
use crate::config::{self, Mistake, Mistakes, Settings};
use crate::daemon::exit::{Exit, Failure};
use crate::daemon::reload::{self, Source};
use crate::daemon::workers::Workers;
use crate::daemon::{sample, serve};
use crate::observe::explain;
pub use crate::observe::explain::Question;
use crate::observe::journal;
use engine::catalog::Catalog;
use store::content::watch::{self, WatchConfig};

/// `ringpost serve`.
#[must_use]
pub fn serve(config: Option<&Path>) -> ExitCode {
    match serve::serve::<Workers>(&Source::find(config)) {
        Ok(()) => Exit::Done.into(),
        Err(trouble) => fail(trouble),
    }
}

/// The output form of `ringpost check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckForm {
    /// Print every effective key with its origin.
    pub dump: bool,
    /// Print JSON.
    pub json: bool,
}

/// Runs `ringpost check`. Exits with 0 if the configuration is valid.
#[must_use]
pub fn check(config: Option<&Path>, form: CheckForm) -> ExitCode {
    let source = Source::find(config);
    let validated = validate(&source);
    if form.json {
        print(format!("{:#}\n", check_json(&source, &validated, form.dump)));
        return validated.map_or_else(|(failure, _)| failure.exit, |_| Exit::Done).into();
    }
    match validated {
        Ok((settings, warnings)) => {
            let mut text = String::new();
            for warning in &warnings {
                text += &format!("warning: {warning}\n");
            }
            if form.dump {
                // Redirected output holds only the configuration.
                let _ = io::stderr().write_all(text.as_bytes());
                let lists = reload::lists_in(&settings.data_dir);
                let lists = lists.map(|path| format!("# also read: {}\n", path.display()));
                return print(settings.effective.toml(&settings.file) + &lists.collect::<String>());
            }
            text += &match source {
                Source::File(path) => format!("{} is valid\n", path.display()),
                Source::BuiltIn | Source::Trial(_) => {
                    "no configuration was found; the built-in one is valid\n".into()
                }
            };
            print(&text)
        }
        Err((failure, _)) => fail(failure),
    }
}

/// Settings and all warnings, or the faults.
type Verdict = Result<(Settings, Vec<String>), (Failure, Vec<Mistake>)>;

fn validate(source: &Source) -> Verdict {
    let faulty = |faults: Mistakes| (Failure::from(faults.clone()), faults.0);
    let settings = match source {
        // The first start creates its directories.
        Source::BuiltIn if !Path::new(sample::DIR).is_dir() => config::validate_built_in(),
        Source::BuiltIn | Source::Trial(_) | Source::File(_) => source.load(),
    };
    let settings = settings.map_err(faulty)?;
    let of_certificates = certificates::validate(&settings, serve::now_unix_s())
        .map_err(|trouble| (trouble.into(), Vec::new()))?;
    let warnings = settings.warnings_now().chain(of_certificates).collect();
    Ok((settings, warnings))
}

fn check_json(source: &Source, validated: &Verdict, dump: bool) -> serde_json::Value {
    let (faults, warnings, effective) = match validated {
        Ok((settings, warnings)) => {
            (Vec::new(), warnings.clone(), dump.then(|| settings.effective.json()))
        }
        Err((failure, faults)) if faults.is_empty() => {
            (vec![serde_json::json!({ "text": failure.text })], Vec::new(), None)
        }
        Err((_, faults)) => {
            let fault = |fault: &Mistake| {
                let Mistake { file, line, text, unread: _ } = fault;
                serde_json::json!({ "file": file, "line": line, "text": text })
            };
            (faults.iter().map(fault).collect(), Vec::new(), None)
        }
    };
    let file = match source {
        Source::File(path) => Some(path),
        Source::BuiltIn | Source::Trial(_) => None,
    };
    serde_json::json!({
        "file": file, "valid": validated.is_ok(), "mistakes": faults, "warnings": warnings,
        "effective": effective,
    })
}

/// Runs `ringpost explain`. Exits with 0 if the phone would get a file. Asks the running server,
/// which knows what it serves and may read; without one reads the disk.
#[must_use]
pub fn explain(question: &Question<'_>, config: Option<&Path>, disk: bool, json: bool) -> ExitCode {
    let asked = match disk {
        true => Err(Failure::from("the disk was asked for")),
        false => running::explain(question, config),
    };
    let explained = match asked {
        Ok((explained, pid)) => {
            let by = format!("answered by the running server, process {pid}");
            Ok((explained, by, Some(pid)))
        }
        Err(silence) => running::from_disk(config).and_then(|settings| {
            let catalog = catalog(&settings)?;
            let explained = explain::explain(question, &settings, &catalog);
            let source_text = running::source_text(&settings);
            let why = match (disk, silence.exit) {
                (true, _) => String::new(),
                (false, Exit::NotRunning) => "no server runs; ".into(),
                (false, _) => format!("{silence}; "),
            };
            Ok((explained, format!("{why}judged from the disk, {source_text}"), None))
        }),
    };
    match explained {
        Ok((explained, by, pid)) => {
            let text = match json {
                false => format!("{by}\n{}", explained.text),
                true => {
                    let lines: Vec<_> = explained.text.lines().collect();
                    let json = serde_json::json!({
                        "name": question.name, "from": question.client, "answered_by": by,
                        "pid": pid, "served": explained.served, "steps": lines,
                        "listeners": explained.listeners,
                    });
                    format!("{json:#}\n")
                }
            };
            print(&text);
            if explained.served { Exit::Done.into() } else { Exit::No.into() }
        }
        Err(trouble) => fail(trouble),
    }
}

/// Runs `ringpost status`. Exits with 0 if phones are served, with 1 if they are not, with 4 if no
/// server runs.
#[must_use]
pub fn status(config: Option<&Path>, url: Option<&str>, json: bool) -> ExitCode {
    end(running::status(config, url, json))
}

/// Runs `ringpost reload`. Exits with 0 if the configuration is in force.
#[must_use]
pub fn reload(config: Option<&Path>) -> ExitCode {
    end(running::reload(config))
}

/// Runs `ringpost drain`. Exits with 0 if every transfer has ended by itself.
#[must_use]
pub fn drain(config: Option<&Path>) -> ExitCode {
    end(running::drain(config))
}

/// Runs `ringpost config`: prints the commented template.
#[must_use]
pub fn template() -> ExitCode {
    print(config::TEMPLATE)
}

fn end(said: Result<CommandAnswer, Failure>) -> ExitCode {
    match said {
        Ok(said) => {
            print(&said.text);
            said.exit.into()
        }
        Err(trouble) => fail(trouble),
    }
}

/// Loads settings for a command that creates nothing.
pub(crate) fn load(source: &Source) -> Result<Settings, Failure> {
    if *source == Source::BuiltIn && !Path::new(sample::DIR).is_dir() {
        return Err(Failure::new(Exit::CannotRead, no_configuration()));
    }
    source.load().map_err(Failure::from)
}

fn no_configuration() -> String {
    format!(
        "no configuration was found (there is no {}), and no trial was started in this directory; \
         name the configuration with --config",
        config::PLACES.join(" and no ")
    )
}

/// Scans the roots once.
fn catalog(settings: &Settings) -> Result<Arc<Catalog>, CatalogError> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    // The first catalog arrives before the watch is returned; later ones do not matter.
    let publish = Box::new(move |catalog| {
        let _ = sender.send(catalog);
    });
    let watch = watch::start(WatchConfig::new(settings.roots.clone()), None, publish);
    drop(watch.map_err(CatalogError::Watch)?);
    receiver.try_recv().map_err(CatalogError::Empty)
}

/// Why the directories cannot be scanned.
#[derive(Debug)]
enum CatalogError {
    /// They cannot be watched.
    Watch(io::Error),
    /// The watch has published nothing.
    Empty(TryRecvError),
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the directories cannot be read: ")?;
        match self {
            CatalogError::Watch(cause) => cause.fmt(f),
            CatalogError::Empty(cause) => cause.fmt(f),
        }
    }
}

impl Error for CatalogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CatalogError::Watch(cause) => Some(cause),
            CatalogError::Empty(cause) => Some(cause),
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(cause: CatalogError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

pub(crate) fn print(text: impl AsRef<[u8]>) -> ExitCode {
    // A program that closes standard output early, such as `head`, has read what it wants.
    let _ = io::stdout().write_all(text.as_ref());
    ExitCode::SUCCESS
}

pub(crate) fn fail(trouble: impl Into<Failure>) -> ExitCode {
    let Failure { exit, text, .. } = trouble.into();
    // Without standard error there is no reader.
    let _ = io::stderr().write_all(journal::lines(Level::ERROR, &text).as_bytes());
    exit.into()
}
