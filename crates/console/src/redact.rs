//! Takes secrets out of text before anyone sees it.
//!
//! What must hold: everything that leaves the program for a person (errors, logs, diagnosis reports, configuration)
//! passes through [`redact`], so a library that prints a URL or a header cannot leak a key. Masking something harmless
//! is acceptable; missing a secret in one of the shapes below is not.
//!
//! It deliberately knows shapes, not values: it cannot find a passphrase that stands alone in a sentence.

/// What a secret is replaced with.
const MASK: &str = "***";

/// Names whose value is a secret, in lower case with `-` and `.` turned into `_`, matched at the end of a name.
const SECRET_NAMES: [&str; 18] = [
    "access_key",
    "access_key_id",
    "accesskeyid",
    "account_key",
    "authorization",
    "client_secret",
    "passphrase",
    "password",
    "secret",
    "secret_access_key",
    "secretaccesskey",
    "secret_key",
    "session_token",
    "sessiontoken",
    "security_token",
    "token",
    "x_amz_credential",
    "x_amz_signature",
];

/// What stands for a key in an example to be typed: it is no secret, and hiding it would make the example useless.
const PLACEHOLDERS: [&str; 3] = ["ACCESS_KEY", "SECRET_KEY", "USER:PASSWORD"];

/// Parameters of a store URL that are no secret. A misspelt one may be meant for a secret, so every other is masked.
const OPEN_PARAMETERS: [&str; 4] = ["region", "endpoint", "path_style", "profile"];

/// The other parameters of a store URL: their names are no secret, their values are.
const SECRET_PARAMETERS: [&str; 3] = ["access_key", "secret_key", "session_token"];

/// No parameter of any tool has a longer name; what is longer may be a secret that stands where a name should.
const PARAMETER_NAME_MAX: usize = 24;

/// Outside a store's URL a text behind a `?` is often no parameter; one of this length may be a secret all the same.
const PASTED_MIN: usize = 16;

/// A recovery phrase has 24 words; a run of at least this many words of its shape is taken for one.
const PHRASE_WORDS_MIN: usize = 20;

/// Returns the text with every recognised secret replaced by `***`.
///
/// Recognised are: the user part of a URL, values of parameters, variables, headers and JSON or YAML keys whose name
/// says that they are secret, bearer tokens, AWS key ids, and recovery phrases.
#[must_use]
pub fn redact(text: &str) -> String {
    let text = mask_url_users(text);
    let text = mask_parameters(&text);
    let text = mask_named_values(&text);
    let text = mask_key_ids(&text);
    mask_phrases(&text)
}

/// Returns the text with the home directory shown as `~`, for a report that is to be pasted in public.
#[must_use]
pub fn redact_home(text: &str, home: &str) -> String {
    let home = home.trim_end_matches('/');
    if home.is_empty() {
        text.to_string()
    } else {
        text.replace(home, "~")
    }
}

/// `scheme://user:password@host` becomes `scheme://***@host`.
fn mask_url_users(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let authority_end = after
            .find(|c: char| c.is_whitespace() || user_ends(before).contains(c))
            .unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(user_end) => {
                let user = &after[..user_end];
                masked.push_str(if PLACEHOLDERS.contains(&user) {
                    user
                } else {
                    MASK
                });
                &after[user_end..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    masked
}

/// Which characters end the part of a URL in which a user may stand. The drivers of databases take all up to an `@` for user and password, so a
/// password that was typed there may have any of them.
fn user_ends(before: &str) -> &'static str {
    let is_database = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| before.to_ascii_lowercase().ends_with(scheme));
    match is_database {
        true => "\"'<>`",
        false => "/?#\"'<>`",
    }
}

