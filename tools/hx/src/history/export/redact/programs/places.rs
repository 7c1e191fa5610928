//! Which programs take secrets as arguments that are known by their place, and which from their standard input.
//!
//! What must hold: an entry masks nothing where the same words mean something else; `tests/commands.rs` has both.
//!
//! What it deliberately does not do: look at a command line.

/// How a program takes a secret as an argument that is known by its place.
pub(super) struct Place {
    pub(super) programs: &'static [&'static str],
    /// Words that stand behind the program, in this order.
    pub(super) after: &'static [&'static str],
    /// What must be among its words besides.
    pub(super) with: With,
    pub(super) takes: Takes,
}

/// What must be among a program's words.
pub(super) enum With {
    Anything,
    /// A word that begins so.
    Word(&'static str),
    /// An option of letters with this one.
    Letter(char),
}

/// Which of the words that are no options is the secret.
pub(super) enum Takes {
    /// The one of this number, from 0.
    Nth(usize),
    Last,
    All,
    /// What comes after the sign in the first.
    After(char),
    /// The value of each `name=value`.
    Values,
    /// The word after this one.
    Follows(&'static str),
}

/// Programs that take `domain/name:secret@host`.
const IMPACKET: &[&str] = &[
    "impacket-secretsdump",
    "impacket-psexec",
    "impacket-wmiexec",
    "impacket-smbexec",
    "impacket-smbclient",
    "impacket-GetUserSPNs",
    "secretsdump.py",
    "psexec.py",
    "wmiexec.py",
    "smbexec.py",
    "smbclient.py",
    "GetUserSPNs.py",
];

pub(super) const PLACES: &[Place] = &[
    place(&["htpasswd"], &[], With::Letter('b'), Takes::Last),
    place(
        &["mysqladmin", "mariadb-admin"],
        &["password"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["cargo"], &["login"], With::Anything, Takes::Nth(0)),
    place(&["oathtool"], &[], With::Anything, Takes::Last),
    place(
        &["virsh"],
        &["secret-set-value"],
        With::Anything,
        Takes::Last,
    ),
    place(&["bw"], &["unlock"], With::Anything, Takes::Nth(0)),
    place(&["bw"], &["login"], With::Anything, Takes::Nth(1)),
    place(
        &["pulumi"],
        &["config", "set"],
        With::Word("--secret"),
        Takes::Last,
    ),
    place(&["vault", "bao"], &["login"], With::Anything, Takes::Nth(0)),
    place(&["vault", "bao"], &["login"], With::Anything, Takes::Values),
    place(
        &["vault", "bao"],
        &["unseal"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["vault", "bao"], &["put"], With::Anything, Takes::Values),
    place(&["vault", "bao"], &["patch"], With::Anything, Takes::Values),
    place(&["vault", "bao"], &["write"], With::Anything, Takes::Values),
    place(
        &["mc", "mcli"],
        &["alias", "set"],
        With::Anything,
        Takes::Nth(3),
    ),
    place(
        &["mc", "mcli"],
        &["host", "add"],
        With::Anything,
        Takes::Nth(3),
    ),
    place(
        &["mc", "mcli"],
        &["user", "add"],
        With::Anything,
        Takes::Nth(2),
    ),
    place(&["heroku"], &["config:set"], With::Anything, Takes::Values),
    place(&["heroku"], &["config:add"], With::Anything, Takes::Values),
    place(
        &["fly", "flyctl", "doppler", "supabase", "railway", "render"],
        &["secrets", "set"],
        With::Anything,
        Takes::Values,
    ),
    place(&["railway"], &["variables"], With::Anything, Takes::Values),
    place(&["eb"], &["setenv"], With::Anything, Takes::Values),
    place(&["dokku"], &["config:set"], With::Anything, Takes::Values),
    place(
        &["firebase"],
        &["functions:config:set"],
        With::Anything,
        Takes::Values,
    ),
    place(&["travis"], &["encrypt"], With::Anything, Takes::Values),
    place(
        &["netlify", "ntl"],
        &["env:set"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(
        &["rabbitmqctl"],
        &["add_user"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(
        &["rabbitmqctl"],
        &["change_password"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(
        &["rabbitmqctl"],
        &["authenticate_user"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(&["wpa_passphrase"], &[], With::Anything, Takes::Nth(1)),
    place(&["nmcli"], &[], With::Anything, Takes::Follows("password")),
    place(
        &["nmcli"],
        &[],
        With::Anything,
        Takes::Follows("wifi-sec.psk"),
    ),
    place(
        &["nmcli"],
        &[],
        With::Anything,
        Takes::Follows("802-11-wireless-security.psk"),
    ),
    place(
        &["composer", "poetry"],
        &["config"],
        With::Word("http-basic"),
        Takes::Last,
    ),
    place(&["openssl"], &["passwd"], With::Anything, Takes::Last),
    place(&["mkpasswd"], &[], With::Anything, Takes::Nth(0)),
    place(&["ngrok"], &["authtoken"], With::Anything, Takes::Nth(0)),
    place(
        &["ngrok"],
        &["add-authtoken"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["snyk"], &["auth"], With::Anything, Takes::Nth(0)),
    place(&["nuget"], &["setapikey"], With::Anything, Takes::Nth(0)),
    place(&["rclone"], &["obscure"], With::Anything, Takes::Nth(0)),
    place(
        &["rclone"],
        &["config"],
        With::Anything,
        Takes::Follows("pass"),
    ),
    place(
        &["rclone"],
        &["config"],
        With::Anything,
        Takes::Follows("secret_access_key"),
    ),
    place(
        &["rclone"],
        &["config"],
        With::Anything,
        Takes::Follows("key"),
    ),
    place(
        &["ansible-vault"],
        &["encrypt_string"],
        With::Anything,
        Takes::All,
    ),
    place(
        &["sqlplus", "expdp", "impdp", "exp", "imp", "rman", "sqlldr"],
        &[],
        With::Anything,
        Takes::After('/'),
    ),
    place(&["redis-cli"], &["AUTH"], With::Anything, Takes::Last),
    place(&["redis-cli"], &["auth"], With::Anything, Takes::Last),
    place(
        &["redis-cli"],
        &["requirepass"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(
        &["redis-cli"],
        &["masterauth"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["iwconfig"], &[], With::Anything, Takes::Follows("key")),
    place(&["net"], &["use"], With::Anything, Takes::All),
    place(&["isql"], &[], With::Anything, Takes::Nth(2)),
    place(&["qpdf"], &["--encrypt"], With::Anything, Takes::Nth(0)),
    place(&["qpdf"], &["--encrypt"], With::Anything, Takes::Nth(1)),
    place(&["pdftk"], &[], With::Anything, Takes::Follows("user_pw")),
    place(&["pdftk"], &[], With::Anything, Takes::Follows("owner_pw")),
    place(&["pdftk"], &[], With::Anything, Takes::Follows("input_pw")),
    place(
        &["cloudflared"],
        &["service", "install"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["drush"], &["upwd"], With::Anything, Takes::Nth(1)),
    place(
        &["drush"],
        &["user:password"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(&["bundle"], &["config"], With::Anything, Takes::After(':')),
    place(
        &["composer"],
        &["config"],
        With::Word("github-oauth"),
        Takes::Last,
    ),
    place(
        &["samba-tool"],
        &["user", "create"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(
        &["samba-tool"],
        &["user", "add"],
        With::Anything,
        Takes::Nth(1),
    ),
    place(IMPACKET, &[], With::Anything, Takes::After(':')),
    place(&["net"], &["user"], With::Anything, Takes::Nth(1)),
];

const fn place(
    programs: &'static [&'static str],
    after: &'static [&'static str],
    with: With,
    takes: Takes,
) -> Place {
    Place {
        programs,
        after,
        with,
        takes,
    }
}

/// Commands that take a secret from their standard input.
pub(super) struct Reader {
    /// Words that are all among theirs.
    pub(super) words: &'static [&'static str],
    /// Whether the first of these must be the program itself: it is too common a word else.
    pub(super) is_first: bool,
}

const fn reader(words: &'static [&'static str]) -> Reader {
    Reader {
        words,
        is_first: false,
    }
}

const fn program(words: &'static [&'static str]) -> Reader {
    Reader {
        words,
        is_first: true,
    }
}

pub(super) const READERS: &[Reader] = &[
    reader(&["sudo", "--stdin"]),
    reader(&["passwd", "--stdin"]),
    reader(&["openssl", "stdin"]),
    reader(&["openssl", "passwd", "-stdin"]),
    reader(&["curl", "-K"]),
    reader(&["curl", "--config"]),
    reader(&["chpasswd"]),
    reader(&["smbpasswd"]),
    reader(&["cryptsetup"]),
    reader(&["kinit"]),
    reader(&["--password-stdin"]),
    reader(&["--passphrase-fd"]),
    reader(&["--passphrase-fd=0"]),
    reader(&["--with-token"]),
    reader(&["--secret-stdin"]),
    reader(&["wrangler", "secret"]),
    reader(&["gh", "secret", "set"]),
    reader(&["vercel", "env", "add"]),
    reader(&["docker", "secret", "create"]),
    reader(&["podman", "secret", "create"]),
    reader(&["faas-cli", "secret"]),
    reader(&["gcloud", "secrets"]),
    reader(&["fly", "secrets"]),
    reader(&["flyctl", "secrets"]),
    reader(&["secret-tool", "store"]),
    reader(&["ansible-vault", "encrypt_string"]),
    reader(&["kubeseal"]),
    reader(&["--passwd-on-stdin"]),
    reader(&["password_stdin"]),
    program(&["keepassxc-cli"]),
    program(&["lpass", "login"]),
    reader(&["op", "signin"]),
    reader(&["systemd-creds", "encrypt"]),
    reader(&["htpasswd", "-i"]),
    reader(&["keyctl", "padd"]),
    program(&["pass", "insert"]),
    program(&["passwd"]),
    program(&["gpasswd"]),
    program(&["vncpasswd"]),
    program(&["su"]),
    program(&["base64"]),
    program(&["ssh-add"]),
];
