//! Which programs take secrets as values of options.
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
            "rabbitmqadmin",
            "cypher-shell",
            "couchbase-cli",
            "smbmap",
            "fetchmail",
            "hive",
            "beeline",
            "esxcli",
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
        only_with: &["bearer"],
        apart: &["-a", "--auth"],
        ..NONE
    },
    Rule {
        programs: &["http", "https", "xh"],
        apart: &["--bearer"],
        half: &[("-a", ':'), ("--auth", ':')],
        ..NONE
    },
    Rule {
        programs: &["smbclient", "rpcclient"],
        half: &[("-U", '%'), ("--user", '%')],
        ..NONE
    },
    Rule {
        // `open` is a command of lftp's own: `lftp -e "open -u name,secret host"`.
        programs: &["lftp", "open"],
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
        glued: &["-N", "-P"],
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
        programs: &[
            "knife",
            "ipmitool",
            "mosquitto_pub",
            "mosquitto_sub",
            "mosquitto_rr",
        ],
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
        glued: &["-w"],
        ..NONE
    },
    Rule {
        programs: &["security"],
        only_with: &["add-internet-password"],
        apart: &["-w"],
        glued: &["-w"],
        ..NONE
    },
    Rule {
        programs: &["security"],
        only_with: &["unlock-keychain"],
        apart: &["-p"],
        glued: &["-p"],
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
        programs: &["netlify", "ntl"],
        apart: &["--auth"],
        ..NONE
    },
    Rule {
        programs: &[
            "pdftotext",
            "pdftoppm",
            "pdfimages",
            "pdfinfo",
            "pdftocairo",
        ],
        apart: &["-upw", "-opw"],
        ..NONE
    },
    Rule {
        programs: &["swaks", "sendemail", "sendEmail"],
        apart: &["-ap", "-xp"],
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
