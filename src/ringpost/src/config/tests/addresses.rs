//! Addresses and ports that no socket could be bound to.

use super::*;

#[test]
fn an_address_that_no_socket_can_have_is_told_with_the_one_that_is_meant() {
    let first = |listen: &str| {
        let text = format!("[tftp]\nlisten = [\"{listen}\", \"127.0.0.1:70\"]");
        validate(&text)
            .err()
            .and_then(|message| Some(message.0.first()?.to_string()))
            .unwrap_or_default()
    };
    let mapped = first("[::ffff:127.0.0.1]:69");
    assert!(
        mapped.ends_with("write it as \"127.0.0.1:69\", which is the same address"),
        "{mapped}"
    );
    let local = first("[fe80::1]:69");
    assert!(local.contains("such as \"[fe80::1%2]:69\" (ip link shows it)"), "{local}");
    for good in ["[fe80::1%2]:69", "[::1]:69", "[::]:69"] {
        assert_eq!(first(good), "");
    }
}

#[test]
fn a_range_of_ports_has_one_for_each_worker() {
    let range = |ports: &str| format!("workers = 2\n[tftp]\nports = \"{ports}\"");
    let needs = "and each of 2 workers needs one of its own; ";
    says(
        &range("30000-30000"),
        &format!("3: `ports` has 1 of them, {needs}write \"30000-30005\", or fewer `workers`"),
    );
    says(
        &range("65535-65535"),
        &format!("3: `ports` has 1 of them, {needs}name one of 6 ports, or write fewer `workers`"),
    );
    assert!(validate(&range("30000-30001")).is_ok());
}
