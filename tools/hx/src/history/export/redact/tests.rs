//! Secrets in commands as people type them. Each must go, and what stands beside it must stay.

mod commands;
mod more;

use proptest::prelude::*;

use super::redact;

/// The text in brackets is the secret.
fn check(marked: &str) {
    let text = marked.replace(['⟦', '⟧'], "");
    let mut expected = marked.to_owned();
    while let (Some(start), Some(end)) = (expected.find('⟦'), expected.find('⟧')) {
        expected.replace_range(start..end + '⟧'.len_utf8(), "«redacted»");
    }
    assert_eq!(redact(&text), expected);
    assert_eq!(redact(&expected), expected, "again");
}

#[test]
fn options_of_programs() {
    for marked in [
        "docker login -u me -p ⟦hunter2⟧ registry.example.org",
        "sudo podman login -p '⟦hun ter2⟧' quay.example",
        "docker run -p 8080:80 nginx",
        "docker exec db mysql -uroot -p⟦hunter2⟧ -e 'select 1'",
        "mysql -u root -p shop",
        "mysqldump -p'⟦hunt;er2⟧' shop > x.sql",
        "openssl enc -aes-256-cbc -k ⟦hunter2⟧ -in a -out b",
        "openssl rsa -in k.pem -passin pass:⟦hunter2⟧",
        "curl -u me:⟦hunter2⟧ https://example.org",
        "curl -ume:⟦hunter2⟧ https://example.org",
        "curl --user=me:⟦hunter2⟧ https://example.org",
        "curl -u me https://example.org",
        "sshpass -p ⟦hunter2⟧ ssh host",
        "redis-cli -h db -a ⟦hunter2⟧ ping",
        "mongosh -u me -p ⟦hunter2⟧ db",
        "ldapsearch -x -w ⟦hunter2⟧ -b dc=example",
        "zip -P ⟦hunter2⟧ out.zip in",
        "7z x -p⟦hunter2⟧ a.7z",
        "ssh-keygen -t ed25519 -N '⟦hunter2⟧' -f key",
        "ssh-keygen -t ed25519 -N '' -f key",
        "keytool -list -storepass ⟦changeit⟧",
        "smbclient //nas/share -U me%⟦hunter2⟧",
        "xfreerdp /u:me /p:⟦hunter2⟧ /v:host",
        "kubectl create secret generic db --from-literal=key=⟦hunter2⟧",
        "tool --pass ⟦hunter2⟧ && mkdir -p a/b",
    ] {
        check(marked);
    }
}

#[test]
fn here_documents() {
    for marked in [
        "cat <<EOF > .env\nUSER=me\nPASSWORD=⟦hun ter2; x⟧\nURL=http://h/\nEOF\nls -l",
        "cat > .env <<'EOF'\nexport DB_PASSWORD=⟦it's hunter2⟧\nTOKEN=⟦$ecret⟧\nEOF",
        "cat <<EOF >> .env\nTOKEN=$TOKEN\nAPI_KEY=${KEY}\nEOF",
        "kubectl apply -f - <<-END\n\tkind: Secret\n\tpassword: ⟦correct horse⟧\n\tname: x\n\tEND\necho done",
        "curl -d @- https://h <<EOF\n{\n  \"user\": \"me\",\n  \"password\": \"⟦hunter2, x⟧\",\n  \"n\": 1\n}\nEOF",
        "curl --data-binary @- h <<EOF\nuser=me&password=⟦hunter2⟧\nEOF",
        "ssh host bash <<'EOF'\n# don't\nmysql -u root -p⟦hunter2⟧ shop\nexport TOKEN=⟦abc⟧ && curl -u me:⟦hunter2⟧ h\nEOF\nls",
        "chpasswd <<EOF\n⟦root:hunter2\nme:x⟧\nEOF\necho done",
        "cat <<EOF | docker login -u me --password-stdin\n⟦hunter2⟧\nEOF",
        "docker login -u me --password-stdin <<EOF\n$PW\nEOF",
        "sudo -S ls <<EOF\n⟦hunter2⟧",
        "x=$(cat <<EOF\nSECRET=⟦a b⟧\nEOF\n)",
        "cat <<A <<B\nPASSWORD=⟦a b⟧\nA\nTOKEN=⟦c d⟧\nB\necho PASSWORD=⟦e⟧ f",
        "cat <<EOF\nno secret here, it's plain text\nEOF\necho ok",
        "echo $((1<<2)) <<3\nPASSWORD=⟦a b⟧\n3",
    ] {
        check(marked);
    }
}

