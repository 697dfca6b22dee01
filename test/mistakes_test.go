package test

import (
	"fmt"
	"strings"
	"testing"
)

// mistake is a Dockerfile that cannot be built.
type mistake struct {
	name, dockerfile string
	// line is where the mistake is, 0 for nowhere.
	line int
	// says is what the message must have in it.
	says string
}

func mistakes() []mistake {
	const root = "FROM scratch\nCOPY rootfs /\n"
	return []mistake{
		{"instruction", "FROM scratch\nRUNN true\n", 2, "unknown instruction: RUNN (did you mean RUN?)"},
		{"instruction-lower", "FROM scratch\nrunn true\n", 2, "unknown instruction: runn (did you mean run?)"},
		{"before-from", "RUN true\n", 1, "RUN before the first FROM"},
		{"empty", "", 0, "the Dockerfile is empty"},
		{"comments", "# nothing\n", 1, "no instructions"},
		{"base", "FROM nosuch:1\n", 1, "no such image: nosuch:1; make it with"},
		{"base-name", "FROM UPPER:1\n", 1, "lower case"},
		{"base-empty", "FROM $NOSUCH\n", 1, "$NOSUCH is empty after expansion (give its ARGs a value"},
		{"base-typo", "FROM scratch AS build\nFROM biuld\n", 2, "did you mean build?"},
		{"platform", "FROM --platform=x/y/z/q scratch\n", 1, "want os/architecture[/variant]"},
		{"from-typo", "FROM scratch AS build\nFROM scratch\nCOPY --from=biuld /x /y\n", 3, "did you mean build?"},
		{"from-later", "FROM scratch AS a\nCOPY --from=b /x /y\nFROM scratch AS b\nFROM a\n", 2, "comes later, at line 3 (move stage b before it)"},
		{"from-itself", "FROM scratch AS a\nCOPY --from=a /x /y\n", 2, "stage a copies from itself"},
		{"from-number", "FROM scratch\nCOPY --from=3 /x /y\n", 2, "the file has stages 0 to 0"},
		{"from-file", "FROM scratch AS a\nCOPY rootfs /\nFROM scratch\nCOPY --from=a /nosuch /\n", 4, `source "/nosuch" is not in the stage`},
		{"cycle-from", "FROM two AS one\nFROM one AS two\n", 1, "cycle of stages: one -> two -> one"},
		{"cycle-copy", "FROM scratch AS one\nCOPY --from=two /a /a\nFROM scratch AS two\nCOPY --from=one /a /a\n", 2, "cycle of stages: one -> two -> one"},
		{"cycle-both", "FROM scratch AS one\nCOPY --from=three /a /a\nFROM one AS two\nFROM two AS three\n", 2, "cycle of stages: one -> three -> two -> one"},
		{"source", "FROM scratch\nCOPY nothing.txt /\n", 2, `source "nothing.txt" is not in the build context`},
		{"source-typo", "FROM scratch\nCOPY rotfs /\n", 2, "did you mean rootfs?"},
		{"source-outside", "FROM scratch\nCOPY ../secret /\n", 2, `source "../secret" is not in the build context`},
		{"source-none", "FROM scratch\nCOPY onlyone\n", 2, "COPY requires at least two arguments"},
		{"owner", "FROM scratch\nCOPY --chown=nosuch rootfs /\n", 2, `user "nosuch" is not in the image's /etc/passwd`},
		{"mode", "FROM scratch\nCOPY --chmod=999 rootfs /\n", 2, "999"},
		{"flag", "FROM scratch\nCOPY --form=x a /b\n", 2, "unknown flag: --form (did you mean from?)"},
		{"heredoc", "FROM scratch\nRUN <<EOF\necho never ends\n", 2, `unterminated heredoc (no later line is just "EOF")`},
		{"heredoc-two", root + "COPY <<A <<B /\nx\nA\ny\n", 3, "unterminated heredoc"},
		{"run", root + "RUN exit 7\n", 3, "the command failed: exit code 7"},
		{"run-lines", root + "RUN echo a && \\\n    exit 3\n", 3, "exit code 3\n   3 | RUN echo a && \\\n   4 |     exit 3"},
		{"run-heredoc", root + "RUN <<EOF\nset -e\nfalse\nEOF\n", 3, "exit code 1"},
		{"run-missing", root + "RUN nosuch\n", 3, "the command was not found in the image"},
		{"run-exec", root + `RUN ["nosuch"]` + "\n", 3, `exit code 127: exec: "nosuch": executable file not found in $PATH`},
		{"run-no-shell", "FROM scratch\nRUN true\n", 2, `exec: "/bin/sh": no such file or directory`},
		{"run-directory", root + `RUN ["/etc"]` + "\n", 3, "exit code 126"},
		{"run-processes", root + "RUN sleep 100 & sleep 101 & exit 4\n", 3, "exit code 4"},
		{"run-beside", "FROM scratch AS base\nCOPY rootfs /\nFROM base AS a\nRUN sleep 100\nFROM base AS b\nRUN exit 5\nFROM base\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n", 6, "exit code 5"},
		{"run-user", root + "USER nobodyknows\nRUN true\n", 4, "nobodyknows"},
		{"run-mount", root + "RUN --mount=type=cach,target=/c true\n", 3, `unsupported mount type "cach" (did you mean cache?)`},
		{"run-mount-source", root + "RUN --mount=source=rotfs,target=/c true\n", 3, "did you mean rootfs?"},
		{"run-mount-secret", root + "RUN --mount=type=secret,id=token,required true\n", 3, "secret token: not found; give it with --secret id=token"},
		{"run-mount-ssh", root + "RUN --mount=type=ssh,required true\n", 3, `no SSH agent or key with the id "default"`},
		{"run-network", root + "RUN --network=host true\n", 3, "may have it with --allow network.host"},
		{"run-insecure", root + "RUN --security=insecure true\n", 3, "may have it with --allow security.insecure"},
		{"env", "FROM scratch\nENV A\n", 2, "ENV must have two arguments"},
		{"env-space", "FROM scratch\nENV A=b c\n", 2, `can't find = in "c"`},
		{"variable", "FROM scratch\nWORKDIR ${X:?must be set}\n", 2, "X: must be set"},
		{"expose", "FROM scratch\nEXPOSE abc\n", 2, "EXPOSE abc: not a port"},
		{"shell", "FROM scratch\nSHELL /bin/sh\n", 2, "SHELL requires the arguments to be in JSON form"},
		{"stopsignal", "FROM scratch\nSTOPSIGNAL SIGNOSUCH\n", 2, "SIGNOSUCH"},
		{"onbuild", "FROM scratch\nONBUILD ONBUILD RUN true\n", 2, "ONBUILD"},
		{"healthcheck", "FROM scratch\nHEALTHCHECK --intervall=3s CMD true\n", 2, "did you mean interval?"},
		{"url", "FROM scratch\nADD http://127.0.0.1:1/x /\n", 2, "connection refused"},
	}
}

