package secret

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// like makes files that look as if they had a secret. whole: the text is the file.
type like struct {
	name  string
	whole bool
	make  func(r source) (path, text string)
}

// likes are what scanners take for secrets: digests, identifiers, examples, names of secrets, code that handles them, public halves of keys.
func likes() []like {
	line := func(name, path, format string, value func(r source) string) like {
		return like{name: name, make: func(r source) (string, string) { return path, fmt.Sprintf(format, value(r)) }}
	}
	some := func(words ...string) func(source) string { return func(r source) string { return r.pick(words...) } }
	hexa := func(n int) func(source) string { return func(r source) string { return r.of(hexes, n) } }
	word := func(r source) string {
		return r.pick("server", "client", "cluster", "billing", "frontend", "session", "database", "gateway", "worker", "network") + r.pick("-", "_", ".") + r.pick("access", "primary", "internal", "default", "signing", "service") + r.pick("-", "_", ".") + r.pick("token", "secret", "key", "config") + r.pick("", "-v2", "-2", "-01")
	}
	return append([]like{
		line("sha256 digest", "etc/app.yaml", "image: registry.test/app@sha256:%s", hexa(64)), line("checksum", "srv/SHA256SUMS", "%s  app.tar.gz", hexa(64)), line("md5 list", "var/lib/dpkg/info/app.md5sums", "%s  usr/share/doc/app/secret.key", hexa(32)),
		line("git commit", "srv/build.json", `"commit": "%s",`, hexa(40)), line("source revision", "srv/labels.txt", "org.opencontainers.image.revision=%s", hexa(40)), line("uuid", "srv/app.json", `"id": "%s",`, source.uuid),
		line("uuid of a key", "srv/keys.json", `"key": "%s",`, source.uuid), line("integrity", "srv/lock.json", `"integrity": "sha512-%s"`, func(r source) string { return r.b64(64) }), line("go.sum", "srv/go.sum", "example.test/token v1.2.3 h1:%s", func(r source) string { return r.b64(32) }),
		line("etag", "srv/cache.json", `"etag": "%s"`, hexa(32)), line("cache key", "srv/ci.yaml", "cache_key: %s", hexa(40)), line("api checksum", "srv/api.yaml", "api_checksum: %s", hexa(40)), line("key fingerprint", "srv/keys.txt", "key_fingerprint = %s", hexa(40)),
		line("example aws", "srv/README.md", "aws_access_key_id = %s", some("AKIAIOSFODNN7"+"EXAMPLE", "AKIAI44QH8DHB"+"EXAMPLE")), line("example aws secret", "srv/README.md", "aws_secret_access_key = %s", some("wJalrXUtnFEMI/K7MDENG/bPxRfiCY"+"EXAMPLEKEY")),
		line("wrong github checksum", "srv/README.md", "token: %s", func(r source) string { return "ghp" + "_" + r.of(alnum, 36) }), line("github in capitals", "srv/README.md", "token: %s", func(r source) string { return "ghp" + "_" + strings.Repeat("x", 36) }),
		line("npm placeholder", "srv/README.md", "NPM_TOKEN=%s", func(r source) string { return "npm" + "_" + r.of(alnum, 36) }), line("variable", "srv/app.env", "API_TOKEN=%s", some("$TOKEN", "${API_TOKEN}", "${TOKEN:-}", "$(cat /run/secrets/token)", "{{ .Values.token }}", "%API_TOKEN%", "<your-token>", "@TOKEN@")),
		line("placeholder", "srv/app.env", "SECRET_KEY=%s", some("changeme", "change-me-please-1", "your-secret-key-here-123", "insert_your_key_here_1", "xxxxxxxxxxxxxxxxxxxx", "REPLACE_ME_WITH_A_KEY1", "TODO-put-secret-here-1", "0123456789abcdef0123456789abcdef")),
		line("password placeholder", "srv/app.env", "DB_PASSWORD=%s", some("changeme", "password", "secret", "example123", "your_password1", "********", "<password>", "${DB_PASSWORD}", "xxxxxxxx", "postgres")),
		line("name of a secret", "srv/deploy.yaml", "secretName: %s", word), line("name of a key", "srv/deploy.yaml", "key: %s", word), line("file of a password", "srv/compose.yaml", "POSTGRES_PASSWORD_FILE: /run/secrets/%s", word),
		line("path of a key", "etc/app.conf", "ssl_key = /etc/ssl/private/%s.pem", word), line("token url", "etc/app.conf", "token_url = https://id.test/oauth2/%s", word), line("call", "srv/app.py", "token = %s", some("get_token(session)", "os.environ['TOKEN']", "self.client.tokens.create(user2)", "response.json()['access_token']", "secrets.token_urlsafe(32)", "request.headers.get('x-api-key')")),
		line("call for a password", "srv/app.go", "password := %s", some("os.Getenv(\"DB_PASSWORD\")", "cfg.Database.Password1", "readPassword(ctx, 3)", "string(hash[:16])", "vault.Get(\"db/password\")", "*passwordFlag", "r.FormValue(\"password\")")),
		line("type", "srv/app.ts", "accessToken: %s;", some("string | undefined", "Promise<AccessTokenV2>", "Observable<TokenResponse2>", "OAuth2AccessTokenSchema", "keyof typeof tokens2")), line("translation", "srv/de.json", `"password.label": "%s",`, some("Bitte geben Sie ein Kennwort ein", "Passwort vergessen?", "Neues Passwort (mind. 8 Zeichen)", "Kennwort2 wiederholen", "Mot de passe oublié?")),
		line("rule for passwords", "srv/rules.js", "passwordPattern = %s", some(`"^(?=.*[A-Z])(?=.*[0-9]).{8,}$"`, `/^[a-zA-Z0-9!@#]{8,64}$/`, `"[A-Za-z0-9_-]{20,}"`)), line("sentence", "usr/share/doc/app/README", "The password is: %s", some("never shown, see chapter 12 of the handbook", "the one that you chose at step 3", "stored as bcrypt since version 2.1")),
		line("form", "srv/form.html", `<input type="password" name="%s" autocomplete="new-password">`, word), line("class", "srv/app.css", ".token-%s { color: #a1b2c3 }", word),
		line("option", "etc/pam.conf", "password requisite pam_pwquality.so retry=3 %s", some("minlen=12 difok=3", "ucredit=-1 dcredit=-1", "enforce_for_root")), line("url without a password", "etc/app.conf", "db = postgres://%s@db.internal:5432/app", some("app", "reader", "${DB_USER}:${DB_PASSWORD}", "user:password", "$USER:$PASS", "<user>:<password>", "app:****")),
		line("git url", "srv/clone.sh", "git clone %s", some("git@git.test:team/app.git", "ssh://git@git.test:2222/team/app.git", "https://git.test/team/app.git@v1.2.3", "https://git.test:8443/@scope/pkg@1.0.0")), line("ssh public key", "root/.ssh/authorized_keys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5%s bot@test", func(r source) string { return r.of(std64, 48) }),
		line("public wireguard key", "etc/wireguard/peer.conf", "PublicKey = %s", func(r source) string { return r.b64(32) }), line("public key setting", "srv/app.yaml", "public_key: %s", func(r source) string { return r.b64(48) }),
	}, append(moreLikes(line, some, hexa), serviceLikes(line, some, hexa)...)...)
}

