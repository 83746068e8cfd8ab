//! Offhook: the voice-bot engine for Asterisk.
