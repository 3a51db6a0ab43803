//! Sensitive headers, whose values no page shows: credentials, and those that `--redact` names.

use leeboard_policy::pattern::Pattern;

/// What stands for a value that is not shown.
pub(crate) const REDACTED: &str = "[redacted]";

/// Names of headers that are credentials.
const NAMES: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// Words of a name by which it is one of a credential: `x-api-key`, `x-csrf-token`.
const WORDS: [&str; 8] = ["apikey", "credential", "credentials", "key", "passwd", "password", "secret", "token"];

/// Tells names whose values are secret from others.
#[derive(Clone, Debug, Default)]
pub(crate) struct SensitiveHeaders {
    /// What the user names besides.
    pub(crate) named: Option<Pattern>,
}

impl SensitiveHeaders {
    /// Whether the value of a header, cookie or query parameter of this name is secret.
    pub(crate) fn hide(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        NAMES.contains(&&*name)
            || name.split(['-', '_', '.']).any(|word| WORDS.contains(&word))
            || self.named.as_ref().is_some_and(|named| named.matches(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::values;

    #[test]
    fn credentials_and_what_the_user_names_are_hidden() {
        let secrets = values::secrets("x-tenant|.*-internal").unwrap();
        for (name, hidden) in [
            ("authorization", true),
            ("Set-Cookie", true),
            ("x-api-key", true),
            ("X_Auth_Token", true),
            ("x-keyboard", false),
            ("x-tenant", true),
            ("x-tenant-id", false),
            ("x-internal", true),
            ("user-agent", false),
        ] {
            assert_eq!(secrets.hide(name), hidden, "{name}");
        }
        assert!(!values::secrets("").unwrap().hide("x-tenant"));
        assert!(values::secrets("(").is_err());
    }
}
