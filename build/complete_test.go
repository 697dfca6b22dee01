package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// language is each instruction with each of its flags, options and forms.
func language() map[string][]string {
	return map[string][]string{
		"FROM":        {"--platform=", " AS "},
		"ARG":         {"="},
		"RUN":         {"--mount=type=bind", "--mount=type=cache", "--mount=type=tmpfs", "--mount=type=secret", "--mount=type=ssh", "--network=none", "--network=host", "--network=default", "--security=sandbox", "--security=insecure", "--device=", "[", "<<"},
		"CMD":         {"["},
		"LABEL":       {"="},
		"MAINTAINER":  {""},
		"EXPOSE":      {"/udp"},
		"ENV":         {"="},
		"ADD":         {"--chown=", "--chmod=", "--link", "--exclude=", "--unpack", "--checksum=", "--keep-git-dir", "<<"},
		"COPY":        {"--chown=", "--chmod=", "--link", "--exclude=", "--parents", "--from=", "[", "<<"},
		"ENTRYPOINT":  {"["},
		"VOLUME":      {"["},
		"USER":        {":"},
		"WORKDIR":     {"/"},
		"ONBUILD":     {"RUN"},
		"STOPSIGNAL":  {""},
		"HEALTHCHECK": {"--interval=", "--timeout=", "--start-period=", "--start-interval=", "--retries=", "CMD", "NONE"},
		"SHELL":       {"["},
		"#":           {"syntax=", "escape=", "check="},
	}
}

// TestGoldenComplete demands a golden case for each part of the language: here, where it is built, or in package dockerfile,
// where it is only read. Both together leave nothing out.
func TestGoldenComplete(t *testing.T) {
	var lines []string
	for _, pattern := range []string{"testdata/golden/*/Dockerfile", "../dockerfile/testdata/*/Dockerfile"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 20 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.Split(strings.ReplaceAll(string(data), "\\\n", " "), "\n")...)
		}
	}
	for instruction, parts := range language() {
		for _, part := range parts {
			found := false
			for _, l := range lines {
				word, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
				found = found || strings.EqualFold(word, instruction) && strings.Contains(rest, part)
			}
			if !found {
				t.Errorf("no golden case has %s %s", instruction, part)
			}
		}
	}
}
