//! Commands that set or report the state of a session, protection first.
//!
//! Touches no file.

use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Closing, Identity, Session, SessionState, Settings, User};
use wire::ftp::command::{Mechanism, Protection};
use wire::ftp::listing::Facts;
use wire::ftp::reply::{self, Code, Feature};

impl Session {
    pub(super) fn choose_facts(&mut self, facts: Facts) {
        self.settings.facts = facts;
        let mut text = Vec::new();
        facts.write(&mut text);
        reply::line(&mut self.replies.bytes, Code::OK, &text);
    }

    pub(super) fn features(&mut self, cx: &mut Context<'_>) {
        let tls = cx.shared.has_tls(self.listener);
        // Only available features are announced; before login the client may be of either kind.
        let is_phone = matches!(self.login.user, User::Phone(_));
        let manages = cx.snapshot.policy.ftp.administrators.is_some() && !is_phone;
        let active = cx.snapshot.policy.ftp.active;
        let facts = self.settings.facts;
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
        reply::features(&mut self.replies.bytes, &features);
    }

    pub(super) fn status(&mut self) {
        let user = match &self.login.user {
            User::Administrator(name) => format!("Logged in as {name}."),
            User::Phone(proof) => match proof {
                Some(proof) => format!("Logged in as {}.", proof.user.escape_ascii()),
                None => "Logged in as a phone.".to_owned(),
            },
            User::Nobody | User::Named(_) => "Nobody is logged in.".to_owned(),
        };
        let commands = match self.security.link.secured() {
            Some(secured) => format!("Commands travel over {}.", secured.version),
            None => "Commands travel in clear.".to_owned(),
        };
        let data = match self.security.private {
            true => "Data is protected.",
            false => "Data travels in clear.",
        };
        let lines = [user.as_bytes(), commands.as_bytes(), data.as_bytes()];
        reply::lines(&mut self.replies.bytes, Code::STATUS, b"Ringpost:", lines, b"End");
    }

    /// `AUTH`: TLS starts once the reply has left.
    pub(super) fn auth(&mut self, mechanism: Mechanism, cx: &mut Context<'_>) {
        if self.security.link.secured().is_some() {
            return self.reply(Code::WRONG_ORDER, "TLS is there already.");
        }
        if !cx.shared.has_tls(self.listener) {
            return self.reply(Code::POLICY_DENIED, "There is no TLS here.");
        }
        // RFC 4217, 4: a logged-in client is logged out. Bytes that came in clear after the command
        // are dropped, because an attacker could have inserted them.
        self.log_out(cx.now);
        self.login.identity = Identity::Unknown;
        self.security.private = mechanism == Mechanism::Ssl;
        self.input.unread = Vec::new();
        self.input.queued = CommandQueue::default();
        self.state = SessionState::StartingTls;
        self.drop_data(Closing::Reset, cx);
        self.reply_usual(Code::TLS_BEGINS);
    }

    pub(super) fn pbsz(&mut self) {
        if self.security.link.secured().is_none() {
            return self.reply(Code::WRONG_ORDER, "Say AUTH TLS first.");
        }
        self.security.pbsz = true;
        self.reply(Code::OK, "PBSZ=0");
    }

    pub(super) fn prot(&mut self, protection: Protection) {
        if !self.security.pbsz {
            let text = "Say AUTH TLS and PBSZ 0 first.";
            return self.reply(Code::WRONG_ORDER, text);
        }
        self.security.private = protection == Protection::Private;
        self.reply_usual(Code::OK);
    }

    /// `REIN`.
    pub(super) fn begin_anew(&mut self, cx: &mut Context<'_>) {
        self.drop_data(Closing::Reset, cx);
        self.log_out(cx.now);
        self.login.identity = Identity::Unknown;
        self.settings = Settings::default();
        self.reply(Code::READY, "Begin anew.");
    }
}