/// Masks the values of all parameters of a URL but those that are known to be harmless; URLs of the web and their paths keep theirs.
fn mask_parameters(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
    let mut masked = String::with_capacity(text.len());
    for token in text.split_inclusive(is_end) {
        let body = token.trim_end_matches(is_end);
        let Some((before, query)) = body.split_once('?').filter(|(before, _)| {
            let is_web = before.contains("http:") || before.contains("https:");
            !is_web && !before.starts_with('/')
        }) else {
            masked.push_str(token);
            continue;
        };
        masked.push_str(before);
        for (index, pair) in query.split('&').enumerate() {
            masked.push(if index == 0 { '?' } else { '&' });
            masked.push_str(&shown_parameter(pair, before.contains("://")));
        }
        masked.push_str(&token[body.len()..]);
    }
    masked
}

fn shown_parameter(pair: &str, in_store_url: bool) -> String {
    // What ends a sentence is no part of the value; dots stand for something that is to be typed.
    let punctuation = pair.len() - pair.trim_end_matches([')', ',', ';', ':', '.', '…']).len();
    let (bare, end) = pair.split_at(pair.len() - punctuation);
    let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
    if OPEN_PARAMETERS.contains(&name) || (value.is_empty() && SECRET_PARAMETERS.contains(&name)) {
        return pair.to_owned();
    }
    // A key in base 64 may end in signs of equality.
    let has_value = !value.trim_matches('=').is_empty();
    let is_name = (1..=PARAMETER_NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"_-".contains(&byte));
    match (has_value, is_name) {
        (true, true) if PLACEHOLDERS.contains(&value) => pair.to_owned(),
        (true, true) => format!("{name}={MASK}{end}"),
        _ if bare.is_empty() => pair.to_owned(),
        _ if in_store_url || bare.len() >= PASTED_MIN => format!("{MASK}{end}"),
        _ => pair.to_owned(),
    }
}

/// Masks the value behind every secret name followed by `=` or `:`.
fn mask_named_values(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    let mut from = 0;
    while let Some(offset) = text[from..].find(['=', ':']) {
        let sign = from + offset;
        from = sign + 1;
        if sign < copied || !is_secret_name(name_before(&text[..sign])) {
            continue;
        }
        let (start, end) = value_span(text, sign + 1);
        let value = &text[start..end];
        if !value.trim_matches(['.', '…']).is_empty() && !PLACEHOLDERS.contains(&value) {
            masked.push_str(&text[copied..start]);
            masked.push_str(MASK);
            copied = end;
        }
    }
    masked.push_str(&text[copied..]);
    masked
}

/// Returns the name that ends where the text ends, looking through a closing quote.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches(['"', '\'', '\\', ' ']);
    let start = text
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
        .map_or(0, |at| {
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        });
    &text[start..]
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    SECRET_NAMES.iter().any(|secret| {
        name.strip_suffix(secret)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    })
}

/// Finds the value that begins at `from`: quoted up to the quote, else up to a separator. Only a header
/// (`authorization: Bearer x`) keeps its scheme word inside the value.
fn value_span(text: &str, from: usize) -> (usize, usize) {
    let rest = &text[from..];
    let padding = rest.len() - rest.trim_start_matches([' ', '\\']).len();
    let start = from + padding;
    let value = &text[start..];
    if let Some(quote @ ('"' | '\'')) = value.chars().next() {
        let inner = &value[1..];
        let length = inner.find([quote, '\\']).unwrap_or(inner.len());
        return (start + 1, start + 1 + length);
    }
    let scheme_length = ["Bearer ", "Basic ", "bearer ", "basic "]
        .iter()
        .find(|scheme| value.starts_with(**scheme))
        .map_or(0, |scheme| scheme.len());
    let value_end = |c: char| c.is_whitespace() || "&\"'`,;)}]>".contains(c);
    let length = value[scheme_length..]
        .find(value_end)
        .unwrap_or(value.len() - scheme_length);
    // A header that signs a request lists several fields; all of it belongs to the secret.
    if value.starts_with("AWS4-HMAC") {
        return (start, start + value.find('\n').unwrap_or(value.len()));
    }
    // A colon at the end belongs to the sentence around it.
    let secret = value[..scheme_length + length].trim_end_matches(':');
    (start, start + secret.len())
}

