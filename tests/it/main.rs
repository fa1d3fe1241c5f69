//! The one integration test program: the built server met from outside, and the house rules.

mod tidy;
