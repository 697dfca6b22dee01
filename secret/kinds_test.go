package secret

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// kinds are the secrets of the corpus: as their makers describe them, not as the rules do.
func kinds() []kind {
	return slices.Concat(tokenKinds(), serviceKinds(), namedKinds(), fileKinds())
}

// tokenKinds have a form of their own.
func tokenKinds() []kind {
	prefixed := func(name, prefix, alphabet string, n int) kind {
		return kind{name: name, value: func(r source) string { return prefix + r.of(alphabet, n) }}
	}
	signed := func(name, prefix string) kind {
		return kind{name: name, value: func(r source) string { return r.signed(prefix) }}
	}
	form := func(name string, f func(r source) string) kind { return kind{name: name, value: f} }
	return []kind{
		signed("github classic", "ghp"+"_"), signed("github oauth", "gho"+"_"), signed("github server", "ghs"+"_"), signed("github refresh", "ghr"+"_"), signed("npm", "npm"+"_"),
		form("github fine-grained", func(r source) string { return "github_pat_11" + r.of(upper+digits, 20) + "_" + r.of(alnum, 59) }),
		prefixed("gitlab personal", "glpat-", url64[:62], 20), prefixed("gitlab deploy", "gldt-", alnum, 20), prefixed("gitlab runner", "glrt-", alnum, 20),
		prefixed("aws key", "AKIA", upper+"234567", 16), prefixed("aws session key", "ASIA", upper+"234567", 16), prefixed("google api", "AIza", alnum, 35),
		form("slack bot", func(r source) string {
			return "xoxb-" + r.of(digits, 12) + "-" + r.of(digits, 13) + "-" + r.of(alnum, 24)
		}),
		form("slack user", func(r source) string {
			return "xoxp-" + r.of(digits, 12) + "-" + r.of(digits, 12) + "-" + r.of(digits, 13) + "-" + r.of(hexes, 32)
		}),
		form("slack webhook", func(r source) string {
			return "https://hooks.slack.com/services/T" + r.of(upper+digits, 10) + "/B" + r.of(upper+digits, 10) + "/" + r.of(alnum, 24)
		}),
		prefixed("stripe", "sk_"+"live_", alnum, 24), prefixed("stripe restricted", "rk_"+"live_", alnum, 99),
		form("sendgrid", func(r source) string { return "SG." + r.of(url64[:62], 22) + "." + r.of(url64[:62], 43) }),
		prefixed("twilio", "SK", hexes, 32), form("jwt", func(r source) string { return r.jwt("HS256") }), form("jwt of a key pair", func(r source) string { return r.jwt("RS256") }),
		prefixed("digitalocean", "dop_v1_", hexes, 64), prefixed("hugging face", "hf_", lower+upper, 34), prefixed("age", "AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
		prefixed("shopify", "shpat_", hexes, 32), prefixed("databricks", "dapi", hexes, 32), prefixed("doppler", "dp.pt.", alnum, 43), prefixed("linear", "lin_api_", alnum, 40),
		form("openai", func(r source) string { return "sk-proj-" + r.of(alnum, 74) + "T3Blbk" + "FJ" + r.of(alnum, 74) }),
		form("openai, older", func(r source) string { return "sk-" + r.of(alnum, 20) + "T3Blbk" + "FJ" + r.of(alnum, 20) }),
		form("anthropic", func(r source) string { return "sk-ant-api03-" + r.of(url64[:62], 93) + "AA" }),
		form("postman", func(r source) string { return "PMAK-" + r.of(hexes, 24) + "-" + r.of(hexes, 34) }),
		prefixed("pulumi", "pul-", hexes, 40), form("grafana", func(r source) string { return "glsa_" + r.of(alnum, 32) + "_" + r.of(hexes, 8) }),
		prefixed("planetscale", "pscale_tkn_", alnum, 43), prefixed("vault", "hvs.", url64[:62], 95), prefixed("rubygems", "rubygems_", hexes, 48),
		form("terraform", func(r source) string { return r.of(alnum, 14) + ".atlasv1." + r.of(alnum, 67) }),
		prefixed("docker hub", "dckr_pat_", alnum, 27), form("tailscale", func(r source) string { return "tskey-auth-k" + r.of(alnum, 16) + "-" + r.of(alnum, 32) }),
		form("jwt in base64", func(r source) string { return base64.StdEncoding.EncodeToString([]byte(r.jwt("HS256"))) }),
		form("azure application", func(r source) string { return r.of(alnum, 3) + "8Q~" + r.of(alnum, 34) }), prefixed("square", "sq0csp-", alnum, 43),
		form("notion", func(r source) string { return "ntn_" + r.of(digits, 11) + r.of(alnum, 35) }), prefixed("sentry user", "sntryu_", hexes, 64), prefixed("prefect", "pnu_", alnum, 36),
		form("dynatrace", func(r source) string { return "dt0c01." + r.of(upper+digits, 24) + "." + r.of(upper+digits, 64) }), prefixed("easypost", "EZAK", alnum, 54),
		prefixed("artifactory", "AKCp", alnum, 69), form("airtable", func(r source) string { return "pat" + r.of(alnum, 14) + "." + r.of(hexes, 64) }), prefixed("readme", "rdme_", lower+digits, 70),
		form("pypi", func(r source) string {
			return "pypi-" + base64.RawURLEncoding.EncodeToString(append([]byte("\x02\x01\x08pypi.org\x02\x24"+r.uuid()+"\x00\x06 "), r.bytes(60)...))
		}),
	}
}

// namedKinds are secrets because of what the setting is called.
func namedKinds() []kind {
	named := func(name, names string, f func(r source) string) kind {
		return kind{name: name, named: names, value: f}
	}
	of := func(name, names, alphabet string, n int) kind {
		return named(name, names, func(r source) string { return r.of(alphabet, n) })
	}
	return []kind{
		of("aws secret", "aws_secret_access_key aws_secret_key", std64, 40), named("heroku", "heroku_api_key", source.uuid), of("cloudflare", "cloudflare_api_key cloudflare_token", alnum, 40),
		of("datadog", "datadog_api_key datadog_token", hexes, 40), named("mailchimp", "mailchimp_api_key", func(r source) string { return r.of(hexes, 32) + "-us1" + r.of(digits, 1) }),
		of("dropbox", "dropbox_token", lower+digits, 15), of("fastly", "fastly_api_token", alnum, 32), named("snyk", "snyk_token snyk_key", source.uuid), of("netlify", "netlify_access_token", alnum, 43),
		of("api key", "api_key apiKey service_api_key", alnum, 32), of("hexadecimal api key", "api_key weather_api_key", hexes, 32), of("client secret", "client_secret oauth_client_secret", alnum, 40),
		of("access token", "access_token accessToken", alnum, 48), of("secret key", "secret_key django_secret_key", alnum, 50), of("auth token", "auth_token push_auth_token", alnum, 24),
		named("password", "db_password postgres_password admin_passwd smtp_password", source.password), named("passphrase", "key_passphrase mail_pwd", source.password),
	}
}

// fileKinds stand in files of their own kind.
func fileKinds() []kind {
	whole := func(name, path string, line int, text func(r source, v string) string) kind {
		return kind{name: name, value: source.password, file: func(r source, v string) (string, string, int) { return path, text(r, v), line }}
	}
	key := func(name, path, label string, n int) kind {
		return whole(name, path, 1, func(r source, _ string) string { return r.pem(label, r.der(n)) })
	}
	line := func(name, path, format string, value func(r source) string) kind {
		return kind{name: name, value: value, file: func(r source, v string) (string, string, int) {
			text, at := r.lines(fmt.Sprintf(format, v))
			return path, text, at
		}}
	}
	url := func(scheme string) kind {
		return line("url of "+scheme, "etc/app.conf", "url = "+scheme+"://app:%s@db.internal:5432/main", func(r source) string { return r.of(alnum, 16) })
	}
	auth := func(r source) string { return base64.StdEncoding.EncodeToString([]byte("deploy:" + r.password())) }
	return []kind{
		key("rsa key", "etc/ssl/private/server.key", "RSA PRIVATE KEY", 1190), key("ec key", "root/ec.pem", "EC PRIVATE KEY", 280), key("pkcs8 key", "root/key.pem", "PRIVATE KEY", 1215), key("encrypted key", "root/enc.pem", "ENCRYPTED PRIVATE KEY", 1300),
		whole("openssh key", "root/.ssh/id_ed25519", 1, func(r source, _ string) string {
			return r.pem("OPENSSH PRIVATE KEY", append([]byte("openssh-key-v1\x00\x00\x00\x00\x04none\x00\x00\x00\x04none\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x003"), r.bytes(210)...))
		}),
		whole("service account", "etc/gcp.json", 5, func(r source, _ string) string {
			return "{\n \"type\": \"service_account\",\n \"project_id\": \"demo\",\n \"private_key_id\": \"" + r.of(hexes, 40) + "\",\n \"private_key\": " + jsonText(r.pem("PRIVATE KEY", r.der(1215))) + ",\n \"client_email\": \"a@demo.test\"\n}\n"
		}),
		url("postgres"), url("redis"), url("amqp"), url("mongodb+srv"), url("https"),
		whole("docker config", "root/.docker/config.json", 4, func(r source, _ string) string {
			return "{\n  \"auths\": {\n    \"registry.test\": {\n      \"auth\": \"" + auth(r) + "\"\n    }\n  }\n}\n"
		}),
		line("npmrc", "root/.npmrc", "//registry.test/:_authToken=%s", func(r source) string { return r.uuid() }),
		line("netrc", "root/.netrc", "machine git.test login bot password %s", source.password), line("pgpass", "root/.pgpass", "db.test:5432:main:app:%s", func(r source) string { return r.of(alnum, 16) }),
		line("shadow", "etc/shadow", "root:$6$Qe8sWz1k$%s:19000:0:99999:7:::", func(r source) string { return r.of(alnum+"./", 86) }),
		line("kubeconfig", "root/.kube/config", "    client-key-data: %s", func(r source) string {
			return base64.StdEncoding.EncodeToString([]byte(r.pem("RSA PRIVATE KEY", r.der(1190))))
		}),
		line("wireguard", "etc/wireguard/wg0.conf", "PrivateKey = %s", func(r source) string { return r.b64(32) }),
		line("azure storage", "srv/app.config", "DefaultEndpointsProtocol=https;AccountName=demo;AccountKey=%s;EndpointSuffix=core.windows.net", func(r source) string { return r.b64(64) }),
		line("basic header", "srv/call.sh", `curl -H "Authorization: Basic %s" https://api.test/v1`, auth), line("bearer header", "srv/call.py", `headers = {"Authorization": "Bearer %s"}`, func(r source) string { return r.of(alnum, 40) }),
		line("curl header", "opt/call.sh", `curl -sf -H "X-Api-Key: %s" https://api.test/v1`, func(r source) string { return r.of(alnum, 30) }),
		whole("kubernetes secret", "etc/secret.yaml", 6, func(r source, v string) string {
			return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\ndata:\n  value: " + base64.StdEncoding.EncodeToString([]byte(v)) + "\n"
		}),
		line("curl user", "root/.bash_history", "curl -sf -u deploy:%s https://repo.test/artifact.tar.gz", func(r source) string { return strings.ReplaceAll(r.of(alnum, 15), "$", "") }),
	}
}
