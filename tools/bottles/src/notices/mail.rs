//! Notices by mail, over SMTP.
//!
//! What must hold: a password goes only over TLS, unless the server is on this machine; no error has one in it.

use super::secret::Secret;
use super::{Notice, SendError};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;
use std::fmt::Write;
use std::time::Duration;
use url::Url;

/// The ports of mail that is handed in: RFC 6409, and with TLS from the start RFC 8314.
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;

/// Sends mail.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mailer {
    /// Makes one: `server` is `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://...` for STARTTLS.
    ///
    /// # Errors
    /// Says what is wrong, without any secret.
    pub fn new(server: &Secret, from: Option<&str>, to: &[String]) -> Result<Mailer, String> {
        // Unless one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url: Url = server
            .word()?
            .parse()
            .map_err(|_| "the mail server's address is none".to_owned())?;
        let host = url.host_str().unwrap_or("").to_owned();
        if host.is_empty() {
            return Err("the mail server's address names no host".to_owned());
        }
        let is_local = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        let has_user = !url.username().is_empty();
        let tls = || {
            TlsParameters::new(host.clone())
                .map_err(|_| "TLS to the mail server cannot be set up".to_owned())
        };
        let (tls, port) = match url.scheme() {
            "smtps" => (Tls::Wrapper(tls()?), SUBMISSIONS),
            "smtp" if is_local && !has_user => (Tls::None, 25),
            "smtp" if is_local => (Tls::Opportunistic(tls()?), SUBMISSION),
            "smtp" => (Tls::Required(tls()?), SUBMISSION),
            _ => return Err("the mail server's address is neither smtps:// nor smtp://".to_owned()),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(url.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(Duration::from_secs(5)));
        if has_user {
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let password = plain(url.password().unwrap_or(""));
            builder = builder.credentials(Credentials::new(plain(url.username()), password));
        }
        let mailbox = |text: &str| {
            let parsed = text.trim().parse::<Mailbox>();
            parsed.map_err(|_| format!("{text:?} is no mail address"))
        };
        let to = to
            .iter()
            .map(|text| mailbox(text))
            .collect::<Result<Vec<_>, _>>()?;
        let first = to.first().ok_or("it is not said to whom mail goes")?;
        Ok(Mailer {
            from: from
                .map(mailbox)
                .transpose()?
                .unwrap_or_else(|| first.clone()),
            transport: builder.build(),
            host,
            to,
        })
    }

    pub(super) fn place(&self) -> String {
        let to: Vec<String> = self.to.iter().map(|to| to.email.to_string()).collect();
        format!("{} by {}", to.join(", "), self.host)
    }

    pub(super) async fn send(&self, notice: &Notice) -> Result<String, SendError> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("[homebrew-sync] {}", notice.title))
            .date_now();
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message
            .body(text(notice))
            .map_err(|error| SendError::new(error.to_string(), "check the mail addresses"))?;
        match self.transport.send(message).await {
            Ok(answer) => {
                let said: Vec<&str> = answer.message().collect();
                Ok(format!("{} {}", answer.code(), said.join(" "))
                    .trim()
                    .to_owned())
            }
            Err(error) => Err(refused(&error)),
        }
    }
}

fn refused(error: &lettre::transport::smtp::Error) -> SendError {
    let mut what = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        if !what.contains(&text) {
            what = format!("{what}: {text}");
        }
        source = error.source();
    }
    let what = console::redact(&what);
    match () {
        () if error.is_transient() => SendError::new(what, "the server asks to try again later"),
        () if error.is_permanent() => SendError::new(
            what,
            "check user and password, and whether the server takes mail from that sender to that address",
        ),
        () => SendError::new(what, "check the mail server's address, and its certificate"),
    }
}

/// The text of a mail.
fn text(notice: &Notice) -> String {
    let mut text = format!("{}\n\n", notice.title);
    for (name, value) in &notice.fields {
        // A string takes everything.
        let _ = writeln!(text, "{name}: {value}");
    }
    if !notice.details.is_empty() {
        let _ = write!(text, "\n{}\n", notice.details.join("\n"));
    }
    let _ = write!(
        text,
        "\n{}\n",
        notice.time.strftime("%Y-%m-%d %H:%M:%S UTC")
    );
    text
}
