//! TOML → checked configuration. An unknown key, an impossible value or a contradiction is an error that says what
//! would be right. `config/default.toml` explains every key and is compiled in.
