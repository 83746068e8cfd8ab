//! Turn taking: voice activity, endpointing, barge-in. Deciding code: no I/O, no clock, no allocation per frame.
