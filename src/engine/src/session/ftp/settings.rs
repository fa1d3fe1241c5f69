//! What a session sets for itself, protection first, and what it is told of itself.
//!
//! Touches no file.

use crate::files::TreePath;
use crate::session::Turn;
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::engine::Engine;
use crate::session::ftp::session::{Closing, State, User, Who};
use crate::session::stream::ConnectionId;
use wire::ftp::command::{Mechanism, Protection, Type};
use wire::ftp::listing::Facts;
use wire::ftp::reply::{self, Code, Feature};

impl Engine {
    pub(super) fn choose_facts(&mut self, id: ConnectionId, facts: Facts) {
        let Some(session) = self.session_mut(id) else { return };
        session.facts = facts;
        let mut text = Vec::new();
        facts.write(&mut text);
        reply::line(&mut session.out, Code::OK, &text);
    }

    pub(super) fn features(&mut self, id: ConnectionId, turn: &Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let tls = self.has_tls(session.listener);
        // Nothing is announced that is not served; who has not logged in may be either.
        let is_phone = session.user == User::Phone;
        let manages = turn.snapshot.policy.ftp.administrators.is_some() && !is_phone;
        let active = turn.snapshot.policy.ftp.active;
        let facts = session.facts;
        let features = [
            (tls, Feature::AuthTls),
            (active, Feature::Eprt),
            (true, Feature::Epsv),
            (true, Feature::Mdtm),
            (manages, Feature::Mfmt),
            (manages, Feature::Mlst(facts)),
            (tls, Feature::Pbsz),
            (tls, Feature::Prot),
            (true, Feature::RestStream),
            (true, Feature::Size),
            (true, Feature::Tvfs),
            (true, Feature::Utf8),
        ];
        let features: Vec<_> =
            features.into_iter().filter(|(is, _)| *is).map(|(_, feature)| feature).collect();
        if let Some(session) = self.session_mut(id) {
            reply::features(&mut session.out, &features);
        }
    }

    pub(super) fn status(&mut self, id: ConnectionId) {
        let Some(session) = self.session_mut(id) else { return };
        let user = match &session.user {
            User::Administrator(name) => format!("Logged in as {name}."),
            User::Phone => match &session.proof {
                Some(proof) => format!("Logged in as {}.", proof.user.escape_ascii()),
                None => "Logged in as a telephone.".to_owned(),
            },
            User::Nobody | User::Named(_) => "Nobody is logged in.".to_owned(),
        };
        let commands = match &session.secured {
            Some(secured) => format!("Commands travel over {}.", secured.version),
            None => "Commands travel in clear.".to_owned(),
        };
        let data = match session.private {
            true => "Data is protected.",
            false => "Data travels in clear.",
        };
        let lines = [user.as_bytes(), commands.as_bytes(), data.as_bytes()];
        reply::lines(&mut session.out, Code::STATUS, b"Ringpost:", lines, b"End");
    }

    /// `AUTH`: TLS once the reply has left.
    pub(super) fn auth(&mut self, id: ConnectionId, mechanism: Mechanism, turn: &Turn<'_>) {
        let Some(listener) = self.session(id).map(|session| session.listener) else { return };
        let has_tls = self.has_tls(listener);
        let Some(session) = self.session_mut(id) else { return };
        if session.secured.is_some() {
            return self.reply(id, Code::WRONG_ORDER, "TLS is there already.");
        }
        if !has_tls {
            return self.reply(id, Code::POLICY_DENIED, "There is no TLS here.");
        }
        // RFC 4217, 4: whoever was logged in is not any more. What came in clear behind the command
        // is dropped, for anybody could have put it there.
        session.log_out(turn.now);
        session.who = Who::Unknown;
        session.private = mechanism == Mechanism::Ssl;
        session.unread = Vec::new();
        session.pending = CommandQueue::default();
        session.state = State::StartingTls;
        self.drop_data(id, Closing::Reset);
        self.reply_usual(id, Code::TLS_BEGINS);
    }

    pub(super) fn pbsz(&mut self, id: ConnectionId) {
        let Some(session) = self.session_mut(id) else { return };
        if session.secured.is_none() {
            return self.reply(id, Code::WRONG_ORDER, "Say AUTH TLS first.");
        }
        session.pbsz = true;
        self.reply(id, Code::OK, "PBSZ=0");
    }

    pub(super) fn prot(&mut self, id: ConnectionId, protection: Protection) {
        let Some(session) = self.session_mut(id) else { return };
        if !session.pbsz {
            let text = "Say AUTH TLS and PBSZ 0 first.";
            return self.reply(id, Code::WRONG_ORDER, text);
        }
        session.private = protection == Protection::Private;
        self.reply_usual(id, Code::OK);
    }

    /// `REIN`.
    pub(super) fn begin_anew(&mut self, id: ConnectionId, turn: &Turn<'_>) {
        self.drop_data(id, Closing::Reset);
        if let Some(session) = self.session_mut(id) {
            session.log_out(turn.now);
            session.who = Who::Unknown;
            session.cwd = TreePath::default();
            session.kind = Type::default();
            session.rest = 0;
            session.renaming = None;
            session.facts = Facts::ALL;
            session.epsv_all = false;
        }
        self.reply(id, Code::READY, "Begin anew.");
    }
}
