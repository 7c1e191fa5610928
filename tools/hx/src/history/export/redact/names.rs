//! Names whose value is a secret: of variables, options, parameters and headers.
//!
//! What must hold: the answer hangs on nothing but the name, and is the same for `db-pass`, `DB_PASS`, `db.pass` and `dbPass`.
//!
//! What it deliberately does not do: look at values. A name that only says where a secret is, or something about it, is none.

/// Parts of names whose value is a secret, without what stands between words.
const PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accountkey",
    "privatekey",
    "credential",
    "pwd",
    "authkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "storagekey",
    "sharedkey",
    "licensekey",
    "subscriptionkey",
    "mnemonic",
    "connectionstring",
];

/// Last words of such names; also as the end of a longer word: `dbpass`, `rootpw`.
const LAST_ENDS: &[&str] = &["pass", "pw"];

/// Last words of such names, as they are.
const LAST_WORDS: &[&str] = &["psk", "otp", "jwt", "creds", "signature", "sas"];

/// Words that end so and mean something else.
const NOT_PASS: &[&str] = &[
    "bypass",
    "compass",
    "encompass",
    "overpass",
    "surpass",
    "trespass",
    "underpass",
    "multipass",
    "lowpass",
    "highpass",
];

/// Words that are secrets in names all in capitals, wherever they stand: `export DEPLOY_KEY=…`.
const LOUD_WORDS: &[&str] = &["key", "keys", "pat"];

/// Last words of such names: `REDISCLI_AUTH`.
const LOUD_LAST: &[&str] = &["auth"];

/// Names of sessions that are as good as a password, or how they begin.
const SESSIONS: &[&str] = &[
    "bw_session",
    "op_session",
    "phpsessid",
    "jsessionid",
    "sessionid",
];

/// Last words of names whose value says where a secret is, or something about it.
const HARMLESS_LAST: &[&str] = &[
    "file",
    "path",
    "name",
    "id",
    "stdin",
    "url",
    "uri",
    "length",
    "policy",
    "type",
    "env",
    "count",
    "dir",
    "fd",
    "ttl",
    "expiry",
    "expires",
    "issuer",
    "endpoint",
    "host",
    "user",
    "username",
    "prompt",
    "arn",
    "version",
    "algorithm",
    "bits",
    "size",
    "store",
    "format",
    "usage",
    "limit",
];

/// Words that make a key no secret, or a token no password.
const HARMLESS_WORDS: &[&str] = &["public", "pub", "tokenizer", "max", "min", "num"];

/// Parameters of an address that grant something, without regard to capitals.
const URL_PARAMETERS: &[&str] = &[
    "sig",
    "signature",
    "x_amz_signature",
    "x_goog_signature",
    "key",
    "auth",
    "hmac",
    "pass",
    "code",
];

/// Ways to authorize that may stand before the secret in a header.
const SCHEMES: &[&str] = &[
    "bearer",
    "basic",
    "token",
    "digest",
    "apikey",
    "key",
    "bot",
    "negotiate",
    "ntlm",
    "hawk",
    "hmac",
    "splunk",
    "geniekey",
    "ssws",
    "aws4-hmac-sha256",
    "sso-key",
];

/// A name as the lists above have it: in small letters, with `_` between its words.
pub(super) fn simple(name: &str) -> String {
    let mut plain = String::with_capacity(name.len() + 4);
    let mut before_is_small = false;
    for c in name.trim_start_matches('-').chars() {
        if c.is_ascii_uppercase() && before_is_small {
            plain.push('_');
        }
        before_is_small = c.is_ascii_lowercase();
        plain.push(match c {
            '-' | '.' => '_',
            c => c.to_ascii_lowercase(),
        });
    }
    plain
}

/// Whether this is a header whose value is a secret to its end.
pub(super) fn is_header(simple: &str) -> bool {
    matches!(
        simple,
        "authorization" | "proxy_authorization" | "x_authorization" | "cookie" | "set_cookie"
    )
}

/// The length of the words before the secret in such a header.
pub(super) fn scheme_length(value: &str) -> usize {
    let word = value.split([' ', '\\']).next().unwrap_or_default();
    let blanks = value[word.len()..]
        .bytes()
        .take_while(|byte| b" \\".contains(byte));
    match SCHEMES.contains(&&*word.to_ascii_lowercase()) {
        true => word.len() + blanks.count(),
        false => 0,
    }
}

/// Whether the value of a variable, option or parameter of this name is a secret.
pub(super) fn means_secret(name: &str) -> bool {
    let plain = simple(name);
    if SESSIONS.iter().any(|session| plain.starts_with(session)) {
        return true;
    }
    let words: Vec<&str> = plain.split('_').filter(|word| !word.is_empty()).collect();
    let Some(last) = words.last() else {
        return false;
    };
    if HARMLESS_LAST.contains(last) || words.iter().any(|word| HARMLESS_WORDS.contains(word)) {
        return false;
    }
    let joined = words.concat();
    let ends_so = |end: &&str| last.ends_with(*end) && !NOT_PASS.contains(last);
    let is_loud = name.bytes().all(|byte| !byte.is_ascii_lowercase());
    PARTS.iter().any(|part| joined.contains(part))
        || LAST_ENDS.iter().any(ends_so)
        || LAST_WORDS.contains(last)
        || (is_loud && LOUD_LAST.contains(last))
        || (is_loud && words.iter().any(|word| LOUD_WORDS.contains(word)))
}

/// Whether this is an option whose value is the next word: `--db-password`, or `-password` as some programs have it, if that cannot be
/// letters in one word.
pub(super) fn is_secret_option(name: &str) -> bool {
    if name.starts_with("--") {
        return means_secret(name);
    }
    let plain = simple(name);
    let last = plain.rsplit('_').next().unwrap_or_default();
    name.starts_with('-') && PARTS.contains(&last)
}

/// Whether this names a file that holds a secret: `--password-file`.
pub(super) fn means_secret_file(name: &str) -> bool {
    let joined = simple(name).replace('_', "");
    PARTS.iter().any(|part| joined.contains(part))
}

/// Whether this is a parameter of an address that grants something.
pub(super) fn grants(name: &str) -> bool {
    URL_PARAMETERS.contains(&&*simple(name))
}
