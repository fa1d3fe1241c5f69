//! What a telephone would get by FTP: by a name that all of them share, and by what it says over
//! SNMP of who uses it.

use super::{Told, Walk};
use crate::content::files::TreePath;
use crate::session::Protocol;
use crate::vault::deed::VaultPolicy;
use crate::vault::names::Item;
use crate::wire::name::FileName;

/// Whose data of the vault a name means.
enum Whose {
    /// That of the extension in the name.
    Named(Item),
    /// That of whoever is logged in.
    LoggedIn(&'static str),
}

impl Walk<'_> {
    pub(super) fn ftp(&self, told: &mut Told) -> Option<String> {
        let (policy, client) = (&self.settings.policy.ftp, self.question.client);
        let names: Vec<_> = policy.phones.iter().map(|name| &**name).collect();
        if names.is_empty() {
            told.step("log in", "no phone may: `phones` in [ftp] names nobody");
            return None;
        }
        told.step("log in", format_args!("as {}, with any password", names.join(" or ")));
        let permitted = self.permitted(Protocol::Ftp, "with 550", told);
        let path = TreePath::parse(&TreePath::default(), self.question.asked.as_bytes());
        let path = path.map(|path| path.to_string()).map_err(|why| why.to_string());
        let name =
            path.and_then(|path| FileName::parse(path.as_bytes()).map_err(|why| why.to_string()));
        let name = match name {
            Ok(name) => name,
            Err(why) => {
                told.step("name", format_args!("refused: {why}"));
                return None;
            }
        };
        if !permitted {
            return self.stand_in(&name, &policy.stack, told);
        }
        let vault = policy.vault.as_deref();
        let whose = vault.and_then(|vault| {
            let item = Item::parse(&name, &vault.prefixes).map(Whose::Named);
            let plain = || Item::without_extension(&name, &vault.prefixes).map(Whose::LoggedIn);
            Some((vault, item.or_else(plain)?))
        });
        if let Some((vault, whose)) = whose {
            let bypass = policy.bypass.iter().find(|net| net.contains(&client));
            return match bypass {
                Some(net) => unasked(&net.to_string(), vault, &whose, told),
                None => self.asked(vault, &whose, told),
            };
        }
        self.stored("store", &name, vault, told);
        self.routed(name.as_bytes(), &policy.stack, told)
    }

    /// What a phone gets that has to say who uses it.
    fn asked(&self, vault: &VaultPolicy, whose: &Whose, told: &mut Told) -> Option<String> {
        let (snmp, client) = (&self.settings.policy.ftp.snmp, self.question.client);
        if snmp.communities_for(client).next().is_none() {
            let why = "nobody: no community of [snmp] is for this address, so the phone cannot be \
                       asked and is refused; add one, or the address to `bypass` in [ftp]";
            told.step("who", why);
            return None;
        }
        let port = snmp.port;
        told.step(
            "who",
            format_args!(
                "the phone is asked by SNMP at port {port} who is logged in; see: ringpost snmp \
                 {client}"
            ),
        );
        let dir = vault.dir.display();
        match whose {
            Whose::Named(item) => {
                let extension = &item.extension;
                told.step("vault", format_args!("{item}, if it says {extension}; else refused"));
                told.step("store", "kept as a new version of it, on the same terms");
                Some(format!("the newest {item} of {dir}, if {extension} is logged in"))
            }
            Whose::LoggedIn(family) => {
                told.step("vault", format_args!("<what it says>_{family}.txt; refused if nothing"));
                told.step("store", "kept as a new version of it, on the same terms");
                Some(format!("the newest {family} of whoever is logged in, of {dir}"))
            }
        }
    }
}

