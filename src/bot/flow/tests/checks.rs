//! What the reader and the checks find, with the line of each.
