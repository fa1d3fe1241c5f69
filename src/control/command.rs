//! What each command of the command line does. Results go to standard output, troubles to standard
//! error; the exit code says which it was.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::config::Settings;
use super::explain::Question;
use super::reload::Source;
use super::serve::{self, DataPath};
use super::{ask, certificates, explain, sample};
use crate::content::Catalog;
use crate::content::watch::{self, WatchConfig};

/// `ringpost serve`.
#[must_use]
pub fn serve<D: DataPath>(config: Option<&Path>) -> ExitCode {
    match serve::serve::<D>(&Source::find(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => fail(&trouble),
    }
}

/// `ringpost check`.
#[must_use]
pub fn check(config: Option<&Path>) -> ExitCode {
    let source = Source::find(config);
    let judged = load(&source).and_then(|settings| {
        let of_certificates = certificates::judge(&settings, serve::now_unix_s())?;
        Ok(settings.warnings.into_iter().chain(of_certificates).collect::<Vec<_>>())
    });
    match judged {
        Ok(warnings) => {
            let mut text = String::new();
            for warning in &warnings {
                text += &format!("warning: {warning}\n");
            }
            text += &match source {
                Source::File(path) => format!("{} is valid\n", path.display()),
                Source::BuiltIn | Source::Trial(_) => {
                    "no configuration was found; the built-in one is valid\n".into()
                }
            };
            tell(&text)
        }
        Err(trouble) => fail(&trouble),
    }
}

/// `ringpost explain`. Exits with 0 when the phone would get a file.
#[must_use]
pub fn explain(question: &Question<'_>, config: Option<&Path>) -> ExitCode {
    let explained = load(&Source::find(config)).and_then(|settings| {
        let catalog = catalog(&settings)?;
        Ok(explain::explain(question, &settings, &catalog))
    });
    match explained {
        Ok(explained) if explained.served => tell(&explained.text),
        Ok(explained) => {
            tell(&explained.text);
            ExitCode::FAILURE
        }
        Err(trouble) => fail(&trouble),
    }
}

/// `ringpost status`. Exits with 0 when a daemon answers.
#[must_use]
pub fn status(config: Option<&Path>, url: Option<String>, json: bool) -> ExitCode {
    let url = url.map_or_else(|| admin_url(config), Ok);
    let told = url.and_then(|url| ask::status_json(&url)).and_then(|answer| match json {
        true => Ok(answer + "\n"),
        false => ask::summary(&answer),
    });
    match told {
        Ok(text) => tell(&text),
        Err(trouble) => fail(&trouble),
    }
}

pub(super) fn load(source: &Source) -> Result<Settings, String> {
    if *source == Source::BuiltIn {
        sample::make(sample::DIR.as_ref())?;
    }
    source.load().map_err(|faults| faults.to_string())
}

/// Where the configuration says that administration listens.
fn admin_url(config: Option<&Path>) -> Result<String, String> {
    let settings = load(&Source::find(config))?;
    let none = "the configuration has no [admin], so there is nobody to ask; add it, or give --url";
    settings.admin.map(ask::url).ok_or_else(|| none.into())
}

/// One look at the roots.
fn catalog(settings: &Settings) -> Result<Arc<Catalog>, String> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    // The first catalog is there before the watch is; whatever comes later is of no interest.
    let publish = Box::new(move |catalog| {
        let _ = sender.send(catalog);
    });
    let watch = watch::start(WatchConfig::new(settings.roots.clone()), None, publish);
    let unread = |fault: &dyn std::fmt::Display| format!("the directories cannot be read: {fault}");
    drop(watch.map_err(|fault| unread(&fault))?);
    receiver.try_recv().map_err(|fault| unread(&fault))
}

pub(super) fn tell(text: impl AsRef<[u8]>) -> ExitCode {
    // Whoever closes standard output early, such as `head`, has seen what they wanted.
    let _ = io::stdout().write_all(text.as_ref());
    ExitCode::SUCCESS
}

pub(super) fn fail(trouble: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{trouble}");
    ExitCode::FAILURE
}
