//! The classes of secrets that are known, each by lines as people type them, and lines beside them that hold none.

use super::check;

fn all(marked: &[&str]) {
    marked.iter().for_each(|marked| check(marked));
}

#[test]
fn variables_and_options_by_their_names() {
    all(&[
        "db_pass=⟦hunter2⟧ ./run",
        "ansible web -e ansible_ssh_pass=⟦hunter2⟧ -m ping",
        "ansible-playbook x.yml --extra-vars 'ansible_become_pass=⟦hunter2 n=1⟧'",
        "DBPASS=⟦hunter2⟧ ./run",
        "tool --db-pass ⟦hunter2⟧ -v",
        "tool --dbPass=⟦hunter2⟧ -v",
        "tool --root-pw ⟦hunter2⟧",
        "PASSWORD+=⟦hunter2⟧",
        "export PASSWORD+='⟦hun ter2⟧'",
        "cat > .env <<EOF\nPASSWORD+=⟦hun ter2⟧\nEOF",
        "export BW_SESSION=\"⟦aGVsbG8=⟧\"",
        "export STRIPE_KEY=⟦abc⟧",
        "export KEY=⟦abc⟧ && ls",
        "export DEPLOY_KEYS=⟦a,b⟧",
        "export GITHUB_PAT=⟦abc⟧",
        "export MY_TOKEN=⟦abc⟧ MY_SECRET=⟦def⟧",
        "set -x DB_PASS=⟦hunter2⟧",
        "docker run -p 80:80 -e MYSQL_ROOT_PW=⟦hunter2⟧ mysql",
        "terraform apply -var 'db_pass=⟦hunter2⟧'",
        "helm install x y --set auth.postgresPassword=⟦hunter2⟧",
        "java -Ddb.password=⟦hunter2⟧ -jar x.jar",
        "consul acl token list -token ⟦abc⟧",
        "az storage blob list --account-key ⟦abc==⟧ -c x",
        "az storage blob list --sas-token '⟦sv=1&sig=x⟧' -c x",
        "tailscale up --authkey ⟦abc⟧ --ssh",
        "tailscale up --auth-key=⟦abc⟧",
        "wget --http-password=⟦hunter2⟧ https://example.org",
        "mount -t cifs -o user=me,pass=⟦hunter2⟧ //h/s /mnt",
        "aws secretsmanager create-secret --name x --secret-string ⟦hunter2⟧",
    ]);
}

#[test]
fn addresses() {
    all(&[
        "git clone https://⟦abc123⟧@example.org/r.git",
        "git clone 'https://⟦abc123⟧@example.org/r.git'",
        "git clone https://x-access-token:⟦abc⟧@example.org/r.git",
        "curl -d '{\"text\":\"x\"}' https://hooks.slack.com/services/⟦T0/B0/abc⟧",
        "curl -X POST \"https://hooks.slack.com/services/⟦T0/B0/abc⟧\" -d x",
        "SLACK_URL=https://hooks.slack.com/services/⟦T0/B0/abc⟧",
        "curl https://discord.com/api/webhooks/⟦12/abc⟧ -d x",
        "curl https://api.telegram.org/bot⟦12:abc/sendMessage⟧ -d x",
        "curl 'https://h.example/c?sv=1&sig=⟦abc%3D⟧&se=2'",
        "azcopy cp x 'https://h.example/c?sig=⟦abc⟧'",
        "curl 'https://h/x?X-Amz-Date=1&X-Amz-Signature=⟦abc⟧&X-Amz-Expires=1'",
        "curl 'https://h/x?X-Amz-Security-Token=⟦abc⟧&a=1'",
        "curl 'https://h/x?key=⟦abc⟧&q=1'",
        "export S='DefaultEndpointsProtocol=https;AccountName=x;AccountKey=⟦abc+/==⟧;EndpointSuffix=h'",
        "git clone git@example.org:a/b.git",
        "git clone https://git@example.org/a/b.git",
        "git clone ssh://me@example.org/a/b.git",
        "psql postgres://me@h/db",
        "curl https://medium.example/@someone",
        "curl 'https://h/x?q=key'",
        "npm install left-pad@1.3.0",
    ]);
}