#[test]
fn what_a_program_asks_a_list_for_has_a_name_too() {
    for marked in [
        r#"ruby -e 'ENV["API_TOKEN"]="⟦X y⟧"'"#,
        r#"ruby -e 'ENV["API_TOKEN"] ||= "⟦X⟧"; puts ENV["HOME"]="x"'"#,
        r#"python -c 'os.environ["SECRET_KEY"] = "⟦X⟧"'"#,
        r#"python3 -c "import os; os.environ['SECRET_KEY']='⟦X⟧'; print(1)""#,
        r#"php -r "$c['db_password'] = '⟦X⟧';""#,
        r#"php -r '$c["db_password"] .= "⟦X⟧";'"#,
        r#"node -e 'process.env["API_TOKEN"] = "⟦X⟧"'"#,
        "perl -e '$ENV{API_TOKEN}=\"⟦X⟧\"; $ENV{\"API_TOKEN\"} = \"⟦X⟧\"'",
        r#"ruby -e 'c[:db_password] = "⟦X⟧"'"#,
        "cat > run.py <<'EOF'\nos.environ[\"SECRET_KEY\"] = \"⟦X⟧\"\nEOF",
        r#"python -c 'print(os.environ["SECRET_KEY"])'"#,
        r#"awk '{a["name"] = "x"}'"#,
    ] {
        check(marked);
    }
}

#[test]
fn a_line_of_a_here_document_goes_on_after_a_backslash() {
    for marked in [
        "cat > run.sh <<'EOF'\nmysql \\\n  -p⟦secret⟧ shop\nEOF",
        "cat > run.sh <<'EOF'\ncurl \\\n  -s \\\n  -u me:⟦hunter2⟧ \\\n  h\nls\nEOF\nls",
        "cat > run.sh <<EOF\ndocker login -u me -p \\\n  ⟦hunter2⟧ r\nEOF",
        // Two backslashes are one that hides nothing.
        "cat > x <<'EOF'\nmysql \\\\\n  -p is short for port\nEOF",
        "cat > notes <<'EOF'\nit's a text \\\nthat goes on, isn't it\nmysql -p⟦x⟧\nEOF",
        "cat > .env <<'EOF'\nA=b \\\nPASSWORD=⟦two words⟧\nC=d\nEOF",
    ] {
        check(marked);
    }
}

#[test]
fn only_what_a_shell_reads_is_commands() {
    for marked in [
        "ssh host 'cat > .env' <<EOF\nPASSWORD=⟦two words⟧\nA=two words\nEOF",
        "ssh -p 22 -i key me@host sudo tee .env <<'EOF'\nexport TOKEN=⟦two words⟧\nEOF",
        "bash -c 'cat > .env' <<EOF\nPASSWORD=⟦two words⟧\nEOF",
        "bash write.sh <<EOF\nPASSWORD=⟦two words⟧\nEOF",
        "tee bash <<EOF\nPASSWORD=⟦two words⟧\nEOF",
        "docker exec -i sh sh -c 'cat > .env' <<EOF\nPASSWORD=⟦two words⟧\nEOF",
        "ssh host <<EOF\npassword: ⟦two words⟧\nname: two words\nEOF",
        "ssh host <<EOF\ncat > .env <<X\nPASSWORD=⟦two words⟧\nX\nPASSWORD=⟦one⟧ run\nEOF",
    ] {
        check(marked);
    }
    for reader in [
        "bash",
        "sudo -u db bash -x",
        "env A=b /bin/sh -s -- x",
        "ssh host",
        "ssh -tp 22 -i key me@host",
        "ssh -p22 host 'sudo bash -s'",
        "docker exec -i db bash",
        "kubectl exec -i pod -- sh",
    ] {
        check(&format!(
            "{reader} <<EOF\nTOKEN=⟦a⟧ run --x | tail\nEOF\nls"
        ));
    }
}