/// Masks AWS access key ids wherever they stand: four known letters and sixteen capitals or digits.
fn mask_key_ids(text: &str) -> String {
    const LENGTH: usize = 20;
    let bytes = text.as_bytes();
    let is_id_byte = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while at + LENGTH <= bytes.len() {
        let id = &bytes[at..at + LENGTH];
        let alone = (at == 0 || !is_id_byte(bytes[at - 1]))
            && bytes.get(at + LENGTH).is_none_or(|next| !is_id_byte(*next));
        if alone
            && (id.starts_with(b"AKIA") || id.starts_with(b"ASIA"))
            && id.iter().all(|byte| is_id_byte(*byte))
        {
            masked.push_str(&text[copied..at]);
            masked.push_str(MASK);
            copied = at + LENGTH;
            at = copied;
        } else {
            at += 1;
        }
    }
    masked.push_str(&text[copied..]);
    masked
}

/// Masks a long run of words shaped like those of a recovery phrase, numbered or not.
fn mask_phrases(text: &str) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut run: Option<(usize, usize, usize)> = None;
    for (start, end) in word_spans(text) {
        let word = &text[start..end];
        if is_phrase_word(word) {
            let (first, _, n_words) = run.unwrap_or((start, end, 0));
            run = Some((first, end, n_words + 1));
        } else if !is_ordinal(word) {
            spans.extend(
                run.take()
                    .filter(|run| run.2 >= PHRASE_WORDS_MIN)
                    .map(|run| (run.0, run.1)),
            );
        }
    }
    spans.extend(
        run.filter(|run| run.2 >= PHRASE_WORDS_MIN)
            .map(|run| (run.0, run.1)),
    );
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end) in spans {
        masked.push_str(&text[copied..start]);
        masked.push_str(MASK);
        copied = end;
    }
    masked.push_str(&text[copied..]);
    masked
}

fn word_spans(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().map(move |word| {
        let start = word.as_ptr() as usize - base;
        (start, start + word.len())
    })
}