#[test]
fn texts_in_which_a_password_has_its_place() {
    all(&[
        "psql -c \"ALTER USER x PASSWORD '⟦hunter2⟧'\"",
        "psql -c \"alter role x with encrypted password '⟦hunter2⟧' valid until 'infinity'\"",
        "mysql -e \"CREATE USER 'u'@'%' IDENTIFIED BY '⟦hunter2⟧'\"",
        "mysql -e 'CREATE USER u IDENTIFIED WITH mysql_native_password BY \"⟦hunter2⟧\"'",
        "mysql -e \"SET PASSWORD FOR 'u' = PASSWORD('⟦hunter2⟧')\"",
        "sqlcmd -Q \"CREATE LOGIN x WITH PASSWORD = '⟦hunter2⟧'\"",
        "psql <<EOF\nCREATE ROLE x LOGIN PASSWORD '⟦hunter2⟧';\nSELECT 1;\nEOF",
        "mysql shop <<'SQL'\nGRANT ALL ON a.* TO 'u'@'h'\n  IDENTIFIED BY '⟦hunter2⟧';\nSQL",
        "echo \"ALTER USER x PASSWORD '⟦hunter2⟧'\" | psql",
        "sqlcipher x.db \"PRAGMA key = '⟦hunter2⟧'\"",
        "echo 'machine h login me password ⟦hunter2⟧' >> ~/.netrc",
        "cat > ~/.netrc <<EOF\nmachine h\n  login me\n  password ⟦hunter2⟧\nEOF",
        "printf 'machine h login me password ⟦hunter2⟧' > ~/.netrc",
        "echo '⟦localhost:5432:*:me:hunter2⟧' >> ~/.pgpass",
        "cat > ~/.pgpass <<EOF\nlocalhost:5432:db:me:⟦hunter2⟧\n*:*:*:me:⟦x⟧\nEOF",
        "psql -c \"SELECT a FROM b GROUP BY 'x'\"",
        "echo 'forgot my password again'",
        "ip neigh add 1.2.3.4 lladdr 00:11:22:33:44:55",
    ]);
}

#[test]
fn headers_and_cookies_in_all_spellings() {
    all(&[
        "curl -H 'Authorization: Bearer ⟦abc⟧' h",
        "curl -H \"authorization: bearer ⟦abc⟧\" h",
        "curl -H'Authorization: Basic ⟦abc==⟧' h",
        "curl --header='Authorization: token ⟦abc⟧' h",
        "curl --header \"AUTHORIZATION:⟦abc⟧\" h",
        "curl -H 'Authorization: ApiKey ⟦abc⟧' h",
        "curl -H 'Authorization: ⟦abc def⟧' h",
        "curl -H $'Authorization: Bearer ⟦abc⟧' h",
        "curl -sH 'Proxy-Authorization: Basic ⟦abc⟧' h",
        "http h Authorization:'Bearer ⟦abc⟧' a=b",
        "curl -H 'PRIVATE-TOKEN: ⟦abc⟧' h",
        "curl -H 'X-Api-Key: ⟦abc⟧' h",
        "curl -H 'Cookie: ⟦session=abc; a=b⟧' h",
        "curl -b 'session=⟦abc; a=b⟧' h",
        "curl -sb session=⟦abc⟧ h",
        "curl --cookie 'session=⟦abc⟧' h",
        "curl -b cookies.txt -c cookies.txt h",
        "curl -H 'Accept: text/html' -H 'Content-Type: x' h",
        "curl -H \"Authorization: Bearer $TOKEN\" h",
        "curl -H \"Authorization: Bearer \\\n  ⟦abc⟧\" h",
    ]);
}

#[test]
fn programs_with_options() {
    all(&[
        "influx -username me -password ⟦hunter2⟧ -database x",
        "sudo useradd -m -p ⟦hunter2⟧ me",
        "usermod -p '⟦$6$x⟧' me",
        "snmpwalk -v2c -c ⟦public⟧ host",
        "snmpget -v3 -u me -A ⟦hunter2⟧ -X ⟦hunter3⟧ host",
        "ipmitool -H h -U me -P ⟦hunter2⟧ power on",
        "mosquitto_pub -u me -P ⟦hunter2⟧ -t a -m b",
        "cqlsh -u me -p ⟦hunter2⟧ host",
        "mysqladmin -u root -p⟦hunter2⟧ status",
        "gh secret set NAME -b ⟦hunter2⟧",
        "gh secret set NAME --body \"⟦hunter2⟧\"",
        "gh secret set NAME --body=⟦hunter2⟧ -R a/b",
        "kubectl create secret generic x --from-literal=k=⟦v⟧ --from-literal z=⟦w⟧",
        "docker login -u me -p ⟦hunter2⟧",
        "helm registry login h -u me -p ⟦hunter2⟧",
        "redis-cli -a ⟦hunter2⟧ ping",
        "sshpass -p⟦hunter2⟧ ssh -p 22 host",
        "openssl pkcs12 -in x -passin pass:⟦hunter2⟧ -passout pass:⟦hunter3⟧",
        "7z a -p⟦hunter2⟧ -mhe x.7z y",
        "zip -P ⟦hunter2⟧ x.zip y",
        "ldapsearch -D cn=me -w ⟦hunter2⟧ -b x",
        "az login --service-principal -u id -p ⟦hunter2⟧ --tenant t",
        "az keyvault secret set --vault-name v --name n --value ⟦hunter2⟧",
        "aws ssm put-parameter --name n --value ⟦hunter2⟧ --type SecureString",
        "plink -pw ⟦hunter2⟧ me@h",
        "influx \\\n  -username me \\\n  -password ⟦hunter2⟧",
    ]);
}