#[test]
fn a_pipe_reaches_over_the_end_of_its_line() {
    for marked in [
        "cat <<EOF |\n⟦hunter2⟧\nEOF\nsudo -S ls",
        "cat <<EOF | \\\n  sudo -S ls\n⟦hunter2⟧\nEOF",
        "cat <<EOF |\n⟦hunter2⟧\nEOF\n\n  docker login -u me --password-stdin",
        "echo ⟦hunter2⟧ |\n  sudo -S ls",
        "cat <<EOF |\nordinary text\nEOF\nsudo tee x",
        "echo hello\nsudo -S ls",
        "docker login -p \\\n  ⟦hunter2⟧ r",
    ] {
        check(marked);
    }
}

#[test]
fn secrets_through_a_pipe() {
    for marked in [
        "echo \"⟦hunter2⟧\" | sudo -S apt-get update",
        "echo -n ⟦hunter2⟧ | sudo -kS ls",
        "printf ⟦'%s' hunter2⟧ | docker login -u me --password-stdin",
        "echo ⟦me:hunter2⟧ | sudo chpasswd",
        "echo $PW | sudo -S ls",
        "echo hello | sudo tee /etc/motd",
        "echo a || sudo -S ls",
        "cd x; echo '⟦hun;ter2⟧' | gpg --batch --passphrase-fd 0 -d f",
        "sudo -S ls <<< ⟦hunter2⟧",
        "grep x <<< y",
    ] {
        check(marked);
    }
}

#[test]
fn names_addresses_and_tokens() {
    let web = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0";
    let git = format!("ghp_{}", "a1B2".repeat(9));
    for marked in [
        "mysql --password=⟦hunter2⟧ -u me",
        "AWS_SECRET_ACCESS_KEY=⟦wJalrXUtnFEMI/K7MDENG⟧ aws s3 ls",
        "PGPASSWORD=⟦hunter2⟧ psql -h db",
        "git clone https://me:⟦hunter2⟧@example.org/r.git",
        &format!("curl -H 'X-Auth: ⟦{web}⟧' https://example.org"),
        &format!("git remote set-url o https://⟦{git}⟧@example.org/r"),
        "PASS=⟦hunter2⟧ ./run",
        "vault login ⟦hvs.CAESIJlWh9s0tGmPxyZQ12⟧",
    ] {
        check(marked);
    }
}

#[test]
fn any_text_survives() {
    for text in [
        "|",
        "<<<",
        "echo |",
        "echo | sudo -S",
        "curl -u",
        "curl -u é",
        "mysql -p",
        "mysql -pé",
        "echo 'é | sudo -S",
        "7z -p\"",
        "docker login -p",
        "<<< sudo -S",
    ] {
        let once = redact(text);
        assert_eq!(redact(&once), once, "{text}");
    }
}