// TestMistakes builds Dockerfiles with mistakes. Each gets file, line, the line itself, what was meant and exit code 1, and leaves nothing.
func TestMistakes(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.camada("images") // the store is made
		for _, x := range mistakes() {
			file := x.name + ".df"
			m.write(file, x.dockerfile)
			r := m.run("build", "--progress=plain", "-t", "bad", "-f", file, "ctx")
			want := fmt.Sprintf("camada: %s: ", file)
			if x.line > 0 {
				want = fmt.Sprintf("camada: %s:%d: ", file, x.line)
				line := fmt.Sprintf("%4d | %s\n", x.line, strings.Split(x.dockerfile, "\n")[x.line-1])
				if !strings.Contains(r.errors, line) {
					t.Errorf("%s: the line %q is not shown: %v", x.name, line, r)
				}
			}
			if r.code != 1 || !strings.Contains(r.errors, want) || !strings.Contains(r.errors, x.says) {
				t.Errorf("%s: want exit code 1, %q and %q: %v", x.name, want, x.says, r)
			}
			when := "after the mistake " + x.name
			m.none(when, m.leftovers)
			for _, odd := range account(t, m.root) {
				if begun(odd) {
					t.Errorf("%s there is %s", when, odd)
				}
			}
		}
		for says, args := range map[string][]string{
			"there is no directory nowhere":         {"build", "nowhere"},
			"there is no Dockerfile at none.df":     {"build", "-f", "none.df", "ctx"},
			`there is no stage "nosuch"`:            {"build", "--target", "nosuch", "-f", "run.df", "ctx"},
			"a repository is written in lower case": {"build", "-t", "UPPER", "-f", "run.df", "ctx"},
		} {
			if r := m.run(args...); r.code != 1 || !strings.Contains(r.errors, says) {
				t.Errorf("want exit code 1 and %q: %v", says, r)
			}
		}
		if left := m.camada("images", "-q") + m.camada("ps", "-aq"); left != "" {
			t.Errorf("there are images or containers: %s", left)
		}
		m.whole("after mistakes")
		m.accounted("after mistakes")
	})
}

// begun tells that something which account found is of work that was begun and not ended. What was finished stays
// for the next build, until gc.
func begun(odd string) bool {
	for _, part := range []string{"tmp/", "ingest/", "leases/", "containers/", "/tmp-", "/rm-", "/busy/", "refs/"} {
		if strings.Contains(odd, part) {
			return true
		}
	}
	return false
}
