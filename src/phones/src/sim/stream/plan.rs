//! The steps of a phone and how each ended, the same for every protocol.
//!
//! Reads plans and endings alone.

use std::sync::Arc;

use super::invariants::Value;
use crate::phone::{ftp, http};
use wire::ftp::reply::Code;

/// A phone's protocol and its steps.
#[derive(Clone, Debug)]
pub enum Plan {
    /// HTTP.
    Http(Arc<http::Plan>),
    /// FTP.
    Ftp(Arc<ftp::Plan>),
}

/// How a step ended, the same for every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Unchanged,
    Missing,
    Left,
    Refused,
    Broken,
    Fault,
}

/// What a step of a plan does with which file.
pub(super) enum Work {
    Read(Box<str>),
    Write(Box<str>, Value),
}

impl Plan {
    /// What a step does, or `None` if there is no such step.
    pub(super) fn work(&self, step: usize) -> Option<Work> {
        match self {
            Plan::Http(plan) => {
                let step = plan.steps.get(step)?;
                let name = name(&step.path);
                Some(match &step.action {
                    http::Action::Fetch | http::Action::Revalidate => Work::Read(name),
                    http::Action::FetchHeader { .. } => Work::Read(name),
                    http::Action::Store(bytes) => Work::Write(name, Some(Arc::clone(bytes))),
                    http::Action::Remove => Work::Write(name, None),
                })
            }
            Plan::Ftp(plan) => {
                let step = plan.steps.get(step)?;
                let name = name(&step.name);
                Some(match &step.action {
                    ftp::Action::Fetch(_) => Work::Read(name),
                    ftp::Action::Store(bytes) => Work::Write(name, Some(Arc::clone(bytes))),
                })
            }
        }
    }
}

fn name(said: &[u8]) -> Box<str> {
    String::from_utf8_lossy(said).trim_start_matches('/').to_lowercase().into()
}

/// How a step over HTTP ended.
pub(super) fn of_http(ending: http::Ending) -> Ended {
    match ending {
        http::Ending::Done => Ended::Done,
        http::Ending::Unchanged => Ended::Unchanged,
        http::Ending::Left => Ended::Left,
        http::Ending::Refused(404) => Ended::Missing,
        http::Ending::Refused(_) => Ended::Refused,
        http::Ending::Lost(_) | http::Ending::ConnectTimedOut | http::Ending::TimedOut => {
            Ended::Broken
        }
        http::Ending::Fault(_) => Ended::Fault,
    }
}

/// How a step over FTP ended.
pub(super) fn of_ftp(ending: ftp::Ending) -> Ended {
    match ending {
        ftp::Ending::Done => Ended::Done,
        ftp::Ending::Refused(Code::UNAVAILABLE) => Ended::Missing,
        ftp::Ending::Refused(_) => Ended::Refused,
        ftp::Ending::Lost(_) | ftp::Ending::DataLost(_) | ftp::Ending::TimedOut => Ended::Broken,
        ftp::Ending::Fault(_) => Ended::Fault,
    }
}
