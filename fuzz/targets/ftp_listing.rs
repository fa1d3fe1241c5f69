//! Any name as a line of LIST, NLST and MLSD: the first five bytes choose what else an entry says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::ftp::listing::check(bytes));
