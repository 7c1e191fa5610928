//! Which programs take secrets, and how: as options, by their place, from their standard input.
//!
//! What must hold: an entry masks nothing where the same letters mean something else; `tests/commands.rs` has both for each.
//!
//! What it deliberately does not do: look at a command line.

/// How a group of programs takes secrets.
pub(super) struct Rule {
    pub(super) programs: &'static [&'static str],
    /// Only if these words stand before the option.
    pub(super) only_with: &'static [&'static str],
    /// Whether its options end at the first word that is none: what follows is a program of its own.
    pub(super) ends_at_a_word: bool,
    /// Options whose value is the next word.
    pub(super) apart: &'static [&'static str],
    /// Options whose value follows without a blank.
    pub(super) glued: &'static [&'static str],
    /// Options whose next word is a name, one of these signs, and the secret.
    pub(super) half: &'static [(&'static str, char)],
    /// Letters without a value that may stand before an option in one word: `-su name:secret`.
    pub(super) flags: &'static str,
}

const NONE: Rule = Rule {
    programs: &[],
    only_with: &[],
    ends_at_a_word: false,
    apart: &[],
    glued: &[],
    half: &[],
    flags: "",
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        programs: &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlsh",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
        ],
        glued: &["-p"],
        flags: "ABCEGHNLbcfinoqrstvwWX",
        ..NONE
    },
    Rule {
        programs: &[
            "docker",
            "podman",
            "nerdctl",
            "buildah",
            "skopeo",
            "helm",
            "oras",
            "crane",
            "az",
            "cf",
            "oc",
            "ibmcloud",
            "singularity",
            "apptainer",
        ],
        only_with: &["login"],
        apart: &["-p"],
        glued: &["-p"],
        ..NONE
    },
    Rule {
        programs: &[
            "mongo",
            "mongosh",
            "mongodump",
            "mongorestore",
            "mongoexport",
            "mongoimport",
            "mongostat",
            "twine",
            "cqlsh",
            "useradd",
            "usermod",
            "evil-winrm",
            "crackmapexec",
            "netexec",
            "nxc",
            "yt-dlp",
            "youtube-dl",
            "ncftp",
            "ncftpput",
            "ncftpget",
        ],
        apart: &["-p"],
        glued: &["-p"],
        flags: "vV",
        ..NONE
    },
    Rule {
        programs: &["sshpass"],
        ends_at_a_word: true,
        apart: &["-p"],
        glued: &["-p"],
        flags: "vV",
        ..NONE
    },
    Rule {
        programs: &["openssl"],
        apart: &["-k", "-K"],
        half: &[("-pass", ':'), ("-passin", ':'), ("-passout", ':')],
        ..NONE
    },
    Rule {
        programs: &["curl"],
        half: &[
            ("-u", ':'),
            ("--user", ':'),
            ("-U", ':'),
            ("--proxy-user", ':'),
            ("-E", ':'),
            ("--cert", ':'),
            ("-b", '='),
            ("--cookie", '='),
        ],
        apart: &["--oauth2-bearer"],
        flags: "#0123456789afgGiIjJklLMnNOpqRsSvVZ",
        ..NONE
    },
    Rule {
        programs: &["http", "https", "xh"],
        half: &[("-a", ':'), ("--auth", ':')],
        ..NONE
    },
    Rule {
        programs: &["smbclient", "rpcclient"],
        half: &[("-U", '%'), ("--user", '%')],
        ..NONE
    },
    Rule {
        programs: &["lftp"],
        half: &[("-u", ',')],
        ..NONE
    },
    Rule {
        programs: &["redis-cli"],
        apart: &["-a", "--pass"],
        ..NONE
    },
    Rule {
        programs: &[
            "ldapsearch",
            "ldapadd",
            "ldapmodify",
            "ldapdelete",
            "ldapwhoami",
        ],
        apart: &["-w"],
        glued: &["-w"],
        flags: "LxnvcZQ",
        ..NONE
    },
    Rule {
        programs: &["zip", "unzip", "sqlcmd", "bcp"],
        apart: &["-P"],
        glued: &["-P"],
        flags: "0123456789AcCdDefFjJklLmopqrSTuvXyz",
        ..NONE
    },
    Rule {
        programs: &["7z", "7za", "7zz", "rar", "unrar"],
        glued: &["-p", "-hp"],
        ..NONE
    },
    Rule {
        programs: &["ssh-keygen"],
        apart: &["-N", "-P"],
        ..NONE
    },
    Rule {
        programs: &["keytool", "jarsigner"],
        apart: &[
            "-storepass",
            "-keypass",
            "-srcstorepass",
            "-deststorepass",
            "-new",
        ],
        ..NONE
    },
    Rule {
        programs: &["xfreerdp", "wlfreerdp"],
        glued: &["/p:"],
        ..NONE
    },
    Rule {
        programs: &["kubectl", "oc"],
        half: &[("--from-literal", '=')],
        ..NONE
    },
    Rule {
        programs: &["influx"],
        apart: &["-password", "-p", "-t"],
        ..NONE
    },
    Rule {
        programs: &[
            "snmpwalk",
            "snmpget",
            "snmpset",
            "snmpgetnext",
            "snmpbulkwalk",
            "snmpbulkget",
            "snmptrap",
            "snmpinform",
            "snmptable",
            "snmpdf",
        ],
        apart: &["-c", "-A", "-X"],
        glued: &["-c"],
        ..NONE
    },
    Rule {
        programs: &["ipmitool", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr"],
        apart: &["-P", "--pw"],
        glued: &["-P"],
        ..NONE
    },
    Rule {
        programs: &["gh"],
        only_with: &["secret", "set"],
        apart: &["-b", "--body"],
        ..NONE
    },
    Rule {
        programs: &["az"],
        only_with: &["secret", "set"],
        apart: &["--value"],
        ..NONE
    },
    Rule {
        programs: &["aws"],
        only_with: &["put-parameter"],
        apart: &["--value"],
        ..NONE
    },
    Rule {
        programs: &["poetry"],
        only_with: &["publish"],
        apart: &["-p"],
        ..NONE
    },
    Rule {
        programs: &["dotnet", "nuget"],
        only_with: &["push"],
        apart: &["-k", "-ApiKey"],
        ..NONE
    },
    Rule {
        programs: &["doctl"],
        only_with: &["init"],
        apart: &["-t"],
        ..NONE
    },
    Rule {
        programs: &["security"],
        only_with: &["add-generic-password"],
        apart: &["-w"],
        ..NONE
    },
    Rule {
        programs: &["security"],
        only_with: &["add-internet-password"],
        apart: &["-w"],
        ..NONE
    },
    Rule {
        programs: &["security"],
        only_with: &["unlock-keychain"],
        apart: &["-p"],
        ..NONE
    },
    Rule {
        programs: &["plink", "pscp", "psftp", "putty"],
        apart: &["-pw"],
        ..NONE
    },
    Rule {
        programs: &["x11vnc"],
        apart: &["-passwd"],
        ..NONE
    },
    Rule {
        programs: &["rdesktop", "psexec", "psexec.py"],
        apart: &["-p"],
        ..NONE
    },
    Rule {
        programs: &["swaks"],
        apart: &["-ap"],
        ..NONE
    },
    Rule {
        programs: &["caddy"],
        apart: &["--plaintext", "-plaintext"],
        ..NONE
    },
    Rule {
        programs: &["ldappasswd"],
        apart: &["-w", "-s", "-a"],
        glued: &["-w", "-s"],
        flags: "xnvZSA",
        ..NONE
    },
    Rule {
        programs: &["etcdctl", "transmission-remote", "jenkins-cli", "ab"],
        half: &[
            ("--user", ':'),
            ("-n", ':'),
            ("--auth", ':'),
            ("-auth", ':'),
            ("-A", ':'),
        ],
        ..NONE
    },
    Rule {
        programs: &["wfuzz", "ffuf", "sqlmap", "gobuster", "nikto"],
        half: &[
            ("-b", '='),
            ("-c", '='),
            ("--cookie", '='),
            ("--cookies", '='),
        ],
        ..NONE
    },
];

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

pub(super) const PLACES: &[Place] = &[
    place(&["htpasswd"], &[], With::Letter('b'), Takes::Last),
    place(
        &["mysqladmin", "mariadb-admin"],
        &["password"],
        With::Anything,
        Takes::Nth(0),
    ),
    place(&["cargo"], &["login"], With::Anything, Takes::Nth(0)),
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
