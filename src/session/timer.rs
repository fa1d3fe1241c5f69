//! Many deadlines, one wake-up.