/// What a phone gets that is not asked who uses it.
fn unasked(net: &str, vault: &VaultPolicy, whose: &Whose, told: &mut Told) -> Option<String> {
    told.step("who", format_args!("not asked: {net} of `bypass` in [ftp] may have anybody's data"));
    match whose {
        Whose::Named(item) => {
            told.step("vault", format_args!("{item}, whoever is logged in"));
            told.step("store", "kept as a new version of it");
            Some(format!("the newest {item} of {}", vault.dir.display()))
        }
        Whose::LoggedIn(_) => {
            let why = "refused: the name must begin with the extension, for the phone is not asked";
            told.step("vault", why);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Explained;
    use super::super::tests::told_at;
    use crate::session::Protocol;

    const FTP: &str = "data_dir = \"/d\"\n[ftp]\nlisten = [\"0.0.0.0:21\", \"[::]:21\"]\n\
                       tls_listen = [\"0.0.0.0:990\"]\nroot = [\"fw\", \"common\"]\n\
                       bypass = [\"10.9.0.0/16\"]\n[vault]\n\
                       [snmp]\ncommunities = [{ community = \"x\", from = [\"10.0.0.0/8\"] }]\n";

    fn told(asked: &str, client: &str) -> Explained {
        told_at(asked, client, FTP, Some(Protocol::Ftp), None)
    }

    #[test]
    fn a_file_of_the_roots_is_found_by_any_phone() {
        let explained = told("dir/A.txt", "10.1.2.3");
        assert_eq!(
            explained.text,
            "dir/A.txt asked by 10.1.2.3 over FTP at 0.0.0.0:21, [::]:21, 0.0.0.0:990\n\
             \x20 log in    as anonymous or ftp, with any password\n\
             \x20 access    allowed\n\
             \x20 store     refused: neither the vault nor an [[upload]] row takes it\n\
             \x20 name      the name is read as dir/a.txt\n\
             \x20 name      not in /d/fw\n\
             \x20 name      found in /d/common: Dir/A.txt, 77 bytes\n\
             \x20 served    /d/common/Dir/A.txt\n"
        );
        assert!(explained.served);
        assert!(!told("../a.txt", "10.1.2.3").served);
    }

    #[test]
    fn data_of_the_vault_depends_on_who_the_phone_says_is_logged_in() {
        let named = told("2001_4620data.txt", "10.1.2.3");
        let end = "served    the newest 2001_4620data.txt of /d/vault, if 2001 is logged in\n";
        assert!(named.served && named.text.ends_with(end), "{}", named.text);
        assert!(named.text.contains("see: ringpost snmp 10.1.2.3"));
        let plain = told("4621data.txt", "10.1.2.3");
        let end = "served    the newest 4620data of whoever is logged in, of /d/vault\n";
        assert!(plain.served && plain.text.ends_with(end), "{}", plain.text);
    }

    #[test]
    fn a_phone_that_is_not_asked_must_name_the_extension() {
        let named = told("2001_4620data.txt", "10.9.2.3");
        assert!(named.text.contains("who       not asked: 10.9.0.0/16 of `bypass`"));
        assert!(named.text.ends_with("served    the newest 2001_4620data.txt of /d/vault\n"));
        let plain = told("4620data.txt", "10.9.2.3");
        assert!(!plain.served && plain.text.contains("the name must begin with the extension"));
    }

    #[test]
    fn a_phone_that_cannot_be_asked_is_refused() {
        let explained = told("2001_4620data.txt", "192.168.1.1");
        assert!(!explained.served);
        assert!(explained.text.contains("no community of [snmp] is for this address"));
    }

    #[test]
    fn a_phone_that_is_not_on_the_list_or_may_not_log_in_gets_nothing() {
        let config = format!("{FTP}[access]\nftp_allow = [\"10.9.0.0/16\"]");
        let explained = told_at("dir/a.txt", "10.1.2.3", &config, Some(Protocol::Ftp), None);
        assert!(!explained.served);
        assert!(explained.text.contains("denied, with 550: the address is not on `ftp_allow`"));
        let config = FTP.replace("bypass", "users = \"boss.txt\"\nphones = []\nbypass");
        let explained = told_at("dir/a.txt", "10.1.2.3", &config, Some(Protocol::Ftp), None);
        assert!(!explained.served && explained.text.contains("names nobody"), "{explained:?}");
    }

    #[test]
    fn one_address_can_be_asked_about_alone() {
        let alone = told_at("dir/a.txt", "10.1.2.3", FTP, None, Some("0.0.0.0:990"));
        assert!(alone.text.starts_with("dir/a.txt asked by 10.1.2.3 over FTP at 0.0.0.0:990\n"));
        let nobody = told_at("dir/a.txt", "10.1.2.3", FTP, Some(Protocol::Http), None);
        assert!(nobody.text.contains("the configuration has ftp 0.0.0.0:21, ftp [::]:21, ftps"));
    }
}
