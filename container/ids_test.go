package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestCheckIDs(t *testing.T) {
	const one, ranges, all = "         0      12345          1\n", "0 12345 1\n1 700000 65536\n", "0 0 4294967295\n"
	for _, c := range []struct {
		name, uids, gids string
		user             specs.User
		missing          string
	}{
		{"root has its id", one, one, specs.User{}, ""},
		{"another user has not", one, one, specs.User{UID: 33}, "user 33"},
		{"nor has another group", one, one, specs.User{GID: 5}, "group 5"},
		{"root's own group", one, one, specs.User{AdditionalGids: []uint32{0}}, ""},
		{"a further group", ranges, one, specs.User{UID: 33, AdditionalGids: []uint32{0, 50}}, "group 50"},
		{"the last of a range", ranges, ranges, specs.User{UID: 65536, GID: 65536}, ""},
		{"behind a range", ranges, ranges, specs.User{UID: 65537}, "user 65537"},
		{"all", all, all, specs.User{UID: 4294967294, GID: 7}, ""},
		{"nothing to read", "", "", specs.User{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"uid_map": c.uids, "gid_map": c.gids} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := checkIDs(dir, &specs.Process{User: c.user})
			switch {
			case c.missing == "" && err != nil:
				t.Error(err)
			case c.missing != "" && (!errdefs.IsUnsupported(err) || !strings.HasPrefix(err.Error(), c.missing+" ")):
				t.Errorf("error %v, want one about %s", err, c.missing)
			}
		})
	}
	if err := checkIDs(t.TempDir(), &specs.Process{User: specs.User{UID: 5}}); err != nil {
		t.Errorf("without a map: %v", err)
	}
}

func TestWithGroups(t *testing.T) {
	dir := t.TempDir()
	p := &specs.Process{User: specs.User{GID: 3, AdditionalGids: []uint32{4, 5}}}
	for text, want := range map[string]int{"allow\n": 2, "deny\n": 0} {
		if err := os.WriteFile(filepath.Join(dir, "setgroups"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := withGroups(dir, p); len(got.User.AdditionalGids) != want || got.User.GID != 3 {
			t.Errorf("%q: %+v", text, got.User)
		}
	}
	if len(p.User.AdditionalGids) != 2 {
		t.Error("the caller's process was changed")
	}
}
