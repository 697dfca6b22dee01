package secret

import (
	"encoding/base64"
	"testing"
)

// serviceKinds are tokens of more services, in the forms that those say they have.
func serviceKinds() []kind {
	prefixed := func(name, prefix, alphabet string, n int) kind {
		return kind{name: name, value: func(r source) string { return prefix + r.of(alphabet, n) }}
	}
	form := func(name string, f func(r source) string) kind { return kind{name: name, value: f} }
	named := func(name, names, alphabet string, n int) kind {
		return kind{name: name, named: names, value: func(r source) string { return r.of(alphabet, n) }}
	}
	spaced := func(name, words, alphabet string, n int) kind {
		return kind{name: name, value: func(r source) string { return words + r.of(alphabet, n) }, file: func(r source, v string) (string, string, int) {
			text, at := r.lines(v)
			return "srv/notes", text, at
		}}
	}
	return []kind{
		prefixed("groq", "gsk_", alnum, 52), prefixed("tavily", "tv"+"ly-", alnum, 32), prefixed("replicate", "r8_", alnum, 37), prefixed("xai", "xai-", alnum, 80), prefixed("openrouter", "sk-or-v1-", hexes, 64),
		prefixed("nvidia", "nv"+"api-", url64[:62], 64), prefixed("together", "tgp_v1_", url64[:62], 43), form("langfuse", func(r source) string { return "sk-lf-" + r.uuid() }),
		form("langsmith", func(r source) string { return "lsv2_pt_" + r.of(hexes, 32) + "_" + r.of(hexes, 10) }),
		form("azure devops", func(r source) string { return r.of(alnum, 52) + "JQQJ99" + r.of(alnum, 18) + "AZDO" + r.of(alnum, 4) }),
		form("azure storage", func(r source) string { return r.of(std64[:62], 76) + "+AS" + "t" + r.of(alnum, 5) + "A==" }),
		prefixed("google client", "GOCS"+"PX-", url64[:62], 28), prefixed("render", "rnd_", alnum, 32), prefixed("netlify token", "nfp_", alnum, 36), prefixed("supabase", "sbp_", hexes, 40),
		prefixed("aiven", "AVNS_", alnum, 19), form("astra", func(r source) string { return "AstraCS:" + r.of(lower+upper, 24) + ":" + r.of(hexes, 64) }),
		form("doppler service", func(r source) string { return "dp.st.prod." + r.of(alnum, 43) }), prefixed("nuget", "oy2", lower+digits, 43), prefixed("crates", "cio", alnum, 32),
		form("circleci", func(r source) string { return "CCIPAT_" + r.of(alnum, 22) + "_" + r.of(hexes, 40) }), prefixed("buildkite", "bkua_", hexes, 40), prefixed("sonar", "squ_", hexes, 40),
		form("new relic license", func(r source) string { return "eu01xx" + r.of(hexes, 30) + "NR" + "AL" }), prefixed("new relic user", "NRAK-", upper+digits, 27),
		form("teams webhook", func(r source) string {
			return "https://outlook.office.com/webhook/" + r.uuid() + "@" + r.uuid() + "/IncomingWebhook/" + r.of(hexes, 32) + "/" + r.uuid()
		}),
		form("discord webhook", func(r source) string {
			return "https://discord.com/api/webhooks/" + r.of(digits, 18) + "/" + r.of(alnum, 68)
		}),
		form("telegram", func(r source) string { return r.of("123456789", 10) + ":AA" + r.of(url64[:62], 33) }), prefixed("mailersend", "ml"+"sn.", hexes, 64),
		form("resend", func(r source) string { return "re_" + r.of(alnum, 8) + "_" + r.of(alnum, 24) }), form("twitch stream", func(r source) string { return "live_" + r.of(digits, 9) + "_" + r.of(alnum, 30) }),
		form("hubspot", func(r source) string { return "pat-na1-" + r.uuid() }), prefixed("stripe webhook", "wh"+"sec_", alnum, 32),
		form("base64 of a key", func(r source) string {
			return base64.StdEncoding.EncodeToString([]byte(r.pem("RSA PRIVATE KEY", r.der(1190))))
		}),
		named("django", "django_secret_key secret_key", lower+digits+"@#%&*(-_=+)", 50), named("key of a service", "statuscake_token honeycomb_key scrapestack_access_key", lower+digits, 32),
		spaced("of a service", "pushbullet SECRET ", alnum, 34), spaced("of another service", "deepgram-token ", hexes, 40),
	}
}

// serviceLikes look as if they were tokens of services.
func serviceLikes(line func(string, string, string, func(source) string) like, some func(...string) func(source) string, hexa func(int) func(source) string) []like {
	return []like{
		line("result of a test", "srv/test.log", "PASS: %s", some("gas/all/err-sizeof.s", "addr2line -f", "ld-elf/ehdr_start2", ".sleb128 tests 3")),
		line("name that begins as a token", "srv/app.py", "x = %s", some("sk_buff_head_init_locked_2_of_everything_there", "re_compile2_pattern_with_all_flags", "live_streaming_segments_by_name2", "key-value-store-of-all-clusters-2", "rnd_generator_of_numbers_with_seed2")),
		line("letters and digits in turns", "srv/app.yaml", "api_key: %s", some("a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6", "1a2b3c4d5e6f7g8h9i0j1k2l3m4n5o6p")),
		line("type of a key", "srv/ssh.py", "private_key: %s, more", some("ed25519.Ed25519PrivateKey", "x448.X448PrivateKey", "ec.SECP256R1")),
		line("commit behind words", "srv/notes", "the key is in commit %s", hexa(40)), line("fingerprint of a host", "srv/notes", "host key fingerprint %s", hexa(32)),
		line("function list", "srv/ChangeLog", "(test_key_verify): New: %s", some("gnutls_x509_privkey_verify_data", "EVP_PKEY_CTRL_PKCS7_ENCRYPT", "iso7816_check_keypad")),
	}
}

// TestServices knows that a name is one only where a word begins.
func TestServices(t *testing.T) {
	s := scanner(t)
	for text, want := range map[string]bool{
		"PUSHBULLET_TOKEN": true, "my pushbullet ": true, "apitemplateKEY": true, "unslacked": false, "the key is ": false, "mySlackToken": true,
		// What is no UTF-8, or becomes longer in lower case.
		"Caf\xe9 key=": false, "ȺȺ key = ": false, "caf\xe9 PUSHBULLET_KEY=": true, "ȺȺ PUSHBULLET_KEY": true,
	} {
		if got := s.services.names(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	v := random().of(lower+digits, 24)
	for _, line := range []string{"'pushbullet_pat': '" + v + "'", `"pushbullet_pat": "` + v + `"`, "PUSHBULLET_PAT\t=\t" + v, "pushbullet_pat=" + v, "pushbullet_pat\t" + v} {
		if got := found(s.Text(line, "x")); got != serviceRule+" x" {
			t.Errorf("%q: %s", line, got)
		}
	}
	if interleaved("d41d8cd98f00b204e9800998ecf8427e") || !interleaved("a1b2c3d4e5f6g7h8") {
		t.Error("what counts up is not told from what does not")
	}
}