func moreLikes(line func(string, string, string, func(source) string) like, some func(...string) func(source) string, hexa func(int) func(source) string) []like {
	file := func(name, path string, text func(r source) string) like {
		return like{name: name, whole: true, make: func(r source) (string, string) { return path, text(r) }}
	}
	return []like{
		file("certificate", "etc/ssl/certs/ca.pem", func(r source) string { return r.pem("CERTIFICATE", r.der(900)) }), file("public key", "etc/ssl/public.pem", func(r source) string { return r.pem("PUBLIC KEY", r.der(290)) }),
		file("a key in a document", "usr/share/doc/app/tls.md", func(r source) string {
			return "Put it into a file:\n\n-----BEGIN RSA PRIVATE KEY-----\n" + r.of(std64, 64) + "\n...\n" + r.of(std64, 40) + "\n-----END RSA PRIVATE KEY-----\n"
		}),
		file("words about keys", "srv/pem.py", func(r source) string {
			return "BEGIN = '-----BEGIN PRIVATE KEY-----'\nEND = '-----END PRIVATE KEY-----'\ndef load_" + r.of(lower, 5) + "(text):\n    body = text[len(BEGIN):-len(END)]\n    return decode(body)\n"
		}),
		file("binary", "usr/lib/app.so", func(r source) string { return "\x7fELF\x02\x00\x00" + string(r.bytes(3000)) + "password=%s token=" }), file("base64 of a picture", "srv/logo.css", func(r source) string {
			return ".logo{background:url(data:image/png;base64,iVBORw0KGgo" + r.of(std64, 2400) + ")}\n"
		}),
		file("source map", "srv/app.js.map", func(r source) string { return `{"version":3,"mappings":"` + r.of("ABCDEFGIKMOQSUWY;,", 1200) + `"}` }), file("small script", "srv/app.min.js", func(r source) string {
			var b strings.Builder
			for range 40 {
				fmt.Fprintf(&b, "function %s(e){var key=e.%s,token=t.%s;return s.%s(key?token:null)}", r.of(lower, 2), r.of(lower, 4), r.of(lower, 6), r.pick("getElementsByTagName", "addEventListener", "hasOwnProperty"))
			}
			return b.String()
		}),
		line("not a jwt", "srv/app.json", `"state": "%s"`, func(r source) string {
			enc := base64.RawURLEncoding.EncodeToString
			return enc([]byte(`{"page":"`+r.of(lower, 12)+`"}`)) + "." + enc([]byte(`{"n":"`+r.of(lower, 14)+`"}`)) + "." + r.of(url64, 20)
		}),
		line("known jwt", "srv/README.md", "token: %s", func(source) string {
			enc := base64.RawURLEncoding.EncodeToString
			return enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(`{"sub":"1234567890","name":"John Doe","iat":1516239022}`)) + ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
		}),
		line("version", "srv/app.yaml", "api_version: %s", some("2026.11.27-1200", "v1beta1.apps.test", "10.0.22631.4317", "3.14.0-rc.2+build5")), line("language", "srv/lang.ini", "keyboard_layout = %s", some("us-intl-1992-dvorak", "de-latin1-nodeadkeys", "fr-oss-latin9")), line("dockerfile mount", "Dockerfile", "RUN --mount=type=secret,id=%s cat /run/secrets/token", some("npm_token_2", "github-token-1", "aws_secret_key1")),
		line("arn", "srv/aws.tf", `secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:%s"`, some("prod/db-a1B2c3", "billing/api-Zx9Yw8")), line("zone", "srv/dns.tf", `cloudflare_zone_id = "%s"`, hexa(32)), line("account", "srv/app.tf", `datadog_account_id = "%s"`, func(r source) string { return r.uuid() }),
		line("docker auth of nobody", "root/.docker/config.json", `"auth": "%s"`, func(r source) string {
			return base64.StdEncoding.EncodeToString([]byte(r.pick("user:password", "<user>:<password>", "$USER:$TOKEN", "username:your-password")))
		}),
		line("locked user", "etc/shadow", "%s:*:19000:0:99999:7:::", some("daemon", "www-data", "nobody")), line("hash of a layer", "srv/manifest.json", `"digest": "sha256:%s", "secret": false`, hexa(64)), line("colour", "srv/theme.json", `"tokenColors": "%s"`, some("#a1b2c3d4e5f6", "rgba(12,34,56,0.7)", "vs-dark-plus-2026")),
	}
}