#[test]
fn a_word_ends_where_the_shell_ends_it() {
    for marked in [
        "mysql -p⟦'hun'ter2sec⟧ shop",
        "mysql -p⟦'it'\\''ssecret'⟧ shop",
        "mysql -p⟦foo\\&secretpart⟧",
        "mysql -p⟦foo\\;secretpart⟧; ls",
        "mysql -p⟦foo\"secretpart\"⟧ x",
        "mysql -p\"⟦foo\\\"secretpart⟧\" x",
        "sshpass -p⟦'hun'ter2sec⟧ ssh host",
        "sshpass -vp ⟦hun\\ ter2⟧ ssh host",
        "curl -u me:'⟦pw⟧' https://example.org",
        "curl -u 'me:⟦pw and the rest⟧",
        "curl -u 'me:⟦p⟧'⟦w\\'x⟧ https://example.org",
        "curl -su me:⟦pw⟧ https://example.org",
        "curl -sSLku 'me:⟦p w⟧' https://example.org",
        "mysql -p$'⟦p\\'w⟧' x",
        "mysql -p'⟦$pw⟧' x",
        "mysql -p\"⟦\\$pw⟧\" x",
        "mysql -p⟦\\$pw⟧ x",
        "mysql -p⟦$pw'tail'⟧ x",
        "mysql -p⟦${PW:-hunter2}⟧ x",
        "mysql -p⟦$(echo hunter2)⟧ x",
        "PASSWORD='⟦$ecret⟧' run",
        "PASSWORD=⟦'hun'ter2⟧ run",
        "tool --password ⟦it\\'s⟧ -v",
        "curl -d \"{\\\"secret\\\": \\\"⟦s3⟧\\\"}\" x",
        "zip -rP ⟦hunter2⟧ out.zip in",
        "echo \"⟦a>(b)⟧\" | sudo -S ls",
        "git clone 'https://me:⟦p w⟧'@example.org/r.git",
    ] {
        check(marked);
    }
    for reference in [
        "mysql -p$PW x",
        "mysql -p\"$PW\" x",
        "mysql -p\"${PW}\" x",
        "mysql -p$(pass show db) x",
        "mysql -p`pass show db` x",
        "curl -u \"$USER:$PW\" https://example.org",
        "PASSWORD=\"$(pass show x)\" run",
        "bash -c 'mysql -p$PW x'",
    ] {
        assert_eq!(redact(reference), reference);
    }
}

#[test]
fn a_program_is_found_wherever_a_command_begins() {
    for marked in [
        "cd a;mysql -p⟦pw⟧",
        "(mysql -p⟦pw⟧)",
        "x=$(mysql -p⟦pw⟧ -e 'select 1')",
        "echo \"n: $(mysql -p⟦pw⟧)\"",
        "x=`mysql -p⟦pw⟧`",
        "true&&mysql -p⟦pw⟧",
        "true||mysql -p⟦pw⟧&",
        "cat x|mysql -p⟦pw⟧>out",
        "cd a\nmysql -p⟦pw⟧\nls",
        "mysql \\\n  -p⟦pw⟧",
        "sudo mysql -p⟦pw⟧",
        "sudo -u db /usr/bin/mysql -p⟦pw⟧",
        "env A=b mysql -p⟦pw⟧",
        "time mysql -p⟦pw⟧",
        "if ! mysql -p⟦pw⟧; then ls; fi",
        "bash -c 'cd a && mysql -p⟦pw⟧'",
        "ssh host \"sudo sh -c 'mysql -p⟦pw⟧'\"",
        "diff <(mysql -p⟦pw⟧) x",
        "{ echo ⟦pw⟧; cat; } | sudo -S ls",
        "(echo '⟦p|w⟧') | sudo -S ls",
        "htpasswd -b .htpasswd me ⟦pw⟧",
        "htpasswd -nbB me ⟦pw⟧ > .htpasswd",
        "htpasswd .htpasswd me",
        "vault login ⟦s.TOKEN⟧",
        "vault login -method=oidc",
        "aws configure set aws_secret_access_key ⟦pw⟧",
        "aws configure set region us-west-2",
        "echo don't; mysql -p⟦pw⟧",
    ] {
        check(marked);
    }
}

