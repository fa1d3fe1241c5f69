//! What a session sets for itself, protection first, and what it is told of itself.
//!
//! Touches no file.

use crate::files::TreePath;
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::context::Context;
use crate::session::ftp::session::{Closing, Identity, Session, State, User};
use wire::ftp::command::{Mechanism, Protection, Type};
use wire::ftp::listing::Facts;
use wire::ftp::reply::{self, Code, Feature};

impl Session {
    pub(super) fn choose_facts(&mut self, facts: Facts) {
        self.facts = facts;
        let mut text = Vec::new();
        facts.write(&mut text);
        reply::line(&mut self.out, Code::OK, &text);
    }

    pub(super) fn features(&mut self, cx: &mut Context<'_>) {
        let tls = cx.shared.has_tls(self.listener);
        // Nothing is announced that is not served; who has not logged in may be either.
        let is_phone = self.user == User::Phone;
        let manages = cx.snapshot.policy.ftp.administrators.is_some() && !is_phone;
        let active = cx.snapshot.policy.ftp.active;
        let facts = self.facts;
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
        reply::features(&mut self.out, &features);
    }

    pub(super) fn status(&mut self) {
        let user = match &self.user {
            User::Administrator(name) => format!("Logged in as {name}."),
            User::Phone => match &self.proof {
                Some(proof) => format!("Logged in as {}.", proof.user.escape_ascii()),
                None => "Logged in as a telephone.".to_owned(),
            },
            User::Nobody | User::Named(_) => "Nobody is logged in.".to_owned(),
        };
        let commands = match &self.secured {
            Some(secured) => format!("Commands travel over {}.", secured.version),
            None => "Commands travel in clear.".to_owned(),
        };
        let data = match self.private {
            true => "Data is protected.",
            false => "Data travels in clear.",
        };
        let lines = [user.as_bytes(), commands.as_bytes(), data.as_bytes()];
        reply::lines(&mut self.out, Code::STATUS, b"Ringpost:", lines, b"End");
    }

    /// `AUTH`: TLS once the reply has left.
    pub(super) fn auth(&mut self, mechanism: Mechanism, cx: &mut Context<'_>) {
        if self.secured.is_some() {
            return self.reply(Code::WRONG_ORDER, "TLS is there already.");
        }
        if !cx.shared.has_tls(self.listener) {
            return self.reply(Code::POLICY_DENIED, "There is no TLS here.");
        }
        // RFC 4217, 4: whoever was logged in is not any more. What came in clear behind the command
        // is dropped, for anybody could have put it there.
        self.log_out(cx.now);
        self.who = Identity::Unknown;
        self.private = mechanism == Mechanism::Ssl;
        self.unread = Vec::new();
        self.pending = CommandQueue::default();
        self.state = State::StartingTls;
        self.drop_data(Closing::Reset, cx);
        self.reply_usual(Code::TLS_BEGINS);
    }

    pub(super) fn pbsz(&mut self) {
        if self.secured.is_none() {
            return self.reply(Code::WRONG_ORDER, "Say AUTH TLS first.");
        }
        self.pbsz = true;
        self.reply(Code::OK, "PBSZ=0");
    }

    pub(super) fn prot(&mut self, protection: Protection) {
        if !self.pbsz {
            let text = "Say AUTH TLS and PBSZ 0 first.";
            return self.reply(Code::WRONG_ORDER, text);
        }
        self.private = protection == Protection::Private;
        self.reply_usual(Code::OK);
    }

    /// `REIN`.
    pub(super) fn begin_anew(&mut self, cx: &mut Context<'_>) {
        self.drop_data(Closing::Reset, cx);
        self.log_out(cx.now);
        self.who = Identity::Unknown;
        self.cwd = TreePath::default();
        self.kind = Type::default();
        self.rest = 0;
        self.renaming = None;
        self.facts = Facts::ALL;
        self.epsv_all = false;
        self.reply(Code::READY, "Begin anew.");
    }
}
