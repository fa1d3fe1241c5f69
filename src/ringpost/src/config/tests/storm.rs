//! The order of service.

use super::*;
use engine::admission::order::{OrderLimits, ServiceOrder};

#[test]
fn an_answer_cannot_be_put_off_for_longer_than_phones_wait() {
    let faults = validate("[tftp]\n[storm]\ndelay_max = \"5s\"").unwrap_err().to_string();
    assert!(
        faults.contains("`delay_max` is longer than 2 s, in which phones ask again"),
        "{faults}"
    );
    let settings = validate("[tftp]\n[storm]\norder = \"first_come\"\nat_once = 64").unwrap();
    let expected =
        OrderLimits { order: ServiceOrder::FirstCome, at_once: 64, ..OrderLimits::default() };
    assert_eq!(settings.policy.order, expected);
}