#[test]
fn programs_with_places() {
    all(&[
        "mysqladmin -u root password ⟦hunter2⟧",
        "mysqladmin -u root -p⟦old⟧ password '⟦new⟧'",
        "cargo login ⟦abc⟧",
        "bw unlock ⟦hunter2⟧",
        "bw login me@example.org ⟦hunter2⟧",
        "export BW_SESSION=$(bw unlock --raw ⟦hunter2⟧)",
        "pulumi config set --secret ⟦dbpw⟧ ⟦hunter2⟧",
        "pulumi config set app:key ⟦hunter2⟧ --secret",
        "pulumi config set aws:region us-west-2",
        "vault kv put secret/p k=⟦v⟧ user=⟦w⟧ f=@file",
        "vault write auth/x/login role_id=⟦a⟧ secret_id=⟦b⟧",
        "rabbitmqctl add_user me ⟦hunter2⟧",
        "rabbitmqctl change_password me ⟦hunter2⟧",
        "rabbitmqctl list_users",
        "mc alias set n https://h KEY ⟦abc⟧",
        "aws configure set aws_secret_access_key ⟦abc⟧ --profile x",
        "npm config set //h.example/:_authToken=⟦abc⟧",
        "npm config set //h.example/:_authToken ⟦abc⟧",
        "heroku config:set K=⟦v⟧ L=⟦w⟧ -a app",
        "fly secrets set K=⟦v⟧",
        "flyctl secrets set K=⟦v⟧ --app x",
        "wpa_passphrase home ⟦hunter22⟧",
        "nmcli dev wifi connect home password ⟦hunter22⟧",
        "ansible-vault encrypt_string '⟦hunter2⟧' --name ⟦x⟧",
        "sqlplus me/⟦hunter2@db⟧",
        "sqlplus / as sysdba",
        "openssl passwd -1 ⟦hunter2⟧",
        "redis-cli CONFIG SET requirepass ⟦hunter2⟧",
        "cargo build --release",
        "mysqladmin -u root status",
        "heroku config:get K",
    ]);
}

#[test]
fn programs_that_read() {
    all(&[
        "echo ⟦hunter2⟧ | passwd --stdin me",
        "echo -e '⟦a\\na⟧' | sudo passwd me",
        "echo '⟦me:hunter2⟧' | chpasswd",
        "echo ⟦hunter2⟧ | sudo -S ls",
        "echo ⟦hunter2⟧ | su -c ls",
        "echo ⟦hunter2⟧ | wrangler secret put NAME",
        "echo ⟦hunter2⟧ | gh secret set NAME",
        "printf ⟦hunter2⟧ | docker secret create db -",
        "echo -n ⟦hunter2⟧ | gcloud secrets versions add x --data-file=-",
        "echo -n '⟦hunter2⟧' | base64",
        "wrangler secret put NAME <<< ⟦hunter2⟧",
        "echo hello | grep passwd",
        "echo hello | tee su",
        "cat /etc/passwd | sort",
    ]);
}

#[test]
fn a_remote_shell_with_only_a_redirection_writes_a_file() {
    all(&[
        "ssh host '> .env' <<EOF\nPASSWORD=⟦two words⟧\nEOF",
        "ssh host '' <<EOF\nPASSWORD=⟦two⟧ run\nEOF",
    ]);
}

#[test]
fn what_looks_alike_and_is_no_secret_stays() {
    all(&[
        "mkdir -p a/b",
        "cp -p a b",
        "ssh -p 22 host",
        "docker run -p 80:80 nginx",
        "docker compose -p shop up",
        "git log -p",
        "git add -p src",
        "ps -p 1",
        "read -p prompt name",
        "tar -cpf x.tar y",
        "scp -P 22 a host:b",
        "nc -w 5 host 80",
        "kubectl -n x get secret y -o yaml",
        "kubectl create configmap x --from-file=y",
        "export EDITOR=vi PATH=/usr/bin:$PATH",
        "export MONKEY=banana KEYMAP=us",
        "bypass=1 compass=2 ./run",
        "tool --passes 3 --pass-through x",
        "ssh-keygen -t ed25519 -C me@example.org",
        "gpg --recv-keys 0x1234",
        "apt-key list",
        "curl -X POST -d a=b https://example.org",
        "git commit -m 'Add a password field'",
        "grep -r password src",
        "find . -name '*.key' -print",
        "vault kv get secret/p",
        "cargo test -p hx",
        "python -m pip install -p x",
        "make -j8 KEYBOARD=us",
        "--max-tokens 100",
        "aws s3 cp a s3://b/key --region us-east-1",
        "export PUBLIC_KEY=abc",
        "passwd me",
        "sudo su -",
        "echo hello > notes.txt",
        "echo hello | tee notes.txt",
        "read -p 'name? ' answer <<< yes",
        "printf 'name=%s' me",
        "let a = \"b\"",
        "yes | apt install x",
        "smbclient -L //h -N",
        "bundle config set path vendor/bundle",
        "diff <(echo a) <(echo b)",
        "tool --password-file <(pass show db)",
        "su - postgres -c 'psql -l'",
        "echo $((16#ff)) | tee x",
    ]);
}
