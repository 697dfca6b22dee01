package access

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/crypto/bcrypt"
)

func bcryptOf(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func shaOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func usersOf(t *testing.T, text string, robots ...Robot) (*Users, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := OpenUsers(file, robots)
	if err != nil {
		t.Fatal(err)
	}
	return u, file
}

func TestVerify(t *testing.T) {
	u, file := usersOf(t, "# people\nalice:"+bcryptOf(t, "one")+"\n\nbob:"+bcryptOf(t, "two")+"\r\n",
		Robot{Name: "robot$ci", Hash: shaOf("three")}, Robot{Name: "robot$old", Hash: shaOf("four"), Expires: time.Now().Add(-time.Hour)})
	ok := func(name, password string) bool {
		t.Helper()
		ok, err := u.Verify(t.Context(), name, password)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for range 2 { // the second time it is remembered
		if !ok("alice", "one") || !ok("bob", "two") || !ok("robot$ci", "three") {
			t.Error("a password that is right is refused")
		}
		if ok("alice", "two") || ok("alice", "") || ok("carol", "one") || ok("robot$old", "four") || ok("", "") {
			t.Error("a password that is wrong is taken")
		}
	}
	if !u.Remembers("alice", "one") || u.Remembers("alice", "two") {
		t.Error("what is remembered")
	}
	// The file is read again when it changed, and what was remembered of alice does not count any more.
	before := u.stamp("alice")
	if err := os.WriteFile(file+".new", []byte("alice:"+bcryptOf(t, "five")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	u.now = func() time.Time { return time.Now().Add(2 * recheck) }
	if ok("alice", "one") || !ok("alice", "five") || ok("bob", "two") || u.Has("bob") {
		t.Error("the file was not read again")
	}
	if u.stamp("alice") == before {
		t.Error("the stamp did not change with the password")
	}
	// A file that is bad now changes nothing, and is a problem.
	if err := os.WriteFile(file, []byte("alice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.now = func() time.Time { return time.Now().Add(4 * recheck) }
	if !ok("alice", "five") || u.Problem() == nil {
		t.Errorf("a bad file: %v", u.Problem())
	}
}

func TestUsersRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"alice":                           "line 1",
		"\nalice:{SHA}abc":                "line 2",
		"a b:" + bcryptOf(t, "x"):         "line 1",
		"anonymous:" + bcryptOf(t, "x"):   "line 1",
		"*:" + bcryptOf(t, "x"):           "line 1",
		"alice:$2y$99$abc":                "line 1",
		"alice:$argon2id$v=19$m=9":        "line 1",
		"alice:" + strings.Repeat("x", 9): "line 1",
	} {
		if _, err := parseUsers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := CheckHash("$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHRzYWx0$c29tZXNhbHRzYWx0c29tZXNhbHRzYWx0"); !errdefs.IsLimit(err) {
		t.Errorf("a hash that takes 100 GB: %v", err)
	}
	if _, err := OpenUsers("", []Robot{{Name: "a", Hash: "plain"}}); err == nil {
		t.Error("a robot with a secret in clear is taken")
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte("alice:$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy\n#x\n"))
	f.Add([]byte("a:$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHRzYWx0$c29tZXNhbHRzYWx0c29tZXNhbHRzYWx0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := parseUsers(data)
		if err != nil {
			return
		}
		for name, hash := range users {
			if checkUserName(name) != nil || CheckHash(hash) != nil {
				t.Errorf("%q: %q", name, hash)
			}
		}
	})
}