#[test]
fn secrets_are_replaced() {
    let check = |text: &str, expected: &str| {
        assert_eq!(redact(text), expected);
        assert_eq!(redact(expected), expected, "again");
    };
    let key = format!("AKIA{}", "ABCDEFGHIJKLMNOP");
    check(
        &format!("aws configure set id {key}"),
        "aws configure set id «redacted»",
    );
    check(
        "export GITHUB_TOKEN=abc123",
        "export GITHUB_TOKEN=«redacted»",
    );
    check("API_KEY='a b' ./run", "API_KEY='«redacted»' ./run");
    check(
        "DB_PASSWORD=x make && ls",
        "DB_PASSWORD=«redacted» make && ls",
    );
    check(
        "psql postgres://me:pässword@db/x?sslmode=on",
        "psql postgres://me:«redacted»@db/x?sslmode=on",
    );
    check(
        "tool --password hunter2 -v",
        "tool --password «redacted» -v",
    );
    check(
        "tool --api-key=k1 --user me",
        "tool --api-key=«redacted» --user me",
    );
    check("tool --password --user me", "tool --password --user me");
    check(
        "curl -H 'Authorization: Bearer abc.def' https://x",
        "curl -H 'Authorization: Bearer «redacted»' https://x",
    );
    check(
        "curl -d '{\"secret\": \"s3\", \"a\": 1}' x",
        "curl -d '{\"secret\": \"«redacted»\", \"a\": 1}' x",
    );
    check(
        "curl 'https://x/?token=abc&b=1'",
        "curl 'https://x/?token=«redacted»&b=1'",
    );
    check("curl -u me:pw https://x", "curl -u me:«redacted» https://x");
    check("mysql -u root -psecret db", "mysql -u root -p«redacted» db");
    check("sshpass -p pw ssh x", "sshpass -p «redacted» ssh x");
    check(
        &format!("git clone https://ghp_{}@github.com/a/b", "a1".repeat(15)),
        "git clone https://«redacted»@github.com/a/b",
    );
    check(
        "echo '-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----' > k",
        "echo '«redacted»' > k",
    );
    check(&format!("login {}", "aB3".repeat(14)), "login «redacted»");
    for harmless in [
        "git checkout 0123456789abcdef0123456789abcdef01234567",
        "export TOKEN=$OTHER",
        "tool --password-file /run/x",
        "ls /usr/share/Fonts/Very/Long/Path/With/Many/Parts/And/Numbers/123",
        "mkdir -p a/b",
        "ssh me@host:22",
        "pwd",
        "echo naïve ünïcode «x»",
    ] {
        check(harmless, harmless);
    }
}

/// One way to quote a part of a word.
fn quoted(part: &str, style: u8) -> String {
    let escaped = |signs: &str| -> String {
        let escape = |c: char| {
            if signs.contains(c) {
                format!("\\{c}")
            } else {
                c.into()
            }
        };
        part.chars().map(escape).collect()
    };
    match style {
        0 => format!("'{}'", part.replace('\'', "'\\''")),
        1 => format!("\"{}\"", escaped("\"\\$`")),
        2 => format!("$'{}'", escaped("'\\")),
        _ => escaped(" '\"\\$`&|;()<>!{}#*?~"),
    }
}

proptest! {
    /// Letters of the secret are in no template, so that none may be left.
    #[test]
    fn whatever_its_quotes_nothing_of_a_secret_stays(
        parts in proptest::collection::vec(("[QXZJV789]{1,6}[QXZ $'\"\\\\`&|;()<>!#]{0,4}", 0_u8..4), 1..5),
        template in prop::sample::select(vec![
            "mysql -u root -p@@ shop", "sshpass -p@@ ssh host", "sshpass -p @@ ssh host", "curl -su me:@@ https://example.org",
            "cd a;(sudo mysql -p@@)", "x=$(mysql -p@@ db)", "echo @@ | sudo -S ls", "chpasswd <<< @@", "true&&redis-cli -a @@ ping",
            "tool --password @@ -v", "tool --password=@@ -v", "export TOKEN=@@ && ls", "curl -H Authorization:@@ https://example.org",
            "openssl enc -k @@ -in a", "git clone https://me:@@'@example.org'/r", "htpasswd -b file me @@", "zip -rP @@ a b",
        ]),
        nested in any::<bool>(),
    ) {
        let secret: String = parts.iter().map(|(part, style)| quoted(part, *style)).collect();
        let mut command = template.replace("@@", &secret);
        if nested {
            command = format!("ssh host {}", quoted(&command, 0));
        }
        let redacted = redact(&command);
        let left = redacted.chars().filter(|c| "QXZJV789".contains(*c)).count();
        prop_assert_eq!(left, 0, "{} became {}", command, redacted);
    }

    #[test]
    fn any_line_is_taken_apart(text in "([ -~\n\u{e9}]|mysql -p|curl -u|\\$\\(|\\$\\{|\\$'|<<<|<<E\n|\nE\n|PASSWORD: |htpasswd -b|echo |sudo -S){0,30}") {
        let _ = redact(&text);
    }
}
