//! Secrets in commands as people type them. Each must go, and what stands beside it must stay.

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