fn is_phrase_word(word: &str) -> bool {
    (3..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_ordinal(word: &str) -> bool {
    word.trim_end_matches(['.', ')', ':']).parse::<u8>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(redact(input), expected);
        assert_eq!(
            redact(expected),
            expected,
            "redacting twice must change nothing"
        );
    }

    #[test]
    fn masks_secrets_in_urls() {
        check(
            "s3://b/p?region=us-west-2&access_key=a1&secret_key=b/2+3=",
            "s3://b/p?region=us-west-2&access_key=***&secret_key=***",
        );
        for name in [
            "secret_kye",
            "secret-key",
            "secretkey",
            "SECRETKEY",
            "acces_key",
        ] {
            check(
                &format!("`s3://b/p?region=eu&{name}=b/2+3=&endpoint=h:9000` is wrong"),
                &format!("`s3://b/p?region=eu&{name}=***&endpoint=h:9000` is wrong"),
            );
        }
        for (url, shown) in [
            ("s3://b?wJalr/K7MD+x", "s3://b?***"),
            (
                "`s3://b?region=eu&wJalr/K7MD==` is",
                "`s3://b?region=eu&***` is",
            ),
            (
                "s3://b?secret_key=ab&K7MD/x=y1, or",
                "s3://b?secret_key=***&***, or",
            ),
            (
                "s3://b?endpoint=https://h:9000&abc&secret_kye=x",
                "s3://b?endpoint=https://h:9000&***&secret_kye=***",
            ),
            ("my-bucket?wJalrXUtnFEMIK7MDENG", "my-bucket?***"),
            ("s3://b?region=&secret_key", "s3://b?region=&secret_key"),
            ("did you mean region? or a?b", "did you mean region? or a?b"),
            ("\"s3://BUCKET/PREFIX?…\"", "\"s3://BUCKET/PREFIX?…\""),
            (
                "s3://b?access_key=...&secret_key=... in quotes",
                "s3://b?access_key=...&secret_key=... in quotes",
            ),
            (
                "postgres://USER:PASSWORD@HOST:5432/DATABASE",
                "postgres://USER:PASSWORD@HOST:5432/DATABASE",
            ),
        ] {
            check(url, shown);
        }
        check(
            "my-bucket?secret_kye=abc, or",
            "my-bucket?secret_kye=***, or",
        );
        check(
            "http://user:pa:ss@proxy:8080/x and https://h/",
            "http://***@proxy:8080/x and https://h/",
        );
        for secret in ["pa/ss", "pa?ss", "pa#ss", "pa@ss"] {
            check(
                &format!("`postgres://me:{secret}@h/db` and Postgresql://me:{secret}@h/db"),
                "`postgres://***@h/db` and Postgresql://***@h/db",
            );
        }
        check(
            "GET /k?X-Amz-Signature=abc&X-Amz-Date=1",
            "GET /k?X-Amz-Signature=***&X-Amz-Date=1",
        );
        check(
            "mail a@b.org about https://c.org",
            "mail a@b.org about https://c.org",
        );
    }

    #[test]
    fn masks_named_values() {
        check(
            "AWS_SECRET_ACCESS_KEY=abc HX_SYNC_PASSPHRASE='two words' x=1",
            "AWS_SECRET_ACCESS_KEY=*** HX_SYNC_PASSPHRASE='***' x=1",
        );
        check(
            r#"{"secret_key":"s3cr3t","region":"eu"}"#,
            r#"{"secret_key":"***","region":"eu"}"#,
        );
        check(
            "authorization: Bearer abc.def, next",
            "authorization: ***, next",
        );
        check(
            "x-amz-security-token: IQoJ\nhost: h",
            "x-amz-security-token: ***\nhost: h",
        );
        check(
            "authorization: AWS4-HMAC-SHA256 Credential=x, Signature=y\nhost: h",
            "authorization: ***\nhost: h",
        );
        check(
            "passphrase_file: /home/me/pp, key: manifests/ab",
            "passphrase_file: /home/me/pp, key: manifests/ab",
        );
    }

    #[test]
    fn masks_key_ids_only_when_whole() {
        check("id AKIAIOSFODNN7EXAMPLE.", "id ***.");
        check(
            "XAKIAIOSFODNN7EXAMPLE and AKIASHORT",
            "XAKIAIOSFODNN7EXAMPLE and AKIASHORT",
        );
    }

    #[test]
    fn masks_recovery_phrases_but_not_prose() {
        let words = ["abandon", "zoo", "legal", "winner"].repeat(6);
        check(
            &format!("phrase: {} end.", words.join(" ")),
            "phrase: *** end.",
        );
        let numbered: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(n, word)| format!("{}. {word}", n + 1))
            .collect();
        assert!(!redact(&numbered.join("\n")).contains("winner"));
        let prose = "every command that you type on one machine can be found again on the other, and nobody in between can read it";
        check(prose, prose);
    }

    #[test]
    fn any_text_survives_without_panic() {
        for text in [
            "",
            "=",
            ":",
            "é=ü",
            "token=",
            "token='",
            "://@",
            "secret=é",
            "\u{1F600}token:\u{1F600}",
            "a://b://c@d",
        ] {
            let once = redact(text);
            assert_eq!(redact(&once), once, "{text}");
        }
    }

    #[test]
    fn home_becomes_a_tilde() {
        assert_eq!(
            redact_home("db /home/me/.local/x", "/home/me/"),
            "db ~/.local/x"
        );
        assert_eq!(redact_home("db /x", ""), "db /x");
    }
}
